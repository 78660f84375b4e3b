"""One way to record: nodes are made by rules, and by what is named here with its reason."""

from __future__ import annotations

import ast

from tests.conftest import ROOT

# what makes a node, or has a template make one
MAKERS = ("new_node", "connect", "record_by_template")
MAY_MAKE = {
    "autograd/graph.py": "they stand there",
    "autograd/rule.py": "rules",
    "autograd/function.py": "a custom function's node has outputs and saved tensors of the user's choice",
    "autograd/user_calls.py": "a user's op that writes over several operands at once",
    "autograd/rules/elementwise.py": "unary and binary ask for a template themselves: a call less",
}
# who says what made a tensor
MAY_SET = {
    "autograd/graph.py": "the outputs of a node; what is saved, as the output that it was",
    "autograd/rule.py": "what was written over",
    "autograd/function.py": "outputs without a gradient",
    "autograd/tensor.py": "detach_",
    "autograd/twins.py": "x.t_(): the tensor becomes the view",
    "autograd/rules/cross_entropy.py": "a tensor in the place of logits that nobody kept",
}


def _used(tree: ast.Module) -> tuple[set[str], bool]:
    """(the makers that a module names, whether it says what made a tensor)"""
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    parts = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
    names |= {n.attr for n in parts}
    sets = any(n.attr == "_node" and isinstance(n.ctx, ast.Store) for n in parts)
    return names & set(MAKERS), sets


def test_nodes_are_made_by_rules() -> None:
    makes, sets = set(), set()
    for folder in ("autograd", "nn", "optim", "data", "cuda", "cli"):
        for path in (ROOT / folder).rglob("*.py"):
            found, history = _used(ast.parse(path.read_text()))
            name = str(path.relative_to(ROOT))
            makes |= {name} if found else set()
            sets |= {name} if history else set()
    assert makes == set(MAY_MAKE)
    assert sets == set(MAY_SET)
