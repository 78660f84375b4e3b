"""The first NaN of a program is found where it is made."""

from __future__ import annotations

import pytest

import tilegrad


def _model(x: tilegrad.Tensor) -> tilegrad.Tensor:
    y = x * 2 - 4
    z = y.log()  # the line that is named
    return (z.exp() + 1).sum()


def test_the_first_op_and_its_line() -> None:
    x = tilegrad.tensor([1.0, 3.0], requires_grad=True)
    with pytest.raises(RuntimeError) as found, tilegrad.autograd.detect_nan():
        _model(x)
    text = str(found.value)
    assert text.startswith("log: made the first NaN; none of its operands has one; of (2,) float32")
    assert "test_nan_finder.py" in text and "in _model" in text and "the line that is named" in text


def test_in_place_backward_and_infinite() -> None:
    x = tilegrad.tensor([0.0, 1.0], requires_grad=True)
    with tilegrad.autograd.detect_nan():
        out = (x.sqrt() * 0).sum()  # its gradient is 0 * inf
        with pytest.raises(RuntimeError, match="made the first NaN"):
            out.backward()
    for infinite, call, what in (
        (False, lambda: tilegrad.tensor([float("inf")]).sub_(float("inf")), "NaN"),
        (True, lambda: tilegrad.zeros(2).reciprocal(), "infinite number"),
    ):
        with (
            tilegrad.autograd.detect_nan(infinite=infinite),
            pytest.raises(RuntimeError, match=f"made the first {what}"),
        ):
            call()


def test_what_is_no_find() -> None:
    with tilegrad.autograd.detect_nan():
        made = tilegrad.tensor([1.0, float("nan")])[:1]  # a view: nothing is made
        assert tilegrad.isnan(tilegrad.zeros(2)).any().item() is False
        whole = tilegrad.zeros(3).fill_(2).sqrt()
        assert made.item() == 1 and whole.sum().item() == pytest.approx(3 * 2**0.5)
    tilegrad.tensor([-1.0]).log()  # after the block nobody looks
