"""Derivatives of scalar formulas, as formulas: differentiated from their source, to any order.

A formula may use assignments, ``if`` statements and expressions, loops over ``range`` or
``while``, arithmetic, comparisons, ``abs``/``min``/``max``, casts ``T(...)``, the functions of
``math``, the primitives, and other formulas. Anything else is a :class:`DerivativeError`.
"""

from __future__ import annotations

import ast
from typing import Any

from tilegrad.kernels.formulas.declared import (
    declare,
    declared,
    lock,
    on_change,
    parameters,
    rows,
)
from tilegrad.kernels.formulas.symbolic.expressions import Grad, Row
from tilegrad.kernels.formulas.symbolic.rules import ROWS
from tilegrad.kernels.formulas.symbolic.simplify import (
    MINUS_ONE,
    ONE,
    assign,
    call,
    mul,
    name,
    tidy,
)
from tilegrad.kernels.formulas.symbolic.source import (
    Definition,
    DerivativeError,
    loaded,
    read,
    stored,
    walk,
    write,
)
from tilegrad.kernels.formulas.symbolic.statements import derivative
from tilegrad.kernels.function import DeviceFunction, TypedFunction

__all__ = [
    "DerivativeError",
    "backward",
    "constant",
    "declare",
    "declared",
    "differentiate",
    "parameters",
    "vanishes",
]

_forms: dict[DeviceFunction, Grad] = {}
_derived: dict[tuple[str, DeviceFunction, str], DeviceFunction] = {}
_open: list[tuple[DeviceFunction, str]] = []

for _function, _row_of in ROWS.items():  # what a formula's author declared goes first
    rows[_function] = {**_row_of, **rows.get(_function, {})}
on_change.append(_derived.clear)


def differentiate(function: DeviceFunction, wrt: str) -> DeviceFunction:
    """d ``function`` / d ``wrt``: a formula of the same parameters with readable ``source``.

    At a kink it is the derivative of the branch that the formula takes there.

    Raises:
        DerivativeError: the formula (or one it calls) uses something without a derivative.
        TypeError: ``wrt`` is not a parameter.
    """
    return _once("derivative", function, wrt)


def backward(function: DeviceFunction, wrt: str) -> DeviceFunction:
    """``(g, *reads) -> g * d function / d wrt`` with just the parameters that it reads.

    ``g``, always first, is the gradient that comes in. The others bear the names of parameters of
    ``function``, or ``out`` for its result. The zeros of a branch stay zeros whatever g is.
    """
    return _once("backward", function, wrt)


def vanishes(function: DeviceFunction, wrt: str) -> bool:
    """Whether d ``function`` / d ``wrt`` is 0 by its form."""
    return constant(function, wrt) == 0


def constant(function: DeviceFunction, wrt: str) -> int | None:
    """d ``function`` / d ``wrt`` where it is -1, 0 or 1 by its form, else None."""
    form = _form(differentiate(function, wrt))
    return form if isinstance(form, int) else None


def _once(kind: str, function: DeviceFunction, wrt: str) -> DeviceFunction:
    if wrt not in parameters(function):
        raise TypeError(
            f"{kind}: {function.__name__} has parameters {parameters(function)}; got {wrt!r}"
        )
    with lock:
        key = (kind, function, wrt)
        if key not in _derived:
            _derived[key] = (_backward if kind == "backward" else _derivative)(function, wrt)
        return _derived[key]


def _derivative(function: DeviceFunction, wrt: str) -> DeviceFunction:
    if (function, wrt) in _open:
        raise DerivativeError(f"{function.__name__}: cannot differentiate a function that recurs")
    _open.append((function, wrt))
    try:
        row = declared(function)
        if row is not None and wrt in row:
            formula = call_of(function)
        elif isinstance(function, TypedFunction):
            return _by_type(function, wrt)
        else:
            formula = read(function)
        body, namespace = derivative(formula, wrt, _row, _partial)
    finally:
        _open.pop()
    result = _named(formula, f"{function.__name__}_grad_{wrt}", body, namespace)
    return write(result, f"d {function.__name__} / d {wrt}")


def _row(function: Any) -> Row | None:
    row = declared(function)
    return None if row is None else {p: _form(grad) for p, grad in row.items()}


def _partial(function: DeviceFunction, wrt: str) -> Grad:
    return _form(differentiate(function, wrt))


def _form(grad: DeviceFunction | int) -> Grad:
    """A derivative that is a constant or one of its parameters as that, any other as it is."""
    if isinstance(grad, int | TypedFunction):
        return grad
    if grad not in _forms:
        result: Grad = grad
        *casts, last = read(grad).body
        if isinstance(last, ast.Return) and all(map(_is_cast, casts)):
            if isinstance(last.value, ast.Name):
                result = last.value.id
            for number in (-1, 0, 1):
                if casts and ast.unparse(last) == f"return {stored(casts[0])[0]}({number})":
                    result = number
        _forms[grad] = result
    return _forms[grad]


def _named(
    formula: Definition, title: str, body: list[ast.stmt], namespace: dict[str, Any]
) -> Definition:
    return Definition(
        title, formula.module, formula.parameters, formula.defaults, body, namespace, formula.place
    )


def call_of(function: DeviceFunction) -> Definition:
    """A formula that only calls ``function``."""
    names = parameters(function)
    title = function.__name__
    body: list[ast.stmt] = [ast.Return(call(title, *map(name, names)))]
    scope = {title: function}
    return Definition(title, function.__module__, names, (), body, scope, (function.__module__, 0))


def _by_type(function: TypedFunction, wrt: str) -> TypedFunction:
    """The derivative of each case. The source lists them; like any stem's it never runs."""
    cases = {kind: differentiate(case, wrt) for kind, case in function.cases.items()}
    formula = call_of(function)
    scope = {f"{case.__name__}_{kind}": case for kind, case in cases.items()}
    body: list[ast.stmt] = [
        ast.Return(ast.Dict([ast.Constant(kind) for kind in cases], [name(n) for n in scope]))
    ]
    result = _named(formula, f"{function.__name__}_grad_{wrt}", body, scope)
    stem = write(result, f"d {function.__name__} / d {wrt}, by type")
    typed = TypedFunction(stem.function, cases)
    typed.source = stem.source
    return typed


# ------------------------------------------------------------------------------------- backward


def _backward(function: DeviceFunction, wrt: str) -> DeviceFunction:
    row = declared(function) or {}
    if wrt not in row and isinstance(function, TypedFunction):
        row = {wrt: differentiate(function, wrt)}
    if wrt in row:
        formula = _declared_body(function, row[wrt])
    else:
        formula = read(differentiate(function, wrt))
    used = {*formula.parameters, *formula.namespace, *stored(*formula.body)}
    g = next(n for n in ("g", "gg", *(f"g{i}" for i in range(2, 99))) if n not in used)
    casts = {s.targets[0].id for s in formula.body if _is_cast(s)}  # type: ignore[attr-defined]
    body = formula.body
    for node in walk(*body):
        if isinstance(node, ast.Return) and node.value is not None and g not in loaded(node):
            node.value = _scaled(node.value, g, casts)
    body = tidy(body, set(), formula.parameters)
    for node in walk(*filter(_is_cast, body)):
        if not isinstance(node, ast.Name) or node.id not in formula.parameters:
            continue
        if loaded(*body).count(node.id) == 1:
            node.id = g  # it was read for its type alone, which is g's as well
    reads = [p for p in formula.parameters if p in loaded(*body)]
    title = f"{function.__name__}_backward_{wrt}"
    scope = formula.namespace
    result = Definition(title, function.__module__, [g, *reads], (), body, scope, formula.place)
    return write(result, f"{g} * d {function.__name__} / d {wrt}")


def _declared_body(function: DeviceFunction, grad: DeviceFunction | int) -> Definition:
    formula = call_of(function)
    if isinstance(grad, int):
        constant = ast.Constant(grad)
        formula.body = [
            assign("T", call("type", name(formula.parameters[0]))),
            ast.Return(call("T", constant)),
        ]
        formula.namespace = {}
    elif not isinstance(grad, TypedFunction) and _is_choice(read(grad).body):
        chosen = read(grad)  # in place of a call, so that g goes into its branches
        formula.body, formula.namespace = chosen.body, chosen.namespace
        formula.parameters = [*formula.parameters, "out"]
    else:
        formula.body = [ast.Return(call(grad.__name__, *map(name, parameters(grad))))]
        formula.namespace = {grad.__name__: grad}
        formula.parameters = [*formula.parameters, "out"]
    return formula


def _is_choice(body: list[ast.stmt]) -> bool:
    """``return a if b else c`` behind casts alone."""
    *casts, last = body
    chooses = isinstance(last, ast.Return) and isinstance(last.value, ast.IfExp)
    return chooses and all(map(_is_cast, casts))


def _is_cast(s: ast.stmt) -> bool:
    """``T = type(…)``"""
    value = s.value if isinstance(s, ast.Assign) else None
    return isinstance(value, ast.Call) and ast.unparse(value.func) == "type"


def _scaled(value: ast.expr, g: str, casts: set[str]) -> ast.expr:
    """``g * value``, with g taken into the branches of a conditional expression."""
    if isinstance(value, ast.IfExp):
        return ast.IfExp(value.test, _scaled(value.body, g, casts), _scaled(value.orelse, g, casts))
    text = ast.unparse(value)
    for cast in casts:
        if text == f"{cast}(0)":
            return value
        if text in (f"{cast}(1)", f"{cast}(-1)"):
            return mul(name(g), ONE if text == f"{cast}(1)" else MINUS_ONE)
    return mul(name(g), value)
