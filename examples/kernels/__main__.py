"""``python -m examples.kernels [NAME…] [--device cuda] [--pictures DIR]``: check and time every example.

``check`` compares each op with its reference on every device at hand; ``bench`` times it against the same
source elsewhere.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType

NAMES = (
    "swish", "bias_dropout_residual", "rms_norm", "rotary", "heat", "mandelbrot", "matmul",
    "histogram",
)  # fmt: skip


def load(name: str) -> ModuleType:
    """The module of an example."""
    return importlib.import_module(f"examples.kernels.{name}")


def main() -> int:
    """Check and time the examples that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m examples.kernels", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--pictures", metavar="DIR", type=Path, help="draw what has a picture")
    given = parser.parse_args()
    wrong = [n for n in given.names if n not in NAMES]
    if wrong:
        parser.error(f"examples are {', '.join(NAMES)}; got {', '.join(wrong)}")
    for name in given.names or NAMES:
        module = load(name)
        print(f"{name}: {(module.__doc__ or '').splitlines()[0]}")
        for op, shapes in module.OPS.items():
            op.check(**getattr(module, "CHECKED", {}).get(op, {}))
            op.bench(*shapes, device=given.device, rounds=5)
        if given.pictures and hasattr(module, "picture"):
            given.pictures.mkdir(parents=True, exist_ok=True)
            module.picture(given.pictures / f"{name}.png")
            print(f"drawn: {given.pictures / name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
