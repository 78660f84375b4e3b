"""Gradients beyond the plain ones where functions are delicate, against PyTorch: second derivatives, and
first ones of an incoming gradient that is 0, infinite or NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.cases.test_gradient_points import ROWS, Call, _operands

# of the operands: where PyTorch is not followed; what is right there, or a function of them; why
Dispute = tuple[Call, Any, str]

_POLE = lambda x: (x < 0) & (x == np.floor(x)) & np.isfinite(x)
_ORIGIN = lambda x, y: (x == 0) & (y == 0)
_FAR = lambda x, y: np.isinf(x) | np.isinf(y)
_NEAR_OR_FAR = lambda x: (abs(x) < 1e-20) | (abs(x) > 1e20)
_BEYOND = lambda x: (x <= 0) | ~(x < 1)
_INFINITE = lambda x, y: np.isinf(x * y)
_AT_ZERO = lambda x: x == 0
_NONE = "of a gradient that counts as 0; PyTorch has 0 times infinity"
_LIMIT = "the limit; PyTorch has infinity less infinity, or 0 times infinity"
_BRANCH = "of the branch that both libraries' gradients take; PyTorch takes the other"


def _all(name: str, derivatives: str, dispute: Dispute) -> dict[tuple[str, str], Dispute]:
    return {(name, which): dispute for which in derivatives.split()}


# (function, derivative), where "xy" is d/dy of the gradient of x, and "xg" its derivative by the incoming
# gradient: the gradient itself, over again
_SECOND: dict[tuple[str, str], Dispute] = {
    ("addcdiv", "zz"): (
        lambda x, y, z: (z == 0) | np.isinf(z), lambda x, y, z: y / z / abs(z) / abs(z), _LIMIT,
    ),
    **_all("atan2", "xx xy yx yy", (_ORIGIN, 0.0, _NONE)),
    ("copysign", "xx"): (lambda x, y: x == 0, 0.0, _NONE),
    **_all("pow", "xx xy xg yx yy", (lambda x, y: (x == 0) | (y == 0), 0.0, _NONE)),
    **_all("logaddexp", "xx xy yx yy", (_FAR, 0.0, _LIMIT)),
    **_all("logaddexp2", "xx xy yx yy", (_FAR, 0.0, _LIMIT)),
    **_all("logit-eps", "xx xg", (lambda x: ~(abs(x - 0.5) < 0.4), 0.0, _NONE)),
    **_all(
        "ranking", "xg yg zg",
        (
            lambda x, z, y: ~np.isfinite(x + z + y), math.nan,
            "the gradient itself, which is NaN in PyTorch too",
        ),
    ),
    ("xlogy", "xy"): (_ORIGIN, 0.0, _NONE),
    ("rpow-0", "xx"): (lambda x: x >= 0, 0.0, "0^x is constant; PyTorch has 0 times infinity"),
    ("asinh", "xx"): (lambda x: np.isinf(x), 0.0, _LIMIT),
    ("logit", "xx"): (lambda x: ~np.isfinite(x), 0.0, "the gradient there is a constant, NaN"),
    ("logit-eps-0", "xx"): (lambda x: ~np.isfinite(x), 0.0, _NONE),
    ("logit", "xg"): (
        _BEYOND, lambda x: np.where(x == 0, math.inf, math.nan),
        "the gradient itself, which is NaN in PyTorch too",
    ),
    ("logit-eps-0", "xg"): (_BEYOND, lambda x: np.where(x == 0, math.inf, math.nan), "as logit"),
    ("sinc", "xx"): (
        _NEAR_OR_FAR, lambda x: np.where(abs(x) < 1, -(math.pi**2) / 3, -2 / x / x),
        "pi x is not rounded here",
    ),
    ("sinc", "xg"): (
        _NEAR_OR_FAR, lambda x: np.where(abs(x) < 1, -(math.pi**2) / 3 * x, 1 / x), "as xx",
    ),
    ("acosh", "xx"): (
        lambda x: (x == -1) | (x == math.inf), lambda x: np.where(x > 0, 0.0, math.nan), "as asinh; NaN at -1, as the function",
    ),
    ("lgamma", "xx"): (_POLE, math.inf, "PyTorch's reflection has what rounding leaves of a sine"),
    ("digamma", "xg"): (_POLE, math.inf, "as lgamma"),
    ("digamma", "xx"): (
        lambda x: (x == 0) | np.isinf(x) | _POLE(x), lambda x: np.where(x > 0, 0.0, math.nan),
        "the limit, and poles without a sign",
    ),
    ("elu", "xx"): (_AT_ZERO, 0.7, _BRANCH),
    ("celu", "xx"): (_AT_ZERO, 1 / 0.7, _BRANCH),
    ("selu", "xx"): (_AT_ZERO, 1.7580993408473766, _BRANCH),
    ("softplus", "xx"): (lambda x: x == 1, 2 / (2 * math.cosh(1)) ** 2, _BRANCH),
    ("hardswish", "xx"): (np.isnan, 1 / 3, _BRANCH),
    ("mish", "xx"): (lambda x: x == 1e30, 0.0, _LIMIT),
    ("divergence", "yy"): (lambda x, y: y == 0, 0.0, "0 log 0 counts as the constant 0"),
    ("divergence", "yg"): (lambda x, y: y == 0, lambda x, y: -x, "0 log 0 counts as the constant 0"),
    ("soft_margin", "xx"): (_INFINITE, 0.0, _LIMIT),
    ("soft_margin", "xg"): (_INFINITE, lambda x, y: -y, _LIMIT),
    ("pow-0.5", "xx"): (
        lambda x: (x == 0) | (x == -math.inf), lambda x: np.where(x == 0, math.inf, math.nan),
        "as the square root's",
    ),
    ("pow--0.5", "xx"): (
        lambda x: (x == 0) | (x == -math.inf), lambda x: np.where(x == 0, 1 / x, math.nan),
        "as the reciprocal root's",
    ),
    ("pow--0.5", "xg"): (
        lambda x: (x == 0) | (x == -math.inf), lambda x: np.where(x == 0, -1 / x, math.nan),
        "as the reciprocal root's",
    ),
}  # fmt: skip
# (function, gradient): of incoming gradients that are 0, infinite or NaN
_INCOMING: dict[tuple[str, str], Dispute] = {
    ("logit", "x"): (_AT_ZERO, None, "PyTorch's sign at -0 depends on the dtype"),
    ("logit-eps-0", "x"): (_AT_ZERO, None, "as logit"),
    ("pow--0.5", "x"): (
        lambda x: (x == 0) | (x == -math.inf), None, "as of 1: PyTorch's is that of another power"
    ),
    ("sinc", "x"): (
        _NEAR_OR_FAR, None, "the derivative there is 0 or nearly; PyTorch masks or rounds it"
    ),
    ("digamma", "x"): (_POLE, None, "0 times infinity, where PyTorch's trigamma is finite"),
    ("divergence", "y"): (lambda x, y: ~(y > 0), None, "0 log 0 counts as the constant 0"),
    ("soft_margin", "x"): (_INFINITE, None, _LIMIT),
}  # fmt: skip


def _second(t: Any, make: Any, call: Call, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The derivatives of each operand's gradient, by each operand and by the incoming gradient."""
    leaves = [make(a.copy()).requires_grad_() for a in arrays]
    out = call(t, *leaves)
    grad = t.ones_like(out).requires_grad_()
    how = {"allow_unused": True, "materialize_grads": True}
    first = t.autograd.grad(out, leaves, grad, create_graph=True, **how)
    found = {}
    for one, name in zip(first, "xyz", strict=False):
        second = [t.zeros_like(leaf) for leaf in (*leaves, grad)]
        if one.requires_grad:
            ones = t.ones_like(one)
            second = t.autograd.grad(one, [*leaves, grad], ones, retain_graph=True, **how)
        for two, other in zip(second, "xyz"[: len(leaves)] + "g", strict=True):
            found[name + other] = (two + 0 if t is torch else two).detach().numpy()
    return found


def _differing(
    have: np.ndarray,
    want: np.ndarray,
    dispute: Dispute | None,
    arrays: list[np.ndarray],
    steps: bool = False,
) -> list[str]:
    """In words; ``steps``: PyTorch may be NaN alone where one product here is infinite."""
    near = {"rtol": 1e-6, "atol": 1e-10, "equal_nan": True}  # of sums that cancel
    same = np.isclose(have, want, **near) | (steps & np.isnan(want) & np.isinf(have))
    if dispute is not None:
        where, right, _ = dispute
        right = right(*arrays) if callable(right) else right
        same |= where(*arrays) & (right is None or np.isclose(have, right, **near))
    return [
        f"at ({', '.join(str(a[i]) for a in arrays)}): {have[i]}, PyTorch {want[i]}"
        for i in np.flatnonzero(~same)
    ]


@pytest.mark.filterwarnings("ignore")  # NumPy's, of the infinities that it is asked to compare
@pytest.mark.parametrize(
    "name", [n for n in ROWS if n != "hardsigmoid"]
)  # PyTorch has no second there
def test_second_points(name: str) -> None:
    """Second derivatives as PyTorch's."""
    count, call = ROWS[name]
    arrays = _operands(count, "float64")
    have = _second(tilegrad, tilegrad.from_numpy, call, arrays)
    want = _second(torch, torch.from_numpy, call, arrays)
    lines = []
    for what, w in want.items():
        found = _differing(have[what], w, _SECOND.get((name, what)), arrays)
        lines += [f"{what} {line}" for line in found]
    assert not lines, "\n".join(lines)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ROWS)
def test_incoming_points(name: str) -> None:
    """What an incoming gradient of 0, infinity or NaN leaves, as in PyTorch."""
    count, call = ROWS[name]
    arrays = _operands(count, "float64")
    lines = []
    for grad in (0.0, math.inf, math.nan):
        found = []
        for t, make in ((tilegrad, tilegrad.from_numpy), (torch, torch.from_numpy)):
            leaves = [make(a.copy()).requires_grad_() for a in arrays]
            out = call(t, *leaves)
            grads = t.autograd.grad(
                out, leaves, t.full_like(out, grad), allow_unused=True, materialize_grads=True
            )
            found.append([(g + 0).numpy() for g in grads])
        for what, have, want in zip("xyz", *found, strict=False):
            differing = _differing(have, want, _INCOMING.get((name, what)), arrays, True)
            lines += [f"{what} of {grad} {line}" for line in differing]
    assert not lines, "\n".join(lines)
