"""The least integer of each dtype in divisions and remainders: it wraps, and nothing crashes
(PyTorch's process dies at int64's; narrower dtypes wrap there too).
"""

import pytest

import tilegrad


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64"])
def test_the_least_integer(device, name):
    kind = getattr(tilegrad, name)
    low = -(1 << (int(name[3:]) - 1))
    x = tilegrad.tensor([low] * 9 + [7, -7, 0, low + 1], dtype=kind, device=device)
    minus = tilegrad.full((13,), -1, dtype=kind, device=device)
    negated = [low] * 9 + [-7, 7, 0, -low - 1]
    for quotient in (
        x // minus, x // -1, tilegrad.div(x, minus, rounding_mode="trunc"),
        tilegrad.div(x, -1, rounding_mode="floor"), x.clone().floor_divide_(-1), -x, x * -1,
    ):  # fmt: skip
        assert quotient.tolist() == negated and quotient.dtype is kind
    for rest in (x % minus, x % -1, tilegrad.fmod(x, minus), x.clone().remainder_(-1), low % minus):
        assert rest.tolist() == [0] * 13
    assert (low // minus).tolist() == [low] * 13
    assert x.abs().tolist() == [low] * 9 + [7, 7, 0, -low - 1]
    assert x.sign().tolist() == [-1] * 9 + [1, -1, 0, -1]


def test_unsigned_integers_keep_their_greatest_divisor(device):
    x = tilegrad.tensor([200, 255, 7], dtype=tilegrad.uint8, device=device)
    assert (x // 255).tolist() == [0, 1, 0]
    assert tilegrad.div(x, 255, rounding_mode="trunc").tolist() == [0, 1, 0]
