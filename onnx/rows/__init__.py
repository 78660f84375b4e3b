"""How ONNX says each op: a row an op, by the families of ``engine/ops``."""

from __future__ import annotations

from tilegrad.onnx.rows import (
    elementwise,
    index,
    movement,
    norm,
    pool,
    products,
    recurrent,
    reduce,
    sort,
    views,
)
from tilegrad.onnx.rows.row import ROWS, Row
from tilegrad.onnx.rows.without import WITHOUT

FAMILIES = (elementwise, index, movement, norm, pool, products, recurrent, reduce, sort, views)

__all__ = ["FAMILIES", "ROWS", "WITHOUT", "Row"]
