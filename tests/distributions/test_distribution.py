"""Every family in step with PyTorch: densities, moments, shapes, divergences, errors, gradients."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.distributions.families import FAMILIES, REFUSED, Maker
from tilegrad.distributions import kl

BY_TITLE = {title: (build, values) for title, build, values in FAMILIES}
# families for which PyTorch has coarser formulas, or a constant in float32
ROUGH = {"VonMises": 1e-5, "Multinomial": 1e-7, "GeneralizedPareto": 1e-6}
DTYPES = {"GeneralizedPareto": "float32"}  # PyTorch's compares its parameter with a float32 number


def made(title: str) -> list[tuple[Maker, Any]]:
    build, _ = BY_TITLE[title]
    dtype = DTYPES.get(title, "float64")
    makers = Maker(torch, dtype), Maker(tilegrad, dtype)
    return [(m, build(m)) for m in makers]


def outcome(call: Any) -> Any:
    """What a call gives, or the class of what it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    except (ValueError, NotImplementedError, TypeError, RuntimeError, AssertionError) as error:
        return type(error)


def close(have: Any, want: Any, error: float = 1e-10) -> None:
    if isinstance(want, type):
        assert have is want, (have, want)
        return
    assert not isinstance(have, type), (have, want)
    if not isinstance(want, torch.Tensor):
        assert have == want
        return
    assert tuple(have.shape) == tuple(want.shape)
    assert have.dtype.name == str(want.dtype).removeprefix("torch.")
    np.testing.assert_allclose(have.detach().numpy(), want.detach().numpy(), rtol=error, atol=error)


def gradients(maker: Maker, out: Any) -> Any:
    if not out.requires_grad:
        return []
    grad = maker.t.autograd.grad
    return outcome(
        lambda: list(grad(out.sum(), maker.leaves, retain_graph=True, allow_unused=True))
    )


def compared(title: str, pairs: list[tuple[Maker, Any]], call: Any) -> None:
    """The same call on both, and its gradients by the parameters."""
    error = ROUGH.get(title, 1e-9)
    want, have = (outcome(lambda d=d, m=m: call(m, d)) for m, d in pairs)
    close(have, want, error)
    if not isinstance(want, torch.Tensor) or not want.is_floating_point():
        return
    assert have.requires_grad is want.requires_grad
    theirs, ours = (gradients(m, out) for (m, _), out in zip(pairs, (want, have), strict=True))
    if isinstance(theirs, type):
        assert ours is theirs
        return
    for g, w in zip(ours, theirs, strict=True):
        assert (g is None) == (w is None) or not (w if g is None else torch.tensor(g.numpy())).any()
        if g is not None and w is not None:
            np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=10 * error, atol=10 * error)


@pytest.mark.parametrize("title", BY_TITLE)
def test_values_and_gradients(title: str) -> None:
    pairs = made(title)
    values = BY_TITLE[title][1]
    whole = isinstance(np.array(values).flat[0], np.integer)

    def value(m: Maker) -> Any:
        return m.t.tensor(values, dtype=m.t.int64 if whole else m.dtype)

    for name in ("mean", "mode", "variance", "stddev"):
        compared(title, pairs, lambda m, d, name=name: getattr(d, name))
    for name in ("entropy", "perplexity", "enumerate_support"):
        compared(title, pairs, lambda m, d, name=name: getattr(d, name)())
    compared(title, pairs, lambda m, d: d.enumerate_support(expand=False))
    for name in ("log_prob", "cdf"):
        compared(title, pairs, lambda m, d, name=name: getattr(d, name)(value(m)))
    shape = np.broadcast_shapes(pairs[0][1].batch_shape, ())
    units = np.linspace(0.1, 0.9, int(np.prod(shape))).reshape(shape)
    compared(title, pairs, lambda m, d: d.icdf(m.t.tensor(units, dtype=m.dtype)))


@pytest.mark.parametrize("title", BY_TITLE)
def test_shapes_and_draws(title: str) -> None:
    (_, theirs), (_, ours) = made(title)
    assert ours.batch_shape == tuple(theirs.batch_shape)
    assert ours.event_shape == tuple(theirs.event_shape)
    assert bool(ours.has_rsample) == bool(theirs.has_rsample)
    assert bool(ours.has_enumerate_support) == bool(theirs.has_enumerate_support)
    assert repr(ours).replace("tilegrad.", "torch.") == repr(theirs)
    support = outcome(lambda: theirs.support)
    assert type(ours.support).__name__ == type(support).__name__
    assert ours.support.event_dim == support.event_dim
    assert ours.support.is_discrete == support.is_discrete
    wide, want = (d.expand((4, 1, *d.batch_shape)) for d in (ours, theirs))
    assert wide.batch_shape == tuple(want.batch_shape) and type(wide) is type(ours)
    for d in (ours, wide):
        for sample_shape in ((), (3,), (2, 3)):
            drawn = d.sample(sample_shape)
            assert drawn.shape == (*sample_shape, *d.batch_shape, *d.event_shape)
            assert not drawn.requires_grad
            assert bool(d.support.check(drawn).all()) or title == "Geometric-logits"
            assert d.log_prob(drawn).shape == (*sample_shape, *d.batch_shape)
    if ours.has_rsample:
        assert ours.rsample((2,)).requires_grad


def test_draws_follow_the_seed() -> None:
    for title in BY_TITLE:
        _, (_, d) = made(title)
        tilegrad.manual_seed(7)
        first = d.sample((5,))
        tilegrad.manual_seed(7)
        assert (first == d.sample((5,))).all(), title


# ---------------------------------------------------------------------------------- divergences

FIRST = {title.split("-")[0]: title for title in reversed(BY_TITLE)}
OTHERS = [(p.__name__, q.__name__) for p, q in kl._registry]
PAIRS = sorted({(p, q) for p, q in OTHERS if p in FIRST and q in FIRST})


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_divergence(p: str, q: str) -> None:
    results = []
    for t in (torch, tilegrad):
        m = Maker(t)
        first, second = BY_TITLE[FIRST[p]][0](m), BY_TITLE[FIRST[q]][0](m)
        out = outcome(lambda p=first, q=second, d=t.distributions: d.kl_divergence(p, q))
        results.append((m, out))
    (theirs, want), (ours, have) = results
    close(have, want, 1e-9)
    if isinstance(want, torch.Tensor) and bool(torch.isfinite(want).all()):
        for g, w in zip(gradients(ours, have), gradients(theirs, want), strict=True):
            assert (g is None) == (w is None)
            if w is not None:
                np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=1e-8, atol=1e-8)


def test_pairs_are_pytorchs() -> None:
    theirs = {(p.__name__, q.__name__) for p, q in torch.distributions.kl._KL_REGISTRY}
    ours = set(OTHERS)
    assert ours == theirs


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(("title", "call"), REFUSED, ids=[title for title, _ in REFUSED])
def test_errors(title: str, call: Any) -> None:
    want, have = (outcome(lambda t=t: call(Maker(t))) for t in (torch, tilegrad))
    assert isinstance(want, type) and have is want
