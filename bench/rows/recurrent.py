"""Recurrent layers, losses of sequences, and resampling of images."""

from __future__ import annotations

from functools import partial
from typing import Any

from tilegrad.bench.rows.row import Row, Shape, floats, indices, rows

_rows = partial(rows, "recurrent", tolerance=1e-4)

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1}
SIZES = {
    "50 steps, batch 32, 256 units": (50, 32, 256, 256),
    "100 steps, one, 64 units": (100, 1, 64, 64),
    "32 steps, batch 8, 512 units": (32, 8, 512, 512),
    "64 steps, batch 64, 128 units": (64, 64, 128, 128),
}


def _layers() -> list[Row]:
    def run(t: Any, x: Any, w: Any, v: Any, b: Any, c: Any, *hx: Any, name: str) -> Any:
        first = hx if name == "lstm" else hx[0]
        return getattr(t, name)(x, first, [w, v, b, c], True, 1, 0.0, True, False, False)[0]

    found = []
    for name, gates in GATES.items():
        for label, (steps, batch, size, units) in SIZES.items():
            wide = gates * units
            low = {"low": -(units**-0.5), "high": units**-0.5}
            states = [floats(1, batch, units, grad=False)] * (1 + (name == "lstm"))
            found += _rows(
                f"{name}, {label}", partial(run, name=name), floats(steps, batch, size),
                floats(wide, size, **low), floats(wide, units, **low), floats(wide, **low),
                floats(wide, **low), *states,
                flops=2.0 * steps * batch * wide * (size + units), passes="fb", accuracy="rms",
            )  # fmt: skip
    return found


IMAGES: dict[str, tuple[Shape, dict[str, Any]]] = {
    "nearest to double": ((8, 32, 32, 32), {"scale_factor": 2, "mode": "nearest"}),
    "bilinear to double": ((8, 32, 32, 32), {"scale_factor": 2, "mode": "bilinear"}),
    "trilinear to double": ((2, 8, 16, 32, 32), {"scale_factor": 2, "mode": "trilinear"}),
    "bicubic to 224": ((4, 3, 128, 128), {"size": (224, 224), "mode": "bicubic"}),
    "bilinear, smooth, to 64": (
        (4, 3, 224, 224), {"size": (64, 64), "mode": "bilinear", "antialias": True},
    ),
}  # fmt: skip


def _images() -> list[Row]:
    def resize(t: Any, x: Any, how: dict[str, Any]) -> Any:
        return t.nn.functional.interpolate(x, **how)

    found = []
    for name, (shape, how) in IMAGES.items():
        found += _rows(
            f"interpolate, {name}", partial(resize, how=how), floats(*shape), passes="fb"
        )
    return found


ALIGNMENTS = {  # steps, batch, classes, labels
    "50 steps, batch 16, 20 classes": (50, 16, 20, 10),
    "200 steps, batch 32, 32 classes": (200, 32, 32, 40),
    "100 steps, one, 5000 classes": (100, 1, 5000, 20),
}


def _alignments() -> list[Row]:
    def loss(t: Any, x: Any, labels: Any) -> Any:
        (steps, batch, _), many = x.shape, labels.shape[1]
        return t.nn.functional.ctc_loss(x, labels + 1, [steps] * batch, [many] * batch)

    found = []
    for name, (steps, batch, classes, many) in ALIGNMENTS.items():
        x = floats(steps, batch, classes, low=-5.0, high=-1.0)
        # logarithms of about 1,000 lose 2e-4 of a probability in float32, here as in PyTorch
        operands = x, indices(batch, many, below=classes - 1)
        found += rows("recurrent", f"ctc_loss, {name}", loss, *operands, tolerance=1e-3)
    return found


ROWS = [*_layers(), *_images(), *_alignments()]
