"""Writes through views between complex numbers and their parts: gradients, second ones and refusals are
PyTorch's for every such view, write and order of events.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

RNG = np.random.default_rng(5)
R, S, P = (RNG.standard_normal(s) for s in ((3, 4), (3, 4), (3, 4, 2)))
Z, W = R + 1j * S, S - 1j * R[::-1]

Call = Callable[..., Any]
OF_COMPLEX: dict[str, Call] = {
    "real": lambda t, z: z.real,
    "imag-rows": lambda t, z: z.imag[1:],
    "rows-real": lambda t, z: z[1:].real,
    "real-column": lambda t, z: z.real[..., 0],
    "parts": lambda t, z: t.view_as_real(z.T),
    "parts-1": lambda t, z: t.view_as_real(z)[..., 1],
    "transposed-imag": lambda t, z: z.T.imag[1:3],
    "steps": lambda t, z: z[:, 1::2].imag,
    "there-and-back": lambda t, z: t.view_as_complex(t.view_as_real(z))[1:].imag,
    "diagonal": lambda t, z: z.diagonal().imag,
    "strided": lambda t, z: z.as_strided((2, 2), (4, 1), 1).real,
    "nothing": lambda t, z: z[3:].real,
    "several": lambda t, z: z.split(2)[0].real,
    "several-parts": lambda t, z: t.view_as_real(z).unbind(-1)[1],
    "detached": lambda t, z: z.real.detach(),
}
OF_REAL: dict[str, Call] = {
    "whole": lambda t, x: t.view_as_complex(x),
    "whole-of-rows": lambda t, x: t.view_as_complex(x[1:]),
    "whole-column": lambda t, x: t.view_as_complex(x)[..., 1],
    "whole-real": lambda t, x: t.view_as_complex(x).real[1:],
    "whole-permuted": lambda t, x: t.view_as_complex(x.permute(1, 0, 2))[::2],
    "whole-of-several": lambda t, x: t.view_as_complex(x.split(2)[0]),
}
WRITES: dict[str, Call] = {
    "mul": lambda t, v, y: v.mul_(2),
    "zero": lambda t, v, y: v.zero_(),
    "add": lambda t, v, y: v.add_(y(v)),
    "mul-tracked": lambda t, v, y: v.mul_(y(v)),
    "copy-real": lambda t, v, y: v.copy_(y(v.detach().real)),
    "assign": lambda t, v, y: v.__setitem__(Ellipsis, y(v)),
    "twice": lambda t, v, y: v.exp_().mul_(y(v)),
    "unrecorded": lambda t, v, y: _unrecorded(t, v),
}


def _unrecorded(t: Any, v: Any) -> None:
    with t.no_grad():
        v.mul_(2)


def _resized(t: Any, array: np.ndarray, v: Any) -> Any:
    return t.tensor(np.resize(array, tuple(v.shape)))


def _outcome(t: Any, base: tuple[np.ndarray, str], view: Call, write: Call, event: str) -> Any:
    """What came of it: values, flags, first and second gradients; or the exception's type."""
    more: list[Any] = []

    def tracked(v: Any) -> Any:
        more.append(_resized(t, W if v.is_complex() else S, v).requires_grad_())
        return more[-1]

    array, kind = base
    leaf = t.tensor(array.copy(), requires_grad=kind != "untracked")
    z = leaf if kind == "leaf" else leaf * 1
    try:
        with t.set_grad_enabled(event != "view-unrecorded"):
            v = view(t, z)
        kept = v * v if event == "saved" else 0 * leaf.detach().abs()
        if event == "base-written":
            z.mul_(3)
        if event == "other-written":
            view(t, z).mul_(3)
        write(t, v, tracked)
        found = [z.detach().numpy().copy(), v.detach().numpy().copy()]
        flags = (z.requires_grad, v.requires_grad, z.is_leaf, v.is_leaf, z._version)
        loss = kept.abs().sum()
        for q in (z, v):
            s = (q * q * _resized(t, W if q.is_complex() else S, q)).sum()
            loss = loss + (s.abs() ** 2 if q.is_complex() else s)
        leaves = [x for x in (leaf, *more) if x.requires_grad]
        if loss.requires_grad:
            grads = t.autograd.grad(loss, leaves, allow_unused=True, create_graph=True)
            again = sum((g.abs() ** 2).sum() for g in grads if g is not None)
            grads += t.autograd.grad(again, leaves, allow_unused=True)
            found += [
                np.zeros(()) if g is None else g.detach().resolve_conj().numpy() for g in grads
            ]
    except (RuntimeError, IndexError) as refused:
        return type(refused)
    return flags, found


@pytest.mark.parametrize("event", ["", "saved", "base-written", "other-written", "view-unrecorded"])
@pytest.mark.parametrize("kind", ["leaf", "inner", "untracked"])
@pytest.mark.parametrize("name", [*OF_COMPLEX, *OF_REAL])
def test_writes_through_parts_are_pytorchs(name: str, kind: str, event: str) -> None:
    array, view = (Z, OF_COMPLEX[name]) if name in OF_COMPLEX else (P, OF_REAL[name])
    for how, write in WRITES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours, theirs = (
                _outcome(t, (array, kind), view, write, event) for t in (tilegrad, torch)
            )
        if how == "unrecorded" and theirs is RuntimeError and not isinstance(ours, type):
            continue  # we refuse such views when a write is recorded, PyTorch when they are read too
        assert isinstance(ours, type) == isinstance(theirs, type), how
        if isinstance(ours, type):
            assert ours is theirs, how
            continue
        assert ours[0] == theirs[0], how
        for one, other in zip(ours[1], theirs[1], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9, err_msg=how)


def test_views_know_the_base_as_it_is_now() -> None:
    """A view taken before the base was written over belongs to the new history, with PyTorch's name."""
    names = []
    for t in (tilegrad, torch):
        z = t.tensor(Z, requires_grad=True) * 1
        part, other = z.real, z.imag
        part.mul_(2)
        names.append([type(v.grad_fn).__name__ for v in (z, part, other, t.view_as_real(z))])
    assert names[0] == names[1]


def test_parts_of_what_lies_at_odd_places() -> None:
    """A gradient of parts need not lie as complex numbers do; a base may begin at an odd place."""
    z = tilegrad.tensor(Z[0], requires_grad=True)
    x = tilegrad.tensor([1.0], dtype=tilegrad.float64, requires_grad=True)
    joined = tilegrad.cat([x, tilegrad.view_as_real(z).flatten()])
    (grad,) = tilegrad.autograd.grad((joined * joined).sum(), [z])
    np.testing.assert_allclose(grad.numpy(), 2 * Z[0])
    base = tilegrad.arange(9.0, dtype=tilegrad.float64)[1:].detach()
    y = tilegrad.tensor([1j, 2], dtype=tilegrad.complex128, requires_grad=True)
    tilegrad.view_as_complex(base[1:7].view(3, 2))[1:].mul_(y)
    (grad,) = tilegrad.autograd.grad((base * base * tilegrad.arange(8)).sum(), [y])
    old, new = np.array([4 + 5j, 6 + 7j]), np.array([-5 + 4j, 12 + 14j])
    reaching = 2 * (new.real * [3, 5] + 1j * new.imag * [4, 6])  # PyTorch 2.13 errs here
    np.testing.assert_allclose(grad.numpy(), reaching * old.conj())
