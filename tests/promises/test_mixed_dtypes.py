"""Operands of several dtypes, in step with PyTorch: what is promoted, cast back or refused."""

from __future__ import annotations

import builtins
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

KINDS = ("float32", "float64", "int64", "bool")
Call = Callable[..., Any]

# another NotImplementedError comes first in PyTorch
EARLIER = {"conv_transpose1d", "histogram", "bmm", "einsum", "cross", "conv1d", "normal"}


def _functional(name: str, **options: Any) -> Call:
    return lambda t, *x: getattr(t.nn.functional, name)(*x, **options)


def _plain(name: str, **options: Any) -> Call:
    return lambda t, *x: getattr(t, name)(*x, **options)


PAIRS: dict[str, Call] = {
    name: _functional(name)
    for name in (
        "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
        "binary_cross_entropy_with_logits", "kl_div", "soft_margin_loss", "hinge_embedding_loss",
        "poisson_nll_loss", "multilabel_soft_margin_loss", "cosine_similarity", "pairwise_distance",
    )
} | {
    name: _plain(name)
    for name in (
        "cdist", "dist", "maximum", "fmax", "hypot", "atan2", "fmod", "remainder", "pow", "copysign",
        "nextafter", "heaviside", "gcd", "ldexp", "logaddexp", "logaddexp2", "true_divide", "floor_divide", "xlogy", "rsub",
        "float_power", "isin", "searchsorted", "allclose", "equal", "isclose", "clamp", "kron",
        "logical_and", "masked_fill", "masked_select", "normal", "complex", "polar",
    )
} | {
    **{
        f"{name} of one": lambda t, x, y, name=name: getattr(t.nn.functional, name)(x, y[0, 0])
        for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
    },
    "log_target": _functional("kl_div", log_target=True),
    "cross_entropy of shares": _functional("cross_entropy"),
    "cross_entropy": lambda t, x, w: t.nn.functional.cross_entropy(x, t.tensor([0, 1]), weight=w[0]),
    "nll_loss": lambda t, x, w: t.nn.functional.nll_loss(x, t.tensor([0, 1]), weight=w[0]),
    "multi_margin_loss": lambda t, x, w: t.nn.functional.multi_margin_loss(x, t.tensor([0, 1]), weight=w[0]),
    "rms_norm": lambda t, x, w: t.nn.functional.rms_norm(x, (2,), w[0]),
    "prelu": lambda t, x, w: t.nn.functional.prelu(x, w[0]),
    "embedding_bag": lambda t, x, w: t.nn.functional.embedding_bag(
        t.tensor([[0, 1]]), x, per_sample_weights=w[:1], mode="sum"
    ),
    "grid_sample": lambda t, x, y: t.nn.functional.grid_sample(x[None, None], y[None, None]),
    "conv1d": lambda t, x, y: t.nn.functional.conv1d(x[None], y[None]),
    "addmm": lambda t, x, y: t.addmm(x, y, y),
    "addmm_": lambda t, x, y: x.clone().addmm_(y, y),
    "addmv": lambda t, x, y: t.addmv(x[0], y, y[0]),
    "addbmm": lambda t, x, y: t.addbmm(x, y[None], y[None]),
    "baddbmm": lambda t, x, y: t.baddbmm(x[None], y[None], y[None]),
    "addr": lambda t, x, y: t.addr(x, y[0], y[0]),
    "mm": _plain("mm"),
    "bmm": lambda t, x, y: t.bmm(x[None], y[None]),
    "dot": lambda t, x, y: t.dot(x[0], y[0]),
    "einsum": lambda t, x, y: t.einsum("ij,jk", x, y),
    "cross": lambda t, x, y: t.cross(t.cat([x[0], x[0][:1]]), t.cat([y[0], y[0][:1]]), 0),
    "lerp": lambda t, x, y: t.lerp(x, y, 0.5),
    "cat": lambda t, x, y: t.cat([x, y]),
    "scatter": lambda t, x, y: x.scatter(0, t.zeros(2, 2, dtype=t.int64), y),
    "index_add": lambda t, x, y: x.index_add(0, t.tensor([0, 1]), y),
    "index_put": lambda t, x, y: x.index_put((t.tensor([0]),), y[0]),
    "copy_": lambda t, x, y: x.clone().copy_(y),
    "sub_": lambda t, x, y: x.clone().sub_(y),
    "ldexp of one": lambda t, x, y: t.ldexp(x[0, 0], y),
    "soft_margin_loss of one": lambda t, x, y: t.nn.functional.soft_margin_loss(x[0, 0], y),
    "hinge, none": lambda t, x, y: t.nn.functional.hinge_embedding_loss(x, y, reduction="none"),
    "hinge, sum": lambda t, x, y: t.nn.functional.hinge_embedding_loss(x, 1 - 2 * y, 1.5, reduction="sum"),
    "histogram": lambda t, x, w: t.histogram(x, 2, weight=w)[0],
    "vecdot": lambda t, x, y: t.linalg.vecdot(x, y),
    "cov, how often": lambda t, x, w: t.cov(x, fweights=w[0]),
    "cov, weighted": lambda t, x, w: t.cov(x, aweights=w[0]),
}  # fmt: skip
TRIPLES: dict[str, Call] = {
    "binary_cross_entropy": lambda t, x, y, w: t.nn.functional.binary_cross_entropy(x, y, weight=w),
    "bce_with_logits": lambda t, x, y, w: t.nn.functional.binary_cross_entropy_with_logits(x, y, w),
    "of positives": lambda t, x, y, w: t.nn.functional.binary_cross_entropy_with_logits(x, y, pos_weight=w),
    "mse_loss": lambda t, x, y, w: t.nn.functional.mse_loss(x, y, weight=w),
    "cross_entropy of shares": lambda t, x, y, w: t.nn.functional.cross_entropy(x, y, weight=w[0]),
    "gaussian_nll_loss": lambda t, x, y, v: t.nn.functional.gaussian_nll_loss(x, y, v),
    "margin_ranking_loss": lambda t, x, y, z: t.nn.functional.margin_ranking_loss(x, y, z),
    "layer_norm": lambda t, x, w, b: t.nn.functional.layer_norm(x, (2,), w[0], b[0]),
    "batch_norm": lambda t, x, w, b: t.nn.functional.batch_norm(x, None, None, w[0], b[0], True),
    "running": lambda t, x, m, v: t.nn.functional.batch_norm(x, m[0].clone(), v[0].clone()),
    "linear": lambda t, x, w, b: t.nn.functional.linear(x, w, b[0]),
    "lerp": lambda t, x, y, w: t.lerp(x, y, w),
    "addcmul": lambda t, x, y, z: t.addcmul(x, y, z),
    "addcdiv": lambda t, x, y, z: t.addcdiv(x, y, z),
    "clamp": lambda t, x, y, z: t.clamp(x, y, z),
    "conv_transpose1d": lambda t, x, w, b: t.nn.functional.conv_transpose1d(x[None], w[..., None], b[0]),
    "where": lambda t, c, x, y: t.where(c, x, y),
    "attention": lambda t, q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v),
}  # fmt: skip


def outcome(t: Any, call: Call, kinds: tuple[str, ...]) -> Any:
    """(dtype, values) of a result, or the exception."""
    tensors = []
    for number, kind in enumerate(kinds):
        x = np.random.default_rng(number).random((2, 2)) * 0.8 + 0.1
        x = (
            (x * 3).astype(kind)
            if kind == "int64"
            else x > 0.5
            if kind == "bool"
            else x.astype(kind)
        )
        tensors.append(t.from_numpy(x.copy()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = call(t, *tensors)
    except Exception as error:
        return error
    if isinstance(found, bool):
        return "bool", found
    return str(found.dtype).rpartition(".")[2], found.numpy()


def difference(name: str, call: Call, kinds: tuple[str, ...]) -> str:
    """What is not as in PyTorch, or nothing."""
    ours, theirs = outcome(tilegrad, call, kinds), outcome(torch, call, kinds)
    said = f"{kinds}: {ours!r}, and in PyTorch {theirs!r}"
    if isinstance(theirs, Exception):
        if not isinstance(ours, Exception):
            return said
        kind = RuntimeError if name in EARLIER else getattr(builtins, type(theirs).__name__)
        return "" if isinstance(ours, kind) else said
    if isinstance(ours, Exception) or ours[0] != theirs[0]:
        return said
    if name == "normal":  # drawn
        return ""
    return "" if np.allclose(ours[1], theirs[1], 1e-5, 1e-6, equal_nan=True) else said


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str) -> None:
    found = [difference(name, PAIRS[name], kinds) for kinds in itertools.product(KINDS, KINDS)]
    assert not any(found), "\n".join(filter(None, found))


@pytest.mark.parametrize("name", TRIPLES)
def test_one_of_three_is_another(name: str) -> None:
    every = [k for k in itertools.product(KINDS, repeat=3) if len(set(k)) < 3]
    found = [difference(name, TRIPLES[name], kinds) for kinds in every]
    assert not any(found), "\n".join(filter(None, found))


# of x = [1, 2] in float32, whole numbers n, truth values b and complex numbers z
REFUSED = """
t.lerp(x, x, 1j)|x.index_fill(0, n - 1, 1j)|n.index_fill_(0, n - 1, z[0])|t.take(x, n.int() - 1)|t.dist(x, 1.5)|t.dist(2, x)
t.copysign(1.5, x)|t.ldexp(2.0, x)|t.ldexp(x, b)|t.frac(n)|t.hypot(n, n)|t.pow(b, b)|True ** b|b.pow_(b)
b.clamp(True)|b.clamp_max_(True)|b.clamp(False, True)|b.clamp(b, b)
t.cosine_similarity(z, z, 0)|t.cosine_similarity(x, z, 0)|t.addr(n[0], n.int(), b)|b ** True|b.clamp(0, 1)|b.clamp(b)
t.nn.functional.conv1d(z[None, None], z[None, None], x[:1])|t.nn.functional.conv_transpose1d(x[None, None], x[None, None], z[:1])
t.nn.functional.soft_margin_loss(z, n.to(t.uint8), reduction="none")|t.nn.functional.soft_margin_loss(z, b, reduction="sum")
"""


@pytest.mark.parametrize("call", REFUSED.replace("\n", "|").strip("|").split("|"))
def test_other_kinds_beside_numbers(call: str) -> None:
    found: list[Any] = []
    for t in (tilegrad, torch):
        x = t.tensor([1.0, 2.0])
        names = {"t": t, "x": x, "n": x.long(), "b": x > 1, "z": x * (1 + 2j)}
        try:
            made = eval(call, names)
            found.append((str(made.dtype).rpartition(".")[2], made.numpy()))
        except Exception as error:
            found.append(
                (NotImplementedError if isinstance(error, NotImplementedError) else type(error), ())
            )
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)
