"""Convolutions: any geometry, threads, rounding errors, values that are not finite, errors."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as TF
from hypothesis import given, settings, strategies as st

import tilegrad
from tilegrad.engine.ops import conv as ops
from tilegrad.kernels.cpu.run import jit
from tilegrad.nn import functional as F


def _random(rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [rng.standard_normal(s).astype("float32") for s in shapes]


def _gradients(package: Any, conv: Any, arrays: list[np.ndarray], seed: Any = None) -> list[Any]:
    """The result and the gradients of all arguments, as arrays."""
    make = tilegrad.from_numpy if package is tilegrad else torch.from_numpy
    tensors = [make(a.copy()).requires_grad_() for a in arrays]
    out = conv(package.nn.functional, *tensors)
    grad = np.ones(tuple(out.shape), arrays[0].dtype) if seed is None else seed
    out.backward(make(grad))
    return [out.detach().numpy(), *(t.grad.numpy() for t in tensors)]


@st.composite
def geometries(draw: Any) -> tuple[list[tuple[int, ...]], dict[str, Any]]:
    """Shapes of input and weight, and options, of a convolution with a result."""
    pick = lambda low, high: draw(st.integers(low, high))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    inputs, outputs = groups * pick(1, 3), groups * pick(1, 5)
    size, kernel, stride, padding, dilation = [], [], [], [], []
    for _ in range(2):
        k, d, p = pick(1, 4), pick(1, 2), pick(0, 3)
        kernel.append(k)
        dilation.append(d)
        padding.append(p)
        stride.append(pick(1, 3))
        size.append(pick(max(1, d * (k - 1) + 1 - 2 * p), 19))
    shapes = [(pick(1, 3), inputs, *size), (outputs, inputs // groups, *kernel), (outputs,)]
    options = {"stride": tuple(stride), "padding": tuple(padding), "dilation": tuple(dilation)}
    return shapes, {**options, "groups": groups}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups"),
    [
        ((3, 3), 2, 1, 1), ((3, 3), 3, 1, 1), ((1, 2), 2, 0, 1), ((4, 4), 2, 1, 1),
        ((5, 5), 3, 2, 1), ((7, 7), 2, 3, 1), ((7, 7), 3, 3, 2), ((3, 3), 2, 1, 4),
        ((2, 3), (3, 2), (1, 0), 2),
    ],
)  # fmt: skip
def test_strided_in_blocks_of_rows(
    kernel: tuple[int, int], stride: Any, padding: Any, groups: int, channels_last: bool
) -> None:
    """A residue of the input's rows may be shorter than another and yet reach a row further: in every
    block of rows, not in the last alone. ``y`` has channels enough for several blocks."""
    rng = np.random.default_rng(0)
    x, w = (
        rng.integers(-3, 4, s).astype("float32")
        for s in ((1, 4 * groups, 57, 61), (192 * groups, 4, *kernel))
    )
    options = {"stride": stride, "padding": padding, "groups": groups}
    mine, theirs = (tilegrad.tensor(x), torch.tensor(x, dtype=torch.float64))
    if channels_last:
        mine = mine.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    mine.requires_grad_()
    theirs.requires_grad_()
    y = F.conv2d(mine, tilegrad.tensor(w), **options)
    reference = torch.nn.functional.conv2d(theirs, torch.tensor(w).double(), **options)
    seed = rng.integers(-3, 4, tuple(y.shape)).astype("float32")
    y.backward(tilegrad.tensor(seed))
    reference.backward(torch.tensor(seed).double())
    np.testing.assert_array_equal(y.detach().numpy(), reference.detach().numpy())
    np.testing.assert_array_equal(mine.grad.numpy(), theirs.grad.numpy())


@given(geometries(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_any_geometry(case: tuple[list[tuple[int, ...]], dict[str, Any]], seed: int) -> None:
    """Small integers are summed exactly in any order."""
    shapes, options = case
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-3, 4, s).astype("float32") for s in shapes]
    conv = lambda f, *args: f.conv2d(*args, **options)
    shape = tuple(conv(torch.nn.functional, *map(torch.from_numpy, arrays)).shape)
    grad = rng.integers(-3, 4, shape).astype("float32")
    ours = _gradients(tilegrad, conv, arrays, grad)
    for have, want in zip(ours, _gradients(torch, conv, arrays, grad), strict=True):
        assert np.array_equal(have, want)


@given(geometries(), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_the_three_maps_are_adjoint(case: Any, seed: int) -> None:
    """sum(conv(x, w) y) = sum(x conv_transpose(y, w)), also where the stride skips inputs."""
    (x_shape, w_shape, _), options = case
    rng = np.random.default_rng(seed)
    x, w = (rng.integers(-3, 4, s).astype("float64") for s in (x_shape, w_shape))
    y = F.conv2d(tilegrad.from_numpy(x), tilegrad.from_numpy(w), **options).numpy()
    g = rng.integers(-3, 4, y.shape).astype("float64")
    extra = [
        n - ((o - 1) * s - 2 * p + d * (k - 1) + 1)
        for n, o, s, p, d, k in zip(
            x_shape[2:], y.shape[2:], options["stride"], options["padding"], options["dilation"],
            w_shape[2:], strict=True,
        )
    ]  # fmt: skip
    back = F.conv_transpose2d(
        tilegrad.from_numpy(g), tilegrad.from_numpy(w), output_padding=extra, **options
    ).numpy()
    assert (y * g).sum() == (x * back).sum()


_LARGE = [
    ((8, 16, 24, 24), (24, 16, 3, 3), {"padding": 1}),
    ((6, 8, 40, 40), (12, 8, 3, 3), {"stride": 2, "padding": 1}),
    ((1, 64, 20, 20), (64, 64, 3, 3), {"padding": 1}),
    ((16, 32, 17, 17), (32, 1, 3, 3), {"padding": 1, "groups": 32}),
    ((64, 16, 8, 8), (32, 16, 3, 3), {"padding": 1}),
    ((64, 32, 2, 2), (48, 32, 3, 3), {"padding": 1}),
    ((64, 16, 5, 5), (120, 16, 5, 5), {}),
]


@pytest.mark.parametrize("x, w, options", _LARGE)
def test_bits_do_not_depend_on_threads(
    x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any], rng: np.random.Generator
) -> None:
    arrays = _random(rng, x, w, (w[0],))
    conv = lambda f, *args: f.conv2d(*args, **options)
    before, results = tilegrad.get_num_threads(), []
    for threads in (1, 2):
        tilegrad.set_num_threads(threads)
        results.append(_gradients(tilegrad, conv, arrays))
    tilegrad.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("x, w, options", _LARGE)
def test_bits_do_not_depend_on_the_processors_that_work_is_cut_for(
    x: tuple[int, ...],
    w: tuple[int, ...],
    options: dict[str, Any],
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrays, results = _random(rng, x, w, (w[0],)), []
    conv = lambda f, *args: f.conv2d(*args, **options)
    for count in (1, 2, 3, 16):
        monkeypatch.setattr(jit, "processors", lambda count=count: count)
        for op in (ops.conv, ops.conv_input):
            op.plans.clear()
        results.append(_gradients(tilegrad, conv, arrays))
    for op in (ops.conv, ops.conv_input):
        op.plans.clear()
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert np.array_equal(one, two)


@pytest.mark.parametrize("x, w, options", _LARGE)
def test_rounding_errors_grow_with_the_root_of_a_short_sum(
    x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any], rng: np.random.Generator
) -> None:
    """Root mean square errors of the result and the gradients, against float64.

    Terms of mean zero summed one after the other have partial sums of size sqrt(k), each rounded by
    0.41 u on average (u = 2^-24, uniform mantissas): n terms end with 0.29 u sqrt(n) of the result.
    0.4 leaves room for products that are rounded too, where there is no fused multiply-add. Sums
    longer than 512 are cut by the kernels, so their errors are those of the pieces.
    """
    arrays = _random(rng, x, w)
    conv = lambda f, *args: f.conv2d(*args, **options)
    shape = tuple(conv(torch.nn.functional, *map(torch.from_numpy, arrays)).shape)
    (seed,) = _random(rng, shape)
    exact = _gradients(torch, conv, [a.astype("float64") for a in arrays], seed.astype("float64"))
    ours = _gradients(tilegrad, conv, arrays, seed)
    taps = w[2] * w[3]
    terms = (w[1] * taps, w[0] // options.get("groups", 1) * taps, shape[0] * shape[2] * shape[3])
    for have, want, count in zip(ours, exact, terms, strict=True):
        rms = np.sqrt(((have - want) ** 2).mean() / (want**2).mean())
        assert rms <= 0.4 * 2**-24 * np.sqrt(min(count, 512))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0), (2, 4), (4, 4)])
def test_values_that_are_not_finite_stay_where_they_belong(
    value: float, place: tuple[int, int], rng: np.random.Generator
) -> None:
    """Lanes between rows and items are computed and dropped; no result may depend on them."""
    x, w = _random(rng, (3, 2, 5, 5), (3, 2, 3, 3))
    x[1, 1, place[0], place[1]] = value
    out = F.conv2d(tilegrad.from_numpy(x), tilegrad.from_numpy(w), padding=1).numpy()
    touched = np.zeros((3, 5, 5), bool)
    rows, columns = (slice(max(0, p - 1), p + 2) for p in place)
    touched[1, rows, columns] = True
    assert np.array_equal(~np.isfinite(out), np.broadcast_to(touched[:, None], out.shape))
    weight = tilegrad.from_numpy(w).requires_grad_()
    F.conv2d(tilegrad.from_numpy(x), weight, padding=1).backward(
        tilegrad.from_numpy(np.ones((3, 3, 5, 5), "float32"))
    )
    reached = np.zeros((3, 2, 3, 3), bool)  # by tap t if pixel place - t + 1 exists
    reached[:, 1] = np.logical_and.outer(*([0 <= p - t + 1 < 5 for t in range(3)] for p in place))
    assert np.array_equal(~np.isfinite(weight.grad.numpy()), reached)


def test_empty_batch_and_empty_gradients() -> None:
    x = tilegrad.from_numpy(np.zeros((0, 2, 5, 5), "float32")).requires_grad_()
    w = tilegrad.from_numpy(np.ones((3, 2, 3, 3), "float32")).requires_grad_()
    out = F.conv2d(x, w)
    assert tuple(out.shape) == (0, 3, 3, 3)
    out.backward(tilegrad.from_numpy(np.zeros((0, 3, 3, 3), "float32")))
    assert tuple(x.grad.shape) == (0, 2, 5, 5)
    assert not w.grad.numpy().any()


@pytest.mark.parametrize(
    "name, shapes, options, words",
    [
        ("conv2d", [(3, 3), (2, 3, 3, 3)], {}, "Expected 3D"),
        ("conv2d", [(1, 3, 5, 5), (2, 4, 3, 3)], {}, "expected input"),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3)], {}, "4-dimensional weight"),
        ("conv2d", [(1, 3, 2, 5), (2, 3, 3, 3)], {}, "Kernel size"),
        ("conv2d", [(1, 4, 5, 5), (3, 2, 3, 3)], {"groups": 2}, "divisible"),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"groups": 0}, "non-positive groups"),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"stride": 0}, "non-positive stride"),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"dilation": 0}, "dilation"),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"padding": -1}, "negative padding"),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"padding": (1, 1, 1)}, "padding"),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"padding": "all"}, "padding"),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"padding": "same", "stride": 2}, "strided"),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3), (3,)], {}, "bias"),
        ("conv1d", [(1, 3, 5, 5), (2, 3, 3)], {}, "conv1d"),
        ("conv_transpose2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {}, "channels"),
        ("conv_transpose2d", [(1, 2, 5, 5), (2, 3, 3, 3)], {"output_padding": 1}, "output padding"),
        ("conv_transpose2d", [(1, 2, 1, 1), (2, 3, 1, 1)], {"padding": 1}, "too small"),
        ("conv1d", [(2, 3, 6), (0, 3, 3)], {}, "at least 1 at dimension 0"),
        ("conv2d", [(0, 3, 6, 6), (0, 3, 3, 3)], {}, "at least 1 at dimension 0"),
        ("conv3d", [(2, 4, 5, 5, 5), (0, 2, 3, 3, 3)], {"groups": 2}, "at least 2 at dimension 0"),
        ("conv2d", [(2, 3, 5, 5), (4, 3, 0, 3)], {}, "Kernel size"),
        ("conv2d", [(2, 3, 0, 5), (4, 3, 3, 3)], {"padding": 2}, "zero batch or zero channel"),
        ("conv1d", [(2, 3, 0), (4, 3, 1)], {"padding": 1}, "zero batch or zero channel"),
        ("conv1d", [(2, 0, 6), (4, 3, 3)], {}, "expected input"),
        ("conv_transpose2d", [(2, 0, 6, 6), (0, 4, 3, 3)], {}, "at least 1 at dimension 0"),
        ("conv_transpose2d", [(2, 4, 6, 6), (4, 0, 3, 3)], {"groups": 2}, "non-empty weight"),
        ("conv_transpose1d", [(2, 4, 6), (4, 3, 0)], {}, "non-empty weight"),
        ("conv_transpose3d", [(2, 3, 0, 5, 5), (3, 4, 3, 3, 3)], {}, "zero batch or zero channel"),
        ("conv_transpose1d", [(1, 3, 5), (3, 2, 3)], {"groups": 0}, "non-positive groups"),
    ],
)
def test_errors(
    name: str, shapes: list[tuple[int, ...]], options: dict[str, Any], words: str
) -> None:
    arrays = [np.zeros(s, "float32") for s in shapes]
    with pytest.raises(RuntimeError, match=words):
        getattr(F, name)(*map(tilegrad.from_numpy, arrays), **options)
    with pytest.raises((RuntimeError, ValueError)):
        getattr(torch.nn.functional, name)(*map(torch.from_numpy, arrays), **options)


def test_dtypes_must_match() -> None:
    x = tilegrad.from_numpy(np.zeros((1, 1, 3, 3), "float32"))
    w = tilegrad.from_numpy(np.zeros((1, 1, 3, 3), "float64"))
    with pytest.raises(RuntimeError, match="dtype"):
        F.conv2d(x, w)
    with pytest.raises(RuntimeError, match="bool"):
        F.conv2d(*(tilegrad.from_numpy(np.zeros((1, 1, 3, 3), "bool")) for _ in range(2)))


_NARROW = """
import numpy as np, tilegrad
from tilegrad.nn import functional as F
rng = np.random.default_rng(0)
x, w = (rng.integers(-3, 4, s).astype("float32") for s in ((2, 3, 9, 21), (7, 3, 3, 3)))
tensors = [tilegrad.from_numpy(a).requires_grad_() for a in (x, w)]
out = F.conv2d(*tensors, stride=2, padding=1)
out.backward(out.detach())
pooled = F.max_pool2d(tensors[0], 3, 2, 1)
np.savez({path!r}, out.detach().numpy(), *(t.grad.numpy() for t in tensors), pooled.detach().numpy())
"""


@pytest.mark.parametrize("bits", [128, 256])
def test_other_vector_widths(bits: int, tmp_path: Any) -> None:
    """Small integers: the widths must agree to the bit with PyTorch."""
    path = str(tmp_path / "results.npz")
    environment = {
        **os.environ,
        "TILEGRAD_SIMD_BITS": str(bits),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    subprocess.run([sys.executable, "-c", _NARROW.format(path=path)], check=True, env=environment)
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-3, 4, s).astype("float32") for s in ((2, 3, 9, 21), (7, 3, 3, 3)))
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, w)]
    out = torch.nn.functional.conv2d(*tensors, stride=2, padding=1)
    out.backward(out.detach())
    pooled = torch.nn.functional.max_pool2d(tensors[0], 3, 2, 1)
    wanted = [out, *(t.grad for t in tensors), pooled]
    for have, want in zip(np.load(path).values(), wanted, strict=True):
        assert np.array_equal(have, want.detach().numpy())


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("channels, dims", [(3, 2), (15, 1), (64, 2), (24, 3)])
def test_gradients_of_an_empty_batch(
    dims: int, channels: int, transposed: bool, device: str
) -> None:
    kind = "ConvTranspose" if transposed else "Conv"
    layer = getattr(tilegrad.nn, f"{kind}{dims}d")(3, channels, 2).to(device)
    x = tilegrad.zeros(0, 3, *[5] * dims, device=device, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == x.shape
    for p in layer.parameters():
        assert p.grad.shape == p.shape and not p.grad.cpu().numpy().any()


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_no_channels_and_no_positions(dims: int, dtype: str, biased: bool, device: str) -> None:
    """An input without channels has a result without channels, as PyTorch's, and zeros as gradients."""
    size, kernel, name = (6, 5, 4)[:dims], (3,) * dims, f"conv{dims}d"
    rows: list[tuple[str, list[tuple[int, ...]], dict[str, Any]]] = [
        (name, [(2, 0, *size), (4, 0, *kernel), (4,)], {"padding": 1}),
        (name, [(0, 0, *size), (4, 0, *kernel), (4,)], {"padding": 2, "stride": 2}),
        (name, [(2, 0, *size), (4, 0, *kernel), (4,)], {"padding": "same", "groups": 2}),
        (name, [(0, *size), (4, 0, *kernel), (4,)], {"padding": 1}),
        (name, [(2, 0, 0, *size[1:]), (4, 0, *kernel), (4,)], {"padding": 2}),
        (name, [(0, 3, 0, *size[1:]), (4, 3, *kernel), (4,)], {"padding": 2}),
        (f"conv_transpose{dims}d", [(0, 3, *size), (3, 4, *kernel), (4,)], {}),
        (f"conv_transpose{dims}d", [(0, 3, *(0,) * dims), (3, 4, *kernel), (4,)], {"padding": 1}),
    ]
    for function, shapes, options in rows:
        arrays = [np.ones(s, dtype) for s in shapes[: 2 + biased]]
        ours = [tilegrad.from_numpy(a).to(device) for a in arrays]
        theirs = [torch.from_numpy(a) for a in arrays]
        if dtype == "float32":
            ours, theirs = [t.requires_grad_() for t in ours], [t.requires_grad_() for t in theirs]
        have = getattr(F, function)(*ours, **options)
        want = getattr(torch.nn.functional, function)(*theirs, **options)
        assert tuple(have.shape) == tuple(want.shape), (function, shapes, options)
        if dtype == "float32":
            have.sum().backward()
            for t in ours:
                assert t.grad.shape == t.shape and not t.grad.cpu().numpy().any()


INTEGERS = ("uint8", "int8", "int16", "int32", "int64")


def _numbers(rng: np.random.Generator, dtype: str, *shape: int) -> np.ndarray:
    """All of the type's range, so that sums wrap around."""
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers(dtype: str, rng: np.random.Generator) -> None:
    rows: list[dict[str, Any]] = [
        {}, {"stride": 2, "padding": 1}, {"groups": 2, "padding": 2},
    ]  # fmt: skip
    for dims in (1, 2, 3):
        for how in rows:
            x = _numbers(rng, dtype, 2, 4, *(7, 6, 5)[:dims])
            w = _numbers(rng, dtype, 6, 4 // how.get("groups", 1), *(3, 2, 3)[:dims])
            b = _numbers(rng, dtype, 6)
            name = f"conv{dims}d"
            have = getattr(F, name)(*map(tilegrad.from_numpy, (x, w, b)), **how)
            want = getattr(TF, name)(*map(torch.from_numpy, (x, w, b)), **how)
            assert have.dtype.name == dtype
            assert np.array_equal(have.numpy(), want.numpy()), (name, how)


def test_transposed_integers(rng: np.random.Generator) -> None:
    """Of int64 alone, as PyTorch's."""
    rows: list[dict[str, Any]] = [
        {}, {"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2, "padding": 2},
        {"stride": 3, "dilation": 2}, {"stride": (2,), "dilation": 3, "padding": 5, "groups": 2},
    ]  # fmt: skip
    for dims in (1, 2, 3):
        for how in rows:
            x = _numbers(rng, "int64", 2, 4, *(5, 1, 4)[:dims])
            w = _numbers(rng, "int64", 4, 3, *(3, 2, 3)[:dims])
            b = _numbers(rng, "int64", 3 * how.get("groups", 1))
            name = f"conv_transpose{dims}d"
            given = {**how, "padding": (how.get("padding", 0), 0, 1)[:dims]}
            have = getattr(F, name)(*map(tilegrad.from_numpy, (x, w, b)), **given)
            want = getattr(TF, name)(*map(torch.from_numpy, (x, w, b)), **given)
            assert have.dtype.name == "int64"
            assert np.array_equal(have.numpy(), want.numpy()), (name, how)
