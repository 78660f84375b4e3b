"""``_foreach_*``: every function that PyTorch has, in step with it."""

import pytest
import torch

import tilegrad as tg
from tilegrad.autograd.rules import foreach

NAMES = sorted(n for n in dir(torch) if n.startswith("_foreach_"))
OTHERS = {
    "addcdiv": 2, "addcmul": 2, "clamp_max": 1, "clamp_min": 1, "copy": 1, "div": 1, "lerp": 2, "maximum": 1,
    "minimum": 1, "mm": 1, "mul": 1, "pow": 1, "sub": 1, "add": 1,
}  # fmt: skip


def _lists(lib, count):
    rows = [[[0.25, 0.5], [0.75, 0.125]], [[0.5, 0.625], [0.375, 0.25]]]
    return [[lib.tensor(r) * (0.5 + k) for r in rows] for k in range(count)]


def _values(made):
    return [x.tolist() for x in made]


@pytest.mark.parametrize("name", [n for n in NAMES if n != "_foreach_powsum"])
def test_each(name):
    stem = name.removeprefix("_foreach_").rstrip("_")
    count = 1 + OTHERS.get(stem, 0)
    want = getattr(torch, name)(*_lists(torch, count))
    given = _lists(tg, count)
    have = getattr(tg, name)(*given)
    assert type(have) is type(want)
    for a, b in zip(_values(have), _values(want), strict=True):
        assert torch.allclose(torch.tensor(a), torch.tensor(b), rtol=1e-5)
    if name.endswith("_"):
        assert _values(given[0]) == _values(have)


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [("add", (2,), {}), ("add", ([1.0, 2.0],), {}), ("mul", (3.0,), {}), ("lerp", (0.5,), {}), ("clamp_min", (0.3,), {}),
     ("maximum", (0.3,), {}), ("pow", (2.0,), {}), ("addcmul", (), {"value": 0.5}), ("addcdiv", ([0.5, 2.0],), {}),
     ("norm", (1,), {})],
)  # fmt: skip
def test_numbers(name, more, words):
    def run(lib):
        count = {"lerp": 2, "addcmul": 3, "addcdiv": 3}.get(name, 1)
        return _values(getattr(lib, f"_foreach_{name}")(*_lists(lib, count), *more, **words))

    for a, b in zip(run(tg), run(torch), strict=True):
        assert torch.allclose(torch.tensor(a), torch.tensor(b), rtol=1e-5)


@pytest.mark.parametrize(
    "given", [([], 1), ([1.0], 1), (1, 1), (None, [1, 2]), (None, [1, 2, 3])], ids=str
)
def test_what_is_no_list(given):
    def run(lib):
        first = _lists(lib, 1)[0] if given[0] is None else given[0]
        return _values(lib._foreach_add(first, given[1]))

    try:
        want = run(torch)
    except Exception as error:
        with pytest.raises(type(error)):
            run(tg)
    else:
        assert run(tg) == want


def test_a_name_that_is_none():
    assert not foreach.known("_foreach_bump")
    with pytest.raises(AttributeError):
        _ = tg._foreach_bump
