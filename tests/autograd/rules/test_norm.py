"""Normalisations: accuracy, running statistics, threads, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.kernels.cpu.simd.emit import has_fma

F, TF = tilegrad.nn.functional, torch.nn.functional


def rms(x: np.ndarray) -> float:
    return float(np.sqrt((x * x).mean()))


@pytest.mark.skipif(not has_fma(), reason="where a product is rounded too, PyTorch's is not")
@pytest.mark.parametrize("shift", [0, 1000])
@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "batch_norm", "instance_norm"])
def test_errors_are_no_larger_than_pytorchs(
    name: str, shift: float, device: str, rng: np.random.Generator
) -> None:
    shape = (8, 12, 19, 23) if device == "cpu" else (2, 6, 19, 23)
    x = (rng.standard_normal(shape) + shift).astype("float32")
    args: tuple[Any, ...] = {
        "layer_norm": ((19, 23),),
        "group_norm": (3,),
        "batch_norm": (None, None, None, None, True),
        "instance_norm": (),
    }[name]
    exact = getattr(TF, name)(torch.from_numpy(x).double(), *args).numpy()
    ours = rms(getattr(F, name)(tilegrad.from_numpy(x).to(device), *args).cpu().numpy() - exact)
    theirs = rms(getattr(TF, name)(torch.from_numpy(x), *args).numpy() - exact)
    # both are mostly the last rounding; on the GPU the deviation is rounded to float32 too
    assert ours <= (1.1 if device == "cpu" else 2) * theirs


def test_threads_do_not_change_a_bit(rng: np.random.Generator) -> None:
    x = rng.standard_normal((64, 48, 9, 11)).astype("float32")
    before = tilegrad.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            tilegrad.set_num_threads(count)
            leaf = tilegrad.from_numpy(x).requires_grad_()
            weight = tilegrad.ones(48, requires_grad=True)
            row = tilegrad.ones(11, requires_grad=True)
            y = F.batch_norm(leaf, None, None, weight, weight, True)
            y = F.group_norm(y * y, 4, weight, weight)
            y = F.layer_norm(y, (11,), row, row)
            y = F.rms_norm(y, (11,), row)
            (y * leaf).sum().backward()
            results.append([t.grad.numpy().tobytes() for t in (leaf, weight, row)])
    finally:
        tilegrad.set_num_threads(before)
    assert results[0] == results[1]


def _compare(call: Any, arrays: list[np.ndarray], device: str) -> bytes:
    """Values and gradients against PyTorch's, in float64; the bytes of all."""
    theirs = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    want = call(TF, *theirs)
    seed = np.random.default_rng(0).standard_normal(tuple(want.shape))
    want.backward(torch.from_numpy(seed))
    ours = [tilegrad.from_numpy(a.copy()).to(device).requires_grad_() for a in arrays]
    have = call(F, *ours)
    have.backward(tilegrad.from_numpy(seed).to(device))
    made = [a.cpu().numpy() for a in (have.detach(), *(t.grad for t in ours))]
    values = [want.detach().numpy(), *(t.grad.numpy() for t in theirs)]
    for a, b in zip(made, values, strict=True):
        np.testing.assert_allclose(a, b, 1e-9, 1e-9 * np.abs(b).max())
    return b"".join(a.tobytes() for a in made)


_ROWS = [(9, 6, 0), (70, 16, 0), (70, 16, 1), (3, 130, 0), (3, 130, 1), (1, 1030, 0), (1, 4099, 0)]


@pytest.mark.parametrize("rows, n, offset", [*_ROWS, (1, 4100, 0)])
def test_rows_of_any_length_at_any_address(
    rows: int, n: int, offset: int, device: str, rng: np.random.Generator
) -> None:
    arrays = [rng.standard_normal(rows * n + offset), *(rng.uniform(0.5, 2, n) for _ in "wb")]

    def layer(f: Any, x: Any, w: Any, b: Any) -> Any:
        return f.layer_norm(x[offset:].view(rows, n), (n,), w, b)

    def root(f: Any, x: Any, w: Any, b: Any) -> Any:
        return f.rms_norm(x[offset:].view(rows, n), (n,), w) + b

    for call in (layer, root) if n != 4100 else (root,):
        _compare(call, arrays, device)


@pytest.mark.parametrize(
    "shape, groups",
    [((3, 4), 2), ((2, 6, 70), 3), ((1, 6, 90), 1), ((1, 2, 2050), 1), ((1, 1, 4101), 1)],
)
def test_groups_of_any_length(
    shape: tuple[int, ...], groups: int, device: str, rng: np.random.Generator
) -> None:
    arrays = [rng.standard_normal(shape), *(rng.uniform(0.5, 2, shape[1]) for _ in "wb")]
    _compare(lambda f, x, w, b: f.group_norm(x, groups, w, b), arrays, device)


@pytest.mark.parametrize(
    "shape", [(5, 3), (40, 9), (260, 2), (2, 3, 5), (3, 2, 36), (2, 1, 2054), (4, 1, 1027)]
)
@pytest.mark.parametrize("training", [True, False])
def test_channels_of_any_length(
    shape: tuple[int, ...], training: bool, device: str, rng: np.random.Generator
) -> None:
    mean, var = rng.standard_normal(shape[1]), rng.uniform(0.5, 2, shape[1])
    left: list[Any] = []

    def call(f: Any, x: Any, w: Any, b: Any) -> Any:
        make = torch.from_numpy if f is TF else lambda a: tilegrad.from_numpy(a).to(device)
        left[:] = [make(mean.copy()), make(var.copy())]
        return f.batch_norm(x, *left, w, b, training)

    arrays = [rng.standard_normal(shape), *(rng.uniform(0.5, 2, shape[1]) for _ in "wb")]
    _compare(call, arrays, device)
    theirs = [torch.from_numpy(a.copy()) for a in (mean, var)]
    TF.batch_norm(torch.from_numpy(arrays[0]), *theirs, training=training)
    for have, want in zip(left, theirs, strict=True):
        np.testing.assert_allclose(have.cpu().numpy(), want.numpy(), 1e-10)
    _compare(lambda f, x: call(f, x, None, None), arrays[:1], device)


def test_the_order_of_blocks_does_not_change_a_bit(rng: np.random.Generator) -> None:
    """The simulated device runs them in another order every time."""
    wide, tall, row = (rng.standard_normal(s) for s in ((140, 2), (1, 2, 2050), (130, 9)))
    weight, bias = np.ones(9), np.ones(9)
    for call, arrays in (
        (lambda f, x: f.batch_norm(x, None, None, training=True), [wide]),
        (lambda f, x: f.group_norm(x, 1), [tall]),
        (lambda f, x, w, b: f.layer_norm(x, (9,), w, b), [row, weight, bias]),
    ):
        assert _compare(call, arrays, "cuda") == _compare(call, arrays, "cuda")


def test_running_statistics_are_written_in_place(rng: np.random.Generator) -> None:
    x = rng.standard_normal((5, 3, 7)).astype("float32")
    mean, var = tilegrad.zeros(3), tilegrad.ones(3)
    mean2, var2 = torch.zeros(3), torch.ones(3)
    version = mean._version
    for _ in range(3):
        F.batch_norm(tilegrad.from_numpy(x), mean, var, training=True, momentum=0.2)
        TF.batch_norm(torch.from_numpy(x), mean2, var2, training=True, momentum=0.2)
    assert mean._version == version + 3
    np.testing.assert_allclose(mean.numpy(), mean2.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var.numpy(), var2.numpy(), rtol=1e-5)


def test_evaluation_leaves_them_and_remembers_what_it_used(device: str) -> None:
    x = tilegrad.ones(2, 3, requires_grad=True, device=device)
    mean, var = tilegrad.zeros(3, device=device), tilegrad.full((3,), 4.0, device=device)
    version = mean._version
    y = F.batch_norm(x, mean, var, eps=0.0)
    var.fill_(1.0)
    y.sum().backward()
    assert mean._version == version
    assert x.grad.tolist() == [[0.5] * 3] * 2


@pytest.mark.parametrize(
    "call",
    [
        lambda t, f, x: f.layer_norm(x, (3,)),
        lambda t, f, x: f.layer_norm(x, (5,), t.zeros(3)),
        lambda t, f, x: f.group_norm(x, 4),
        lambda t, f, x: f.group_norm(x, 2, t.zeros(5)),
        lambda t, f, x: f.batch_norm(x, None, None),
        lambda t, f, x: f.batch_norm(x[:1, :, :1], None, None, training=True),
        lambda t, f, x: f.batch_norm(x, t.zeros(5), t.ones(5)),
        lambda t, f, x: f.instance_norm(x[:, :, :1]),
        lambda t, f, x: f.layer_norm(x.to(t.int64), (5,)),
    ],
)
def test_errors_are_of_pytorchs_type(call: Any) -> None:
    x = np.ones((2, 6, 5), "float32")
    with pytest.raises(Exception) as theirs:
        call(torch, TF, torch.from_numpy(x))
    with pytest.raises(type(theirs.value)):
        call(tilegrad, F, tilegrad.from_numpy(x))
