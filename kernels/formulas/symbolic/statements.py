"""Forward-mode differentiation of a formula's statements.

Beside every variable ``v`` that depends on the parameter runs its tangent ``v_dot``. Control flow
is copied, so branches and loops need no rules of their own.

Source: A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed. (SIAM, 2008), chapter 3.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from tilegrad.kernels.formulas.symbolic.expressions import Expressions, Grad, Row, active_after
from tilegrad.kernels.formulas.symbolic.scope import Pair, is_constant
from tilegrad.kernels.formulas.symbolic.simplify import ZERO, assign, name, tidy
from tilegrad.kernels.formulas.symbolic.source import Definition, stored
from tilegrad.kernels.function import DeviceFunction


def derivative(
    formula: Definition,
    wrt: str,
    row_of: Callable[[Any], Row | None],
    partial: Callable[[DeviceFunction, str], Grad],
) -> tuple[list[ast.stmt], dict[str, Any]]:
    """The statements of d formula / d wrt, and the objects behind their free names."""
    work = Statements(formula, wrt, row_of, partial)
    if not work.statements(formula.body):
        raise formula.error(formula.body[-1], "a formula that may end without a return")
    return tidy(work.block, work.generated, formula.parameters), work.namespace


class Statements(Expressions):
    """Appends to ``block`` the tangent form of statements.

    ``pinned`` variables are those that a loop changes: all through it their tangent is kept in
    its variable, even where it is a constant.
    """

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.pinned: set[str] = set()

    def statements(self, body: list[ast.stmt]) -> bool:
        """Append a block; whether control never gets past its end."""
        for s in body:
            if isinstance(s, ast.Return):
                if s.value is None:
                    raise self.formula.error(s, "a return without a value")
                self.block.append(ast.Return(self.explicit(self.visit(s.value)[1])))
                return True
            if isinstance(s, ast.Break | ast.Continue):
                self.block.append(s)
                return True
            if isinstance(s, ast.If):
                if self.branch(s):
                    return True
            elif isinstance(s, ast.For | ast.While):
                self.loop(s)
            elif isinstance(s, ast.Assign | ast.AnnAssign | ast.AugAssign):
                self.assignment(s)
            elif not isinstance(s, ast.Pass) and not _is_text(s):
                raise self.formula.error(s, f"the statement {type(s).__name__}")
        return False

    def assignment(self, s: ast.Assign | ast.AnnAssign | ast.AugAssign) -> None:
        targets, value = s.targets if isinstance(s, ast.Assign) else [s.target], s.value
        if value is None or [self.cast] == stored(s):
            return  # a bare annotation; `T = type(x)`, which stands at the top already
        if isinstance(targets[0], ast.Tuple | ast.List):
            self.unpack(s, targets[0], value)
            return
        if isinstance(s, ast.AugAssign) and isinstance(s.target, ast.Name):
            value = ast.copy_location(ast.BinOp(name(s.target.id), s.op, value), s)
        pair = self.visit(value)
        if len(targets) > 1:
            pair = self.copied(pair)
        for target in targets:
            self.store(s, target, pair)

    def unpack(self, s: ast.stmt, target: ast.Tuple | ast.List, value: ast.expr) -> None:
        """``a, b = x, y``, or inactive values from a tuple."""
        if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
            pairs = [self.copied(self.visit(element)) for element in value.elts]
            for element, pair in zip(target.elts, pairs, strict=True):
                self.store(s, element, pair)
            return
        value, tangent = self.visit(value)
        if tangent is not ZERO or not all(isinstance(e, ast.Name) for e in target.elts):
            raise self.formula.error(s, "this kind of tuple assignment")
        for variable in stored(target):
            self.record(variable, ZERO)
        self.block.append(ast.Assign([target], value, lineno=0))

    def copied(self, pair: Pair) -> Pair:
        """Variables for a value and its tangent, which later assignments leave alone."""
        value, tangent = pair
        return self.copy(value), tangent if is_constant(tangent) else self.copy(tangent)

    def store(self, s: ast.stmt, target: ast.expr, pair: Pair) -> None:
        value, tangent = pair
        if not isinstance(target, ast.Name):
            raise self.formula.error(s, "an assignment to anything but a variable")
        self.record(target.id, tangent)
        self.block.append(assign(target.id, value))
        if self.is_floating(value) and target.id not in self.types:
            self.floating.add(target.id)

    def record(self, variable: str, tangent: ast.expr) -> None:
        """Make this the variable's tangent."""
        self.state[variable] = tangent
        if variable in self.pinned or not is_constant(tangent):
            self.settle(variable)

    def settle(self, variable: str) -> None:
        """Bring the tangent into its variable."""
        tangent, own = self.state.get(variable, ZERO), self.dot(variable)
        if not (isinstance(tangent, ast.Name) and tangent.id == own):
            self.block.append(assign(own, self.explicit(tangent)))
            self.state[variable] = name(own)

    def branch(self, s: ast.If) -> bool:
        before, blocks, states, ended = self.state, [], [], []
        for body in (s.body, s.orelse):
            block: list[ast.stmt] = []
            self.state = dict(before)
            with self.within(block):
                ended.append(self.statements(body))
            blocks.append(block)
            states.append(self.state)
        if not any(ended):
            for variable in {**states[0], **states[1]}:
                first, second = (state.get(variable, ZERO) for state in states)
                if first is not second and (is_constant(first) or is_constant(second)):
                    for block, state in zip(blocks, states, strict=True):
                        self.state = state
                        with self.within(block):
                            self.settle(variable)
        self.state = states[1] if ended[0] else states[0]
        self.block.append(ast.If(s.test, blocks[0] or [ast.Pass()], blocks[1]))
        return all(ended)

    def loop(self, s: ast.For | ast.While) -> None:
        if s.orelse:
            raise self.formula.error(s, "an else of a loop")
        if isinstance(s, ast.For):
            call = s.iter
            ranged = isinstance(call, ast.Call) and self.formula.lookup(call.func) is range
            if not ranged or not isinstance(s.target, ast.Name):
                raise self.formula.error(s, "a for loop over anything but range(...)")
        active = {v for v, tangent in self.state.items() if tangent is not ZERO}
        outer = self.pinned
        self.pinned = outer | (active_after(s.body, active) & set(stored(s)))
        for variable in sorted(self.pinned - outer):
            self.settle(variable)
        block: list[ast.stmt] = []
        with self.within(block):
            if isinstance(s, ast.For):
                self.record(stored(s.target)[0], ZERO)
            self.statements(s.body)
        self.pinned = outer
        if isinstance(s, ast.For):
            self.block.append(ast.For(s.target, s.iter, block, [], lineno=0))
        else:
            self.block.append(ast.While(s.test, block, []))


def _is_text(s: ast.stmt) -> bool:
    return isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)
