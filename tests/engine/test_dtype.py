"""Promotion of dtypes, with tensors and with numbers, as PyTorch's."""

from __future__ import annotations

import pytest
import torch

import tilegrad
from tilegrad.engine import dtype as dt

_NAMES = [d.name for d in dt.ALL]


_VALUES = {"bool": True, "int": 3, "float": 2.5}


@pytest.mark.parametrize("a", _NAMES)
@pytest.mark.parametrize("b", _NAMES)
def test_promotion_matches_pytorch(a: str, b: str) -> None:
    shapes = [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())]
    for left, right in shapes:
        ours = tilegrad.ones(left, dtype=a) + tilegrad.ones(right, dtype=b)
        theirs = torch.ones(left, dtype=getattr(torch, a)) + torch.ones(
            right, dtype=getattr(torch, b)
        )
        assert ours.dtype.name == str(theirs.dtype).split(".")[1]
    ours_name = tilegrad.promote_types(getattr(tilegrad, a), getattr(tilegrad, b)).name
    theirs_name = str(torch.promote_types(getattr(torch, a), getattr(torch, b)))
    assert ours_name == theirs_name.split(".")[1]


@pytest.mark.parametrize("a", _NAMES)
@pytest.mark.parametrize("kind", _VALUES)
def test_promotion_with_numbers_matches_pytorch(a: str, kind: str) -> None:
    for shape in ((2,), ()):
        ours = tilegrad.ones(shape, dtype=a) * _VALUES[kind]
        theirs = torch.ones(shape, dtype=getattr(torch, a)) * _VALUES[kind]
        assert ours.dtype.name == str(theirs.dtype).split(".")[1]


_KINDS = [*dt.ALL, *dt.NAMED]


def test_dtypes_without_kernels_answer_as_pytorchs_do() -> None:
    """Scripts list float16 and bfloat16, compare with them and ask for their limits."""
    assert (tilegrad.half, tilegrad.chalf) == (tilegrad.float16, tilegrad.complex32)
    for ours in _KINDS:
        theirs = getattr(torch, ours.name)
        for what in ("is_floating_point", "is_complex", "is_signed", "itemsize"):
            assert getattr(ours, what) == getattr(theirs, what), (ours, what)
        assert f"torch.{ours.to_real().name}" == str(theirs.to_real())
        if ours.has_gradient:
            assert f"torch.{ours.to_complex().name}" == str(theirs.to_complex())
            limits, expected = tilegrad.finfo(ours), torch.finfo(theirs)
            for what in (
                "bits",
                "eps",
                "max",
                "min",
                "tiny",
                "smallest_normal",
                "resolution",
                "dtype",
            ):
                assert getattr(limits, what) == getattr(expected, what), (ours, what)


@pytest.mark.parametrize("ours", _KINDS, ids=repr)
def test_promotion_and_casts_of_every_pair(ours: dt.DType) -> None:
    theirs = getattr(torch, ours.name)
    for other in _KINDS:
        expected = torch.promote_types(theirs, getattr(torch, other.name))
        assert f"torch.{tilegrad.promote_types(ours, other).name}" == str(expected), other
        assert tilegrad.can_cast(ours, other) == torch.can_cast(
            theirs, getattr(torch, other.name)
        ), other


@pytest.mark.parametrize("kind", dt.NAMED, ids=repr)
def test_no_tensor_has_a_dtype_without_kernels(kind: dt.DType) -> None:
    x = tilegrad.ones(2)
    for make in (
        lambda: x.to(kind), lambda: x.to(dtype=kind), lambda: x.type(kind), lambda: x.view(kind),
        lambda: x.sum(dtype=kind), lambda: x.new_empty(3, dtype=kind), lambda: tilegrad.empty(2, dtype=kind),
        lambda: tilegrad.tensor([1], dtype=kind), lambda: tilegrad.arange(3, dtype=kind),
        lambda: tilegrad.empty_like(x, dtype=kind), lambda: tilegrad.empty(2, dtype=kind, device="meta"),
        lambda: tilegrad.empty_strided((2,), (1,), dtype=kind), lambda: tilegrad.frombuffer(b"1234", dtype=kind),
        lambda: tilegrad.nn.Linear(2, 2, dtype=kind), lambda: tilegrad.nn.Linear(2, 2).to(kind),
    ):  # fmt: skip
        with pytest.raises((NotImplementedError, TypeError), match=kind.name):
            make()
    with pytest.raises((NotImplementedError, TypeError)):
        tilegrad.set_default_dtype(kind)
