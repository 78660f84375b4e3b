"""From a kernel's source to a function over all threads of a block at once.

The source is parsed; what a condition decides becomes calls of :class:`tests.emulator.flow.Flow`:

====================  =======================================================================
``if c: A else: B``   ``split(c)``; ``if then(): A``; ``if otherwise(): B``; ``join()``
``while c: A``        ``loop()``; ``while again(lambda: c): A``; ``end_loop()``
``a if c else b``     ``choose(c, lambda: a, lambda: b)``; ``and``, ``or``, ``not`` likewise
``x = e``             ``x = assign(x, e)``
``return e``          ``give(e)``, but at the end of a function, where it stays
====================  =======================================================================

Statements that follow one by which threads may leave run only while any are left. Line numbers
stay, so that faults and tracebacks name the kernel's own lines.
"""

from __future__ import annotations

import ast
import builtins
import copy
import inspect
import linecache
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from tests.emulator.flow import UNSET

LANES = "__lanes__"  # the name under which a translated function finds its block


@dataclass
class Edit:
    """A change of a kernel's source: ``old``, which must occur in it once, becomes ``new``.

    Attributes:
        used: the functions, by their code, that were changed.
    """

    old: str
    new: str
    used: set[CodeType] = field(default_factory=set)


def translated(
    function: FunctionType, lanes: Any, convert: Callable[[Any], Any], edits: list[Edit]
) -> FunctionType:
    """``function`` over lanes; ``convert`` gives what stands for the values that it refers to."""
    text, file, first = _source(function, edits)
    code, names = _compiled(text, file, first)
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    scope: dict[str, Any] = {LANES: lanes, "__unset__": UNSET, "__name__": function.__module__}
    for name in names:
        if name in cells:
            scope[name] = convert(cells[name].cell_contents)
        elif name in function.__globals__:
            scope[name] = convert(function.__globals__[name])
        elif hasattr(builtins, name):
            scope[name] = convert(getattr(builtins, name))
    exec(code, scope)
    made: FunctionType = scope[function.__name__]
    made.__defaults__ = function.__defaults__
    return made


def _source(function: FunctionType, edits: list[Edit]) -> tuple[str, str, int]:
    """(text, file, number of the first line) with the edits made that concern it."""
    text, file, first = _text(function.__code__)
    changed = text
    for edit in edits:
        if edit.old in changed:
            if changed.count(edit.old) != 1:
                raise ValueError(f"edit: {edit.old!r} occurs {changed.count(edit.old)} times")
            changed = changed.replace(edit.old, edit.new)
            edit.used.add(function.__code__)
    if changed == text:
        return text, file, first
    file = f"<{function.__name__} with mistakes {hash(changed):x}>"
    linecache.cache[file] = (len(changed), None, changed.splitlines(keepends=True), file)
    return changed, file, 1


@lru_cache(maxsize=None)
def _text(code: CodeType) -> tuple[str, str, int]:
    text = textwrap.dedent(inspect.getsource(code))
    module = compile(text, code.co_filename, "exec")
    read = next(c for c in module.co_consts if isinstance(c, CodeType))
    if _names(read) != _names(code):
        raise RuntimeError(f"{code.co_filename} has changed since it was imported")
    return text, code.co_filename, code.co_firstlineno


def _names(code: CodeType) -> set[str]:
    return {code.co_name, *code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars}


@lru_cache(maxsize=None)
def _compiled(text: str, file: str, first: int) -> tuple[CodeType, tuple[str, ...]]:
    """(module that defines the function, names that its body mentions)."""
    tree = ast.parse(text)
    function = tree.body[0]
    if not isinstance(function, ast.FunctionDef):
        raise NotImplementedError(f"{file}: not the definition of a function")
    ast.increment_lineno(tree, first - 1)
    tree.body = [_Translator(file).definition(function)]
    ast.fix_missing_locations(tree)
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
    own = {a.arg for a in function.args.args} | {LANES, "__unset__"}
    own |= {n.id for n in names if isinstance(n.ctx, ast.Store)}
    return compile(tree, file, "exec"), tuple(sorted({n.id for n in names} - own))


def _leaves(statement: ast.stmt, inside_loop: bool = False) -> bool:
    """Whether threads may skip what follows ``statement`` in its suite."""
    if isinstance(statement, ast.Return):
        return True
    if isinstance(statement, (ast.Break, ast.Continue)):
        return not inside_loop
    if isinstance(statement, (ast.For, ast.While)):
        return any(_leaves(s, True) for s in statement.body)
    if isinstance(statement, ast.If):
        return any(_leaves(s, inside_loop) for s in (*statement.body, *statement.orelse))
    return False


def _lambda(body: ast.expr) -> ast.Lambda:
    empty = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.Lambda(args=empty, body=body)


def _loaded(target: ast.expr) -> ast.expr:
    """A target as an expression."""
    made = copy.deepcopy(target)
    made.ctx = ast.Load()  # type: ignore[attr-defined]
    return made


class _Translator(ast.NodeTransformer):
    """Rewrites one function."""

    def __init__(self, file: str):
        self.file = file
        self.early = False
        self.temporaries = 0

    # ------------------------------------------------------------------------------ definition

    def definition(self, function: ast.FunctionDef) -> ast.FunctionDef:
        """The whole function."""
        returns = [n for n in ast.walk(function) if isinstance(n, ast.Return)]
        self.early = bool(returns) and returns != [function.body[-1]]
        given = {a.arg for a in function.args.args}
        names = {
            n.id
            for n in ast.walk(function)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        body: list[ast.stmt] = [
            ast.Assign([ast.Name(n, ast.Store())], ast.Name("__unset__", ast.Load()))
            for n in sorted(names - given)
        ]
        if self.early:
            body.append(self._do("call", function))
        body += self.suite(function.body)
        if self.early:
            body.append(ast.Return(self._ask("result")))
        for argument in function.args.args:
            argument.annotation = None
        function.args.defaults, function.decorator_list = [], []
        function.body, function.returns = [ast.copy_location(s, function) for s in body], None
        return function

    def _ask(self, method: str, *args: ast.expr) -> ast.Call:
        place = ast.Attribute(ast.Name(LANES, ast.Load()), method, ast.Load())
        return ast.Call(place, list(args), [])

    def _do(self, method: str, at: ast.stmt, *args: ast.expr) -> ast.stmt:
        return ast.copy_location(ast.Expr(self._ask(method, *args)), at)

    # ------------------------------------------------------------------------------ statements

    def suite(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """A sequence of statements."""
        made: list[ast.stmt] = []
        for number, statement in enumerate(statements):
            made += self.statement(statement)
            rest = statements[number + 1 :]
            if rest and _leaves(statement):
                guarded = ast.If(self._ask("any"), self.suite(rest), [])
                return [*made, ast.copy_location(guarded, rest[0])]
        return made

    def statement(self, s: ast.stmt) -> list[ast.stmt]:
        """What one statement becomes."""
        method = getattr(self, f"_{type(s).__name__.lower()}", None)
        if method is None:
            place = f"{self.file}, line {s.lineno}"
            raise NotImplementedError(f"{place}: no {type(s).__name__} in emulated kernels")
        made: list[ast.stmt] = method(s)
        return [ast.copy_location(m, s) if not hasattr(m, "lineno") else m for m in made]

    def _pass(self, s: ast.Pass) -> list[ast.stmt]:
        return [s]

    def _global(self, s: ast.Global) -> list[ast.stmt]:
        return [s]

    def _expr(self, s: ast.Expr) -> list[ast.stmt]:
        return [ast.Expr(self.visit(s.value))]

    def _assign(self, s: ast.Assign) -> list[ast.stmt]:
        value = self.visit(s.value)
        if len(s.targets) == 1 and not isinstance(s.targets[0], ast.Tuple):
            return self._store(s.targets[0], value)
        held, made = self._hold(value)
        for target in s.targets:
            made += self._store(target, _loaded(held))
        return made

    def _annassign(self, s: ast.AnnAssign) -> list[ast.stmt]:
        return [] if s.value is None else self._store(s.target, self.visit(s.value))

    def _augassign(self, s: ast.AugAssign) -> list[ast.stmt]:
        value = ast.BinOp(self.visit(_loaded(s.target)), s.op, self.visit(s.value))
        return self._store(s.target, ast.copy_location(value, s))

    def _hold(self, value: ast.expr) -> tuple[ast.Name, list[ast.stmt]]:
        """(name, statements): a temporary with a value."""
        self.temporaries += 1
        name = ast.Name(f"__{self.temporaries}", ast.Store())
        return name, [ast.Assign([name], value)]

    def _store(self, target: ast.expr, value: ast.expr, by: str = "assign") -> list[ast.stmt]:
        if isinstance(target, ast.Name):
            made = self._ask(by, _loaded(target), value)
            return [ast.Assign([target], ast.copy_location(made, value))]
        if isinstance(target, ast.Subscript):
            place = ast.Subscript(self.visit(target.value), self.visit(target.slice), ast.Store())
            return [ast.Assign([ast.copy_location(place, target)], value)]
        if not isinstance(target, (ast.Tuple, ast.List)):
            raise NotImplementedError(f"{self.file}, line {target.lineno}: target of an assignment")
        names = [self._hold(value) for _ in target.elts]
        parts: list[ast.expr] = [name for name, _ in names]
        made_all: list[ast.stmt] = [ast.Assign([ast.Tuple(parts, ast.Store())], value)]
        for part, (name, _) in zip(target.elts, names, strict=True):
            made_all += self._store(part, _loaded(name))
        return made_all

    def _if(self, s: ast.If) -> list[ast.stmt]:
        made = [self._do("split", s, self.visit(s.test))]
        made.append(ast.copy_location(ast.If(self._ask("then"), self.suite(s.body), []), s))
        if s.orelse:
            other = ast.If(self._ask("otherwise"), self.suite(s.orelse), [])
            made.append(ast.copy_location(other, s.orelse[0]))
        return [*made, self._do("join", s)]

    def _while(self, s: ast.While) -> list[ast.stmt]:
        test = self._ask("again", _lambda(self.visit(s.test)))
        return self._looping(s, ast.While(test, self.suite(s.body), []))

    def _for(self, s: ast.For) -> list[ast.stmt]:
        name, _ = self._hold(s.iter)
        body = [*self._store(s.target, _loaded(name), "bind"), *self.suite(s.body)]
        return self._looping(s, ast.For(name, self._ask("each", self.visit(s.iter)), body, []))

    def _looping(self, s: ast.While | ast.For, loop: ast.stmt) -> list[ast.stmt]:
        if s.orelse:
            raise NotImplementedError(f"{self.file}, line {s.lineno}: a loop with else")
        return [self._do("loop", s), ast.copy_location(loop, s), self._do("end_loop", s)]

    def _break(self, s: ast.Break) -> list[ast.stmt]:
        return [self._do("leave_loop", s)]

    def _continue(self, s: ast.Continue) -> list[ast.stmt]:
        return [self._do("skip", s)]

    def _return(self, s: ast.Return) -> list[ast.stmt]:
        value = ast.Constant(None) if s.value is None else self.visit(s.value)
        return [self._do("give", s, value) if self.early else ast.Return(value)]

    # ----------------------------------------------------------------------------- expressions

    def visit_IfExp(self, e: ast.IfExp) -> ast.expr:
        sides = _lambda(self.visit(e.body)), _lambda(self.visit(e.orelse))
        return ast.copy_location(self._ask("choose", self.visit(e.test), *sides), e)

    def visit_BoolOp(self, e: ast.BoolOp) -> ast.expr:
        method = "both" if isinstance(e.op, ast.And) else "either"
        made = self.visit(e.values[-1])
        for value in reversed(e.values[:-1]):
            made = ast.copy_location(self._ask(method, self.visit(value), _lambda(made)), e)
        return made

    def visit_UnaryOp(self, e: ast.UnaryOp) -> ast.expr:
        if not isinstance(e.op, ast.Not):
            return self.generic_visit(e)  # type: ignore[return-value]
        return ast.copy_location(self._ask("negate", self.visit(e.operand)), e)

    def visit_Compare(self, e: ast.Compare) -> ast.expr:
        if len(e.ops) == 1:
            return self.generic_visit(e)  # type: ignore[return-value]
        terms = [e.left, *e.comparators]
        pairs: list[ast.expr] = [
            ast.copy_location(ast.Compare(copy.deepcopy(a), [op], [copy.deepcopy(b)]), e)
            for a, op, b in zip(terms, e.ops, terms[1:], strict=False)
        ]
        return self.visit_BoolOp(ast.copy_location(ast.BoolOp(ast.And(), pairs), e))

    def visit_Subscript(self, e: ast.Subscript) -> ast.expr:
        if isinstance(e.slice, (ast.Constant, ast.Slice, ast.Tuple)):
            return self.generic_visit(e)  # type: ignore[return-value]
        return ast.copy_location(self._ask("item", self.visit(e.value), self.visit(e.slice)), e)
