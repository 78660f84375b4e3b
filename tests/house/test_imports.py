"""Imports inside autograd: none goes in a circle, and none is delayed that need not be."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.conftest import ROOT

HOME = "tilegrad.autograd"
MODULES = {
    ".".join((HOME, *path.relative_to(ROOT / "autograd").with_suffix("").parts)): path
    for path in (ROOT / "autograd").rglob("*.py")
    if path.name != "__init__.py"
}
Graph = dict[str, set[str]]


def _targets(node: ast.AST) -> Iterator[str]:
    """The modules of autograd that an import statement names."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(HOME):
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            found = whole if whole in MODULES else str(node.module)
            if found in MODULES:
                yield found


def _graphs() -> tuple[Graph, Graph]:
    """(imports at the top of each module, those inside its functions)."""
    top: Graph = {}
    late: Graph = {}
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text())
        top[name] = {t for node in tree.body for t in _targets(node)}
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        late[name] = {t for f in functions for node in ast.walk(f) for t in _targets(node)}
    return top, late


def _reached(start: str, graph: Graph) -> set[str]:
    seen: set[str] = set()
    left = [start]
    while left:
        new = graph[left.pop()] - seen
        seen |= new
        left += new
    return seen


def test_no_module_of_autograd_imports_itself_in_a_circle() -> None:
    top, _ = _graphs()
    assert len(top) > 40
    assert [name for name in top if name in _reached(name, top)] == []


def test_no_import_is_delayed_that_need_not_be() -> None:
    top, late = _graphs()
    free = {
        name: {t for t in targets if t != name and name not in _reached(t, top)}
        for name, targets in late.items()
    }
    assert {name: found for name, found in free.items() if found} == {}
