"""ONNX's own node tests: here one an operator of those that pass; ``python -m tests.onnx.node_tests`` runs all."""

from __future__ import annotations

import re

from tests.onnx import node_tests


def listed() -> tuple[int, int, set[str]]:
    """(how many pass, of how many, the names of those that do not) by the page."""
    text = node_tests.PAGE.read_text()
    found = re.search(r"has (\d+) backend node tests\. (\d+) pass", text)
    assert found is not None
    rows = re.findall(r"^\| .* \((\d+)\) \| (.*) \|$", text, re.M)
    names = {f"test_{n}" for _, row in rows for n in row.split(", ")}
    assert sum(int(count) for count, _ in rows) == len(names)
    return int(found[2]), int(found[1]), names


def test_operators() -> None:
    passing, total, failing = listed()
    every = node_tests.cases()
    assert len(every) == total and passing == total - len(failing) >= 900
    assert failing <= {c.name for c in every}
    by_operator: dict[str, list] = {}
    for case in every:
        if case.name not in failing and "expanded" not in case.name:
            by_operator.setdefault(case.model.graph.node[0].op_type, []).append(case)
    assert len(by_operator) > 150
    wrong = {}
    for cases in by_operator.values():
        said = node_tests.run(cases[-1])
        if said:
            wrong[cases[-1].name] = said
    assert not wrong


def test_a_wrong_result_is_seen() -> None:
    case = next(c for c in node_tests.cases() if c.name == "test_abs")
    assert node_tests.run(case) == ""
    case.model.graph.node[0].op_type = "Neg"
    assert "Not equal" in node_tests.run(case)
    case.model.graph.node[0].op_type = "Abs"
