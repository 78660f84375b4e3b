"""The comparison's own logic: what counts as equal, how ratios are summed up."""

from __future__ import annotations

import numpy as np
import pytest

from bench import agreement, areas, figures
from bench.harness import compare
from bench.rows.row import Row, floats


def test_rows_have_names_of_their_own() -> None:
    names = [(r.area, r.name) for r in areas.ROWS]
    assert len(set(names)) == len(names)
    assert {r.area for r in areas.ROWS} == set(areas.MARKS)
    assert areas.chosen(["matmul"], "attention")
    assert all(r.area == "matmul" for r in areas.chosen(["matmul"]))


@pytest.mark.parametrize(
    "ours, theirs, least, most",
    [
        ([1.0, 2.0], [1.0, 2.0], 0, 0),
        ([1.0, 2.0], [1.0, 2.2], 0.04, 0.06),  # 0.2 / (2.2 + 1.6)
        ([1e-9, 2.0], [0.0, 2.0], 0, 1e-8),  # near zero the array's scale counts
        ([np.nan, 2.0], [1.0, 2.0], np.inf, np.inf),
        ([np.inf, np.nan, 2.0], [np.inf, np.nan, 2.0], 0, 0),
        ([np.inf, 2.0], [np.inf, 3.0], 0.16, 0.17),
        ([np.inf, 2.0], [1.0, 2.0], np.inf, np.inf),
        ([1, 2], [1, 3], np.inf, np.inf),
        ([1.0, 2.0], [1, 2], np.inf, np.inf),
        ([1.0], [1.0, 1.0], np.inf, np.inf),
    ],
)
def test_difference(ours, theirs, least, most) -> None:
    found = agreement.difference([np.array(ours)], [np.array(theirs)])
    assert least <= found <= most


def test_a_row_that_differs_is_wrong() -> None:
    import torch

    def call(t, x):
        return x * 1.001 if t is torch else x

    row = Row("elementwise", "odd", call, (floats(3),), backward=True)
    same, distance = agreement.agree(row)
    assert not same and 1e-4 < distance < 1e-3
    result = {"area": row.area, "name": row.name, "agrees": False, "difference": distance,
              "seconds": {"tilegrad": 1.0, "torch": 2.0}, "spread": {}}  # fmt: skip
    assert "WRONG" in figures.line(result)


def test_errors_against_float64() -> None:
    row = Row(
        "matmul", "x @ x", lambda t, x: x @ x, (floats(40, 40),), backward=True, accuracy="rms"
    )
    found = agreement.errors(row, ["tilegrad", "torch"])
    assert all(1e-9 < error < 1e-6 for error in found.values())


def test_areas_against_their_marks() -> None:
    def row(area, ratio, **more):
        return {"area": area, "name": f"{area} {ratio}", "agrees": True, "ratio": ratio, **more}

    rows = [row("matmul", 1.0), row("matmul", 4.0), row("overhead", 0.5)]
    rows.append({"area": "overhead", "name": "bad", "agrees": False})
    found = figures.summary(rows)
    assert list(found) == ["matmul", "overhead", "all"]
    assert found["matmul"]["mean"] == pytest.approx(2.0)
    assert found["matmul"]["reached"] and not found["overhead"]["reached"]
    assert found["overhead"]["under"] == ["overhead 0.5"]
    assert found["overhead"]["wrong"] == ["bad"]
    assert found["all"]["mean"] == pytest.approx(2.0 ** (1 / 3))


def test_rounds_are_interleaved() -> None:
    order: list[str] = []
    found = compare({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert set(found) == {"a", "b"}
    assert all(0 < t.best and t.spread >= 1 for t in found.values())
    turns = [x for x, before in zip(order[1:], order) if x != before]
    assert turns[-6:] == ["a", "b"] * 3
