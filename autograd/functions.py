import importlib
from pathlib import Path
for _p in sorted((Path(__file__).parent/"rules").glob("*.py")):
    if _p.stem in ("__init__","elementwise"): continue
    try: _m=importlib.import_module(f"tilegrad.autograd.rules.{_p.stem}")
    except Exception as e:
        print("LANDING", _p.stem, repr(e)[:200]); continue
    for _n,_f in list(vars(_m).items()):
        if callable(_f) and not _n.startswith("_") and not isinstance(_f,type) and getattr(_f,"__module__","").startswith("tilegrad.autograd.rules") and not _n.endswith("_vjp"):
            globals()[_n]=_f
