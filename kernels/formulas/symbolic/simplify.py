"""Small algebra on syntax trees, and the tidying of generated statements.

Formulas have no side effects, so what is not read may go, and what is read once may be written
where it is read. Only exact identities are used: no sum or product is reordered.
"""

from __future__ import annotations

import ast
from collections import Counter

from tilegrad.kernels.formulas.symbolic.source import loaded, stored, walk

ZERO = ast.Constant(0)  # the tangent of what does not depend on the parameter; compare with `is`
ONE = ast.Constant(1)  # the tangent of the parameter itself
MINUS_ONE = ast.Constant(-1)
_WIDTH = 96  # a line that would get longer keeps a name for its part
_SHORT = 12  # a part that is not worth a name


def name(identifier: str) -> ast.Name:
    return ast.Name(identifier, ast.Load())


def call(function: str | ast.expr, *arguments: ast.expr) -> ast.Call:
    head = name(function) if isinstance(function, str) else function
    return ast.Call(head, list(arguments), [])


def assign(target: str, value: ast.expr) -> ast.Assign:
    return ast.Assign([ast.Name(target, ast.Store())], value, lineno=0)


def binary(x: ast.expr, operator: type[ast.operator], y: ast.expr) -> ast.BinOp:
    return ast.BinOp(x, operator(), y)


def _negated(x: ast.expr) -> ast.expr | None:
    """The y of ``-y``."""
    if x is MINUS_ONE:
        return ONE
    if isinstance(x, ast.UnaryOp) and isinstance(x.op, ast.USub):
        return x.operand
    return None


def neg(x: ast.expr) -> ast.expr:
    if x is ZERO or x is ONE:
        return x if x is ZERO else MINUS_ONE
    inner = _negated(x)
    return ast.UnaryOp(ast.USub(), x) if inner is None else inner


def add(x: ast.expr, y: ast.expr) -> ast.expr:
    if x is ZERO or y is ZERO:
        return y if x is ZERO else x
    inner = _negated(y)
    return binary(x, ast.Add, y) if inner is None else binary(x, ast.Sub, inner)


def sub(x: ast.expr, y: ast.expr) -> ast.expr:
    return add(x, neg(y))


def mul(x: ast.expr, y: ast.expr) -> ast.expr:
    if x is ZERO or y is ZERO:
        return ZERO
    if x is ONE or y is ONE:
        return y if x is ONE else x
    for first, second, swapped in ((x, y, False), (y, x, True)):
        inner = _negated(first)
        if inner is not None:
            return neg(mul(second, inner) if swapped else mul(inner, second))
    return binary(x, ast.Mult, y)


def div(x: ast.expr, y: ast.expr) -> ast.expr:
    if x is ZERO:
        return x
    inner = _negated(x)
    return binary(x, ast.Div, y) if inner is None else neg(div(inner, y))


def where(test: ast.expr, x: ast.expr, y: ast.expr) -> ast.IfExp:
    return ast.IfExp(test, x, y)


# ------------------------------------------------------------------------------------- tidying


def tidy(body: list[ast.stmt], generated: set[str], parameters: list[str]) -> list[ast.stmt]:
    """Drop what is not read; write ``generated`` names that are read once where they are read."""
    before = None
    text = _text(body)
    while text != before:
        before = text
        body = ast.parse(text).body  # a fresh tree: generated code shares nodes
        body = [_SameBranches().visit(s) for s in body]
        body, _ = _prune(body, set(), set(), set())
        body = _collapse(body, generated)
        _merge_copies(body, body, generated, set(parameters))
        _inline(body, generated)
        text = _text(body)
    return body


def _text(body: list[ast.stmt]) -> str:
    return "\n".join(ast.unparse(ast.fix_missing_locations(s)) for s in body)


def _prune(
    body: list[ast.stmt], live: set[str], after: set[str], again: set[str]
) -> tuple[list[ast.stmt], set[str]]:
    """Live statements of a block and the names it reads; ``live`` is what is read behind it.

    ``after`` and ``again`` are read behind the enclosing loop and by its next iteration.
    """
    kept: list[ast.stmt] = []
    for s in reversed(body):
        new: ast.stmt | None = s
        if isinstance(s, ast.Return):
            kept, live = [], set(loaded(s.value))
        elif isinstance(s, ast.Break | ast.Continue):
            kept, live = [], set(after if isinstance(s, ast.Break) else again)
        elif isinstance(s, ast.Assign):
            targets = set(stored(s))
            if targets & live:
                live = (live - targets) | set(loaded(s.value))
            else:
                new = None
        elif isinstance(s, ast.If):
            new, live = _prune_if(s, live, after, again)
        elif isinstance(s, ast.For | ast.While):
            new, live = _prune_loop(s, live)
        if new is not None:
            kept.insert(0, new)
    return kept, live


def _prune_if(
    s: ast.If, live: set[str], after: set[str], again: set[str]
) -> tuple[ast.stmt | None, set[str]]:
    body, read_body = _prune(s.body, live, after, again)
    orelse, read_orelse = _prune(s.orelse, live, after, again)
    if not body and not orelse:
        return None, live
    test = s.test
    if not body:
        test, body, orelse = ast.UnaryOp(ast.Not(), test), orelse, []
    return ast.If(test, body, orelse), read_body | read_orelse | set(loaded(test))


def _prune_loop(s: ast.For | ast.While, live: set[str]) -> tuple[ast.stmt | None, set[str]]:
    targets = set(stored(s.target)) if isinstance(s, ast.For) else set()
    again = live if isinstance(s, ast.For) else live | set(loaded(s.test))
    while True:
        body, read = _prune(s.body, again, live, again)
        if read - targets <= again:
            break
        again = again | (read - targets)
    if not body and not targets & live:
        return None, live
    body = body or [ast.Pass()]
    if isinstance(s, ast.For):
        return ast.For(s.target, s.iter, body, [], lineno=0), again | set(loaded(s.iter))
    return ast.While(s.test, body, []), again


def _collapse(body: list[ast.stmt], generated: set[str]) -> list[ast.stmt]:
    """``if c: v = a else: v = b`` of a generated ``v`` becomes ``v = a if c else b``."""
    result: list[ast.stmt] = []
    for s in body:
        if isinstance(s, ast.If | ast.For | ast.While):
            s.body = _collapse(s.body, generated)
            s.orelse = _collapse(s.orelse, generated)
        if isinstance(s, ast.If) and len(s.body) == len(s.orelse) == 1:
            x, y = s.body[0], s.orelse[0]
            if isinstance(x, ast.Assign) and isinstance(y, ast.Assign):
                target = stored(x)
                if target == stored(y) and len(target) == 1 and target[0] in generated:
                    result.append(assign(target[0], ast.IfExp(s.test, x.value, y.value)))
                    continue
        result.append(s)
    return result


def _merge_copies(
    block: list[ast.stmt], whole: list[ast.stmt], generated: set[str], parameters: set[str]
) -> None:
    """``a = e; b = a`` with a generated: make it ``b = e`` and read b instead of a."""
    writes = Counter([*stored(*whole), *parameters])
    for s in block:
        if isinstance(s, ast.If | ast.For | ast.While):
            _merge_copies(s.body, whole, generated, parameters)
            _merge_copies(s.orelse, whole, generated, parameters)
    for copy in list(block):
        if not isinstance(copy, ast.Assign) or not isinstance(copy.value, ast.Name):
            continue
        a, targets = copy.value.id, stored(copy)
        if len(targets) > 1 or not writes[a] == writes[targets[0]] == 1 or a not in generated:
            continue
        end = block.index(copy)
        start = next((i for i in range(end) if a in stored(block[i])), end)
        made = start < end and isinstance(block[start], ast.Assign)
        if made and targets[0] not in loaded(*block[start:end]):
            del block[end]
            for node in walk(*whole):
                if isinstance(node, ast.Name) and node.id == a:
                    node.id = targets[0]


class _SameBranches(ast.NodeTransformer):
    """``a if c else a`` is a."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        return node.body if ast.unparse(node.body) == ast.unparse(node.orelse) else node


class _Substitute(ast.NodeTransformer):
    def __init__(self, identifier: str, value: ast.expr):
        self.identifier, self.value = identifier, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        replaced = node.id == self.identifier and isinstance(node.ctx, ast.Load)
        return self.value if replaced else node


def _inline(body: list[ast.stmt], generated: set[str]) -> None:
    """Write one generated name's value where the name is read, in place, until none is left."""
    while _inline_one(body, Counter(stored(*body)), Counter(loaded(*body)), generated, body):
        pass


def _inline_one(
    block: list[ast.stmt],
    writes: Counter[str],
    reads: Counter[str],
    generated: set[str],
    whole: list[ast.stmt],
) -> bool:
    for i, s in enumerate(block):
        if isinstance(s, ast.If | ast.For | ast.While):
            for inner in (s.body, s.orelse):
                if _inline_one(inner, writes, reads, generated, whole):
                    return True
        if not isinstance(s, ast.Assign) or not isinstance(s.targets[0], ast.Name):
            continue
        target = s.targets[0].id
        if target not in generated or writes[target] != 1:
            continue
        if _is_atom(s.value) and not any(writes[n] for n in loaded(s.value)):
            scope = whole  # a parameter or a constant: the same everywhere
        elif reads[target] == 1 and _reaches(block, i, target, s.value):
            scope = block[i + 1 :]
        else:
            continue
        for other in scope:
            _Substitute(target, s.value).visit(other)
        del block[i]
        return True
    return False


def _is_atom(value: ast.expr) -> bool:
    return isinstance(value, ast.Name | ast.Constant)


def _reaches(block: list[ast.stmt], i: int, target: str, value: ast.expr) -> bool:
    """Whether the single read of ``target`` in this block sees the same ``value``, computed there.

    Not into loops, where it would be computed anew; nor past an assignment to what it reads.
    """
    needs = set(loaded(value))
    for s in block[i + 1 :]:
        if target in loaded(s):
            if isinstance(s, ast.For | ast.While):
                return False
            compound = isinstance(s, ast.If) and target not in loaded(s.test)
            if (compound and needs & set(stored(s))) or _in_loop(s, target):
                return False
            width = len(ast.unparse(value))
            return width <= _SHORT or width + _line_length(s, target) <= _WIDTH
        if needs & set(stored(s)):
            return False
    return False


def _in_loop(s: ast.stmt, target: str) -> bool:
    return any(isinstance(n, ast.For | ast.While) and target in loaded(n) for n in walk(s))


def _line_length(s: ast.stmt, target: str) -> int:
    """Length of the line of ``s`` that reads ``target``."""
    lines = ast.unparse(ast.fix_missing_locations(s)).splitlines()
    return max((len(line) for line in lines if target in line), default=0)
