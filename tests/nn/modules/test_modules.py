"""Every layer against PyTorch's: printing, parameters, outputs and gradients."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.conftest import TOLERANCES
from tilegrad import nn

# how to make the layer, from either library's nn; the shapes of its inputs
LAYERS: list[tuple[Any, tuple[tuple[int, ...], ...]]] = [
    (lambda n: n.Identity(3, key=1), ((2, 3),)),
    (lambda n: n.Linear(5, 3), ((2, 7, 5),)),
    (lambda n: n.Linear(5, 3, bias=False), ((5,),)),
    (lambda n: n.Bilinear(4, 5, 3), ((2, 4), (2, 5))),
    (lambda n: n.Flatten(), ((2, 3, 4),)),
    (lambda n: n.Unflatten(1, (2, 3)), ((4, 6),)),
    (lambda n: n.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), ((2, 4, 9),)),
    (lambda n: n.Conv1d(2, 3, 4, padding="same", padding_mode="reflect"), ((2, 2, 9),)),
    (lambda n: n.Conv2d(3, 4, 3, padding=1), ((2, 3, 5, 6),)),
    (lambda n: n.Conv2d(3, 4, (3, 2), dilation=(1, 2), bias=False), ((3, 5, 6),)),
    (lambda n: n.Conv2d(3, 4, 3, padding=(1, 2), padding_mode="circular"), ((2, 3, 5, 6),)),
    (lambda n: n.Conv2d(3, 4, 3, padding=1, padding_mode="replicate"), ((2, 3, 5, 6),)),
    (lambda n: n.ConvTranspose1d(3, 4, 3, stride=2, output_padding=1), ((2, 3, 5),)),
    (lambda n: n.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2), ((2, 4, 4, 3),)),
    (lambda n: n.BatchNorm1d(4), ((5, 4),)),
    (lambda n: n.BatchNorm1d(4, affine=False), ((3, 4, 5),)),
    (lambda n: n.BatchNorm2d(3, momentum=None), ((4, 3, 2, 3),)),
    (lambda n: n.BatchNorm2d(3, track_running_stats=False), ((4, 3, 2, 3),)),
    (lambda n: n.LayerNorm(5), ((3, 5),)),
    (lambda n: n.LayerNorm((4, 5), bias=False), ((3, 4, 5),)),
    (lambda n: n.GroupNorm(2, 4), ((3, 4, 5),)),
    (lambda n: n.InstanceNorm1d(4), ((2, 4, 6),)),
    (lambda n: n.InstanceNorm2d(4, affine=True, track_running_stats=True), ((2, 4, 3, 3),)),
    (lambda n: n.InstanceNorm2d(4), ((4, 3, 3),)),
    (lambda n: n.RMSNorm(5), ((3, 5),)),
    (lambda n: n.Dropout(0.0), ((3, 5),)),
    (lambda n: n.MaxPool1d(3, 2), ((2, 3, 9),)),
    (lambda n: n.MaxPool2d(2, padding=1, ceil_mode=True), ((2, 3, 7, 6),)),
    (lambda n: n.AvgPool1d(2), ((2, 3, 9),)),
    (lambda n: n.AvgPool2d((2, 3), divisor_override=2), ((2, 3, 7, 6),)),
    (lambda n: n.AdaptiveAvgPool1d(4), ((2, 3, 9),)),
    (lambda n: n.AdaptiveAvgPool2d((2, None)), ((2, 3, 7, 6),)),
    (lambda n: n.AdaptiveMaxPool2d(2), ((2, 3, 7, 6),)),
    (lambda n: n.AdaptiveMaxPool3d(2), ((2, 3, 4, 5, 3),)),
    (lambda n: n.ReLU(), ((3, 5),)),
    (lambda n: n.ReLU6(), ((3, 5),)),
    (lambda n: n.LeakyReLU(0.2), ((3, 5),)),
    (lambda n: n.ELU(0.5), ((3, 5),)),
    (lambda n: n.SELU(), ((3, 5),)),
    (lambda n: n.GELU("tanh"), ((3, 5),)),
    (lambda n: n.GELU(), ((3, 5),)),
    (lambda n: n.SiLU(), ((3, 5),)),
    (lambda n: n.Mish(), ((3, 5),)),
    (lambda n: n.Sigmoid(), ((3, 5),)),
    (lambda n: n.Tanh(), ((3, 5),)),
    (lambda n: n.Softplus(2, 1), ((3, 5),)),
    (lambda n: n.Softsign(), ((3, 5),)),
    (lambda n: n.Tanhshrink(), ((3, 5),)),
    (lambda n: n.LogSigmoid(), ((3, 5),)),
    (lambda n: n.Hardtanh(-1.5, 0.5), ((3, 5),)),
    (lambda n: n.Hardswish(), ((3, 5),)),
    (lambda n: n.Softshrink(0.3), ((3, 5),)),
    (lambda n: n.Hardshrink(0.3), ((3, 5),)),
    (lambda n: n.Threshold(0.1, 2), ((3, 5),)),
    (lambda n: n.GLU(1), ((3, 6),)),
    (lambda n: n.PReLU(3), ((2, 3, 4),)),
    (lambda n: n.Softmax(1), ((3, 5),)),
    (lambda n: n.LogSoftmax(dim=-1), ((3, 5),)),
    (lambda n: n.Softmin(0), ((3, 5),)),
    (lambda n: n.Softmax2d(), ((2, 3, 2, 2),)),
    (lambda n: n.MSELoss(), ((3, 5), (3, 5))),
    (lambda n: n.L1Loss(reduction="sum"), ((3, 5), (3, 5))),
    (lambda n: n.SmoothL1Loss(beta=0.5), ((3, 5), (3, 5))),
    (lambda n: n.HuberLoss(delta=0.5), ((3, 5), (3, 5))),
    (lambda n: n.BCEWithLogitsLoss(reduction="none"), ((3, 5), (3, 5))),
    (lambda n: n.TripletMarginLoss(), ((3, 5), (3, 5), (3, 5))),
    (lambda n: n.ConstantPad1d(2, 3.5), ((2, 3, 4),)),
    (lambda n: n.ConstantPad3d((1, 2, 0, 1, 2, 0), -1), ((2, 3, 4, 3, 2),)),
    (lambda n: n.ZeroPad2d((1, 2, 0, 1)), ((2, 3, 4, 3),)),
    (lambda n: n.ReflectionPad2d(1), ((2, 3, 4, 3),)),
    (lambda n: n.ReplicationPad3d(1), ((3, 4, 3, 2),)),
    (lambda n: n.CircularPad1d((1, 2)), ((2, 3, 4),)),
    (lambda n: n.PixelShuffle(2), ((2, 8, 3, 2),)),
    (lambda n: n.PixelUnshuffle(2), ((2, 2, 4, 2),)),
    (lambda n: n.ChannelShuffle(2), ((2, 4, 3, 2),)),
    (lambda n: n.Upsample(scale_factor=2, mode="bilinear"), ((2, 3, 4, 3),)),
    (lambda n: n.UpsamplingNearest2d(size=(3, 7)), ((2, 3, 4, 3),)),
    (lambda n: n.UpsamplingBilinear2d(scale_factor=1.5), ((2, 3, 4, 3),)),
    (lambda n: n.Fold((4, 5), 2), ((2, 12, 12),)),
    (lambda n: n.Unfold(2, padding=1, stride=2), ((2, 3, 4, 5),)),
    (lambda n: n.CosineSimilarity(), ((3, 5), (3, 5))),
    (lambda n: n.PairwiseDistance(1.0, keepdim=True), ((3, 5), (3, 5))),
    (lambda n: n.LPPool2d(2, 2, ceil_mode=True), ((2, 3, 7, 6),)),
    (lambda n: n.LocalResponseNorm(3, 0.1), ((2, 5, 3, 2),)),
    (lambda n: n.TripletMarginWithDistanceLoss(), ((3, 5), (3, 5), (3, 5))),
    (lambda n: n.MultiLabelSoftMarginLoss(), ((3, 5), (3, 5))),
    (lambda n: n.Transformer(8, 2, 1, 1, 16, 0.0, batch_first=True), ((2, 3, 8), (2, 4, 8))),
    (lambda n: n.Sequential(n.Linear(3, 4), n.ReLU(), n.Linear(4, 2)), ((5, 3),)),
]


def _id(row: tuple[Any, Any]) -> str:
    return repr(row[0](nn)).splitlines()[0]


def _pair(make: Any, dtype: str) -> tuple[nn.Module, torch.nn.Module]:
    """The layer in both libraries, with the same state."""
    ours, theirs = make(nn), make(torch.nn)
    ours.to(getattr(tilegrad, dtype))
    theirs.to(getattr(torch, dtype))
    state = {k: tilegrad.from_numpy(np.array(v.numpy())) for k, v in theirs.state_dict().items()}
    assert repr(ours.load_state_dict(state)) == "<All keys matched successfully>"
    return ours, theirs


@pytest.mark.parametrize("row", LAYERS, ids=_id)
def test_prints_and_registers_as_pytorch(row: Any) -> None:
    ours, theirs = row[0](nn), row[0](torch.nn)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for (name, p), (other, q) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert name == other
        assert tuple(p.shape) == tuple(q.shape)


@pytest.mark.parametrize("row", LAYERS, ids=_id)
def test_computes_as_pytorch(row: Any, rng: np.random.Generator) -> None:
    make, shapes = row
    dtype = "float64"  # float32 is the ops' business
    ours, theirs = _pair(make, dtype)
    for mode in (True, False):
        ours.train(mode), theirs.train(mode)
        arrays = [rng.standard_normal(s).astype(dtype) for s in shapes]
        mine = [tilegrad.from_numpy(a.copy()).requires_grad_() for a in arrays]
        other = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
        have, want = ours(*mine), theirs(*other)
        seed = np.asarray(rng.standard_normal(tuple(have.shape)))
        ours.zero_grad(), theirs.zero_grad()
        have.backward(tilegrad.from_numpy(seed)), want.backward(torch.from_numpy(seed))
        rtol, atol = TOLERANCES[dtype]
        close = {"rtol": rtol, "atol": atol}
        np.testing.assert_allclose(have.detach().numpy(), want.detach().numpy(), **close)
        for x, y in zip(mine, other, strict=True):
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), **close)
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), **close)
        for (_, b), (name, c) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
            np.testing.assert_allclose(b.numpy(), c.numpy(), err_msg=name, **close)


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "ConvTranspose1d", "Bilinear"])
def test_initial_values_spread_as_pytorch(name: str) -> None:
    sizes = {"Linear": (200, 300), "Conv2d": (20, 30, 5), "ConvTranspose1d": (40, 60, 7)}
    args = sizes.get(name, (30, 40, 50))
    tilegrad.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        have, want = p.detach().numpy(), q.detach().numpy()
        bound = np.abs(have).max()
        assert bound == pytest.approx(np.abs(want).max(), rel=0.1)  # 30 and more uniform numbers
        assert abs(have.mean()) < 5 * bound / np.sqrt(3 * have.size)


def test_embedding() -> None:
    layer = nn.Embedding(7, 3, padding_idx=2)
    assert repr(layer) == repr(torch.nn.Embedding(7, 3, padding_idx=2))
    assert layer.weight.detach().numpy()[2].tolist() == [0, 0, 0]
    index = tilegrad.tensor([[1, 2], [1, 6]])
    out = layer(index)
    np.testing.assert_array_equal(
        out.detach().numpy(), layer.weight.detach().numpy()[index.numpy()]
    )
    out.sum().backward()
    assert layer.weight.grad.numpy()[:, 0].tolist() == [0, 2, 0, 0, 0, 0, 1]
    fixed = nn.Embedding.from_pretrained(tilegrad.eye(3))
    assert not fixed.weight.requires_grad
    assert fixed(tilegrad.tensor([1])).tolist() == [[0, 1, 0]]


def test_classification_losses(rng: np.random.Generator) -> None:
    scores = rng.standard_normal((5, 4))
    weight = rng.uniform(0.5, 2, 4)
    target = np.array([0, 3, 1, 1, 2])
    for make in (
        lambda n, w: n.CrossEntropyLoss(w, ignore_index=1, label_smoothing=0.1),
        lambda n, w: n.NLLLoss(w, reduction="sum"),
    ):
        have = make(nn, tilegrad.from_numpy(weight))(
            tilegrad.from_numpy(scores), tilegrad.from_numpy(target)
        )
        want = make(torch.nn, torch.from_numpy(weight))(
            torch.from_numpy(scores), torch.from_numpy(target)
        )
        assert have.item() == pytest.approx(want.item(), rel=1e-12)
    assert list(nn.CrossEntropyLoss(tilegrad.ones(4)).state_dict()) == ["weight"]


def test_dropout_follows_the_mode() -> None:
    layer = nn.Dropout(0.5)
    x = tilegrad.ones(1000)
    assert set(np.unique(layer(x).numpy())) == {0.0, 2.0}
    assert layer.eval()(x) is x
    channels = nn.Dropout2d(0.5)(tilegrad.ones(8, 16, 3, 3)).numpy().reshape(128, 9)
    assert (channels == channels[:, :1]).all()
    assert 0 < channels[:, 0].mean() < 2
    with pytest.raises(ValueError, match="between 0 and 1"):
        nn.Dropout(1.5)


def test_transposed_convolution_takes_an_output_size() -> None:
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2)
    x = tilegrad.ones(1, 2, 4, 4)
    assert layer(x).shape == (1, 3, 9, 9)
    assert layer(x, output_size=(10, 9)).shape == (1, 3, 10, 9)
    with pytest.raises(ValueError, match="valid sizes range from 9 to 10"):
        layer(x, output_size=(11, 9))


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda n: n.Conv2d(3, 4, 3, groups=2), ValueError, "in_channels must be divisible"),
        (lambda n: n.Conv2d(4, 3, 3, groups=2), ValueError, "out_channels must be divisible"),
        (lambda n: n.Conv2d(4, 4, 3, padding="half"), ValueError, "Invalid padding string"),
        (lambda n: n.Conv1d(4, 4, 3, stride=2, padding="same"), ValueError, "strided"),
        (lambda n: n.Conv1d(4, 4, 3, padding_mode="warp"), ValueError, "padding_mode must be"),
        (lambda n: n.GroupNorm(3, 4), ValueError, "must be divisible by num_groups"),
        (lambda n: n.TripletMarginLoss(margin=0), ValueError, "greater than 0"),
        (lambda n: n.Bilinear(0, 1, 1), ValueError, "in1_features must be > 0"),
    ],
)  # fmt: skip
def test_refuses_what_pytorch_refuses(make: Any, kind: type, text: str) -> None:
    for library in (nn, torch.nn):
        with pytest.raises(kind, match=text):
            make(library)


def test_batch_norm_refuses_other_ranks() -> None:
    with pytest.raises(ValueError, match=r"expected 4D input \(got 2D input\)"):
        nn.BatchNorm2d(3)(tilegrad.ones(2, 3))
    with pytest.raises(ValueError, match=r"expected 2D or 3D input \(got 4D input\)"):
        nn.BatchNorm1d(3)(tilegrad.ones(2, 3, 1, 1))


def test_a_copied_network_is_independent() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh())
    twin = copy.deepcopy(net)
    x = tilegrad.ones(2, 3)
    before = net.eval()(x).tolist()
    assert twin.eval()(x).tolist() == before
    with tilegrad.no_grad():
        twin[0].weight.add_(1)
    assert net(x).tolist() == before
