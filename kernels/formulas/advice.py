"""What to write instead of what a formula cannot hold: the ends of error messages."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable

# by kind of statement or expression: what it is called, and what to write instead
_NODES: dict[type[ast.AST], tuple[str, str]] = {
    ast.Subscript: ("an index", "pass the element as an argument of its own"),
    ast.Tuple: ("a tuple here", "write one expression per output, or one line per variable"),
    ast.List: ("a list", "write one variable per element"),
    ast.Dict: ("a dict", "write if and else"),
    ast.Set: ("a set", "write one variable per element"),
    ast.Lambda: ("a lambda", "write a function with def, beside this one"),
    ast.ListComp: ("a comprehension", "write a loop over range(...)"),
    ast.GeneratorExp: ("a generator", "write a loop over range(...)"),
    ast.NamedExpr: ("an assignment within an expression", "assign in a line of its own"),
    ast.JoinedStr: ("a text", "a formula has numbers only"),
    ast.Try: ("try", "write if and else: a formula raises nothing"),
    ast.Raise: ("raise", "give NaN: a formula raises nothing"),
    ast.Assert: ("assert", "check before the call: a formula raises nothing"),
    ast.With: ("with", "a formula has no context"),
    ast.Starred: ("a starred argument", "name each argument"),
    ast.FunctionDef: ("a function within it", "define it beside the function, not within"),
    ast.ClassDef: ("a class", "a formula has numbers only"),
    ast.Match: ("match", "write if and elif"),
    ast.Expr: ("an expression that is not used", "leave it out: a formula only computes"),
    ast.Global: ("a global variable", "numbers of an enclosing scope may be read without it"),
    ast.Nonlocal: ("a nonlocal variable", "numbers of an enclosing scope may be read without it"),
    ast.Delete: ("del", "leave it out"),
    ast.Import: ("an import", "import at the top of the file"),
    ast.ImportFrom: ("an import", "import at the top of the file"),
    ast.Yield: ("a yield", "return a number, or a tuple of them"),
    ast.Await: ("await", "a formula only computes"),
}

# of functions that there are no formulas of
_CALLS = {
    "all": "write `and`", "any": "write `or`",
    "bool": "write a comparison, as in `x != 0`",
    "cbrt": "write sign(x) * abs(x) ** (1 / 3)",
    "clamp": "write min(max(x, low), high)", "clip": "write min(max(x, low), high)",
    "radians": "write x * (math.pi / 180)", "degrees": "write x * (180 / math.pi)",
    "dist": "write hypot(x, y)", "divmod": "write x // y and x % y",
    "gamma": "write exp(lgamma(x)), where x > 0",
    "int": "write floor(x) or trunc(x)",
    "isclose": "write abs(x - y) <= bound",
    "ldexp": "write x * 2 ** n",
    "print": "leave it out: a formula only computes",
    "sum": "write +, or a loop over range(...)",
    "where": "write `a if condition else b`",
}  # fmt: skip


def of_node(node: ast.AST) -> tuple[str, str]:
    """What a statement or an expression is called, and what to write instead."""
    words = (
        "this kind of statement or expression",
        "write arithmetic, if, and loops over range(...)",
    )
    return _NODES.get(type(node), words)


def of_call(title: str, known: Iterable[str]) -> str:
    """What to call instead of a function; ``known``: the names of formulas."""
    if title in _CALLS:
        return _CALLS[title]
    near = difflib.get_close_matches(title, list(known), 3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return (
        "call a formula (dir(tilegrad.formulas)), a function of yours on numbers, abs, min or max"
    )


def of_name(name: str, known: Iterable[str]) -> str:
    """What to do about a name that means nothing."""
    if name in _CALLS:
        return _CALLS[name]
    near = difflib.get_close_matches(name, list(known), 2, 0.8)
    return "define it before the function is decorated" + "".join(f"; or {n}?" for n in near)
