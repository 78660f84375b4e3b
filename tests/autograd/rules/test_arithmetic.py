"""The least integer of each dtype in divisions and remainders: it wraps, and nothing crashes
(PyTorch's process dies at int64's; narrower dtypes wrap there too). And complex numbers beside others.
"""

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64"])
def test_the_least_integer(device, name):
    kind = getattr(tilegrad, name)
    low = -(1 << (int(name[3:]) - 1))
    x = tilegrad.tensor([low] * 9 + [7, -7, 0, low + 1], dtype=kind, device=device)
    minus = tilegrad.full((13,), -1, dtype=kind, device=device)
    negated = [low] * 9 + [-7, 7, 0, -low - 1]
    for quotient in (
        x // minus, x // -1, tilegrad.div(x, minus, rounding_mode="trunc"),
        tilegrad.div(x, -1, rounding_mode="floor"), x.clone().floor_divide_(-1), -x, x * -1,
    ):  # fmt: skip
        assert quotient.tolist() == negated and quotient.dtype is kind
    for rest in (x % minus, x % -1, tilegrad.fmod(x, minus), x.clone().remainder_(-1), low % minus):
        assert rest.tolist() == [0] * 13
    assert (low // minus).tolist() == [low] * 13
    assert x.abs().tolist() == [low] * 9 + [7, 7, 0, -low - 1]
    assert x.sign().tolist() == [-1] * 9 + [1, -1, 0, -1]


def test_unsigned_integers_keep_their_greatest_divisor(device):
    x = tilegrad.tensor([200, 255, 7], dtype=tilegrad.uint8, device=device)
    assert (x // 255).tolist() == [0, 1, 0]
    assert tilegrad.div(x, 255, rounding_mode="trunc").tolist() == [0, 1, 0]


MIXED = [
    "c - b", "b - c", "b - 2j", "2j - b", "b.sub(c)", "t.rsub(b, 2j)",
    "t.float_power(c, 2)", "t.float_power(c, r)", "t.float_power(r, c)", "t.float_power(c, 1.5j)",
    "t.float_power(r, 2j)", "t.float_power(2j, r)", "t.float_power(c.to(t.complex64), i)", "t.float_power(r, i)",
    "c.clone().float_power_(2j)", "r.clone().float_power_(2j)", "c.to(t.complex64).float_power_(2)",
    "r ** c", "i ** c", "r ** z", "(-r).pow(c)", "r.to(t.float32) ** z", "2 ** c", "c ** r",
    "t.addmm(m, m, m, alpha=2j)", "t.addmm(m, m, m, beta=1j)", "t.addmm(m, m, m, alpha=2+0j)",
    "t.addmm(m + 0j, m + 0j, m + 0j, alpha=2j)", "t.addmm(m, m, m, alpha=3)",
    "r.clone().fill_(r)", "r.clone().fill_(c[0])", "c.clone().fill_(r[:1])",
    "r.clone().add_(2j)", "r.clone().mul_(c)", "r.clone().copy_(c)", "r.clone().masked_fill_(b, 2j)",
    "r + z", "z * r", "r.to(t.float32) * c", "r.to(t.float32) + 2j", "i / 2j", "t.where(b, r, 2j)", "c.clamp(0, 1)",
]  # fmt: skip


def _mixed(t: Any, line: str) -> Any:
    """The value, dtype and gradients of ``line``, or the exception's type."""
    names = {
        "c": t.tensor([1 + 2j, -3 + 0.5j, 2 - 1j], dtype=t.complex128, requires_grad=True),
        "r": t.tensor([1.5, -2.0, 3.0], dtype=t.float64, requires_grad=True),
        "z": t.tensor(1 - 2j, requires_grad=True),
        "m": t.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True),
    }
    others = {"i": t.tensor([1, -2, 3]), "b": t.tensor([True, False, True]), "t": t}
    try:
        made = eval(line, {**names, **others})
        if not made.requires_grad:
            return made.dtype, made.numpy()
        loss = (made.real * 3).sum() + (made.imag.sum() if made.is_complex() else 0)
        grads = t.autograd.grad(loss, list(names.values()), allow_unused=True)
    except (RuntimeError, TypeError) as refused:
        return RuntimeError if isinstance(refused, RuntimeError) else TypeError
    flat = [np.zeros(3) if g is None else np.resize(g.resolve_conj().numpy(), 4) for g in grads]
    return made.dtype, made.detach().resolve_conj().numpy(), *flat


@pytest.mark.parametrize("line", MIXED)
def test_complex_numbers_beside_others_are_pytorchs(line: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = _mixed(tilegrad, line), _mixed(torch, line)
    if isinstance(ours, type) or isinstance(theirs, type):
        assert ours is theirs
        return
    assert ours[0].name == str(theirs[0]).split(".")[-1]
    for one, other in zip(ours[1:], theirs[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-5)
