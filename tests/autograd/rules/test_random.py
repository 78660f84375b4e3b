"""Random numbers: published vectors, distributions, the mapping from place to number, generators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import tilegrad
from tilegrad.engine import dtype as dt
from tilegrad.engine.device import device as as_device
from tilegrad.engine.ops import random as ops
from tilegrad.engine.random import Generator
from tilegrad.engine.transfer import host
from tilegrad.kernels.philox import philox, philox_rounds

COUNT = 200_000
W = np.uint64

# kat_vectors of the Random123 library, philox4x32 with 10 rounds: counter, key, words
VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def _words(text: str) -> list[Any]:
    return [W(int(word, 16)) for word in text.split()]


@pytest.mark.parametrize("counter, key, expected", VECTORS)
def test_published_vectors(counter: str, key: str, expected: str) -> None:
    assert list(philox_rounds(*_words(counter), *_words(key))) == _words(expected)


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5, 2**64 - 1])
@pytest.mark.parametrize("offset", [0, 7, 2**32 - 1])
def test_mapping_from_place_to_words(seed: int, offset: int, device: str) -> None:
    """Compiled draws are the documented words of the documented blocks."""
    generator = Generator().manual_seed(seed)
    generator.reserve(offset)
    drawn = ops.draw("bits", (5,), dt.int64, as_device(device), (0, 0), generator)
    expected = []
    for block in range(offset, offset + 3):
        w = philox(W(block), W(seed))
        expected += [w[1] << W(32) | w[0], w[3] << W(32) | w[2]]
    got = host(drawn).view(np.uint64)
    assert got.tolist() == [int(v) for v in expected[:5]]


def test_single_words() -> None:
    """float32 uniforms are the top 24 bits of one word each, whatever the number of elements."""
    words = [int(w) for block in range(3) for w in philox(W(block), W(3))]
    for count in (1, 2, 3, 4, 5, 11):
        tilegrad.manual_seed(3)
        expected = [np.float32(w >> 8) * np.float32(2.0**-24) for w in words[:count]]
        assert tilegrad.rand(count).tolist() == expected


DRAWS = {
    "rand": lambda n, on: tilegrad.rand(n, device=on),
    "rand64": lambda n, on: tilegrad.rand(n, dtype=tilegrad.float64, device=on),
    "uniform": lambda n, on: tilegrad.empty(n, device=on).uniform_(-0.7, 1.9),
    "uniform64": lambda n, on: tilegrad.empty(n, dtype="float64", device=on).uniform_(-0.7, 1.9),
    "randn": lambda n, on: tilegrad.randn(n, device=on),
    "randn64": lambda n, on: tilegrad.randn(n, dtype=tilegrad.float64, device=on),
    "exponential": lambda n, on: tilegrad.empty(n, device=on).exponential_(2.0),
    "exponential64": lambda n, on: tilegrad.empty(n, dtype="float64", device=on).exponential_(2.0),
    "randint": lambda n, on: tilegrad.randint(-3, 12, (n,), device=on),
    "randint-uint8": lambda n, on: tilegrad.randint(3, 256, (n,), dtype="uint8", device=on),
    "randint-float": lambda n, on: tilegrad.randint(-3, 2**60, (n,), dtype="float32", device=on),
    "random": lambda n, on: tilegrad.empty(n, dtype="int64", device=on).random_(),
    "randperm": lambda n, on: tilegrad.randperm(n, device=on),
    "bernoulli": lambda n, on: tilegrad.empty(n, device=on).bernoulli_(0.3),
    "bernoulli64": lambda n, on: tilegrad.empty(n, dtype="float64", device=on).bernoulli_(0.3),
    "bernoulli-bool": lambda n, on: tilegrad.empty(n, dtype="bool", device=on).bernoulli_(0.3),
    "bernoulli_of": lambda n, on: tilegrad.bernoulli(tilegrad.full((n,), 0.3, device=on)),
    "dropout": lambda n, on: tilegrad.dropout(tilegrad.arange(1.0, n + 1, device=on), 0.3, True),
    "dropout64": lambda n, on: tilegrad.dropout(
        tilegrad.arange(1.0, n + 1, device=on, dtype="float64"), 0.3, True
    ),
}
LOGARITHMS = {"randn": 2e-6, "randn64": 1e-14, "exponential": 2e-6, "exponential64": 1e-14}


@pytest.mark.parametrize("name", DRAWS)
def test_threads_do_not_matter(name: str) -> None:
    """Same bits from one thread and from two, also where the last block is not full."""
    results = []
    before = tilegrad.get_num_threads()
    for threads in (1, 2):
        tilegrad.set_num_threads(threads)
        tilegrad.manual_seed(11)
        results.append([DRAWS[name](n, "cpu").numpy() for n in (50_003, 7)])
    tilegrad.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("seed", [5, -3])
@pytest.mark.parametrize("name", DRAWS)
def test_devices_do_not_matter(name: str, seed: int) -> None:
    """The GPU draws the CPU's bits, but for the last ones where a logarithm is taken."""
    results = []
    for device in ("cpu", "cuda"):
        tilegrad.manual_seed(seed)
        results.append([DRAWS[name](n, device) for n in (0, 1, 2, 3, 4, 5, 2101)])
        assert results[-1][0].device.type == device
    for ours, theirs in zip(*results, strict=True):
        one, two = ours.numpy(), theirs.cpu().numpy()
        assert one.dtype == two.dtype
        if name in LOGARITHMS:
            np.testing.assert_allclose(one, two, rtol=LOGARITHMS[name], atol=LOGARITHMS[name])
        else:
            assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("name", [n for n in DRAWS if n != "randperm"])
def test_prefix(name: str, device: str) -> None:
    """Element i does not depend on how many elements are drawn."""
    tilegrad.manual_seed(5)
    long = DRAWS[name](1001, device).cpu().numpy()
    tilegrad.manual_seed(5)
    assert np.array_equal(long[:13], DRAWS[name](13, device).cpu().numpy())


def test_dropout_of_a_view(device: str) -> None:
    """Operands that begin between two vectors, with rows that are not whole ones."""
    x = tilegrad.arange(60.0, device=device)[1:58]
    tilegrad.manual_seed(4)
    made = tilegrad.dropout(x, 0.5, True).cpu().numpy()
    tilegrad.manual_seed(4)
    kept = tilegrad.dropout(tilegrad.ones(57), 0.5, True).numpy()
    assert np.array_equal(made, kept * np.arange(1, 58, dtype=np.float32))


FLOATS = [
    (lambda t: t.uniform_(), stats.uniform()),
    (lambda t: t.uniform_(-2, 5), stats.uniform(-2, 7)),
    (lambda t: t.normal_(), stats.norm()),
    (lambda t: t.normal_(3, 0.5), stats.norm(3, 0.5)),
    (lambda t: t.exponential_(), stats.expon()),
    (lambda t: t.exponential_(2.5), stats.expon(scale=0.4)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fill, law", FLOATS)
def test_distribution(fill: Any, law: Any, dtype: str) -> None:
    tilegrad.manual_seed(2024)
    drawn = fill(tilegrad.empty(COUNT, dtype=dtype)).numpy().astype(np.float64)
    assert stats.kstest(drawn, law.cdf).pvalue > 1e-3
    # neighbours, and elements that share a block, are uncorrelated
    for lag in (1, 2, 4):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 5 / np.sqrt(COUNT)


def test_normal_tails() -> None:
    """Four standard deviations and more appear as often as they should, on both sides."""
    tilegrad.manual_seed(1)
    drawn = tilegrad.randn(1 << 21).numpy()
    for side in (drawn > 4, drawn < -4):
        expected = drawn.size * stats.norm.sf(4)
        assert abs(side.sum() - expected) < 5 * np.sqrt(expected)


@pytest.mark.parametrize("low, high", [(0, 2), (-3, 7), (10, 11), (0, 1000)])
def test_randint(low: int, high: int) -> None:
    tilegrad.manual_seed(7)
    drawn = tilegrad.randint(low, high, (COUNT,)).numpy()
    counts = np.bincount(drawn - low, minlength=high - low)
    assert counts.size == high - low
    if high - low > 1:
        assert stats.chisquare(counts).pvalue > 1e-3


def test_wide_integers() -> None:
    tilegrad.manual_seed(7)
    low, high = -(2**62), 2**62 + 2**61
    drawn = tilegrad.randint(low, high, (COUNT,)).numpy().astype(np.float64)
    assert stats.kstest(drawn, stats.uniform(low, high - low).cdf).pvalue > 1e-3
    whole = tilegrad.empty(1000, dtype=tilegrad.int64).random_().numpy()
    assert whole.min() >= 0
    assert whole.max() > 2**62


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "float32", "bool"])
def test_random_fills_the_dtype(dtype: str) -> None:
    tilegrad.manual_seed(0)
    drawn = tilegrad.empty(5000, dtype=dtype).random_().numpy()
    assert drawn.min() >= 0
    assert len(np.unique(drawn)) > {"uint8": 250, "int8": 120, "bool": 1}.get(dtype, 4900)


def test_randint_bounds() -> None:
    assert set(tilegrad.randint(3, (50,)).tolist()) == {0, 1, 2}
    assert tilegrad.randint(3, size=(2, 4)).shape == (2, 4)
    with pytest.raises(RuntimeError, match="'from' to be less than 'to'"):
        tilegrad.randint(3, 3, (2,))
    with pytest.raises(RuntimeError, match="range of uint8"):
        tilegrad.randint(0, 257, (2,), dtype=tilegrad.uint8)


def test_bernoulli() -> None:
    tilegrad.manual_seed(3)
    p = np.repeat([0.0, 0.25, 0.9, 1.0], COUNT // 4)
    drawn = tilegrad.bernoulli(tilegrad.from_numpy(p)).numpy()
    means = drawn.reshape(4, -1).mean(1)
    assert means[0] == 0
    assert means[3] == 1
    np.testing.assert_allclose(means, [0, 0.25, 0.9, 1], atol=0.01)
    assert abs(tilegrad.empty(COUNT).bernoulli_(0.1).mean().item() - 0.1) < 0.005


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_bernoulli_refuses(bad: float, device: str) -> None:
    with pytest.raises(RuntimeError, match="bernoulli: expects"):
        tilegrad.bernoulli(tilegrad.tensor([0.5, bad], device=device)).cpu()
    with pytest.raises(RuntimeError, match="bernoulli_: expects"):
        tilegrad.empty(2, device=device).bernoulli_(bad)


@pytest.mark.parametrize("n", [0, 1, 2, 17, 1000])
def test_randperm(n: int) -> None:
    tilegrad.manual_seed(4)
    order = tilegrad.randperm(n)
    assert order.dtype is tilegrad.int64
    assert sorted(order.tolist()) == list(range(n))


def test_randperm_is_even() -> None:
    """Each of the 24 orders of 4 comes up equally often."""
    tilegrad.manual_seed(9)
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(4800):
        order = tuple(tilegrad.randperm(4).tolist())
        seen[order] = seen.get(order, 0) + 1
    assert len(seen) == 24
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_multinomial_with_replacement() -> None:
    tilegrad.manual_seed(6)
    weights = tilegrad.tensor([[1.0, 0.0, 3.0, 4.0], [0.0, 0.0, 2.0, 0.0]])
    drawn = tilegrad.multinomial(weights, 40_000, replacement=True).numpy()
    counts = np.bincount(drawn[0], minlength=4)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3]], 40_000 * np.array([1, 3, 4]) / 8).pvalue > 1e-3
    assert (drawn[1] == 2).all()


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_on_devices(replacement: bool) -> None:
    """The same seed draws the same indices on the GPU."""
    drawn = []
    for device in ("cpu", "cuda"):
        tilegrad.manual_seed(17)
        weights = tilegrad.tensor([[1.0, 5.0, 3.0, 4.0], [1.0, 2.0, 2.0, 9.0]], device=device)
        made = tilegrad.multinomial(weights, 4, replacement)
        assert made.device.type == device
        drawn.append(made.tolist())
    assert drawn[0] == drawn[1]


def test_multinomial_without_replacement() -> None:
    tilegrad.manual_seed(6)
    weights = tilegrad.tensor([1.0, 0.0, 3.0, 4.0]).expand(20_000, 4)
    drawn = tilegrad.multinomial(weights, 2).numpy()
    assert (drawn[:, 0] != drawn[:, 1]).all()
    assert not (drawn == 1).any()
    pairs = {(a, b): 0.0 for a in (0, 2, 3) for b in (0, 2, 3) if a != b}
    for a, b in drawn:
        pairs[a, b] += 1
    w = {0: 1, 2: 3, 3: 4}
    expected = [20_000 * w[a] / 8 * w[b] / (8 - w[a]) for a, b in pairs]
    assert stats.chisquare(list(pairs.values()), expected).pvalue > 1e-3


@pytest.mark.parametrize(
    "weights, count, replacement, words",
    [
        ([1.0, -1.0], 1, True, "element < 0"),
        ([1.0, float("inf")], 1, False, "`inf`"),
        ([1.0, float("nan")], 1, False, "`nan`"),
        ([0.0, 0.0], 1, True, "sum of probabilities"),
        ([1.0, 0.0], 2, False, "not enough"),
        ([1.0, 1.0], 3, False, "without replacement"),
        ([1.0, 1.0], 0, False, "n_sample <= 0"),
        ([1, 1], 1, False, "floating point"),
    ],
)
def test_multinomial_refuses(
    weights: list[float], count: int, replacement: bool, words: str
) -> None:
    with pytest.raises(RuntimeError, match=words):
        tilegrad.multinomial(tilegrad.tensor(weights), count, replacement)


def test_normal_with_numbers_and_tensors(device: str) -> None:
    std = tilegrad.tensor([1.0, 0.0, 2.0], device=device)
    drawn = tilegrad.normal(3.0, std)
    assert drawn.device.type == device
    assert drawn[1].item() == 3
    assert tilegrad.normal(std, 0.0).tolist() == [1, 0, 2]


def test_normal_of_tensors() -> None:
    tilegrad.manual_seed(8)
    mean, std = tilegrad.tensor([[0.0], [10.0]]), tilegrad.tensor([1.0, 2.0, 0.0])
    drawn = np.stack([tilegrad.normal(mean, std).numpy() for _ in range(2000)])
    np.testing.assert_allclose(drawn.mean(0), [[0] * 3, [10] * 3], atol=0.2)
    np.testing.assert_allclose(drawn.std(0), [[1, 2, 0]] * 2, atol=0.1)
    assert tilegrad.normal(2.0, 3.0, (4, 5)).shape == (4, 5)
    assert tilegrad.normal(2.0, std).shape == (3,)
    with pytest.raises(RuntimeError, match="std"):
        tilegrad.normal(0.0, -1.0, (2,))


# ------------------------------------------------------------------------------------- generators


def test_seed_and_state() -> None:
    assert tilegrad.manual_seed(42).initial_seed() == tilegrad.initial_seed() == 42
    first = tilegrad.rand(5).tolist()
    state = tilegrad.get_rng_state()
    assert state.dtype is tilegrad.uint8
    second = tilegrad.randn(5).tolist()
    tilegrad.set_rng_state(state)
    assert tilegrad.randn(5).tolist() == second
    tilegrad.manual_seed(42)
    assert tilegrad.rand(5).tolist() == first
    assert tilegrad.manual_seed(-1).initial_seed() == 2**64 - 1
    assert tilegrad.seed() == tilegrad.initial_seed()


def test_own_generator() -> None:
    """A generator of one's own leaves the default one alone, and repeats."""
    tilegrad.manual_seed(1)
    expected = tilegrad.rand(3).tolist()
    draws = []
    for _ in range(2):
        own = tilegrad.Generator().manual_seed(1)
        tilegrad.manual_seed(1)
        draws.append(
            [
                tilegrad.rand(3, generator=own).tolist(),
                tilegrad.randperm(6, generator=own).tolist(),
                tilegrad.zeros(3).normal_(generator=own).tolist(),
                tilegrad.multinomial(tilegrad.ones(5), 2, generator=own).tolist(),
            ]
        )
        assert tilegrad.rand(3).tolist() == expected
    assert draws[0] == draws[1]
    assert draws[0][0] == expected


def test_bad_states() -> None:
    generator = Generator()
    with pytest.raises(TypeError, match="uint8"):
        generator.set_state(np.zeros(16))
    with pytest.raises(RuntimeError, match="16 bytes"):
        generator.set_state(np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="seed must lie"):
        generator.manual_seed(2**64)


def test_blocks_are_never_shared() -> None:
    """Consecutive calls read consecutive blocks; partly used blocks are not drawn from again."""
    tilegrad.manual_seed(0)
    pieces = [tilegrad.rand(3).tolist(), tilegrad.rand(5).tolist(), tilegrad.rand(1).tolist()]
    tilegrad.manual_seed(0)
    whole = tilegrad.rand(16).tolist()
    assert pieces == [whole[0:3], whole[4:9], whole[12:13]]


# --------------------------------------------------------------------------- tensors and in place


def test_options() -> None:
    x = tilegrad.rand(2, 3, dtype=tilegrad.float64, requires_grad=True)
    assert x.requires_grad
    assert x.dtype is tilegrad.float64
    assert tilegrad.randn((4, 0)).shape == (4, 0)
    turned = tilegrad.zeros(3, 4).t()
    assert tilegrad.rand_like(turned).stride() == turned.stride()
    assert tilegrad.randn_like(turned, dtype=tilegrad.float64).dtype is tilegrad.float64
    assert tilegrad.randint_like(turned, 5).dtype is tilegrad.float32
    with pytest.raises(RuntimeError, match="floating point"):
        tilegrad.rand(2, dtype=tilegrad.int64)
    with pytest.raises(RuntimeError, match="uniform_"):
        tilegrad.zeros(2, dtype=tilegrad.int64).uniform_()
    with pytest.raises(RuntimeError, match="from"):
        tilegrad.zeros(2).uniform_(1, 0)
    with pytest.raises(RuntimeError, match="lambda"):
        tilegrad.zeros(2).exponential_(0)


def test_order_of_dimensions_does_not_matter() -> None:
    """In place and alike draws give an element its number by its logical place."""
    tilegrad.manual_seed(1)
    expected = tilegrad.rand(3, 4).tolist()
    tilegrad.manual_seed(1)
    assert tilegrad.zeros(4, 3).t().uniform_().tolist() == expected
    tilegrad.manual_seed(1)
    assert tilegrad.rand_like(tilegrad.zeros(4, 3).t()).tolist() == expected


def test_in_place_counts_and_cuts_gradients() -> None:
    x = tilegrad.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        x.uniform_()
    y = x * 2
    version = y._version
    y.normal_()
    assert y._version > version
    y.sum().backward()
    assert x.grad is None or not x.grad.numpy().any()
    z = x * x
    saved = z * z
    z.uniform_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saved.sum().backward()


# ---------------------------------------------------------------------------------------- dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout(p: float) -> None:
    tilegrad.manual_seed(12)
    x = tilegrad.full((COUNT,), 3.0)
    out = tilegrad.dropout(x, p, True).numpy()
    kept = out != 0
    np.testing.assert_allclose(out[kept], 3 / (1 - p), rtol=1e-6)
    assert abs(kept.mean() - (1 - p)) < 0.005


def test_dropout_limits() -> None:
    x = tilegrad.rand(50)
    assert tilegrad.dropout(x, 0.5, False) is x
    assert tilegrad.dropout(x, 0.0, True) is x
    assert not tilegrad.dropout(x, 1.0, True).numpy().any()
    for bad in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            tilegrad.dropout(x, bad, True)
    tilegrad.nn.functional.dropout(x, 0.5, True, inplace=True)
    assert (x.numpy() == 0).any()


def test_dropout_gradient_draws_the_same_mask() -> None:
    """Also for a strided input, and for gradients of gradients."""
    tilegrad.manual_seed(13)
    x = tilegrad.rand(31, 17, dtype=tilegrad.float64).t().requires_grad_()
    out = tilegrad.dropout(x, 0.4, True)
    mask = (out.detach().numpy() != 0) / 0.6
    seed = tilegrad.rand(31, 17, dtype=tilegrad.float64).t().requires_grad_()
    (grad,) = tilegrad.autograd.grad(out, x, seed, create_graph=True)
    np.testing.assert_allclose(grad.detach().numpy(), seed.detach().numpy() * mask)
    (again,) = tilegrad.autograd.grad(grad.sum(), seed)
    np.testing.assert_allclose(again.numpy(), mask)


def test_feature_dropout() -> None:
    tilegrad.manual_seed(14)
    for function, shape in [("dropout1d", (50, 20, 7)), ("dropout2d", (50, 20, 3, 4))]:
        x = tilegrad.ones(*shape, requires_grad=True)
        out = getattr(tilegrad.nn.functional, function)(x, 0.5, True)
        flat = out.detach().numpy().reshape(50, 20, -1)
        assert ((flat == 0).all(-1) | (flat == 2).all(-1)).all()
        assert 0.4 < (flat[..., 0] == 0).mean() < 0.6
        out.sum().backward()
        assert np.array_equal(x.grad.numpy(), out.detach().numpy())
    assert tilegrad.nn.functional.dropout1d(tilegrad.ones(20, 7), 0.5, True).shape == (20, 7)


def test_probabilities_in_one_place_are_looked_at_once() -> None:
    """An expanded tensor of more elements than memory holds: the result has no room, at once."""
    with pytest.raises(RuntimeError, match="memory"):
        tilegrad.bernoulli(tilegrad.full((2, 1), 0.5).expand(2, 1 << 45))
    with pytest.raises(RuntimeError, match="p in"):
        tilegrad.bernoulli(tilegrad.tensor([[0.5], [1.5]]).expand(2, 3))


def test_ends_by_name():
    x = tilegrad.zeros(50)
    for drawn in (
        tilegrad.randint(high=3, size=(50,)),
        tilegrad.randint_like(x, high=3),
        tilegrad.randint_like(x, 0, high=3),
        x.clone().random_(to=3),
        x.clone().random_(0, to=3),
    ):
        assert set(drawn.tolist()) == {0, 1, 2}
    assert 2 < x.uniform_(2.5, to=3).min().item() < x.max().item() < 3
    with pytest.raises(TypeError):
        tilegrad.randint_like(x)
    with pytest.raises(TypeError):
        tilegrad.randint(size=(2,))
