"""Operators with operands that are no tensors, in step with PyTorch."""

from __future__ import annotations

import itertools
import operator
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg

ARITHMETIC = [
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor", "lshift", "rshift", "matmul",
]  # fmt: skip
COMPARED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


class Foreign:
    """Has every operator reflected."""

    __hash__ = object.__hash__


for _name in ARITHMETIC:
    setattr(Foreign, f"__r{_name.strip('_')}__", lambda self, other, n=_name: n)
for _name, _other in COMPARED.items():
    setattr(Foreign, f"__{_other}__", lambda self, other, n=_name: n)


@pytest.mark.parametrize("name", [*ARITHMETIC, *COMPARED])
def test_an_operand_of_another_class_is_left_to_it(name: str) -> None:
    for lib in (tg, torch):
        for x in (lib.ones(3), lib.ones(3, dtype=lib.int64, requires_grad=False)):
            assert getattr(operator, name)(x, Foreign()) == name
            if name not in COMPARED:
                assert getattr(operator, "i" + name.strip("_"))(x, Foreign()) == name


@pytest.mark.parametrize("name", [*ARITHMETIC, *COMPARED])
def test_what_is_left_to_another_class_leaves_no_error(name: str) -> None:
    getattr(operator, name)(tg.ones(3), Foreign())
    assert sys.exc_info() == (None, None, None)
    outer, handled = KeyError("outer"), None
    try:
        raise outer
    except KeyError:
        getattr(operator, name)(tg.ones(3), Foreign())
        handled = sys.exc_info()[1]
    assert handled is outer and sys.exc_info() == (None, None, None)


@pytest.mark.parametrize("name", [*ARITHMETIC, *COMPARED])
@pytest.mark.parametrize("other", [None, "a", [1, 2, 3], (1,), {}, {1}, object(), int, len])
def test_what_no_operator_knows_is_a_type_error(name: str, other: object) -> None:
    for lib in (tg, torch):
        x = lib.tensor([1, 1, 2])
        with pytest.raises(TypeError):
            getattr(operator, name)(x, other)
        if not (name == "mod" and isinstance(other, str)):  # which is formatting
            with pytest.raises(TypeError):
                getattr(operator, name)(other, x)
        if name not in COMPARED:
            with pytest.raises(TypeError):
                getattr(operator, "i" + name.strip("_"))(x, other)


def test_an_error_of_the_operator_itself_goes_on() -> None:
    x = tg.ones(3)
    with pytest.raises(RuntimeError, match="sizes must be equal"):
        operator.add(x, tg.ones(2))
    with pytest.raises(TypeError, match="must be Tensor, not NoneType"):
        operator.lt(x, None)


@pytest.mark.parametrize("name", ["ilshift", "irshift"])
def test_shifts_in_place_write_to_the_memory(name: str) -> None:
    found = []
    for lib in (tg, torch):
        x = lib.tensor([16, 5, 3])
        view, same = x[1:], x
        x = getattr(operator, name)(x, 1)
        found.append((x.tolist(), view.tolist(), x is same, x._version))
        for other in (1.5, lib.tensor([1.0, 2.0, 3.0])):
            with pytest.raises(RuntimeError):
                getattr(operator, name)(x, other)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "call",
    [
        lambda lib, x: 1.5 << x, lambda lib, x: 1.5 >> x, lambda lib, x: 1j << x, lambda lib, x: True << x,
        lambda lib, x: 2**70 << x, lambda lib, x: 2 @ x, lambda lib, x: 1.5 @ x, lambda lib, x: ~x.float(),
        lambda lib, x: ~x, lambda lib, x: ~x.bool(), lambda lib, x: format(x, "d"), lambda lib, x: format(x[0], "d"),
    ],
)  # fmt: skip
def test_operands_of_other_kinds(call: Any) -> None:
    found = []
    for lib in (tg, torch):
        try:
            made = call(lib, lib.tensor([1, 2, 3]))
            found.append(made if isinstance(made, str) else (made.tolist(), str(made.dtype)[-5:]))
        except Exception as error:
            found.append(type(error))
    assert found[0] == found[1]


ARRAYS = (
    "bool",
    "uint8",
    "int8",
    "int32",
    "int64",
    "uint32",
    "float16",
    "float32",
    "float64",
    "complex64",
)


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arrays_promote_as_numpy_has_it(name: str) -> None:
    """PyTorch leaves ``x + array`` to NumPy, whatever has dimensions; where it raises, the tensors' rules serve."""
    compute = getattr(operator, name)
    for kind, other, sizes in itertools.product(
        ("bool", "uint8", "int32", "int64", "float32", "float64", "complex64"),
        ARRAYS,
        ((2, 2), (2, 0), (0, 2)),
    ):
        array = np.array([3, 1]).astype(other) if sizes[1] else np.array(3).astype(other)
        for order in (1, -1):
            found = []
            for lib in (torch, tg):
                x = lib.tensor([1, 2] if sizes[0] else 2, dtype=getattr(lib, kind))
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        made = compute(*(x, array)[::order])
                    found.append((str(made.dtype).rpartition(".")[2], made.tolist()))
                except (TypeError, ValueError, RuntimeError):
                    break
            if (
                len(found) < 2 or kind == other == "bool"
            ):  # whose sum NumPy has as a bool, PyTorch as uint8
                continue
            assert found[0][0] == found[1][0], (kind, other, sizes, order, found)
            assert found[0][1] == pytest.approx(found[1][1], rel=1e-6), (kind, other, order)
