"""Complex tensors in step with PyTorch: making, printing, converting, arithmetic, gradients of order two, errors."""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

_rng = np.random.default_rng(0)
A, B, G = (_rng.standard_normal((3, 4)) + 1j * _rng.standard_normal((3, 4)) for _ in range(3))
R = _rng.standard_normal((3, 4))
Z = A * (R > -1)  # has zeros
C, D, E = (
    _rng.standard_normal(s) + 1j * _rng.standard_normal(s) for s in ((4, 5), (2, 4, 5), (2, 3, 4))
)
V = C[:, 0].copy()


def _answer(call: Callable[[Any], object], t: Any) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return repr(call(t)).replace("tilegrad", "torch")
    except Exception as error:
        return type(error).__name__


SAME = {
    "silu": lambda t: t.nn.functional.silu(t.tensor(A)),
    "print": lambda t: t.tensor(A),
    "print64": lambda t: t.tensor(A.astype(np.complex64)),
    "print-large": lambda t: t.tensor(A * 1e6),
    "print-whole": lambda t: t.tensor([1 + 2j, 3, -4j]),
    "print-special": lambda t: t.tensor([1j, math.nan, complex(math.inf, -math.inf), complex(0, -0.0)]),
    "print-lines": lambda t: t.tensor([[1.5 + 2j] * 30] * 3),
    "print-summary": lambda t: t.zeros(40, 40, dtype=t.cfloat),
    "print-empty": lambda t: t.zeros(0, 2, dtype=t.cfloat),
    "print-leaf": lambda t: t.tensor([1j], requires_grad=True),
    "number": lambda t: (t.tensor(1j), t.tensor(1j).item(), complex(t.tensor(2j)), bool(t.tensor(1j))),
    "float": lambda t: float(t.tensor(1j)),
    "float-real": lambda t: (float(t.tensor(2 + 0j)), int(t.tensor(2 + 0j))),
    "full": lambda t: (t.full((2,), 1j), t.full((2,), 1j, dtype=t.cdouble), t.zeros(2, dtype=t.cfloat)),
    "full-real": lambda t: t.full((2,), 1j, dtype=t.float32),
    "eye": lambda t: t.eye(2, dtype=t.complex64),
    "arange": lambda t: t.arange(3, dtype=t.complex64),
    "linspace": lambda t: (t.linspace(0, 1j, 3), t.linspace(0, 1, 3, dtype=t.complex64)),
    "data-real": lambda t: t.tensor([1j], dtype=t.float32),
    "data-integer": lambda t: t.tensor([1j], dtype=t.int64),
    "data": lambda t: (t.tensor([1, 2.5], dtype=t.complex128), t.as_tensor(A[0]).dtype, t.from_numpy(A).dtype),
    "random": lambda t: [f(3, dtype=d).dtype for f in (t.rand, t.randn) for d in (t.complex64, t.cdouble)],
    "dtypes": lambda t: [
        (d.itemsize, d.is_complex, d.is_floating_point, d.to_real(), d.to_complex(), t.finfo(d).eps)
        for d in (t.complex64, t.complex128)
    ],
    "promotion": lambda t: [
        (t.promote_types(a, b), t.result_type(t.ones(1, dtype=a), t.tensor(1, dtype=b)))
        for a in (t.bool, t.int64, t.float32, t.float64, t.complex64, t.complex128)
        for b in (t.bool, t.int64, t.float32, t.float64, t.complex64, t.complex128)
    ],
    "promotion-number": lambda t: [
        t.result_type(t.ones(1, dtype=a), 1j) for a in (t.bool, t.int64, t.float32, t.float64, t.complex64)
    ],
    "type": lambda t: (t.tensor([1j]).type(), t.tensor(1j).is_complex(), t.is_complex(t.tensor(1.0))),
    "casts": lambda t: [
        t.tensor([1j, 2, 0]).to(d) for d in (t.bool, t.uint8, t.int64, t.float32, t.float64, t.complex128)
    ] + [t.tensor([1, 0, 3], dtype=d).to(c) for d in (t.bool, t.int8, t.float64) for c in (t.cfloat, t.cdouble)],
    "parts": lambda t: (t.tensor(A).real, t.tensor(A).T.imag, t.tensor(A[0])[::2].real, t.tensor(1j).imag),
    "part-of-real": lambda t: t.tensor([1.0]).imag,
    "real-of-real": lambda t: t.tensor([1.0]).real,
    "views": lambda t: (t.view_as_real(t.tensor(A).T), t.view_as_complex(t.tensor(R).view(3, 2, 2))),
    "view-errors": lambda t: [_answer(lambda u: u.view_as_complex(u.zeros(2, 3)), t),
                              _answer(lambda u: u.view_as_complex(u.zeros(7)[1:3]), t),
                              _answer(lambda u: u.view_as_complex(u.zeros(2, 3)[:, :2]), t),
                              _answer(lambda u: u.view_as_complex(u.tensor([1, 2])), t),
                              _answer(lambda u: u.view_as_real(u.tensor([1.0])), t)],
    "strides": lambda t: (t.tensor(A).imag.stride(), t.tensor(A).imag.storage_offset(),
                          t.view_as_real(t.tensor(A).T).stride(), t.tensor(A).imag[1:].storage_offset()),
    "conjugates": lambda t: (t.tensor(A).conj().resolve_conj() + 0, t.tensor(A).mH + 0, t.tensor(A).H + 0,
                             t.tensor(A).adjoint() + 0, t.tensor(A).conj_physical()),
    "isreal": lambda t: t.isreal(t.tensor([1j, 1])),
    "complex": lambda t: (t.complex(t.tensor([1.0, 2]), t.tensor([3.0])), t.polar(t.tensor([1.0, 2]), t.tensor([3.0, 4]))),
    "complex-dtypes": lambda t: t.complex(t.tensor([1.0]), t.tensor([1.0], dtype=t.float64)),
    "write-part": lambda t: _written(t),
    "fill": lambda t: (t.tensor([1j]).fill_(2 + 1j), t.tensor([1j]).zero_(), t.tensor([1j, 2]).add_(1)),
    "write-into-real": lambda t: t.tensor([1.0]).add_(t.tensor([1j])),
    "copy": lambda t: (t.zeros(2, dtype=t.cfloat).copy_(t.tensor([1, 2])), t.zeros(2).copy_(t.tensor([1j, 2]))),
    "compare": lambda t: (t.tensor(A) == t.tensor(A), t.tensor([1j]) != 1j, t.equal(t.tensor(A), t.tensor(A)),
                          t.allclose(t.tensor(A), t.tensor(A + 1e-9)), 1j in t.tensor([1j])),
    "truth": lambda t: (t.tensor([1j, 0]).logical_not(), t.logical_and(t.tensor([1j, 0]), t.tensor([1, 1])),
                        t.tensor([math.nan + 1j, 1j]).isnan(), t.tensor([1j * math.inf, 1]).isinf(),
                        t.tensor([1j * math.inf, 1]).isfinite()),
    "movement": lambda t: [
        (x.T.contiguous(), x.flip(0), x.roll(1, 0), x.repeat(1, 2), t.tril(x), x[1:, 2], x[[2, 0]], x.permute(1, 0).clone(),
         t.cat([x, x.real]), t.stack([x, x]), t.nn.functional.pad(x, (1, 1), value=2), t.diag(x[0]),
         x.unfold(1, 2, 1).contiguous())
        for x in (t.tensor(A), t.tensor(A.astype(np.complex64)))
    ],
    "index": lambda t: [
        (x[x.real > 0], x.nonzero(), x.gather(0, t.tensor([[0, 1, 2, 0]])), x.index_select(1, t.tensor([1, 3])),
         t.zeros(3, dtype=x.dtype).index_add(0, t.tensor([0, 0]), x[0, :2]),
         t.zeros(3, dtype=x.dtype).scatter_add(0, t.tensor([0, 0]), x[0, :2]),
         t.zeros(3, 4, dtype=x.dtype).scatter(0, t.tensor([[2, 1, 0, 1]]), x),
         x.masked_fill(x.real > 0, 5j), x.masked_scatter(x.real > 0, x.conj() * 1), x.take(t.tensor([1, 5])),
         t.where(x.real > 0, x, t.tensor(0.0)))
        for x in (t.tensor(A), t.tensor(A.astype(np.complex64)))
    ],
    "index-put": lambda t: _put(t),
    "powers": lambda t: (t.tensor([1 + 1j]) ** 2, t.tensor(1j) ** 2, t.tensor([1 + 1j]) ** -1, 2 ** t.tensor([1 + 1j]),
                         t.tensor([2.0]) ** 1j, t.tensor([0j]) ** 0, (t.tensor([0j]) ** 2.5).abs()),
    "alpha": lambda t: (t.add(t.tensor([1j]), t.tensor([1.0]), alpha=2j), t.tensor([1j]).sub_(1, alpha=2)),
    "alpha-real": lambda t: t.add(t.tensor([1.0]), t.tensor([1.0]), alpha=2j),
    "sgn": lambda t: (t.tensor([3j + 4, 0]).sgn(), t.tensor([-2.0]).sgn(), t.tensor([-2.0]).sign()),
    **{
        f"refused-{name}": lambda t, call=call: call(t.tensor([1j]))
        for name, call in {
            "lt": lambda x: x < x, "floor": lambda x: x.floor(), "remainder": lambda x: x % 2, "erf": lambda x: x.erf(),
            "max": lambda x: x.max(), "clamp": lambda x: x.clamp(0, 1), "relu": lambda x: x.relu(),
            "sign": lambda x: x.sign(), "floor_divide": lambda x: x // 2, "cummax": lambda x: x.cummax(0),
            "round": lambda x: x.round(), "trunc": lambda x: x.trunc(), "index": lambda x: [1, 2][x[0]],
        }.items()
    },
}  # fmt: skip


def _written(t: Any) -> Any:
    z = t.zeros(3, dtype=t.cfloat)
    z.real = t.tensor([1.0, 2, 3])
    z.imag[1:] = 5
    z.real += 1
    return z


def _put(t: Any) -> Any:
    z = t.tensor(A)
    z[[0, 2]] = 1j
    z[1, 1:3] = t.tensor([5.0, 6])
    z[z.imag > 0.5] = 0
    return z


ELEMENTARY = [
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "asin",
    "acos",
    "atan",
    "asinh",
    "acosh",
    "atanh",
    "sigmoid",
    "reciprocal",
    "square",
    "neg",
    "abs",
    "angle",
    "sgn",
    "log2",
    "log10",
    "log1p",
    "expm1",
    "exp2",
    "conj",
    "sinc",
]
DIFFERENTIABLE: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    **{name: (lambda t, x, n=name: getattr(t, n)(x), (A,)) for name in ELEMENTARY},
    "sinc-near": (lambda t, x: t.sinc(x), (A * 0.1,)),
    "tanhshrink": (lambda t, x: t.nn.functional.tanhshrink(x), (A,)),
    "cov": (lambda t, x: t.cov(x), (A,)),
    "corrcoef": (lambda t, x: t.corrcoef(x), (A,)),
    "gradient": (lambda t, x: t.cat(t.gradient(x, spacing=0.5)), (A,)),
    "real": (lambda t, x: x.real * 1, (A,)),
    "imag": (lambda t, x: x.imag * 1, (A,)),
    **{
        f"{name}-{kind}": (lambda t, x, y, n=name: getattr(t, n)(x, y), pair)
        for name in ("add", "sub", "mul", "div", "pow")
        for kind, pair in {"complex": (A, B), "by-real": (A, R), "of-real": (abs(R), A)}.items()
    },
    **{
        f"{name}-number": (lambda t, x, n=name: getattr(t, n)(x, 2.5 - 1j), (x,))
        for name in ("add", "sub", "mul", "div")
        for x in (A, R)
    },
    "number-div": (lambda t, x: (1 + 1j) / x + 1 / x, (A,)),
    "number-pow": (lambda t, x: (1 + 1j) ** x, (A,)),
    "powers": (lambda t, x: x**2 + x**3 + x**0.5 + x**-1 + x**1 + x**0 + x**2.2, (A,)),
    "complex": (lambda t, x, y: t.complex(x, y), (R, R + 1)),
    "polar": (lambda t, x, y: t.polar(x, y), (abs(R), R + 1)),
    "views": (lambda t, x: t.view_as_complex(t.view_as_real(x) * 2), (A,)),
    "where": (lambda t, x, y: t.where(t.tensor(R > 0), x, y), (A, B)),
    "lerp": (lambda t, x, y, w: t.lerp(x, y, w), (A, B, G)),
    "addcmul": (lambda t, x, y, z: t.addcmul(x, y, z, value=1.5), (A, B, G)),
    "addcdiv": (lambda t, x, y, z: t.addcdiv(x, y, z, value=1.5), (A, B, G)),
    "alpha": (lambda t, x, y: t.add(x, y, alpha=2j), (A, B)),
    "movement": (lambda t, x, y: t.cat([x.T.contiguous().T, y])[[0, 0, 4]], (A, B)),
    "to-real": (lambda t, x: x.to(t.float64), (A,)),
    "to-complex": (lambda t, x: x.to(t.complex128) * 1j, (R,)),
    "size": (lambda t, x: x * x.conj() + x.abs() ** 2, (A,)),
    "in-place": (lambda t, x: (x * 1).mul_(x).add_(2j).exp_(), (A,)),
}


_DIMS: dict[str, tuple[Any, ...]] = {"all": (), "0": (0,), "1": (1,), "both": ((0, 1),)}
DIFFERENTIABLE |= {
    f"{name}-{where}": (lambda t, x, n=name, d=dims: getattr(x, n)(*d), (A,))
    for name in ("sum", "mean", "var", "std", "norm", "prod", "logsumexp")
    for where, dims in _DIMS.items()
    if not (
        name == "norm" or (name == "prod" and where == "both") or (name == "logsumexp" and not dims)
    )
}
DIFFERENTIABLE |= {
    **{
        f"norm{p}-{dim}": (lambda t, x, p=p, d=dim: t.norm(x, p, d, keepdim=True), (A,))
        for p in (1, 2, 3, math.inf, -math.inf)
        for dim in (0, (0, 1))
    },
    "prod-zeros": (lambda t, x: x.prod(0) + x.prod(), (Z,)),
    "cumsum": (lambda t, x: x.cumsum(0) + x.cumsum(1), (A,)),
    "cumprod": (lambda t, x: x.cumprod(0) + x.cumprod(1), (Z,)),
    "mm": (lambda t, x, y: x @ y, (A, C)),
    "mm-transposed": (lambda t, x, y: x.T @ y.T, (A.T.copy(), C.T.copy())),
    "bmm": (lambda t, x, y: t.bmm(x, y), (E, D)),
    "matmul-broadcast": (lambda t, x, y: x @ y, (E, C)),
    "mv": (lambda t, x, y: x @ y, (A, V)),
    "vector-matrix": (lambda t, x, y: x @ y, (V, C)),
    "dot": (lambda t, x, y: t.dot(x, y) + t.vdot(x, y), (V, 1j * V + 1)),
    "outer": (lambda t, x, y: t.outer(x, y), (V, V)),
    "einsum": (lambda t, x, y: t.einsum("bij,bjk->bik", x, y) + t.einsum("bij->i", x)[:, None], (E, D)),
    "addmm": (lambda t, b, x, y: t.addmm(b, x, y, beta=2j, alpha=1.5 + 1j), (A @ C, A, C)),
    "linear": (lambda t, x, w, b: t.nn.functional.linear(x, w, b), (E, C.T.copy(), C[0])),
    "inner": (lambda t, x, y: t.inner(x, y) + t.kron(x, y)[:3, :3], (A, B)),
    **{f"logaddexp-{k}": (lambda t, x, y: t.logaddexp(x, y), pair) for k, pair in enumerate([(A, B), (A, A + 90), (A - 50, B)])},
    "logcumsumexp": (lambda t, x: x.logcumsumexp(0).exp() + x.logcumsumexp(1), (A,)),
    "l1_loss": (lambda t, x, y: t.nn.functional.l1_loss(x, y, reduction="none") + t.nn.functional.l1_loss(x, y.real), (A, B)),
    "rms_norm": (lambda t, x, w: t.nn.functional.rms_norm(x, (4,), w) + t.nn.functional.rms_norm(x, (3, 4), eps=0.1), (A, V)),
    "softsign": (lambda t, x: t.nn.functional.softsign(x), (A,)),
    "renorm": (lambda t, x: t.renorm(x, 2, 1, 1.0), (A,)),
    "norm-nuc": (lambda t, x: t.norm(x, "nuc"), (A,)),
    "prod-nothing": (lambda t, x: x[:, :0].prod(1) * x[:, 0], (A,)),
    "conv1d": (lambda t, x, w, b: t.nn.functional.conv1d(x, w, b, padding=1), (E, D[:, :3, :3].copy(), V[:2].copy())),
    "conv_transpose1d": (lambda t, x, w: t.nn.functional.conv_transpose1d(x, w), (E, D.reshape(-1)[:18].reshape(3, 2, 3).copy())),
}  # fmt: skip
SAME |= {
    "reduce-truth": lambda t: [getattr(t.tensor([0j, 1j]), n)() for n in ("any", "all", "count_nonzero")],
    "reduce-nothing": lambda t: (t.zeros(0, dtype=t.cfloat).sum(), t.zeros(0, dtype=t.cfloat).prod(),
                                 t.zeros(0, 3, dtype=t.cfloat) @ t.zeros(3, 2, dtype=t.cfloat),
                                 t.zeros(2, 0, dtype=t.cfloat) @ t.zeros(0, 2, dtype=t.cfloat)),
    "reduce-number": lambda t: [getattr(t.tensor(2j), n)(*a) for n, a in
                                {"sum": (), "prod": (), "mean": (), "cumsum": (0,), "cumprod": (0,)}.items()],
    "reduce-dtype": lambda t: (t.ones(2).sum(dtype=t.complex64), t.tensor([1, 2]).cumsum(0, dtype=t.complex64)),
    "reduce-moments": lambda t: (t.var_mean(t.tensor(A), 1), t.std_mean(t.tensor(A), 0)),
    "logaddexp-special": lambda t: t.logaddexp(
        t.tensor([complex(a, 1) for a in (math.inf, -math.inf, math.nan, 1)]).repeat(4),
        t.tensor([complex(a, 2) for a in (2, -math.inf, math.nan, 800)], dtype=t.complex64).repeat_interleave(4),
    ),
    "draws-parts": lambda t: [(x.real.mean() * 10).round().item() + (x.real.std() * 10).round().item() * 1j
                              + (x.imag.std() * 10).round().item() * 1j
                              for x in (t.zeros(40_000, dtype=t.cfloat).normal_(2, 3), t.zeros(40_000, dtype=t.cdouble).uniform_(2, 4))],
    "draws-refused": lambda t: t.zeros(3, dtype=t.cfloat).exponential_(),
    "refused-nansum": lambda t: t.tensor([1j]).nansum(),
    "refused-dtypes": lambda t: t.ones(2, 3, dtype=t.complex64) @ t.ones(3, 2),
}  # fmt: skip


def _gradients(t: Any, call: Callable[..., Any], arrays: tuple[np.ndarray, ...]) -> list[Any]:
    """The result, its gradients, and theirs for other seeds."""
    xs = [t.tensor(a, requires_grad=True) for a in arrays]

    def seeds(values: list[Any], of_complex: np.ndarray) -> list[Any]:
        return [
            t.tensor(np.resize(of_complex if v.is_complex() else R, tuple(v.shape))) for v in values
        ]

    y = call(t, *xs)
    first = list(t.autograd.grad(y, xs, seeds([y], G)[0], create_graph=True))
    found = [y, *first]
    again = [v for v in first if v.requires_grad]
    if again:
        found += t.autograd.grad(again, xs, seeds(again, B), allow_unused=True)
    return [
        None if v is None else np.asarray(v.detach().resolve_conj().resolve_neg()) for v in found
    ]


@pytest.mark.parametrize("name", SAME)
def test_answers_are_pytorchs(name: str) -> None:
    assert _answer(SAME[name], tilegrad) == _answer(SAME[name], torch)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_are_pytorchs(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = (_gradients(t, *DIFFERENTIABLE[name]) for t in (tilegrad, torch))
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        if one is None or other is None:  # zeros, or no gradient at all
            assert not np.any(0 if one is None else one) and not np.any(
                0 if other is None else other
            )
            continue
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_a_complex_result_needs_a_gradient() -> None:
    x = tilegrad.tensor(1j, requires_grad=True)
    with pytest.raises(
        RuntimeError, match="grad can be implicitly created only for real scalar outputs"
    ):
        (x * x).backward()


def test_memory_is_shared_with_numpy_and_kept_by_pickle() -> None:
    array = A.copy()
    x = tilegrad.from_numpy(array)
    x[0, 0] = 7j
    assert array[0, 0] == 7j and x.numpy()[0, 0] == 7j
    assert np.from_dlpack(x)[0, 0] == 7j
    assert tilegrad.equal(pickle.loads(pickle.dumps(x)), x)
    assert tilegrad.equal(tilegrad.from_dlpack(torch.tensor(A)), tilegrad.tensor(A))


def test_files_hold_complex64(tmp_path: Any) -> None:
    x = tilegrad.tensor(A.astype(np.complex64))
    tilegrad.save({"x": x}, tmp_path / "x.safetensors")
    assert tilegrad.equal(tilegrad.load(tmp_path / "x.safetensors")["x"], x)
    with pytest.raises(ValueError, match="holds no complex128"):
        tilegrad.save({"x": tilegrad.tensor(A)}, tmp_path / "y.safetensors")


def test_random_numbers_have_variance_one() -> None:
    for kind in (tilegrad.complex64, tilegrad.complex128):
        z = tilegrad.randn(
            20_000, dtype=kind, generator=tilegrad.Generator().manual_seed(1)
        ).numpy()
        for part in (z.real, z.imag):
            assert abs(part.var() - 0.5) < 0.02 and abs(part.mean()) < 0.02


ON_DEVICES: dict[str, Callable[..., Any]] = {
    "arithmetic": lambda t, x, y: [x + y, x * y, x / y, x - 2j, -x, 1j * x.real, x.T * y.T],
    "elementary": lambda t, x, y: [x.exp(), x.log(), x.sqrt(), x.tanh(), x.asin(), x**y, x.sinc()],
    "parts": lambda t, x, y: [x.abs(), x.angle(), x.conj(), x.real + 1, t.complex(x.real, y.imag)],
    "truth": lambda t, x, y: [x == y, x != x, x.isfinite(), t.where(x == x.conj(), x, y)],
    "casts": lambda t, x, y: [x.to(t.complex64), x.to(t.float32), x.to(t.bool), x.real.to(t.complex64), (x.real > 0).to(t.cfloat)],
    "movement": lambda t, x, y: [x.T.clone(), x.T.contiguous(), t.cat([x, y]), x.flip(1), t.full_like(x, 2 - 1j), t.tril(x)],
    "index": lambda t, x, y: [x[[2, 0]], x[x.real > 0], x.gather(0, t.zeros(1, 4, dtype=t.int64, device=x.device)),
                              t.zeros_like(x).index_add(0, t.tensor([0, 0], device=x.device), y[:2]), x.masked_fill(y.real > 0, 1j)],
    "reductions": lambda t, x, y: [x.sum(), x.mean(0), x.norm(), x.prod(0), x.cumsum(1), x.var(1)],
    "products": lambda t, x, y: [x @ y.mH, x[0] @ y[0]],
}  # fmt: skip


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
@pytest.mark.parametrize("name", ON_DEVICES)
def test_kernels_agree_with_pytorch_on_every_device(name: str, kind: Any, device: str) -> None:
    arrays = [A.astype(kind), B.astype(kind)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = ON_DEVICES[name](tilegrad, *[tilegrad.tensor(a, device=device) for a in arrays])
        theirs = ON_DEVICES[name](torch, *map(torch.tensor, arrays))
    rtol = 2e-6 if kind is np.complex64 else 1e-13
    for one, other in zip(ours, theirs, strict=True):
        found, wanted = one.cpu().numpy(), other.resolve_conj().numpy()
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, y: x * y + y.conj(),
        lambda x, y: (x @ y.T).exp(),
        lambda x, y: (x / y).abs().sum(),
        lambda x, y: x.real * y.imag,
        lambda x, y: x.angle() + y.sgn().real,
    ],
)
def test_gradcheck_takes_complex_numbers(call: Callable[..., Any]) -> None:
    inputs = [tilegrad.tensor(a[:2, :2].copy(), requires_grad=True) for a in (A, B)]
    assert tilegrad.autograd.gradcheck(call, inputs)
    assert tilegrad.autograd.gradgradcheck(call, inputs)


def test_gradcheck_sees_a_missing_conjugate() -> None:
    class Wrong(tilegrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return 2 * grad * ctx.saved_tensors[0]

    x = tilegrad.tensor(A[0, :2].copy(), requires_grad=True)
    assert not tilegrad.autograd.gradcheck(Wrong.apply, [x], raise_exception=False)


def test_parts_are_good_to_a_few_ulp() -> None:
    """Against mpmath, of all magnitudes and angles, near the unit circle and near zero."""
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(1)
    turns = np.exp(1j * rng.uniform(-np.pi, np.pi, 60))
    z = np.concatenate([
        np.exp(rng.uniform(-12, 4, 60)) * turns, turns * (1 + 1e-4 * rng.standard_normal(60)), 50 * (turns.real + 1j)
    ])  # fmt: skip
    with mpmath.workprec(200):
        for name in ELEMENTARY[:16]:
            want = [getattr(mpmath, name, lambda v: 1 / mpmath.sqrt(v))(mpmath.mpc(v)) for v in z]
            got = getattr(tilegrad.tensor(z), name)().numpy()
            for of in (lambda v: v.real, lambda v: v.imag):
                exact = np.array([float(of(w)) for w in want])
                error = np.array(
                    [float(of(w) - of(g)) for g, w in zip(got.tolist(), want, strict=True)]
                )
                assert (abs(error) <= 5 * np.spacing(abs(exact))).all(), name


def test_sinc_at_zero() -> None:
    x = tilegrad.zeros(2, dtype=tilegrad.complex128, requires_grad=True)
    made = x.sinc()
    slope = tilegrad.autograd.grad(made.real.sum(), x, create_graph=True)[0]
    curve = tilegrad.autograd.grad(slope.real.sum(), x)[0]  # NaN in PyTorch
    assert (made == 1).all() and (slope == 0).all()
    np.testing.assert_allclose(curve.numpy(), -(math.pi**2) / 3, 1e-12)


SPECIAL = [complex(a, b) for a in (0.0, -0.0, 1.0, math.inf, -math.inf, math.nan) for b in (0.0, -0.0, 1.0, math.inf, math.nan)]  # fmt: skip


@pytest.mark.parametrize("name", [n for n in ELEMENTARY[:16] if n != "rsqrt"])
def test_special_values_are_those_of_c99(name: str) -> None:
    """As NumPy's, but for signs of zeros and infinities beside a NaN, which the standard leaves open."""
    z = np.array(SPECIAL)
    with np.errstate(all="ignore"):
        want = getattr(np, name.replace("a", "arc", 1) if name[0] == "a" else name)(z)
    got = getattr(tilegrad.tensor(z), name)().numpy()
    for one, other in ((got.real, want.real), (got.imag, want.imag)):
        open_to_both = np.isnan(want.real) | np.isnan(want.imag)
        one, other = (np.where(open_to_both, abs(v), v) for v in (one, other))
        np.testing.assert_allclose(one, other, rtol=1e-14)
        signs = ~np.isnan(other) & ~open_to_both
        assert (np.signbit(one) == np.signbit(other))[signs].all()
