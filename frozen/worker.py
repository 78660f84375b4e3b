"""The process that finds out which kernels a frozen model asks for: ``python -m tilegrad.frozen.worker FOLDER [sm_90]``.

Of a GPU it needs none: one on paper stands for it (:mod:`tilegrad.kernels.cuda.tools.dry_run`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tilegrad.data.serialization import load
from tilegrad.frozen.loading import load_frozen
from tilegrad.kernels import cache
from tilegrad.onnx.errors import LoadError

SMALL = (
    1 << 16
)  # bytes of blocks that the GPU on paper keeps: what the host reads is the inputs', or zero


def main(folder: Path, gpu: str | None = None) -> None:
    """Run the model in ``folder`` on the inputs there, and write which files of the cache that took."""
    if gpu is not None:
        from tilegrad.kernels.cuda.tools import dry_run

        dry_run.plan_for(dry_run.ARCHS[gpu], SMALL)
    model = load_frozen(folder / "bare", machine_code=False)
    device = "cpu" if gpu is None else "cuda"
    model.to(device)
    for number in range(len(list(folder.glob("*.safetensors")))):
        kept = load(folder / f"{number}.safetensors")
        try:
            model(*[x.to(device) for x in kept["inputs"]])
        except LoadError:
            if kept["must"]:
                raise
    names = list(cache.used) if gpu is None else dry_run.assemble_planned(dry_run.ARCHS[gpu])
    (folder / "used.json").write_text(json.dumps(names))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
