"""Formulas as source text: parse a marked function, and build one from a syntax tree."""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tilegrad.kernels.formulas.declared import parameters as parameters
from tilegrad.kernels.function import (
    DeviceFunction,
    Intrinsic,
    function_from_source,
    source_digest,
)

_REJECTED = {
    ast.NamedExpr: "an assignment inside an expression",
    ast.Lambda: "a lambda",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a generator",
    ast.Yield: "a generator",
    ast.YieldFrom: "a generator",
    ast.Await: "await",
}


class DerivativeError(NotImplementedError):
    """A formula uses something that has no derivative here; the message names it and its place."""


@dataclass
class Definition:
    """A formula's syntax tree and the objects that its free names mean.

    Attributes:
        name: of the function.
        module: where it was defined.
        parameters: names, in order.
        defaults: values of the last parameters.
        body: statements, without the docstring.
        namespace: the object behind each free name that is not a builtin.
        place: file name and number of the line before the source's first.
        generated: it was written by :func:`write`.
    """

    name: str
    module: str
    parameters: list[str]
    defaults: tuple[Any, ...]
    body: list[ast.stmt]
    namespace: dict[str, Any]
    place: tuple[str, int]
    generated: bool = False

    def error(self, node: ast.AST, what: str) -> DerivativeError:
        """``what`` is the construct; the message adds the function, the line and the text."""
        file, offset = self.place
        text = ast.unparse(node).splitlines()[0]
        line = getattr(node, "lineno", 1) + offset
        return DerivativeError(
            f"{self.name}: cannot differentiate {what}; got {text!r} ({file}, line {line})"
        )

    def lookup(self, node: ast.expr) -> Any:
        """The object that a free name or a dotted name means; None if it is not one."""
        if isinstance(node, ast.Name):
            if node.id in self.parameters or node.id in stored(*self.body):
                return None
            return self.namespace.get(node.id, getattr(builtins, node.id, None))
        if isinstance(node, ast.Attribute):
            return getattr(self.lookup(node.value), node.attr, None)
        return None


def read(function: DeviceFunction) -> Definition:
    """Parse a marked function."""
    name, python = function.__name__, function.function
    code = getattr(python, "__code__", None)
    try:
        text, first = function.source, 1
        if text is None:
            lines, first = inspect.getsourcelines(python)
            text = "".join(lines)
        tree = ast.parse(textwrap.dedent(text)).body[0]
    except (OSError, TypeError, SyntaxError) as problem:
        raise DerivativeError(f"{name}: its source cannot be read; got {problem}") from None
    file = getattr(code, "co_filename", "?")
    if not isinstance(tree, ast.FunctionDef):
        raise DerivativeError(
            f"{name}: a formula must be written with def; got {type(tree).__name__} "
            f"({file}, line {first})"
        )
    given = tree.args
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    names = [a.arg for a in [*given.posonlyargs, *given.args]]
    defaults, place = python.__defaults__ or (), (file, first - 1)
    made = function.source is not None
    definition = Definition(name, function.__module__, names, defaults, body, {}, place, made)
    if given.vararg or given.kwarg or given.kwonlyargs:
        raise definition.error(given, "variadic or keyword-only parameters")
    for node in walk(*body):
        if type(node) in _REJECTED:
            raise definition.error(node, _REJECTED[type(node)])
    definition.namespace = _namespace(definition, python)
    return definition


def _namespace(definition: Definition, python: Callable[..., Any]) -> dict[str, Any]:
    closure = inspect.getclosurevars(python)
    known = {**python.__globals__, **closure.nonlocals}
    found = {}
    bound = {*definition.parameters, *stored(*definition.body)}
    for node in walk(*definition.body):
        if isinstance(node, ast.Name) and node.id not in bound:
            if node.id in known:
                found[node.id] = known[node.id]
            elif not hasattr(builtins, node.id):
                raise definition.error(node, "an undefined name")
    return found


def walk(*nodes: ast.AST | None) -> Iterator[ast.AST]:
    """Every node at and below these."""
    for node in nodes:
        if node is not None:
            yield from ast.walk(node)


def stored(*nodes: ast.AST | None) -> list[str]:
    """The names that are assigned below these nodes, once for every assignment."""
    return [
        n.id for n in walk(*nodes) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
    ]


def loaded(*nodes: ast.AST | None) -> list[str]:
    """The names that are read below these nodes, once for every time."""
    return [n.id for n in walk(*nodes) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]


def write(definition: Definition, summary: str) -> DeviceFunction:
    """Compile a definition to a marked function with readable source.

    The head of the source lists what its free names stand for, so that the text alone identifies
    the function.
    """
    body = [ast.fix_missing_locations(s) for s in definition.body]
    names, own = {*loaded(*body), *stored(*body), *definition.parameters}, definition.name
    scope = {n: definition.namespace[n] for n in sorted(names & set(definition.namespace))}
    if own in scope:  # a callee that bears the name of this function
        other = next(n for n in (own + "_" * k for k in range(1, 99)) if n not in names)
        for node in walk(*body):
            if isinstance(node, ast.Name) and node.id == own:
                node.id = other
        scope[other] = scope.pop(own)
    notes = [f"#   {name} = {_identity(value)}" for name, value in scope.items()]
    first = len(definition.parameters) - len(definition.defaults)
    arguments = [
        name if i < first else f"{name}={definition.defaults[i - first]!r}"
        for i, name in enumerate(definition.parameters)
    ]
    source = "\n".join(
        [
            f"# {summary}",
            *notes,
            f"def {own}({', '.join(arguments)}):",
            f'    """{summary}"""',
            textwrap.indent("\n".join(map(ast.unparse, body)), "    "),
            "",
        ]
    )
    function = function_from_source(source, own, scope, definition.module)
    return DeviceFunction(function, source)


def _identity(value: Any) -> str:
    if isinstance(value, DeviceFunction):
        return value.key
    if isinstance(value, Intrinsic):
        return f"{value.__module__}.{value.__name__}:{source_digest(value.__module__)}"
    if inspect.ismodule(value):
        own = value.__name__.startswith("tilegrad.")
        digest = f":{source_digest(value.__name__)}" if own else ""
        return f"module {value.__name__}{digest}"
    if isinstance(value, type):
        return f"type {value.__module__}.{value.__qualname__}"
    return " ".join(repr(value).split())
