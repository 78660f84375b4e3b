"""What is no tensor where a tensor belongs: every public function, position by position, found by
the functions' signatures, refuses it with a TypeError that names the argument, where PyTorch raises
too.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
from tilegrad.autograd import arguments, kinds, names
from tilegrad.engine import array
from tilegrad.engine.dtype import DType

BAD = {"int": 5, "str": "s", "None": None, "list": [1.0], "ndarray": np.ones(2)}

# takes what PyTorch refuses: a number or an array as first operand, as ``5 * tensor`` does
LENIENT = ("int", "ndarray")


def _functions() -> dict[str, tuple[Any, Any]]:
    """(ours, PyTorch's or None) by name."""
    found = {}
    for prefix, ours, theirs in (
        ("", tg, torch),
        ("functional.", tg.nn.functional, torch.nn.functional),
        ("Tensor.", tg.Tensor, torch.Tensor),
    ):
        for name in dir(ours):
            function = getattr(ours, name)
            if inspect.isfunction(function) and not name.startswith("_"):
                found[prefix + name] = function, getattr(theirs, name, None)
    return found


FUNCTIONS = _functions()


def _tensors(function: Any) -> list[inspect.Parameter]:
    return [
        p
        for p in inspect.signature(function).parameters.values()
        if re.search(r"\bTensor\b", str(p.annotation)) and "Callable" not in str(p.annotation)
    ]


POSITIONS = [
    (name, parameter.name)
    for name, (function, _) in FUNCTIONS.items()
    for parameter in _tensors(function)
    if parameter.name != "self" and not (name.startswith("Tensor.") and parameter.name == "input")
]


def _filler(parameter: inspect.Parameter, module: Any) -> Any:
    kind = str(parameter.annotation)
    if "Sequence[Tensor" in kind:
        return [module.ones(2, 3)]
    for word, value in (
        ("Tensor", None),
        ("Sequence", (2, 3)),
        ("int", 1),
        ("float", 0.5),
        ("str", "x"),
    ):
        if word in kind:
            return module.ones(2, 3) if value is None else value
    return module.ones(2, 3)


def _call(function: Any, like: Any, position: str, bad: Any, module: Any) -> Any:
    positional: list[Any] = []
    named = {}
    for parameter in inspect.signature(like).parameters.values():
        if parameter.name == position:
            value = bad
        elif parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD:
            continue
        else:
            value = _filler(parameter, module)
        if (
            parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL)
            and not named
        ):
            if parameter.default is parameter.empty:
                positional.append(value)
                continue
        named[parameter.name] = value
    return function(*positional, **named)


def _raised(*call: Any) -> BaseException | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _call(*call)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize(("name", "position"), POSITIONS, ids=lambda x: str(x))
def test_what_is_no_tensor_is_refused_by_name(name, position):
    ours, theirs = FUNCTIONS[name]
    annotation = str(inspect.signature(ours).parameters[position].annotation)
    for kind, bad in BAD.items():
        if (bad is None and "None" in annotation) or (kind == "list" and "Sequence" in annotation):
            continue
        if kind in LENIENT and re.search("Scalar|float|int|Number", annotation):
            continue
        error = _raised(ours, ours, position, bad, tg)
        if error is None:
            refused = theirs is not None and _raised(theirs, ours, position, bad, torch)
            assert kind in LENIENT or not refused, f"{kind}: taken, PyTorch raises {refused!r}"
            continue
        assert type(error) is TypeError, f"{kind}: {type(error).__name__}: {error}"
        assert re.search(r"argument|operands|must be|expected|got", str(error)), error


def test_the_words_are_pytorchs():
    for call in (
        lambda t: t.softmax(5, 0),
        lambda t: t.exp("a"),
        lambda t: t.matmul(t.ones(2, 2), None),
        lambda t: t.gather(t.ones(2), 0, [0]),
        lambda t: t.mul(None, t.ones(2)),
    ):
        with pytest.raises(TypeError) as theirs:
            call(torch)
        with pytest.raises(TypeError) as ours:
            call(tg)
        assert str(ours.value) == str(theirs.value).split("\n")[0]


def test_an_error_of_another_kind_is_left_alone():
    with pytest.raises(IndexError, match="Dimension out of range"):
        tg.softmax(tg.ones(2), 3)
    with pytest.raises(RuntimeError, match="shape"):
        tg.matmul(tg.ones(2, 3), tg.ones(2, 3))
    assert sys.exc_info() == (None, None, None)


def _several(x: tg.Tensor, count: int = 3) -> list[int]:
    """Loops, handlers within handlers, cleanup: every kind of row that an exception table has."""
    seen = []
    for index in range(count):
        try:
            with warnings.catch_warnings():
                seen.append(x.layout.ndim // index)
        except ZeroDivisionError as error:
            try:
                raise KeyError from error
            except KeyError:
                seen.append(-1)
        finally:
            seen.append(-2)
    return seen


def test_the_clause_keeps_what_the_function_does():
    plain = _several(tg.ones(2))
    code = _several.__code__
    arguments.checked([_several])
    try:
        assert _several.__code__ is not code
        assert _several(tg.ones(2)) == plain == [-1, -2, 1, -2, 0, -2]
        for _ in range(3):
            with pytest.raises(
                TypeError, match=r"^_several\(\): argument 'x' \(position 1\)"
            ) as seen:
                _several(7)
            lines = [frame.lineno for frame in traceback.extract_tb(seen.value.__traceback__)]
            assert None not in lines
        with pytest.raises(TypeError, match="interpreted as an integer"):
            _several(tg.ones(2), "q")
        with pytest.raises(TypeError, match="positional argument"):
            _several()
        assert sys.exc_info() == (None, None, None)
    finally:
        _several.__code__ = code
        arguments._done.pop(_several)


def test_a_clause_under_300_constants():
    source = "def big(x: 'Tensor'):\n    x.layout\n    return [" + "".join(
        f"{i}.5 if x is None else {i}.25, " for i in range(300)
    )
    space: dict[str, Any] = {}
    exec(source + "]", space)
    arguments.checked([space["big"]])
    assert sum(space["big"](tg.ones(1))) == sum(i + 0.25 for i in range(300))
    with pytest.raises(TypeError, match="must be Tensor, not str"):
        space["big"]("a")


def test_flags_and_counts_are_what_they_are():
    """Held by an inner function, by name only, with and without defaults."""

    def shown(x: Any, k: int, flag: bool = False, *, up: bool = True, count: int | None = None):
        return (k, flag, up, count), lambda: (k, up)

    # as a module with postponed annotations has them
    shown.__annotations__ = {
        "k": "int", "flag": "bool", "up": "bool", "count": "int | None"
    }  # fmt: skip
    kinds.exact([shown])
    assert shown(None, 2)[0] == (2, False, True, None)
    given = shown(None, tg.tensor(300), np.bool_(True), up=False, count=np.int64(5))
    assert repr(given[0]) == "(300, True, False, 5)" and given[1]() == (300, False)
    for bad in (True, 2.0, "a", None, [1], np.ones(1), tg.tensor(1.0), tg.tensor(True), tg.ones(2)):
        with pytest.raises(TypeError, match=r"shown\(\): argument 'k' \(position 2\) must be int"):
            shown(None, bad)
        if bad is not None:
            with pytest.raises(TypeError, match="'count' .* must be int"):
                shown(None, 1, count=bad)
    for bad in (0, 1, None, "a", [], tg.tensor(True), np.int64(1)):
        with pytest.raises(TypeError, match="'flag' .* must be bool"):
            shown(None, 1, bad)
        with pytest.raises(TypeError, match="'up' .* must be bool"):
            shown(None, 1, up=bad)


def test_no_layout_is_kept_under_a_size_that_is_no_integer():
    """2.0 is found for 2 in every table: each later tensor of that shape would have it."""
    for bad in ((977.0, 3), (977, np.float64(3)), (tg.tensor(977.0), 3)):
        with pytest.raises(TypeError):
            array.layout(bad, tg.float32)
        with pytest.raises(TypeError):
            array.layout((977, 3), tg.float32, strides=bad)
    array.layout((np.int64(977), True), tg.float32)
    held = array.layout((977, 1), tg.float32)
    assert {type(n) for n in held.shape + held.strides} == {int}
    with pytest.raises(TypeError):
        tg.diag(tg.ones(3), 54.0)
    assert tg.diag(tg.ones(3), 54).shape == tg.zeros(57, 57).shape == (57, 57)


def test_an_error_from_below_is_that_error():
    """What a body keeps beside its arguments is not taken for one of them, where other names of
    arguments (axis, keepdims) lie in the places of locals.
    """

    def below(
        input: tg.Tensor, dim: int, *, dtype: DType | None = None, keepdim: bool = False
    ) -> Any:
        first, second, third, fourth = 1.5, 2, None, (input,)
        raise NotImplementedError(f"below: {first}, {second}, {third}, {len(fourth)}")

    names.renamed([below])
    arguments.checked([below])
    x = tg.ones(2)
    for call in (
        lambda: below(x, 0), lambda: below(x, axis=0), lambda: below(x, 0, dtype=tg.float32),
        lambda: below(x, dim=0, keepdims=True),
    ):  # fmt: skip
        with pytest.raises(NotImplementedError, match="below: 1.5, 2, None, 1"):
            call()
    with pytest.raises(TypeError, match="argument 'input'"):
        below(3, 0)
    with pytest.raises(TypeError, match="dim"):
        below(x)


def test_an_integer_that_cannot_be_read_is_no_wrong_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(self: tg.Tensor) -> int:
        raise RuntimeError("the device is lost")

    x, start = tg.ones(3), tg.tensor(1)
    for wrong in (tg.tensor(1.0), tg.tensor([1, 2]), tg.tensor(True)):
        with pytest.raises(TypeError, match="argument 'size' .* must be int, not Tensor"):
            x.unfold(0, wrong, 1)
    monkeypatch.setattr(tg.Tensor, "item", lost)
    with pytest.raises(RuntimeError, match="the device is lost"):
        x.narrow(0, start, 2)
