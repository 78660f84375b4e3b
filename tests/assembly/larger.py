"""Calls at sizes that a simulated GPU cannot run, so that kernels for large arrays are seen too.

Only planned, never executed: see :mod:`tests.assembly.assembler`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tilegrad
from tilegrad import nn, optim
from tilegrad.nn import functional as F

FLOATS = (tilegrad.float32, tilegrad.float64)


def empty(*shape: int, dtype: Any = tilegrad.float32, grad: bool = True) -> Any:
    """A tensor of the planned GPU."""
    made = tilegrad.empty(*shape, dtype=dtype, device="cuda")
    return made.requires_grad_() if grad and dtype.is_floating_point else made


def _both(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Callable[[], None]:
    """Forward and backward in float32 and float64, from contiguous operands."""

    def call() -> None:
        for dtype in FLOATS:
            result = function(*(empty(*shape, dtype=dtype) for shape in shapes))
            if result.requires_grad:
                result.backward(tilegrad.empty_like(result))

    return call


CALLS: dict[str, Callable[[], None]] = {}


def _add(name: str, function: Callable[..., Any], *shapes: tuple[int, ...]) -> None:
    CALLS[name] = _both(function, *shapes)


# matrix products: every tile, the four ways to lie, odd sizes, split K, batches
for _m, _n, _k in (
    (4096, 4096, 4096),
    (1024, 1024, 1024),
    (512, 384, 256),
    (257, 129, 1000),
    (4, 4096, 1024),
    (3, 515, 77),
    (64, 64, 100_000),
):
    _size = f"{_m}x{_n}x{_k}"
    _add(f"matmul {_size}", tilegrad.matmul, (_m, _k), (_k, _n))
    _add(f"matmul {_size} nt", lambda x, y: x @ y.t(), (_m, _k), (_n, _k))
    _add(f"matmul {_size} tn", lambda x, y: x.t() @ y, (_k, _m), (_k, _n))
    _add(f"matmul {_size} tt", lambda x, y: x.t() @ y.t(), (_k, _m), (_n, _k))
    _add(f"linear {_size}", F.linear, (_m, _k), (_n, _k), (_n,))
_add("bmm", tilegrad.bmm, (64, 256, 64), (64, 64, 256))
_add("bmm small", tilegrad.bmm, (512, 8, 8), (512, 8, 8))
_add("matmul broadcast", tilegrad.matmul, (8, 4, 128, 64), (4, 64, 128))
_add("mv", tilegrad.mv, (4096, 4096), (4096,))
_add("mv tall", lambda x, v: x.t() @ v, (4096, 4096), (4096,))
_add("mv long", tilegrad.mv, (64, 100_000), (100_000,))

# lines of every length, along the last dimension and across it
for _r in (8, 64, 512, 1024, 4096, 50_000, 1_000_000):
    _lines = max(1, (1 << 22) // _r)
    for _dim, _shape in ((1, (_lines, _r)), (0, (_r, _lines))):
        _at = f"{_r} along {_dim}"
        for _op in ("sum", "mean", "var", "std", "amax", "amin", "prod", "logsumexp", "cumsum"):
            _add(f"{_op} {_at}", lambda x, o=_op, d=_dim: getattr(tilegrad, o)(x, d), _shape)
        for _op in ("logcumsumexp", "argmax", "argmin"):
            _add(f"{_op} {_at}", lambda x, o=_op, d=_dim: getattr(tilegrad, o)(x, d), _shape)
        for _op in ("max", "min", "cummax", "sort", "topk", "median", "mode"):
            _rest = (5, _dim) if _op == "topk" else (_dim,)
            _add(f"{_op} {_at}", lambda x, o=_op, a=_rest: getattr(tilegrad, o)(x, *a)[0], _shape)
        _add(f"cumprod {_at}", lambda x, d=_dim: x.detach().cumprod(d), _shape)
        _add(f"softmax {_at}", lambda x, d=_dim: F.softmax(x, d), _shape)
        _add(f"log_softmax {_at}", lambda x, d=_dim: F.log_softmax(x, d), _shape)
    _add(
        f"layer_norm {_r}",
        lambda x, w, b: F.layer_norm(x, x.shape[1:], w, b),
        (_lines, _r),
        (_r,),
        (_r,),
    )
    _add(f"rms_norm {_r}", lambda x, w: F.rms_norm(x, x.shape[1:], w), (_lines, _r), (_r,))
_add("sum of all", lambda x: x.sum(), (1 << 24,))
_add("norm of all", lambda x: (x * x).sum().sqrt(), (4096, 4096))
_add("sum of two of three", lambda x: x.sum((0, 2)), (256, 64, 1024))

# images
for _n, _c, _h, _o, _k, _s, _g in (
    (32, 64, 56, 64, 3, 1, 1),
    (32, 64, 56, 128, 3, 2, 1),
    (16, 256, 14, 512, 1, 1, 1),
    (8, 3, 224, 64, 7, 2, 1),
    (16, 96, 28, 96, 3, 1, 96),
    (16, 64, 28, 64, 3, 1, 4),
    (2, 5, 17, 7, 3, 1, 1),
):
    _add(
        f"conv2d {_n}x{_c}x{_h} to {_o} by {_k} stride {_s} groups {_g}",
        lambda x, w, b, s=_s, k=_k, g=_g: F.conv2d(x, w, b, stride=s, padding=k // 2, groups=g),
        (_n, _c, _h, _h), (_o, _c // _g, _k, _k), (_o,),
    )  # fmt: skip
_add("conv1d", lambda x, w: F.conv1d(x, w, padding=4), (16, 128, 4096), (128, 128, 9))
_add("conv3d", lambda x, w: F.conv3d(x, w, padding=1), (2, 16, 16, 56, 56), (32, 16, 3, 3, 3))
_add(
    "conv_transpose2d",
    lambda x, w: F.conv_transpose2d(x, w, stride=2),
    (8, 64, 28, 28),
    (64, 32, 2, 2),
)
for _channels, _side in ((64, 56), (512, 7), (3, 224)):
    _image = (32, _channels, _side, _side)
    _add(
        f"batch_norm {_channels}x{_side}",
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        _image, (_channels,), (_channels,),
    )  # fmt: skip
    _add(f"max_pool2d {_channels}x{_side}", lambda x: F.max_pool2d(x, 3, 2, 1), _image)
    _add(f"avg_pool2d {_channels}x{_side}", lambda x: F.avg_pool2d(x, 2), _image)
    _add(f"adaptive {_channels}x{_side}", lambda x: F.adaptive_avg_pool2d(x, 1), _image)
_add("group_norm", lambda x: F.group_norm(x, 32), (16, 256, 28, 28))

# movement
_add("transpose", lambda x: x.t().contiguous(), (4096, 4096))
_add("transpose odd", lambda x: x.t().contiguous(), (4097, 1023))
_add("permute", lambda x: x.permute(0, 2, 3, 1).contiguous(), (32, 64, 56, 56))
_add("cat", lambda x, y: tilegrad.cat((x, y), 1), (1024, 512), (1024, 511))
_add("stack", lambda x, y: tilegrad.stack((x, y)), (1024, 512), (1024, 512))
_add("pad", lambda x: F.pad(x, (1, 1, 2, 2)), (32, 16, 57, 57))
_add("flip", lambda x: x.flip((0, 1)), (1024, 1024))
_add("roll", lambda x: x.roll(3, 1), (1024, 1024))
_add("repeat", lambda x: x.repeat(2, 3), (512, 512))


def _indexed() -> None:
    for dtype in FLOATS:
        for wide in (tilegrad.int64, tilegrad.int32):
            rows = empty(4096, dtype=wide)
            table = empty(50_000, 512, dtype=dtype)
            F.embedding(rows, table).sum().backward()
            for dim in (0, 1):
                x = empty(2048, 2048, dtype=dtype)
                picked = x.index_select(dim, empty(300, dtype=wide))
                picked.backward(tilegrad.empty_like(picked))
        where = empty(2048, 2048, dtype=tilegrad.int64)
        for dim in (0, 1):
            x, y = empty(2048, 2048, dtype=dtype), empty(2048, 2048, dtype=dtype)
            x.gather(dim, where).sum().backward()
            x.scatter(dim, where, y).sum().backward()
            x.scatter_add(dim, where, y).sum().backward()
            x.index_add(dim, empty(2048, dtype=tilegrad.int64), y).sum().backward()


CALLS["indexed"] = _indexed


def _losses() -> None:
    for dtype in FLOATS:
        for classes in (10, 1000, 50_000):
            scores, labels = empty(512, classes, dtype=dtype), empty(512, dtype=tilegrad.int64)
            for reduction in ("mean", "sum", "none"):
                loss = F.cross_entropy(scores, labels, reduction=reduction)
                loss.sum().backward()
                F.nll_loss(F.log_softmax(scores, 1), labels, reduction=reduction).sum().backward()
            weight = empty(classes, dtype=dtype, grad=False)
            F.cross_entropy(scores, labels, weight, label_smoothing=0.1).backward()


CALLS["losses"] = _losses


def _random() -> None:
    tilegrad.randn(1 << 20, device="cuda")
    for dtype in FLOATS:
        x = empty(1 << 20, dtype=dtype, grad=False)
        x.normal_()
        x.uniform_()
        F.dropout(empty(1024, 1024, dtype=dtype), 0.5).sum().backward()
    tilegrad.randint(0, 10, (1 << 20,), device="cuda")
    tilegrad.arange(1 << 20, device="cuda")
    tilegrad.linspace(0, 1, 1 << 20, device="cuda")


CALLS["random"] = _random


def _steps() -> None:
    makers: list[Callable[[Any], Any]] = [
        lambda p: optim.SGD(p, lr=0.1),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda p: optim.Adam(p, amsgrad=True),
        lambda p: optim.AdamW(p),
        lambda p: optim.RMSprop(p, momentum=0.9, centered=True),
        lambda p: optim.Adagrad(p),
    ]
    for dtype in FLOATS:
        for make in makers:
            weights = [nn.Parameter(empty(n, n, dtype=dtype, grad=False)) for n in (3, 1024)]
            for weight in weights:
                weight.grad = tilegrad.empty_like(weight)
            optimizer = make(weights)
            optimizer.step()
            nn.utils.clip_grad_norm_(weights, 1.0)


CALLS["optimizer steps"] = _steps


def _attention() -> None:
    for dtype in FLOATS:
        for features in (32, 64, 128):
            for wide in (features, features - 1):
                q, k, v = (empty(4, 8, n, wide, dtype=dtype) for n in (256, 300, 300))
                for kind in (None, tilegrad.bool, dtype):
                    mask = None if kind is None else empty(256, 300, dtype=kind, grad=False)
                    F.scaled_dot_product_attention(q, k, v, mask).sum().backward()
                F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
    layer = nn.TransformerEncoderLayer(512, 8, batch_first=True).to("cuda")
    layer(empty(8, 128, 512)).sum().backward()


CALLS["attention"] = _attention


def _fourier() -> None:
    for dtype in FLOATS:
        for n in (8, 1000, 1009, 1 << 14):
            tilegrad.fft.irfft(tilegrad.fft.rfft(empty(8, n, dtype=dtype)), n).sum().backward()
        tilegrad.view_as_real(tilegrad.fft.fft2(empty(300, 140, dtype=dtype))).sum().backward()


CALLS["fourier"] = _fourier


def _draws() -> None:
    for dtype in FLOATS:
        rates = empty(1000, dtype=dtype, grad=False)
        for draw in (tilegrad.poisson, tilegrad._standard_gamma):
            draw(rates)


CALLS["draws"] = _draws


def _bytes_resampled() -> None:
    image = empty(2, 3, 480, 640, dtype=tilegrad.uint8)
    F.interpolate(image, (224, 224), mode="bilinear", antialias=True)
    F.interpolate(image, scale_factor=2, mode="bilinear")


CALLS["bytes resampled"] = _bytes_resampled


def _second_order() -> None:
    for dtype in FLOATS:
        x = empty(8, 16, 56, 56, dtype=dtype)
        y = F.max_pool2d(x, 2)
        seed = empty(*y.shape, dtype=dtype)
        (slope,) = tilegrad.autograd.grad(y, x, seed, create_graph=True)
        slope.sum().backward()
        empty(64, 64, dtype=dtype).as_strided((8, 8), (3, 1)).sum().backward()


CALLS["second order"] = _second_order


# factorisations of complex matrices: leaves, panels, and products of pairs of floats between them
def _complex_matrices() -> None:
    for dtype in (tilegrad.complex64, tilegrad.complex128):
        x, b = (tilegrad.empty(2, 70, n, dtype=dtype, device="cuda") for n in (70, 3))
        tilegrad.linalg.cholesky_ex(x)
        made, pivots, _ = tilegrad.linalg.lu_factor_ex(x)
        for left in (True, False):
            tilegrad.linalg.lu_solve(made, pivots, b if left else b.mT, left=left, adjoint=True)
        tilegrad.linalg.solve_triangular(x, b, upper=True, unitriangular=True)
        reflections, tau = tilegrad.geqrf(x)
        tilegrad.linalg.householder_product(reflections, tau)
        tilegrad.ormqr(reflections, tau, x, False)
        for half in "LU":
            tilegrad.linalg.eigh(x, half)
        tilegrad.linalg.svdvals(b)


CALLS["complex matrices"] = _complex_matrices
