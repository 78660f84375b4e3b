"""The source of public functions that are written at run time."""

from __future__ import annotations

from tilegrad.autograd.call_source import are_tensors, call_source, tuple_source


def test_ways_fall_through_to_all_other_calls() -> None:
    double = (["x > 0", "k == 1"], ["made = x * 2", "if made > 4:", "    return made"])
    negative = (["x < 0"], ["return -x"])
    text = call_source("f", ["x", "k=1"], f"other({tuple_source(['x', 'k'])})", double, negative)
    scope = {"other": lambda given: given}
    exec(text, scope)
    f = scope["f"]
    assert f(3) == 6  # type: ignore[operator]
    assert f(-3) == 3  # type: ignore[operator]
    assert f(1) == (1, 1)  # type: ignore[operator]  # falls through
    assert f(3, k=2) == (3, 2)  # type: ignore[operator]  # no way's call


def test_a_way_without_lines_is_left_out() -> None:
    scope: dict[str, object] = {}
    exec(call_source("f", ["x"], "x", (are_tensors(["x"]), [])), scope)
    assert scope["f"](7) == 7  # type: ignore[operator]


def test_tuples_of_any_length() -> None:
    assert [eval(tuple_source(v)) for v in ((), ["1"], ["1", "2"])] == [(), (1,), (1, 2)]
