"""What runs the operators of a loaded graph: a function of tilegrad's tensors for each, by families."""

from __future__ import annotations

from tilegrad.onnx.tables import (
    arithmetic,
    attention,
    control,
    indexing,
    layers,
    norms,
    pools,
    quantized,
    random,
    recurrent,
    reductions,
    resize,
    shapes,
    signal,
    vision,
)
from tilegrad.onnx.tables.call import TABLE, Call

FAMILIES = (
    arithmetic, attention, control, indexing, layers, norms, pools, quantized, random, recurrent, reductions, resize,
    shapes, signal, vision,
)  # fmt: skip

__all__ = ["FAMILIES", "TABLE", "Call"]
