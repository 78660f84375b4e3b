"""Strides of memory formats."""

import pickle

import pytest

import tilegrad
from tilegrad.engine import formats


def test_strides():
    assert formats.channels_last.strides((2, 3, 4, 5)) == (60, 1, 15, 3)
    assert formats.channels_last_3d.strides((2, 3, 4, 5, 6)) == (360, 1, 90, 18, 3)
    assert formats.contiguous_format.strides((2, 3)) == (3, 1)
    with pytest.raises(RuntimeError, match="required rank 4"):
        formats.channels_last.strides((2, 3))


def test_fits():
    assert formats.channels_last.fits((2, 3, 4, 5), (60, 1, 15, 3))
    assert not formats.channels_last.fits((2, 3, 4, 5), (60, 20, 5, 1))
    assert formats.channels_last.fits((2, 1, 4, 5), (20, 20, 5, 1))  # a size of 1 has no stride
    assert not formats.channels_last.fits((2, 3), (3, 1))


def test_there_is_one_of_each():
    for name in ("strided", "channels_last", "preserve_format"):
        assert pickle.loads(pickle.dumps(getattr(tilegrad, name))) is getattr(tilegrad, name)
