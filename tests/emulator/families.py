"""Every family of kernels in one table: calls, at sizes for a GPU and at sizes for the emulator.

The large ones are awkward (odd, beyond a tile, a power of 2 and 2^31 elements) and run on hardware
against PyTorch in float64 on the same GPU: :mod:`tilegrad.bench.gpu.large`. The small ones give most kernels
several blocks and run in the emulator, which looks for races: tests/emulator/test_blocks.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operand:
    """A random operand: float32 normals, integers below ``high``, or booleans, 40 % of them true."""

    shape: Shape
    kind: str = "f"
    high: int = 0

    def make(self, rng: np.random.Generator) -> np.ndarray:
        """Its values."""
        if self.kind == "f":
            return rng.standard_normal(self.shape, dtype=np.float32)
        if self.kind == "i":
            return rng.integers(0, self.high, self.shape)
        return rng.random(self.shape, dtype=np.float32) < 0.4


def f(*shape: int) -> Operand:
    """Normals."""
    return Operand(shape)


def i(high: int, *shape: int) -> Operand:
    """Integers from 0 on."""
    return Operand(shape, "i", high)


def b(*shape: int) -> Operand:
    """Booleans."""
    return Operand(shape, "b")


@dataclass(frozen=True)
class Family:
    """One call.

    Attributes:
        call: ``call(t, *operands)`` with the module ``tilegrad`` or ``torch``.
        large, small: the operands; without ``small`` the emulator leaves the call out.
        grad: whether the first result is differentiated.
        tolerance: of the norm of the error over that of the result.
    """

    name: str
    call: Callable[..., Any]
    large: tuple[Operand, ...]
    small: tuple[Operand, ...] | None
    grad: bool = True
    tolerance: float = 2e-5


FAMILIES: list[Family] = []
Row = tuple[Operand, ...]


def row(
    name: str, call: Callable[..., Any], large: Row, small: Row | None = None, *,
    grad: bool = True, tolerance: float = 2e-5,
) -> None:  # fmt: skip
    """Add to the table."""
    FAMILIES.append(Family(name, call, large, small, grad, tolerance))


def _f(t: Any) -> Any:
    return t.nn.functional


N, SQUARE = (1 << 26) + 3, (4097, 4099)
n, LITTLE = 5003, (67, 133)


# ------------------------------------------------------------------------------------ elementwise

row("mul exp", lambda t, x, y: (x * y).exp() * 0.1, (f(N), f(N)), (f(n), f(n)))
row("div pow", lambda t, x, y: (x.abs() + 1) ** 1.5 / (y.abs() + 1), (f(*SQUARE), f(*SQUARE)),
    (f(*LITTLE), f(*LITTLE)))  # fmt: skip
row("gelu silu tanh", lambda t, x: _f(t).gelu(x) + _f(t).silu(x) * t.tanh(x), (f(N),), (f(n),))
row(
    "erf sigmoid log", lambda t, x: t.erf(x) + t.sigmoid(x) + t.log(x.abs() + 0.1), (f(8191, 8193),)
)
row("trunc frac", lambda t, x: t.trunc(x) * 2 + t.frac(x), (f(N),), (f(n),))
row("row column", lambda t, x, r, c: x * r + c, (f(8191, 4097), f(4097), f(8191, 1)),
    (f(67, 133), f(133), f(67, 1)))  # fmt: skip
row(
    "transposed add",
    lambda t, x, y: x + y.t(),
    (f(8191, 8191), f(8191, 8191)),
    (f(95, 95), f(95, 95)),
)
row("strided slice", lambda t, x: x[::2, 1::3] * 2, (f(8191, 6001),), (f(101, 211),))
row(
    "permute",
    lambda t, x: x.permute(2, 0, 3, 1).contiguous(),
    (f(33, 129, 257, 31),),
    (f(5, 9, 33, 7),),
)
row("where", lambda t, m, x, y: t.where(m, x, y), (b(4097, 8191), f(4097, 8191), f(8191)),
    (b(41, 133), f(41, 133), f(133)))  # fmt: skip
row("clamp maximum", lambda t, x, y: t.maximum(x.clamp(-1, 1), y), (f(N), f(N)), (f(n), f(n)))
row("addcmul", lambda t, x, y, z: t.addcmul(x, y, z, value=0.5), (f(4097, 4097),) * 3)

# -------------------------------------------------------------------------------- linear algebra


def _firm(t: Any, x: Any) -> Any:
    """Symmetric, far from singular."""
    n = x.shape[-1]
    return x @ x.mT + n * t.eye(n, dtype=x.dtype, device=x.device)


row(
    "cholesky and substitution",
    lambda t, x, b: t.linalg.solve_triangular(t.linalg.cholesky(_firm(t, x)), b, upper=False),
    (f(4, 513, 513), f(4, 513, 301)), (f(4, 37, 37), f(4, 37, 3)), tolerance=1e-4,
)  # fmt: skip
row("solve", lambda t, x, b: t.linalg.solve(_firm(t, x) + x, b), (f(4, 513, 513), f(4, 513, 301)),
    (f(4, 37, 37), f(4, 37, 3)), tolerance=1e-4)  # fmt: skip
row(
    "solve complex",
    lambda t, x, b: t.view_as_real(
        t.linalg.solve(t.complex(_firm(t, x) + x, x.mT), t.complex(b, -b))
    ),
    (f(4, 257, 257), f(4, 257, 101)),
    (f(4, 37, 37), f(4, 37, 3)),
    tolerance=1e-4,
)
row("qr", lambda t, x: t.linalg.qr(x)[1], (f(3, 700, 513),), (f(4, 40, 35),), tolerance=1e-3)
row(
    "eigvalsh",
    lambda t, x: t.linalg.eigvalsh(x + x.mT),
    (f(4, 65, 65),),
    (f(4, 4, 4),),
    tolerance=1e-4,
)
row("svdvals", lambda t, x: t.linalg.svdvals(x), (f(4, 130, 65),), (f(4, 5, 3),), tolerance=1e-4)

# ------------------------------------------------------------------------------- lines and scans

for _name in ("sum", "mean", "amax", "amin", "logsumexp", "var", "std"):
    for _dim, _large, _small in (
        (0, SQUARE, LITTLE),
        (1, SQUARE, LITTLE),
        (1, (17, 1003, 1001), (3, 41, 37)),
    ):
        _where = "middle" if len(_large) == 3 else f"dim {_dim}"
        row(
            f"{_name} {_where}",
            lambda t, x, o=_name, d=_dim: getattr(t, o)(x, d),
            (f(*_large),),
            (f(*_small),),
        )
for _name in ("sum", "var", "amax"):
    row(
        f"{_name} of long rows",
        lambda t, x, o=_name: getattr(t, o)(x, 1),
        (f(5, 10_000_019),),
        (f(2, 9001),),
    )
row("sum of all", lambda t, x: x.sum(), (f(N),), (f(20_011),))
row("norm", lambda t, x: x.norm(), (f(N),), (f(20_011),))
row(
    "argmax",
    lambda t, x: (x.argmax(1), x.argmax(0), x.argmax()),
    (f(*SQUARE),),
    (f(*LITTLE),),
    grad=False,
)
row("argmax of all", lambda t, x: x.argmax(), (f(N),), (f(20_011),), grad=False)
row("max", lambda t, x: t.max(x, 1).values, (f(*SQUARE),), (f(*LITTLE),))
row("cumsum dim 1", lambda t, x: x.cumsum(1), (f(257, 70001),), (f(9, 2101),), tolerance=1e-4)
row("cumsum dim 0", lambda t, x: x.cumsum(0), (f(70001, 257),), (f(11, 1301),), tolerance=1e-4)
row("cumsum of all", lambda t, x: x.cumsum(0), (f(1 << 24),), (f(9001),), tolerance=1e-3)
row(
    "cumsum of long columns",
    lambda t, x: x.cumsum(0),
    (f(1 << 20, 33),),
    (f(3001, 3),),
    tolerance=1e-3,
)
row(
    "cumprod",
    lambda t, x: (1 + x * 0.01).cumprod(1),
    (f(1025, 1023),),
    (f(9, 131),),
    tolerance=1e-4,
)
row("cummax", lambda t, x: t.cummax(x, 1).values, (f(1025, 4099),), (f(9, 131),))
row("all any", lambda t, m: (m.all(1), m.any(0), m.sum()), (b(*SQUARE),), (b(*LITTLE),), grad=False)

# ------------------------------------------------------------------------------- softmax and norms

row("softmax 50257", lambda t, x: t.softmax(x, 1), (f(2049, 50257),), (f(4, 3001),))
row("softmax dim 0", lambda t, x: t.softmax(x, 0), (f(4097, 2049),), (f(67, 133),))
row("log_softmax", lambda t, x: t.log_softmax(x, -1), (f(16385, 1023),), (f(19, 131),))
row("cross_entropy", lambda t, x, y: _f(t).cross_entropy(x, y), (f(4097, 50257), i(50257, 4097)),
    (f(35, 501), i(501, 35)))  # fmt: skip
for _rows, _size, _small in ((4097, 4099, (9, 1027)), (65537, 768, (35, 96))):
    row(f"layer_norm {_size}", lambda t, x, w, v: _f(t).layer_norm(x, x.shape[1:], w, v),
        (f(_rows, _size), f(_size), f(_size)), (f(*_small), f(_small[1]), f(_small[1])),
        tolerance=5e-5)  # fmt: skip
row("rms_norm", lambda t, x, w: _f(t).rms_norm(x, x.shape[1:], w), (f(4097, 4099), f(4099)),
    (f(9, 131), f(131)), tolerance=5e-5)  # fmt: skip
row("batch_norm", lambda t, x, w, v: _f(t).batch_norm(x, None, None, w, v, True),
    (f(33, 65, 57, 57), f(65), f(65)), (f(5, 9, 9, 11), f(9), f(9)), tolerance=5e-5)  # fmt: skip
row("batch_norm, few channels", lambda t, x, w, v: _f(t).batch_norm(x, None, None, w, v, True),
    (f(33, 3, 225, 223), f(3), f(3)), (f(9, 2, 45, 43), f(2), f(2)), tolerance=5e-5)  # fmt: skip
row("group_norm", lambda t, x, w, v: _f(t).group_norm(x, 8, w, v),
    (f(33, 64, 57, 57), f(64), f(64)), (f(5, 16, 7, 9), f(16), f(16)), tolerance=5e-5)  # fmt: skip


def _running(t: Any, x: Any) -> Any:
    mean, var = (t.zeros(x.shape[1], dtype=x.dtype, device=x.device) for _ in range(2))
    return _f(t).batch_norm(x, mean, var, training=True), mean, var


row("batch_norm, running", _running, (f(33, 65, 57, 57),), (f(5, 35, 9, 11),), tolerance=5e-5)
row("batch_norm, inference",
    lambda t, x: _f(t).batch_norm(x, x[0, :, 0].detach() * 0, x[0, :, 0].detach() * 0 + 2),
    (f(33, 1030, 257),), (f(2, 1030, 3),))  # fmt: skip
row("layer_norm of long rows", lambda t, x, w: _f(t).layer_norm(x, x.shape[1:], w),
    (f(5, 1_000_003), f(1_000_003)), (f(4, 17001), f(17001)), tolerance=5e-5)  # fmt: skip

# ---------------------------------------------------------------------------------------- products

for _x, _y, _small in (
    ((4097, 4093), (4093, 4095), ((131, 67), (67, 133))),
    ((1, 4096), (4096, 4096), ((1, 300), (300, 131))),
    ((4, 4097), (4097, 4095), ((4, 301), (301, 131))),
    ((64, 65537), (65537, 63), ((17, 2101), (2101, 67))),
    ((2047, 33), (33, 8191), ((67, 33), (33, 131))),
    ((65, 257, 129), (65, 129, 255), ((3, 35, 33), (3, 33, 37))),
    ((8, 1, 127, 64), (1, 12, 64, 131), ((2, 1, 35, 8), (1, 3, 8, 37))),
    ((16384, 3), (3, 16383), ((131, 3), (3, 67))),
):
    row(f"matmul {'x'.join(map(str, _x))} @ {'x'.join(map(str, _y))}", lambda t, x, y: x @ y,
        (f(*_x), f(*_y)), (f(*_small[0]), f(*_small[1])), tolerance=1e-4)  # fmt: skip
row("mv", lambda t, x, y: x @ y, (f(8191, 4097), f(4097)), (f(95, 133), f(133)), tolerance=1e-4)
row(
    "mv, tall",
    lambda t, x, y: x.t() @ y,
    (f(70001, 1025), f(70001)),
    (f(2101, 35), f(2101)),
    tolerance=1e-4,
)
row("linear", lambda t, x, w, v: _f(t).linear(x, w, v), (f(33, 129, 1021), f(4099, 1021), f(4099)),
    (f(3, 29, 33), f(67, 33), f(67)), tolerance=1e-4)  # fmt: skip
row("both transposed", lambda t, x, y: x.t() @ y.t(), (f(1023, 2047), f(4099, 1023)),
    (f(33, 67), f(131, 33)), tolerance=1e-4)  # fmt: skip
row("bmm", lambda t, x, y: t.bmm(x, y.transpose(1, 2)), (f(96, 513, 64), f(96, 511, 64)),
    (f(3, 35, 8), f(3, 33, 8)), tolerance=1e-4)  # fmt: skip
row("matmul, float64", lambda t, x, y: x.double() @ y.double(), (f(1025, 1027), f(1027, 1029)),
    (f(35, 37), f(37, 39)), tolerance=1e-6)  # fmt: skip

# ------------------------------------------------------------------- convolution, pooling, attention


def _convolved(t: Any, x: Any, w: Any, groups: int = 1, **how: Any) -> Any:
    """``groups`` 0: one for each channel."""
    return _f(t).conv2d(x, w, groups=groups or x.shape[1], **how)


def _twice(t: Any, x: Any) -> Any:
    """The gradient of a pooling, to be differentiated again."""
    y = _f(t).max_pool2d(x * x, 2)
    return t.autograd.grad((y * y).sum(), x, create_graph=True)[0]


for _name, _x, _w, _how, _small in (
    ("3x3", (33, 64, 57, 55), (65, 64, 3, 3), {"padding": 1}, ((2, 5, 9, 11), (7, 5, 3, 3))),
    ("1x1", (32, 257, 28, 28), (255, 257, 1, 1), {}, ((2, 9, 7, 5), (35, 9, 1, 1))),
    ("7x7 stem", (32, 3, 224, 224), (64, 3, 7, 7), {"padding": 3, "stride": 2},
     ((2, 3, 15, 13), (9, 3, 7, 7))),
    ("3x3 stride 2", (32, 64, 57, 57), (128, 64, 3, 3), {"padding": 1, "stride": 2},
     ((2, 4, 13, 13), (9, 4, 3, 3))),
    ("depthwise", (32, 256, 56, 56), (256, 1, 3, 3), {"padding": 1, "groups": 0},
     ((2, 6, 17, 19), (6, 1, 3, 3))),
    ("grouped, dilated", (8, 96, 61, 61), (48, 24, 3, 3), {"padding": 2, "dilation": 2, "groups": 4},
     ((2, 8, 11, 11), (4, 2, 3, 3))),
    ("5x5", (16, 16, 127, 129), (33, 16, 5, 5), {"padding": 2}, ((2, 3, 13, 11), (5, 3, 5, 5))),
    ("512 channels", (4, 512, 14, 14), (512, 512, 3, 3), {"padding": 1}, None),
):  # fmt: skip
    row(f"conv2d {_name}", lambda t, x, w, how=_how: _convolved(t, x, w, **how), (f(*_x), f(*_w)),
        None if _small is None else (f(*_small[0]), f(*_small[1])), tolerance=2e-4)  # fmt: skip
row("conv1d", lambda t, x, w, v: _f(t).conv1d(x, w, v, padding=2, dilation=2),
    (f(16, 65, 8191), f(129, 65, 3), f(129)), (f(2, 5, 95), f(7, 5, 3), f(7)), tolerance=2e-4)  # fmt: skip
row("conv2d, float64", lambda t, x, w: _f(t).conv2d(x.double(), w.double(), padding=1),
    (f(8, 16, 33, 31), f(24, 16, 3, 3)), (f(2, 3, 9, 7), f(5, 3, 3, 3)), tolerance=1e-6)  # fmt: skip
row(
    "max_pool2d",
    lambda t, x: _f(t).max_pool2d(x, 3, 2, 1),
    (f(33, 65, 113, 111),),
    (f(5, 6, 13, 11),),
)
row(
    "avg_pool2d",
    lambda t, x: _f(t).avg_pool2d(x, 3, 2, 1),
    (f(33, 65, 113, 111),),
    (f(5, 6, 13, 11),),
)
row("max_pool2d twice", _twice, (f(32, 64, 57, 55),), (f(5, 8, 13, 11),))
for _shape, _little in (
    ((8, 16, 1023, 64), (1, 2, 45, 64)),
    ((2, 8, 4096, 128), (1, 2, 37, 128)),
    ((64, 8, 127, 32), (2, 2, 39, 32)),
    ((2, 3, 515, 80), (1, 2, 35, 80)),
):
    for _causal in (False, True):
        row(f"{'causal ' * _causal}attention {'x'.join(map(str, _shape))}",
            lambda t, q, k, v, c=_causal: _f(t).scaled_dot_product_attention(q, k, v, is_causal=c),
            (f(*_shape),) * 3, (f(*_little),) * 3, tolerance=2e-4)  # fmt: skip

# --------------------------------------------------------------------------- sorting and indexing

row("topk of many rows", lambda t, x: t.topk(x, 16).values, (f(4097, 4096),), (f(6, 4096),))
row("topk dim 0", lambda t, x: t.topk(x, 5, dim=0).values, (f(1000, 4097),), (f(35, 37),))
row("topk of long rows", lambda t, x: t.topk(x, 100).values, (f(64, 200003),), (f(3, 17001),))
row("median", lambda t, x: t.median(x, 1).values, (f(1025, 70001),), (f(3, 3001),))
row("median of all", lambda t, x: t.median(x, 1).values, (f(3, 1_000_003),), (f(1, 5003),))
row(
    "mode",
    lambda t, x: t.mode(x.clamp(max=40), 1).values,
    (i(50, 513, 8193),),
    (i(50, 5, 701),),
    grad=False,
)
row("mode of long rows", lambda t, x: t.mode(x.clamp(max=40), 1).values, (i(50, 3, 1_000_003),),
    (i(50, 2, 3001),), grad=False)  # fmt: skip
row("sort of rows", lambda t, x: t.sort(x, 1).values, (f(4097, 1025),), (f(7, 131),))
row("sort of all", lambda t, x: t.sort(x)[0], (f(5000003),), (f(9001),))
row("stable argsort", lambda t, x: t.sort(x, dim=1, stable=True).indices, (i(50, 513, 8193),),
    (i(50, 5, 701),), grad=False)  # fmt: skip
row("searchsorted", lambda t, x, y: t.searchsorted(t.sort(x)[0], y), (f(1_000_003), f(5_000_003)),
    (f(301), f(2003)), grad=False)  # fmt: skip
row("unique", lambda t, x: t.unique(x), (i(70_001, 5_000_003),), (i(97, 3001),), grad=False)
row("gather", lambda t, x, k: t.gather(x, 1, k), (f(*SQUARE), i(4099, 4097, 1001)),
    (f(*LITTLE), i(133, 67, 41)))  # fmt: skip
row("scatter", lambda t, x, v: x.scatter(1, t.sort(v.detach(), 1).indices, v), (f(1025, 4099), f(1025, 4099)),
    (f(41, 67), f(41, 67)))  # fmt: skip
row("scatter_add", lambda t, x, k, v: x.scatter_add(1, k, v),
    (f(1025, 4099), i(4099, 1025, 8191), f(1025, 8191)),
    (f(19, 67), i(67, 19, 131), f(19, 131)), tolerance=1e-4)  # fmt: skip
row("scatter_add of short lines", lambda t, x, k, v: x.scatter_add(0, k, v),
    (f(33, 70001), i(33, 31, 70001), f(31, 70001)),
    (f(5, 1301), i(5, 7, 1301), f(7, 1301)), tolerance=1e-4)  # fmt: skip
row("scatter_add to few", lambda t, x, k, v: x.scatter_add(0, k, v),
    (f(7), i(7, 5_000_003), f(5_000_003)), (f(3), i(3, 3001), f(3001)), tolerance=1e-3)  # fmt: skip
row("index_add", lambda t, x, k, v: x.index_add(0, k, v),
    (f(1025, 1027), i(1025, 70001), f(70001, 1027)),
    (f(35, 37), i(35, 301), f(301, 37)), tolerance=1e-4)  # fmt: skip
row("embedding", lambda t, k, w: _f(t).embedding(k, w), (i(50257, 64, 1025), f(50257, 255)),
    (i(57, 5, 41), f(57, 35)), tolerance=1e-4)  # fmt: skip
row("index_select", lambda t, x, k: t.index_select(x, 0, k), (f(*SQUARE), i(4097, 9001)),
    (f(*LITTLE), i(67, 131)))  # fmt: skip
row("two indices", lambda t, x, k, j: x[k, j], (f(*SQUARE), i(4097, 1000003), i(4099, 1000003)),
    (f(*LITTLE), i(67, 1003), i(133, 1003)), tolerance=1e-4)  # fmt: skip
row("mask", lambda t, x, m: x[m], (f(*SQUARE), b(*SQUARE)), (f(*LITTLE), b(*LITTLE)))
row("masked_fill", lambda t, x, m: x.masked_fill(m, -1.5), (f(*SQUARE), b(*SQUARE)),
    (f(*LITTLE), b(*LITTLE)))  # fmt: skip
row("nonzero", lambda t, m: t.nonzero(m), (b(*SQUARE),), (b(*LITTLE),), grad=False)

# ---------------------------------------------------------------------------------------- movement

row("cat", lambda t, x, y: t.cat((x, y), 1), (f(4097, 1001), f(4097, 3003)), (f(41, 33), f(41, 67)))
row("pad flip roll", lambda t, x: t.roll(t.flip(_f(t).pad(x, (1, 2, 3, 4)), (0,)), (5,), (1,)),
    (f(*SQUARE),), (f(*LITTLE),))  # fmt: skip
row("tril", lambda t, x: t.tril(x, 3), (f(*SQUARE),), (f(*LITTLE),))
row("transpose", lambda t, x: x.t().contiguous(), (f(*SQUARE),), (f(*LITTLE),))
row("repeat", lambda t, x: x.repeat(3, 2) + x.unsqueeze(0).expand(3, -1, -1).sum(0).repeat(3, 2),
    (f(1001, 1003),), (f(31, 33),))  # fmt: skip
row("repeat_interleave", lambda t, x, k: t.repeat_interleave(x, k, 0), (f(70001, 33), i(5, 70001)),
    (f(8193, 1), i(5, 8193)))  # fmt: skip
row("as_strided", lambda t, x: x.as_strided((x.shape[0], x.shape[1] - 9), (x.shape[1] - 20, 1)),
    (f(*SQUARE),), (f(*LITTLE),))  # fmt: skip
row("unfold", lambda t, x: x.unfold(0, 5, 3).sum(-1), (f(1000003),), (f(3001),))

# --------------------------------------------------------------------------------- beyond 32 bits

HUGE = (1 << 31) + 9


def _full(t: Any, shape: Shape, value: float, **how: Any) -> Any:
    return t.full(shape, value, device="cuda", **how)


def _huge(name: str, call: Callable[[Any], Any]) -> None:
    row(name, call, (), grad=False)


_huge(
    "uint8 2^31 add",
    lambda t: (lambda x: (x + x)[-5:].to(t.int64))(_full(t, (HUGE,), 3, dtype=t.uint8)),
)
_huge("uint8 2^31 sum", lambda t: _full(t, (HUGE,), 1, dtype=t.uint8).sum())
_huge("float32 2^31 mul", lambda t: (_full(t, (HUGE,), 2.0, dtype=t.float32) * 3)[-3:])
_huge(
    "float32 2^31 sum of rows", lambda t: _full(t, (70001, 32768), 1.0, dtype=t.float32).sum(1)[-3:]
)
_huge("float32 2^31 transpose",
      lambda t: _full(t, (46349, 46349), 1.0, dtype=t.float32).t().contiguous()[-1, -3:])  # fmt: skip
_huge(
    "uint8 2^31 index",
    lambda t: _full(t, (HUGE,), 7, dtype=t.uint8)[_full(t, (3,), HUGE - 1, dtype=t.int64)],
)


# -------------------------------------------------------------------------------------- recurrent


def _recurrent(name: str, gates: int, states: int) -> None:
    def call(t: Any, x: Any, w: Any, v: Any, *hx: Any) -> Any:
        first = hx if states == 2 else hx[0]
        return getattr(t, name)(x, first, [w, v], False, 1, 0.0, True, False, False)[0]

    def operands(steps: int, batch: int, size: int, units: int) -> Row:
        shapes = ((steps, batch, size), (gates * units, size), (gates * units, units))
        return tuple(f(*shape) for shape in (*shapes, *[(1, batch, units)] * states))

    row(name, call, operands(9, 65, 33, 515), operands(2, 33, 5, 35), tolerance=1e-4)


for _name, _gates, _states in (("lstm", 4, 2), ("gru", 3, 1), ("rnn_tanh", 1, 1)):
    _recurrent(_name, _gates, _states)


# --------------------------------------------------------------------------------------- resample


def _resized(mode: str, large: Shape, small: Shape, to: tuple[Shape, Shape], **how: Any) -> None:
    def call(t: Any, x: Any) -> Any:
        size = to[0] if tuple(x.shape) == large else to[1]
        return t.nn.functional.interpolate(x, size=size, mode=mode, **how)

    row(f"interpolate {mode}", call, (f(*large),), (f(*small),), tolerance=1e-4)


_resized("bilinear", (4, 33, 65, 67), (2, 5, 9, 11), ((129, 40), (17, 7)))
_resized("nearest", (4, 33, 65, 67), (2, 5, 9, 11), ((129, 40), (17, 7)))
_resized("trilinear", (2, 5, 9, 33, 35), (1, 3, 4, 5, 7), ((7, 40, 60), (3, 9, 11)))


def _bytes(t: Any, x: Any) -> Any:
    given = x if t.__name__ == "tilegrad" else x.cpu()  # PyTorch resamples bytes on the CPU alone
    made = t.nn.functional.interpolate(given.to(t.uint8), size=(17, 40), mode="bilinear")
    return made.to(x.device)


row("interpolate bytes", _bytes, (i(256, 4, 3, 65, 67),), (i(256, 2, 3, 9, 31),), grad=False)


# ---------------------------------------------------------------------------- Fourier transforms


def _parts(name: str) -> Callable[..., Any]:
    return lambda t, x: t.view_as_real(getattr(t.fft, name)(x))


row("fft", _parts("fft"), (f(10007, 1000),), (f(7, 60),))
row("fft, several passes", _parts("fft"), (f(3, 1 << 22),), (f(2, 2310),), grad=False)
row("fft of primes", _parts("fft"), (f(301, 10007),), (f(2, 67),), grad=False)
row(
    "fft, there and back",
    lambda t, x: (t.view_as_real(t.fft.rfft2(x)), t.fft.irfft2(t.fft.rfft2(x), x.shape[-2:])),
    (f(31, 1000, 1002),),
    (f(4, 40, 30),),
    grad=False,
)


# ----------------------------------------------------------------------------------------- sample


def _sampled(t: Any, x: Any, grid: Any) -> Any:
    return t.nn.functional.grid_sample(x, grid * 0.7, "bilinear", "border", align_corners=False)


row(
    "grid_sample",
    _sampled,
    (f(4, 33, 65, 67), f(4, 31, 50, 2)),
    (f(40, 33, 5, 6), f(40, 7, 5, 2)),
    tolerance=1e-3,
)

# ------------------------------------------------------------------------- distances of all rows

for _p in (1.0, 3.0, float("inf")):
    row(
        f"cdist {_p:g}",
        lambda t, x, y, p=_p: t.cdist(x, y, p),
        (f(3, 1030, 67), f(515, 67)),
        (f(2, 35, 34), f(33, 34)),
        tolerance=1e-4,
    )
row("pdist", lambda t, x: _f(t).pdist(x), (f(1030, 67),), (f(37, 34),), tolerance=1e-4)

# -------------------------------------------------------- connectionist temporal classification


def _aligned(t: Any, x: Any, labels: Any) -> Any:
    T, N, _ = x.shape
    many = [labels.shape[1] - k % 3 for k in range(N)]
    return _f(t).ctc_loss(x.log_softmax(2), labels + 1, [T] * N, many, reduction="none")


row(
    "ctc_loss",
    _aligned,
    (f(300, 33, 517), i(516, 33, 90)),
    (f(9, 4, 7), i(3, 4, 3)),
    tolerance=1e-4,
)
