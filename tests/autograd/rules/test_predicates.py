"""Functions that ask."""

import pytest

import tilegrad


def test_answers():
    x, i = tilegrad.ones(2, 3), tilegrad.ones(2, dtype=tilegrad.uint8)
    assert tilegrad.is_tensor(x) and not tilegrad.is_tensor(1)
    assert not tilegrad.is_storage(x)
    assert tilegrad.is_floating_point(x) and not tilegrad.is_floating_point(i)
    assert not tilegrad.is_complex(x)
    assert tilegrad.is_signed(x) and not tilegrad.is_signed(i)
    assert tilegrad.numel(x) == 6
    assert tilegrad.is_same_size(x, x * 2) and not tilegrad.is_same_size(x, i)
    assert tilegrad.t(x).shape == (3, 2)
    assert not tilegrad.is_inference(x)
    assert not tilegrad.detach(x.requires_grad_()).requires_grad


def test_is_nonzero():
    assert tilegrad.is_nonzero(tilegrad.tensor([2]))
    assert not tilegrad.is_nonzero(tilegrad.tensor(0.0))
    for x in (tilegrad.ones(2), tilegrad.ones(0)):
        with pytest.raises(RuntimeError, match="ambiguous"):
            tilegrad.is_nonzero(x)


def test_in_and_reversed():
    x = tilegrad.tensor([1.0, 2.0])
    assert 2 in x and 3.0 not in x and tilegrad.tensor(1.0) in x
    assert reversed(x).tolist() == [2, 1]
    with pytest.raises(RuntimeError, match="only supports Tensor or scalar"):
        assert "x" in x
