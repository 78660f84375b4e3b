"""Nodes are called as PyTorch's: the class of ``grad_fn``, its ``name()``, what it leads to."""

from __future__ import annotations

import fnmatch
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.cases.case import Case
from tests.cases.test_cases import CASES

# the op, on a vector of three (x), a matrix (m), a stack of matrices (s), an image (i)
CALLS = """
x + 1; x - x; x * 2; x / 2; -x; x ** 2; x ** x; 2 ** x; x.pow(1); x.exp(); x.log(); x.sqrt(); x.rsqrt(); x.sin()
x.abs(); x.sigmoid(); x.tanh(); x.erf(); x.reciprocal(); x.round(); x.sign(); x.clamp(-1, 1); x.clamp(min=0); x % 2
x % x; t.fmod(x, 2); t.maximum(x, x); t.atan2(x, x); t.where(x > 0, x, 0.0); t.lerp(x, x, 0.5); t.addcmul(x, x, x)
x.sum(); m.sum(0); x.mean(); m.mean(1); x.prod(); m.prod(0); m.amax(0); m.std(); m.var(); x.norm(); x.logsumexp(0)
x.max(); x.min(); m.max(0)[0]; m.median(); m.median(0)[0]; m.kthvalue(1)[0]; x.nansum(); m.nansum(0)
x.log1p(); t.aminmax(x)[0]; t.var_mean(x)[0]; t.std_mean(m, 0)[1]; F.pad(m, (1, 1)); F.pad(i, (1, 1, 1, 1), mode='reflect')
F.pad(i, (1, 1, 1, 1), mode='replicate'); (x * 1).zero_(); F.gelu(x, approximate='tanh')
x.cumsum(0); x.cumprod(0); x.softmax(0); x.log_softmax(0); x.sort()[0]; x.topk(2)[0]; x.cummax(0)[0]
x.clone(); x.double(); x.view(3, 1); x.unsqueeze(0); x.expand(2, 3); m.transpose(0, 1); m.permute(1, 0); x.flip(0)
x[0]; x[1:]; x[None]; m[0, 1:]; x[t.tensor([0, 1])]; x.split(2)[0]; x.unbind()[0]; m.diagonal(); x.unfold(0, 2, 1)
t.cat([x, x]); t.stack([x, x]); x.gather(0, t.tensor([0])); x.index_select(0, t.tensor([0])); m.tril()
x @ x; m @ m.t(); m @ x; s @ s; F.relu(x); F.elu(x); F.silu(x); F.gelu(x); F.softplus(x); F.logsigmoid(x); F.glu(s)
F.leaky_relu(x); F.hardtanh(x); F.selu(x); F.conv2d(i, i); F.avg_pool2d(i, 2); F.max_pool2d(i, 2)
F.layer_norm(m, (3,)); F.group_norm(i, 1); F.batch_norm(m, None, None, training=True)
F.nll_loss(m, t.tensor([0, 1])); F.embedding(t.tensor([0]), m)
x ** 3; x ** 0; x ** -1; x ** 0.5; x ** 1.7; t.bmm(s, s); t.addmm(m @ m.t(), m, m.t()); t.addmv(m @ x, m, x)
t.baddbmm(s, s, s, beta=0); m.t(); t.roll(m, 1); t.roll(m, 1, 0); t.rot90(m); m.trace(); m.take(t.tensor([0])); m[m > 0]
x.masked_fill(x > 0, 1.0); x.masked_fill(x > 0, t.tensor(1.0)); F.adaptive_avg_pool2d(i, 2); F.adaptive_max_pool2d(i, 2)
F.mse_loss(x, x * 2); F.mse_loss(x, x * 2, reduction='none'); F.l1_loss(x, x * 2); F.l1_loss(x, x, reduction='none')
F.smooth_l1_loss(x, x * 2); F.huber_loss(x, x * 2, reduction='sum'); F.binary_cross_entropy(x, x.detach())
F.binary_cross_entropy_with_logits(x, x.detach()); F.soft_margin_loss(x, x.detach(), reduction='none')
F.linear(m, m); F.linear(m, m, m @ x); F.linear(s, s[0]); F.linear(s, s[0], s[0, 0]); t.sub(x, x, alpha=2); x.round(decimals=1)
x.scatter(0, t.tensor([0]), 1.0); x.scatter_reduce(0, t.tensor([0]), x, 'sum'); F.softsign(x); F.tanhshrink(x); 2.0 / x
(x * 1).add_(1); (x * 1).mul_(x); (x * 1).fill_(1); (x * 1).copy_(x); (x * 1).relu_(); put(x * 1)
F.interpolate(i, size=(2, 2)); F.interpolate(i[0], size=2, mode='nearest-exact'); F.interpolate(i[None], size=1, mode='trilinear')
F.pixel_shuffle(i, 1); F.pixel_unshuffle(i[0], 1); F.channel_shuffle(i, 1); F.unfold(i[0], 2); F.fold(i.view(1, 4), (2, 2), 1)
F.embedding_bag(t.tensor([0, 1]), m, t.tensor([0]), per_sample_weights=x[:2], mode='sum'); F.pdist(m[:1], 1)
F.embedding_bag(t.tensor([[0, 1]]), m, padding_idx=0); F.max_unpool3d(i, t.tensor([[[[0, 1], [2, 3]]]]), 1)
F.multi_margin_loss(x, t.tensor(1), reduction='none'); F.multilabel_margin_loss(x, t.tensor([1, -1, 0]), reduction='sum')
F.fractional_max_pool2d(i[0], 1, 2); F.fractional_max_pool2d(i, 1, 2, return_indices=True)[0]; t.frexp(x)[0]
F.ctc_loss(i[0], t.tensor([[1], [1]]), [1, 1], [1, 1], reduction='none')
x.t(); (x * 1).pow_(3); (x * 1).pow_(x.detach()); (x * 1).cumsum_(0); (x * 1).square_(); x.deg2rad(); (x * 1).rad2deg_()
2 - x; t.rsub(x, 2, alpha=3); t.rsub(x, x); 1 / x; x.norm(1); m.norm(1, 0); m.norm(3, 0); t.cdist(m, m); F.pairwise_distance(m, m)
m[:1].squeeze(0); m.squeeze(); m[:1].squeeze((0, 1)); m.split([1, 1])[0]; m.split(1)[0]; t.tensor_split(m, 2)[1]
F.instance_norm(i); F.rms_norm(m, (3,)); F.rms_norm(m, (3,), x); t.div(x, 2, rounding_mode='floor'); t.div(x, x, rounding_mode='trunc')
F.avg_pool1d(m, 2); F.max_pool1d(i[0], 2); F.adaptive_avg_pool1d(m, 1); F.adaptive_max_pool1d(i[0], 1); F.avg_pool2d(i[0], 2)
F.max_pool2d(i[0], 2); F.max_pool3d(i, 1); F.avg_pool3d(i, 1); F.adaptive_max_pool2d(i[0], 1); F.max_unpool1d(m, t.tensor([[0, 1, 2]] * 2), 1)
F.ctc_loss(i[0], t.tensor([[1], [1]]), [1, 1], [1, 1], reduction='none', zero_infinity=True)
x.sum(0); x.sum((0,)); m.sum((0, 1)); x.sum(0, True); x.mean(0); m.mean((0, 1)); x.prod(0); x[0].sum(0); x[0].prod(0); x[0].prod()
m.H; m.mH; m.adjoint(); m.T; t.unsafe_split(m, 1)[0]; t.unsafe_split_with_sizes(m, [1, 1])[1]; t.unsafe_chunk(m, 2)[1]
t.split_copy(m, 1)[0]; t.unbind_copy(m)[0]; t.t_copy(m); t.view_copy(m, (6,)); t.squeeze_copy(m); t.squeeze_copy(m, 0); t.narrow_copy(m, 0, 0, 1)
t.select_copy(m, 0, 0); t.slice_copy(m, 0, 0, 1); t.permute_copy(m, (1, 0)); t.diagonal_copy(m); t.as_strided_copy(m, (2,), (1,)); t.alias_copy(m)
t.select_scatter(m, t.ones(3), 0, 0); t.slice_scatter(m, t.ones(1, 3), 0, 0, 1); t.diagonal_scatter(m, t.ones(2))
(x * 1).clamp_min_(0); (x * 1).clamp_max_(0); x.clamp_min(0); x.clamp_max(0); x.clamp_min(x); x.clamp_max(x.detach()); (x * 1).clamp_min_(x)
(m * 1).squeeze_(); (m * 1).squeeze_(0); (m * 1).squeeze_((0, 1)); (m * 1).unsqueeze_(0); (m * 1).t_(); (m * 1).transpose_(0, 1)
(m * 1).swapaxes_(0, 1); (m * 1).as_strided_((3,), (1,)); (m * 1)[:1].squeeze_(); (m * 1).tril_(); (m * 1).triu_(1); (x * 1).round_(decimals=1)
(x * 1).masked_scatter_(x > 0, t.ones(3)); (x * 1).scatter_reduce_(0, t.tensor([0]), t.ones(1), 'sum'); F.elu(x * 1, inplace=True)
F.selu(x * 1, inplace=True); F.celu(x * 1, inplace=True); F.leaky_relu(x * 1, inplace=True); F.threshold(x * 1, 0.5, 1.0, inplace=True)
F.hardtanh(x * 1, inplace=True); F.silu(x * 1, inplace=True); F.mish(x * 1, inplace=True); F.hardswish(x * 1, inplace=True); x // 2
F.grid_sample(i.detach(), i.expand(1, 2, 2, 2), 'nearest', align_corners=True); t.rot90(m, 0); t.block_diag(m, m)
"""
LIST = [call.strip() for line in CALLS.split("\n") for call in line.split(";") if call.strip()]


def put(value: Any) -> Any:
    """A base whose view was written to."""
    value[0] = 1.0
    return value


def made(t: Any, call: str) -> Any:
    """The result of ``call`` on leaves of library ``t``."""
    leaf = lambda *shape: (t.ones(shape) / 3).requires_grad_()
    names = {"x": leaf(3), "m": leaf(2, 3), "s": leaf(2, 2, 2), "i": leaf(1, 1, 2, 2)}
    return eval(call, {"t": t, "F": t.nn.functional, "put": put, **names})


@pytest.mark.parametrize("call", LIST)
def test_a_node_has_its_name(call: str) -> None:
    """Its class, ``name()`` and what is printed."""
    want = type(made(torch, call).grad_fn).__name__
    value = made(tilegrad, call)
    have = value.grad_fn
    assert type(have).__name__ == have.name() == want
    assert value.grad_fn is have and f"grad_fn=<{want}>" in repr(value)


def test_a_named_node_works_as_before() -> None:
    """What was looked at is differentiated, by edges to its first output and to others."""
    x = tilegrad.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    low, high = tilegrad.aminmax(y)
    names = {type(n.grad_fn).__name__ for n in (y, low, high)}
    assert "MulBackward0" in names
    (low + high * 2).backward()
    assert x.grad is not None and x.grad.tolist() == [2.0, 8.0]


def test_the_graph_can_be_walked() -> None:
    """From a result down to the leaves, as PyTorch's users do."""
    for t in (tilegrad, torch):
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = (x * 2 + x).sum()
        found, ahead = [], [y.grad_fn]
        while ahead:
            node = ahead.pop()
            found.append(type(node).__name__)
            ahead += [below for below, _ in node.next_functions if below is not None]
        assert sorted(found) == sorted(
            ["SumBackward0", "AddBackward0", "MulBackward0", "AccumulateGrad", "AccumulateGrad"]
        )
        (mul, _), (leaf, _) = y.grad_fn.next_functions[0][0].next_functions
        assert leaf.variable is x and leaf == mul.next_functions[0][0]


def test_a_function_of_ones_own() -> None:
    """The class's name, without a number."""

    class Twice(tilegrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    y = Twice.apply(tilegrad.ones(2, requires_grad=True))
    assert type(y.grad_fn).__name__ == y.grad_fn.name() == "TwiceBackward"
    assert "grad_fn=<TwiceBackward>" in repr(y)


# rows of the table of ops whose nodes have other names than PyTorch's, by the reason; a name that ends in
# * stands for all that begin so
_OTHER = {
    "attention is one node here; PyTorch's choice of a kernel shows in its": "attention-*",
    "a step of the fused layer, whose node has its other outputs, too; PyTorch's names are those of the last op of"
        " its chain, and of other kernels on a GPU": "lstm-plain-packed lstm_cell gru_cell rnn_*_cell",
    "the same kernel by another name": "adaptive_avg_pool2d-whole setitem-mask-* index_fill-tensor",
    "another chain of views": "pad-circular* diag-matrix matmul-4@4x5 matmul-3x4@2x4x5 atleast_3d"
        " cross_entropy-probabilities-*",
    "composed of other factorisations and products, whose last op is seen": "cholesky_solve cholesky_inverse lu-tall"
        " lu-wide lu_solve-adjoint solve-right solve-vectors householder_product ormqr lstsq matrix_exp multi_dot",
    "of no dimension, seen as one of one": "index_select-scalar gather-scalar scatter_add-scalar",
}  # fmt: skip


_LISTED = [pattern for group in _OTHER.values() for pattern in group.split()]


def _excused(name: str) -> list[str]:
    return [pattern for pattern in _LISTED if fnmatch.fnmatchcase(name, pattern)]


def _node_names(t: Any, case: Case, arrays: list[Any]) -> list[str | None]:
    leaves = [t.from_numpy(a.copy()) for a in arrays]
    for place in case.gradient_positions():
        leaves[place].requires_grad_()
    found = case.call(t, *leaves)
    results = [found] if hasattr(found, "dtype") else list(found)
    return [r.grad_fn and type(r.grad_fn).__name__ for r in results]


@pytest.mark.filterwarnings("ignore")
def test_nodes_of_the_whole_table(rng: np.random.Generator) -> None:
    """Every row of the table of ops that a gradient flows through, but for those that are listed; and
    nothing is listed that has PyTorch's name.
    """
    differ, needed = [], set()
    for case in CASES:
        if "float64" in case.dtypes and case.gradient_positions():
            arrays = [a.make(rng, "float64") for a in case.args]
            have, want = (_node_names(t, case, arrays) for t in (tilegrad, torch))
            if have != want:
                needed.update(_excused(case.name))
                if not _excused(case.name):
                    differ.append(f"{case.name}: {have}, PyTorch {want}")
    assert not differ, "\n".join(differ)
    assert not set(_LISTED) - needed
