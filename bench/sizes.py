"""The operations of the headline, each at any size from 2^10 to 2^26 elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad.bench.rows.row import Call, Operand, Row, Shape, floats

LEAST, MOST = 10, 26  # exponents of two
COMPILED = 20  # the one size at which PyTorch's compiler is asked

Shapes = Callable[[int], tuple[Shape, ...]]
Count = Callable[[tuple[Shape, ...]], float]


@dataclass(frozen=True)
class Op:
    """An operation that is measured at many sizes.

    Attributes:
        name, area: of the table.
        call: ``call(t, *tensors)``; numpy: the same on arrays, or None.
        shapes: of the operands, for a number of elements.
        result: the shape of the result, from those of the operands.
        flops: floating operations of a call, from the shapes.
        tolerance: how far from float64 a result may be.
        low: the least value of operands.
        exact: mean and deviation of random numbers, which no library's values can be compared with.
        compiled: whether PyTorch's compiler has something to fuse.
        transfer: ``in`` or ``out`` for copies between host and device.
    """

    name: str
    area: str
    call: Call
    shapes: Shapes
    flops: Count
    numpy: Call | None = None
    result: Callable[[tuple[Shape, ...]], Shape] = lambda shapes: shapes[0]
    tolerance: float = 1e-5
    low: float = -1.0
    exact: tuple[float, float] | None = None
    compiled: bool = False
    transfer: str = ""

    def row(self, exponent: int) -> Row:
        """The benchmark of 2^exponent elements."""
        shapes = self.shapes(1 << exponent)
        operands: tuple[Operand, ...] = tuple(floats(*s, low=self.low) for s in shapes)
        result = self.result(shapes)
        moved = 4.0 * (sum(map(math.prod, shapes)) + math.prod(result))
        tolerance = self.tolerance
        if self.exact is not None:  # its operand says how many, and is not read
            moved = 4.0 * math.prod(result)
            tolerance = 12 * 2 ** (-exponent / 2)
        return Row(
            self.area, f"{self.name}, 2^{exponent}", self.call, operands, numpy=self.numpy,
            flops=self.flops(shapes), tolerance=tolerance, op=self.name, size=1 << exponent,
            nbytes=moved, exact=self.exact,
            summary=_moments if self.exact else None, transfer=self.transfer,
            compiled=self.compiled and exponent == COMPILED,
        )  # fmt: skip


def _moments(values: np.ndarray) -> np.ndarray:
    return np.array([values.mean(dtype=np.float64), values.std(dtype=np.float64)])


# ----------------------------------------------------------------------------------------- shapes


def _flat(count: int) -> Shapes:
    return lambda n: ((n,),) * count


def _square(n: int) -> tuple[int, int]:
    """Rows and columns, as near to each other as powers of two allow."""
    k = n.bit_length() - 1
    return 1 << (k // 2), 1 << (k - k // 2)


def _rows(n: int) -> tuple[int, int]:
    """Rows of at most 1024 elements."""
    columns = min(1024, _square(n)[1])
    return n // columns, columns


def _product(n: int) -> tuple[Shape, ...]:
    a, b = _square(n)
    return (a, b), (b, b)


def _images(n: int) -> Shape:
    """Images of at most 64 channels, of 16 or 32 pixels a side."""
    side = 16 if n < 1 << 14 else 32
    channels = min(64, n // side**2)
    return n // side**2 // channels, channels, side, side


def _heads(n: int) -> Shape:
    """Batch, at most 16 heads, at most 1024 tokens, at most 64 numbers each."""
    width = min(64, _square(n)[0] * 2)
    length = min(1024, n // width, max(64, _square(n)[0]))
    heads = min(16, n // width // length)
    return n // width // length // heads, heads, length, width


def _elements(per: float) -> Count:
    return lambda shapes: per * math.prod(shapes[0])


def _product_flops(shapes: tuple[Shape, ...]) -> float:
    return 2.0 * math.prod(shapes[0]) * shapes[1][1]


def _attention_flops(shapes: tuple[Shape, ...]) -> float:
    return 4.0 * math.prod(shapes[0]) * shapes[0][2]


# -------------------------------------------------------------------------------------------- ops


def _normalise(t: Any, x: Any, w: Any, b: Any) -> Any:
    return t.nn.functional.layer_norm(x, w.shape, w, b)


def _numpy_softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, 1, keepdims=True))
    return e / np.sum(e, 1, keepdims=True)


def _attend(t: Any, q: Any, k: Any, v: Any) -> Any:
    return t.nn.functional.scaled_dot_product_attention(q, k, v)


def _causal(t: Any, q: Any, k: Any, v: Any) -> Any:
    return t.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def _by_rows(n: int) -> tuple[Shape, ...]:
    return (_rows(n),)


def _norm_shapes(n: int) -> tuple[Shape, ...]:
    return _rows(n), _rows(n)[1:], _rows(n)[1:]


def _first(shapes: tuple[Shape, ...]) -> Shape:
    return shapes[0][:1]


_GENERATOR = np.random.default_rng(0)

OPS = [
    Op("add", "elementwise", lambda t, x, y: x + y, _flat(2), _elements(1), np.add),
    Op("exp", "elementwise", lambda t, x: x.exp(), _flat(1), _elements(23), np.exp),
    Op("gelu", "elementwise", lambda t, x: t.nn.functional.gelu(x), _flat(1), _elements(30), compiled=True),
    Op("mul, add, tanh", "elementwise", lambda t, x, y: (x * y + x).tanh(), _flat(2), _elements(30),
       lambda x, y: np.tanh(x * y + x), compiled=True),
    Op("sum", "reductions", lambda t, x: x.sum(), _flat(1), _elements(1), np.sum, lambda s: (), low=0.0),
    Op("sum of rows", "reductions", lambda t, x: x.sum(1), _by_rows, _elements(1), lambda x: np.sum(x, 1),
       _first, low=0.0),
    Op("max of rows", "reductions", lambda t, x: x.amax(1), _by_rows, _elements(1), lambda x: np.max(x, 1),
       _first),
    Op("cumsum", "reductions", lambda t, x: x.cumsum(1), _by_rows, _elements(1), lambda x: np.cumsum(x, 1),
       tolerance=1e-4, low=0.0),
    Op("matmul", "products", lambda t, x, y: x @ y, _product, _product_flops, np.matmul, tolerance=1e-4),
    Op("matrix by vector", "products", lambda t, x, y: x @ y, lambda n: (_square(n), _square(n)[1:]),
       _elements(2), np.matmul, _first, tolerance=1e-4),
    Op("conv2d 3x3", "convolutions", lambda t, x, w: t.nn.functional.conv2d(x, w, padding=1),
       lambda n: (_images(n), (_images(n)[1], _images(n)[1], 3, 3)),
       lambda s: 18.0 * math.prod(s[0]) * s[0][1], tolerance=1e-4),
    Op("max_pool2d", "convolutions", lambda t, x: t.nn.functional.max_pool2d(x, 2), lambda n: (_images(n),),
       _elements(1), result=lambda s: (*s[0][:2], s[0][2] // 2, s[0][3] // 2)),
    Op("attention", "attention", _attend, lambda n: (_heads(n),) * 3, _attention_flops, tolerance=1e-4),
    Op("causal attention", "attention", _causal, lambda n: (_heads(n),) * 3,
       lambda s: _attention_flops(s) / 2, tolerance=1e-4),
    Op("softmax", "norms", lambda t, x: t.softmax(x, 1), _by_rows, _elements(27), _numpy_softmax, compiled=True),
    Op("layer_norm", "norms", _normalise, _norm_shapes, _elements(12), compiled=True, tolerance=1e-4),
    Op("sort", "sorting", lambda t, x: t.sort(x, 1).values, _by_rows,
       lambda s: math.prod(s[0]) * math.log2(s[0][1]), lambda x: np.sort(x, 1)),
    Op("rand", "random numbers", lambda t, x: t.rand_like(x), _flat(1), _elements(10),
       lambda x: _GENERATOR.random(x.shape, dtype=np.float32), exact=(0.5, 12**-0.5)),
    Op("randn", "random numbers", lambda t, x: t.randn_like(x), _flat(1), _elements(40),
       lambda x: _GENERATOR.standard_normal(x.shape, dtype=np.float32), exact=(0.0, 1.0)),
    Op("clone", "copies", lambda t, x: x.clone(), _flat(1), _elements(0), np.copy),
    Op("transpose", "copies", lambda t, x: x.t().contiguous(), lambda n: (_square(n),), _elements(0),
       lambda x: np.ascontiguousarray(x.T), lambda s: (s[0][1], s[0][0])),
    Op("copy to the GPU", "copies", lambda t, x: x.to("cuda"), _flat(1), _elements(0), transfer="in"),
    Op("copy from the GPU", "copies", lambda t, x: x.cpu(), _flat(1), _elements(0), transfer="out"),
]  # fmt: skip
AREAS = tuple(dict.fromkeys(op.area for op in OPS))
QUICK = ("add", "gelu", "sum", "matmul", "conv2d 3x3", "attention", "softmax", "sort", "rand")
