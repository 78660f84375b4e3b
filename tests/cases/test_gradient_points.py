"""Values and gradients of every elementwise function where they are delicate, against PyTorch.

The points are the zeros, the infinities, NaN, and each function's kinks and ends of its domain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.cases.elementwise import call_of
from tilegrad.kernels.formulas import TABLES, vjps

Call = Callable[..., Any]

_POINTS = (
    0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.0, -2.0, 3.0, -3.0,
    6.0, -6.0, 25.0, -25.0, 1e-30, -1e-30, 1e30, -1e30,
)  # fmt: skip
_PAIR_POINTS = (0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 0.5, 2.0, -2.5, 3.0)


def _f(name: str, *numbers: float, **how: Any) -> Call:
    return lambda t, *x: getattr(t.nn.functional, name)(*x, *numbers, **how)


def _t(name: str, *numbers: Any, **how: Any) -> Call:
    return lambda t, *x: getattr(t, name)(*x, *numbers, **how)


# formulas whose public function has another name or other arguments
_CALLS: dict[str, Call] = {
    "add_scaled": _t("add", alpha=2),
    "div_trunc": _t("div", rounding_mode="trunc"),
    "div_floor": _t("div", rounding_mode="floor"),
    "clamp": _t("clamp", -1.0, 1.5),
    "clamp_min": _t("clamp", min=-1.0),
    "clamp_max": _t("clamp", max=1.0),
    "clamp_above": lambda t, x, y: t.clamp(x, min=y),
    "clamp_below": lambda t, x, y: t.clamp(x, max=y),
    "addcmul": _t("addcmul", value=0.5),
    "addcdiv": _t("addcdiv", value=0.5),
    "mantissa": lambda t, x: t.frexp(x)[0],
    "leaky_relu": _f("leaky_relu", 0.1),
    "elu": _f("elu", 0.7),
    "celu": _f("celu", 0.7),
    "gelu_tanh": _f("gelu", approximate="tanh"),
    "softplus": _f("softplus", 2.0, 2.0),
    "hardtanh": _f("hardtanh", -1.0, 1.5),
    "softshrink": _f("softshrink", 0.5),
    "hardshrink": _f("hardshrink", 0.5),
    "threshold": _f("threshold", 0.5, -1.0),
    "mse": _f("mse_loss", reduction="none"),
    "l1": _f("l1_loss", reduction="none"),
    "smooth_l1": _f("smooth_l1_loss", reduction="none", beta=2.0),
    "huber": _f("huber_loss", reduction="none", delta=1.2),
    "bce_logits": _f("binary_cross_entropy_with_logits", reduction="none"),
    "hinge": _f("hinge_embedding_loss", reduction="none", margin=0.5),
    "ranking": _f("margin_ranking_loss", reduction="none", margin=0.5),
    "soft_margin": lambda t, x, y: t.nn.functional.soft_margin_loss(
        x, y.detach(), reduction="none"
    ),
    "poisson_log": _f("poisson_nll_loss", reduction="none"),
    "poisson_plain": _f("poisson_nll_loss", reduction="none", log_input=False),
    "divergence": _f("kl_div", reduction="none"),
    "divergence_log": _f("kl_div", reduction="none", log_target=True),
}
# no public function of their own, or tested where they are: bce refuses inputs outside [0, 1], the
# Gaussian loss negative variances
_ELSEWHERE = {
    "fill", "copy", "quotient", "where", "prelu", "gate", "bce", "bce_logits_weighted", "floor_divide",
    "clamp_between", "stirling", "gaussian", *vjps.TABLE,
}  # fmt: skip
_MORE: dict[str, tuple[int, Call]] = {
    "logit-eps": (1, _t("logit", 0.1)),
    "logit-eps-0": (1, _t("logit", 0.0)),
    "relu6": (1, _f("relu6")),
    "hardtanh-default": (1, _f("hardtanh")),
    "softplus-default": (1, _f("softplus")),
    "deg2rad": (1, _t("deg2rad")),
    "round-decimals": (1, _t("round", decimals=1)),
    "rdiv": (1, lambda t, x: 1 / x),
    "rdiv-1.5": (1, lambda t, x: -1.5 / x),
    "rdiv-tiny": (1, lambda t, x: 1e-60 / x),
    "rdiv-inf": (1, lambda t, x: math.inf / x),
    "rpow": (1, lambda t, x: 2.0**x),
    "rpow-0": (1, lambda t, x: 0.0**x),
    "mod": (1, lambda t, x: x % 2.0),
    "fmod-number": (1, lambda t, x: t.fmod(x, 2.0)),
    "rsub": (1, lambda t, x: 1 - x),
    "clamp-tensor": (3, _t("clamp")),
    "addcmul": (3, _t("addcmul", value=0.5)),
    "addcdiv": (3, _t("addcdiv", value=0.5)),
    **{
        f"pow-{e}": (1, lambda t, x, e=e: x**e)
        for e in (0, 1, 2, 3, 4, -1, -2, 0.0, 0.5, -0.5, 1.0, 1.7, -1.3)
    },
}
# functions that keep the sign of a zero
_ODD = {
    "neg", "sign", "abs", "sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "erf",
    "erfinv", "expm1", "log1p", "floor", "ceil", "round", "trunc", "frac", "softsign", "relu",
    "hardtanh", "relu6", "leaky_relu", "tanhshrink", "mul", "div", "atan2", "fmod", "remainder",
    "deg2rad", "hardshrink",
}  # fmt: skip


# (function, output): where PyTorch's value is not followed, what is right there, and why
_DISPUTED: dict[tuple[str, str], tuple[Call, Any, str]] = {
    ("digamma", "x"): (
        lambda x: (x < 0) & (x == np.floor(x)), math.inf,
        "trigamma has poles there; PyTorch's reflection gives what rounding leaves of a sine",
    ),
    ("hardswish", "value"): (lambda x: x == -math.inf, 0.0, "the limit; PyTorch: -inf * 0"),
    ("soft_margin", "x"): (
        lambda x, y: x * y == -math.inf, lambda x, y: -y, "the limit; PyTorch: inf / inf",
    ),
    ("gelu", "value"): (lambda x: x == math.inf, math.inf, "float32 alone is NaN in PyTorch"),
    ("divergence", "y"): (
        lambda x, y: y == 0, lambda x, y: -x,
        "0 log 0 counts as the constant 0; PyTorch's gradient is 0 / 0",
    ),
    ("rdiv-tiny", "x"): (
        lambda x: abs(x) < 1e-29, 0.0,
        "1e-60 is 0 in float32, and so is 0 / x; PyTorch multiplies the 0 by an infinite 1 / x^2",
    ),
    ("pow--0.5", "x"): (
        lambda x: (x == -math.inf) | (x == 0), lambda x: np.where(x == 0, -1 / x * math.inf, np.nan),
        "PyTorch's value is 1 / sqrt(x), its gradient that of another power",
    ),
    ("hardsigmoid", "x"): (
        lambda x: abs(x) < 3, lambda x: np.where(abs(x) < 3, 1 / 6, 0),
        "PyTorch's sixth is a float32",
    ),
    ("logit", "x"): (lambda x: x == 0, math.inf, "PyTorch's sign at -0 depends on the dtype"),
    ("logit-eps-0", "x"): (lambda x: x == 0, math.inf, "as logit"),
    ("sinc", "value"): (
        lambda x: (x != 0) & (x == np.round(x)) & np.isfinite(x), 0.0, "pi x is not rounded here"
    ),
    ("sinc", "x"): (lambda x: abs(x) == np.float32(1e-30), lambda x: -(math.pi**2) / 3 * x, "as value"),
}  # fmt: skip
# float64, where PyTorch subtracts numbers that are nearly equal
_ROUNDED = {
    "sigmoid": 1e-4,
    "gelu_tanh": 1e-5,
    "celu": 1e-4,
    "logaddexp2": 1e-9,
    "poisson_plain": 1e-7,
}


def _rows() -> dict[str, tuple[int, Call]]:
    rows: dict[str, tuple[int, Call]] = {}
    for row in (r for rows in TABLES for r in rows.values()):
        if row.name in _ELSEWHERE or not row.differentiable or row.kind in ("compare", "integer"):
            continue
        call = _CALLS.get(row.name)
        if call is None:
            call = call_of(row) if hasattr(tilegrad, row.name) else _f(row.name)
        rows[row.name] = (row.arity, call)
    return {**rows, **_MORE}


ROWS = _rows()


def _operands(count: int, dtype: str) -> list[np.ndarray]:
    if count == 1:
        return [np.array(_POINTS, dtype)]
    points = _PAIR_POINTS if count == 2 else _PAIR_POINTS[::2]
    return [np.array(p, dtype) for p in zip(*itertools.product(points, repeat=count), strict=True)]


def _array(tensor: Any) -> np.ndarray:
    """Its values; PyTorch's gradient of sgn is a tensor that holds no zeros but is them."""
    force = {} if isinstance(tensor, tilegrad.Tensor) else {"force": True}
    found: np.ndarray = tensor.detach().numpy(**force)
    return found


def _gradients(t: Any, make: Any, call: Call, arrays: list[np.ndarray]) -> list[np.ndarray]:
    leaves = [make(a.copy()).requires_grad_() for a in arrays]
    out = call(t, *leaves)
    out.backward(t.ones_like(out))
    grads = [t.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    return [out.detach().numpy(), *(_array(grad) for grad in grads)]


@pytest.mark.filterwarnings("ignore")  # NumPy's, of the infinities that it is asked to compare
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ROWS)
def test_points(name: str, dtype: str) -> None:
    """As PyTorch in the same dtype, or as PyTorch in float64 where its float32 is less exact."""
    count, call = ROWS[name]
    arrays = _operands(count, dtype)
    have = _gradients(tilegrad, tilegrad.from_numpy, call, arrays)
    want = _gradients(torch, torch.from_numpy, call, arrays)
    exact = _gradients(torch, torch.from_numpy, call, [a.astype(np.float64) for a in arrays])
    rtol = 1e-5 if dtype == "float32" else _ROUNDED.get(name, 1e-9)
    lines = []
    for what, h, w, e in zip(("value", *"xyz"), have, want, exact, strict=False):
        same = np.isclose(h, w, rtol=rtol, atol=1e-16, equal_nan=True)
        same |= np.isclose(h, e.astype(dtype), rtol=rtol, atol=1e-16, equal_nan=True)
        if what == "value" and name in _ODD:
            same &= (np.signbit(h) == np.signbit(w)) | (h != 0) | np.isnan(h)
        if (name, what) in _DISPUTED:
            where, right, _ = _DISPUTED[name, what]
            right = right(*arrays) if callable(right) else np.full_like(h, right)
            same |= where(*arrays) & np.isclose(h, right, rtol=rtol, atol=1e-38, equal_nan=True)
        for i in np.flatnonzero(~same):
            at = ", ".join(str(a[i]) for a in arrays)
            lines.append(f"{what} at ({at}): {h[i]}, PyTorch {w[i]}")
    assert not lines, "\n".join(lines)
