"""Comparisons of tensors as a whole."""

import tilegrad


def test_what_is_expanded_is_compared_once():
    wide = tilegrad.tensor([[1.0], [2.0]]).expand(2, 10**12)
    twin = tilegrad.tensor([[1.0], [2.0]]).expand(2, 10**12)
    assert tilegrad.equal(wide, twin) and tilegrad.allclose(wide, twin)
    assert not tilegrad.equal(wide, tilegrad.ones(2, 1).expand(2, 10**12))
    assert not tilegrad.allclose(wide, tilegrad.ones(2, 1).expand(2, 10**12))
    assert not tilegrad.equal(tilegrad.ones(1).expand(3), tilegrad.tensor([1.0, 1.0, 2.0]))
