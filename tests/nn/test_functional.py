"""What the rows of losses and activations leave out: errors, flags, writing in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.nn import functional as F

INPLACE = [
    ("relu", ()),
    ("relu6", ()),
    ("leaky_relu", (0.1,)),
    ("elu", (0.7,)),
    ("celu", (0.7,)),
    ("selu", ()),
    ("silu", ()),
    ("mish", ()),
    ("hardtanh", (-1.0, 1.0)),
    ("hardsigmoid", ()),
    ("hardswish", ()),
    ("threshold", (0.5, -1.0)),
]


@pytest.mark.parametrize(("name", "args"), INPLACE, ids=[n for n, _ in INPLACE])
def test_in_place_activations_keep_their_gradient(
    name: str, args: tuple[Any, ...], rng: np.random.Generator
) -> None:
    x = rng.uniform(-4, 4, (5, 7))
    results = []
    for inplace in (False, True):
        leaf = tilegrad.from_numpy(x.copy()).requires_grad_()
        middle = leaf * 1
        out = getattr(F, name)(middle, *args, inplace=inplace)
        assert (out is middle) == inplace
        (out * out).sum().backward()
        results.append((out.tolist(), leaf.grad.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", ["relu_", "elu_", "leaky_relu_", "hardtanh_", "selu_", "celu_"])
def test_underscored_names_write_in_place(name: str) -> None:
    x = tilegrad.tensor([-2.0, 0.5, 3.0])
    want = getattr(F, name[:-1])(x).tolist()
    assert getattr(F, name)(x) is x
    assert x.tolist() == want


@pytest.mark.parametrize("call", [lambda x: F.celu(x, 0.7), F.hardsigmoid, F.softsign])
def test_gradients_that_pytorch_rounds(call: Any, rng: np.random.Generator) -> None:
    x = tilegrad.from_numpy(rng.uniform(-2.5, 2.5, 20)).requires_grad_()
    assert tilegrad.autograd.gradcheck(call, [x])


@pytest.mark.parametrize(
    "flags",
    [
        {"size_average": False},
        {"reduce": False},
        {"size_average": True, "reduce": True},
        {"reduction": "sum"},
    ],
)
@pytest.mark.filterwarnings("ignore:size_average and reduce args:UserWarning")  # PyTorch's
def test_old_reduction_flags(flags: dict[str, Any]) -> None:
    x, y = np.array([1.0, 2.0, 4.0]), np.array([0.5, 3.0, 1.0])
    have = F.mse_loss(tilegrad.from_numpy(x), tilegrad.from_numpy(y), **flags)
    want = torch.nn.functional.mse_loss(torch.from_numpy(x), torch.from_numpy(y), **flags)
    assert have.tolist() == want.tolist()


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda t, f: f.mse_loss(t.ones(2), t.ones(2), reduction="max"), ValueError),
        (lambda t, f: f.mse_loss(t.ones(2), t.ones(2), weight=t.ones(3)), ValueError),
        (lambda t, f: f.binary_cross_entropy(t.ones(2) * 2, t.ones(2)), RuntimeError),
        (lambda t, f: f.binary_cross_entropy(t.ones(2), t.ones(3)), ValueError),
        (lambda t, f: f.binary_cross_entropy_with_logits(t.ones(2), t.ones(3)), ValueError),
        (lambda t, f: f.smooth_l1_loss(t.ones(2), t.ones(2), beta=-1.0), RuntimeError),
        (lambda t, f: f.huber_loss(t.ones(2), t.ones(2), delta=0.0), RuntimeError),
        (lambda t, f: f.gaussian_nll_loss(t.ones(2), t.ones(2), -t.ones(2)), ValueError),
        (lambda t, f: f.gaussian_nll_loss(t.ones(2, 3), t.ones(2, 3), t.ones(3)), ValueError),
        (lambda t, f: f.cosine_embedding_loss(t.ones(2, 3), t.ones(2, 3), t.ones(2, 3)), RuntimeError),
        (lambda t, f: f.margin_ranking_loss(t.ones(2), t.ones(2), t.ones(2, 1)), RuntimeError),
        (lambda t, f: f.triplet_margin_loss(t.ones(2), t.ones(2), t.ones(2), margin=0), ValueError),
        (lambda t, f: f.prelu(t.ones(2, 3), t.ones(2)), RuntimeError),
        (lambda t, f: f.prelu(t.ones(2, 3), t.ones(1, 1)), RuntimeError),
        (lambda t, f: f.gelu(t.ones(2), approximate="erf"), RuntimeError),
        (lambda t, f: f.gelu(t.ones(2, dtype=t.int64)), RuntimeError),
        (lambda t, f: f.celu(t.ones(2), 0.0), RuntimeError),
        (lambda t, f: f.softshrink(t.ones(2), -1.0), RuntimeError),
        (lambda t, f: f.hardtanh(t.ones(2), 1.0, -1.0), ValueError),
        (lambda t, f: f.glu(t.ones(3)), RuntimeError),
        (lambda t, f: f.glu(t.ones(())), RuntimeError),
        (lambda t, f: f.bilinear(t.ones(2, 3), t.ones(3, 3), t.ones(1, 3, 3)), RuntimeError),
        (
            lambda t, f: f.scaled_dot_product_attention(
                t.ones(2, 3), t.ones(2, 3), t.ones(2, 3), t.ones(2, 2), is_causal=True
            ),
            RuntimeError,
        ),
    ],
)  # fmt: skip
def test_refuses_what_pytorch_refuses(call: Any, kind: type) -> None:
    for t, f in ((tilegrad, F), (torch, torch.nn.functional)):
        with pytest.raises(kind):
            call(t, f)


def test_broadcast_targets_are_warned_about() -> None:
    with pytest.warns(UserWarning, match="different to the input size"):
        F.mse_loss(tilegrad.ones(2, 3), tilegrad.ones(3))


def test_binary_cross_entropy_at_the_ends() -> None:
    """Finite losses and gradients, as PyTorch's."""
    x, y = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0])
    ours = tilegrad.from_numpy(x).requires_grad_()
    theirs = torch.from_numpy(x).requires_grad_()
    F.binary_cross_entropy(ours, tilegrad.from_numpy(y), reduction="sum").backward()
    torch.nn.functional.binary_cross_entropy(
        theirs, torch.from_numpy(y), reduction="sum"
    ).backward()
    # PyTorch rounds the 1e-12 below the fraction to float32
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-8)


def test_attention_drops_and_groups_heads() -> None:
    tilegrad.manual_seed(0)
    q, k = tilegrad.randn(2, 4, 5, 8), tilegrad.randn(2, 2, 6, 8)
    have = F.scaled_dot_product_attention(q, k, k, enable_gqa=True)
    want = torch.nn.functional.scaled_dot_product_attention(
        *(torch.from_numpy(x.numpy()) for x in (q, k, k)), enable_gqa=True
    )
    np.testing.assert_allclose(have.numpy(), want.numpy(), rtol=1e-5, atol=1e-6)
    whole = F.scaled_dot_product_attention(q, q, q)
    dropped = F.scaled_dot_product_attention(q, q, q, dropout_p=0.5)
    assert not np.allclose(whole.numpy(), dropped.numpy())


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("lengths", [(2, 2), (2, 4), (0, 4)])
def test_an_infinite_ctc_loss_has_no_gradient(
    lengths: tuple[int, ...], zero_infinity: bool, reduction: str, rng: np.random.Generator
) -> None:
    """NaN in the steps of its sequence, unless such losses are zero; those of the others are finite."""
    scores, found = rng.normal(size=(4, 2, 3)), []
    for t in (tilegrad, torch):
        x = t.from_numpy(scores.copy()).log_softmax(2).requires_grad_()
        loss = t.nn.functional.ctc_loss(
            x, t.tensor([[1, 1], [1, 2]]), lengths, (2, 2), reduction=reduction,
            zero_infinity=zero_infinity,
        )  # fmt: skip
        loss.sum().backward()
        found.append((loss.detach().numpy(), x.grad.numpy()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-9, 1e-12)


@pytest.mark.parametrize("tracked", [(False, True), (True, True)])
@pytest.mark.parametrize("sizes", [(2, 2), (2, 2, 2)])
def test_places_of_the_nearest_have_a_gradient_of_zero(
    sizes: tuple[int, ...], tracked: tuple[bool, bool]
) -> None:
    image = tilegrad.ones(1, 2, *[4] * len(sizes), requires_grad=tracked[0])
    grid = tilegrad.zeros(1, *sizes, len(sizes)).requires_grad_()
    made = F.grid_sample(image, grid, "nearest", align_corners=True)
    assert made.requires_grad
    made.sum().backward()
    assert grid.grad is not None and not grid.grad.any()
    assert tracked[0] == (image.grad is not None)


def test_a_float32_mask_meets_float64_queries() -> None:
    """The mask keeps its dtype, so does its gradient; no other pair of floats goes together."""
    drawn = np.random.default_rng(0)
    arrays = [drawn.standard_normal((2, 3, 4)) for _ in range(3)]
    bias = drawn.standard_normal((3, 3)).astype(np.float32)
    grads = []
    for library in (torch, tilegrad):
        mask = library.from_numpy(bias.copy()).requires_grad_()
        attend = library.nn.functional.scaled_dot_product_attention
        out = attend(*(library.from_numpy(a) for a in arrays), attn_mask=mask)
        (out * out).sum().backward()
        assert mask.grad.dtype == library.float32
        grads.append((out.detach().numpy(), mask.grad.numpy()))
        q = library.ones(3, 4)
        for other in (mask.detach().double(), mask.detach().long()):
            with pytest.raises(
                RuntimeError, match="Expected attn_mask dtype to be bool or float or to match"
            ):
                attend(q, q, q, attn_mask=other)
    np.testing.assert_allclose(grads[1][0], grads[0][0], rtol=1e-12)
    np.testing.assert_allclose(grads[1][1], grads[0][1], rtol=1e-5, atol=1e-7)
