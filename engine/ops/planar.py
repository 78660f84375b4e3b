"""Elementwise ops on complex operands: the formulas of :mod:`tilegrad.kernels.formulas.planar`.

The engine comes here with the first complex operand of an op (:meth:`Elementwise.plan`); autograd asks
:func:`twin` itself, since what is recorded is recorded by the rules of the twin.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Layout
from tilegrad.engine.dispatch import kernel
from tilegrad.engine.dtype import DType
from tilegrad.engine.ops.elementwise import OPS, Elementwise, refuse_truth
from tilegrad.engine.shape import merge_dims
from tilegrad.kernels.formulas.formula import Formula
from tilegrad.kernels.formulas.pair import conj
from tilegrad.kernels.formulas.planar import TABLE
from tilegrad.kernels.formulas.planar.arithmetic import number, real_part, truth
from tilegrad.kernels.function import DeviceFunction, function_from_source, inline

# formulas of each part by itself, which the loops over floats serve
_PARTWISE = frozenset(("neg", "add", "sub"))


class Planar(Elementwise):
    """An elementwise op on complex operands, to which others are cast.

    Attributes:
        real: the op of floats that it stands beside; itself where there is none.
    """

    __slots__ = ("real",)

    def __init__(self, formula: Formula, real: Elementwise | None = None):
        super().__init__(formula)
        self.real: Elementwise = self if real is None else real
        if real is not None:
            self.name = real.name

    def beside(self, formula: Formula) -> Planar:
        """Another op on complex operands."""
        return Planar(formula)

    def operand_dtypes(self, layouts: list[Layout]) -> tuple[DType, ...]:
        """See :meth:`Elementwise.operand_dtypes`."""
        refuse_truth(self.real, layouts)
        free = layouts[1:] if self.formula.kind == "where" else layouts
        common = dt.result_type(*((x.dtype, 2 if x.ndim else 1) for x in free)).to_complex()
        return ((dt.bool_,) if self.formula.kind == "where" else ()) + (common,) * len(free)

    def result_dtype(self, operand: DType) -> DType:
        """See :meth:`Elementwise.result_dtype`."""
        kind = self.formula.kind
        return dt.bool_ if kind == "compare" else operand.to_real() if kind == "part" else operand

    def launch_of(self, out: Layout, names: Any, sizes: Any, steps: Any) -> Any:
        """See :meth:`Elementwise.launch_of`."""
        formula, family = self.formula, kernel("elementwise", out.device)
        if formula.name in _PARTWISE and sizes:
            wide = [tuple(2 * s for s in step) + (1,) for step in steps]
            parts, moves = merge_dims((*sizes, 2), wide)
            if len(parts) <= len(sizes):  # no row is a single element
                part = dt.BY_NAME[names[0]].to_real().name
                return family.elementwise(formula.function, (part,) * len(names), parts, moves, 0)
        return family.elementwise(formula.function, names, sizes, steps, formula.params)


@lru_cache(maxsize=None)
def twin(op: Elementwise) -> Any:
    """The op beside ``op`` that takes complex operands; None where there is none, as PyTorch has none."""
    if isinstance(op, Planar):
        return op
    row, own = TABLE.get(op.formula.name), OPS.get(op.formula.name)
    return Planar(row, op) if row is not None and own and own.formula is op.formula else None


CONJ, ANGLE = Planar(TABLE["conj"]), Planar(TABLE["angle"])  # of complex numbers alone


@lru_cache(maxsize=None)
def conjugated(op: Elementwise) -> Planar:
    """Of a backward op ``(g, …) -> g f'`` the one ``(g, …) -> g conj(f')``, which is
    ``conj(op(conj(g), …))``.
    """
    row = op.formula
    names = row.names
    source = (
        f"def backward({', '.join(names)}):\n"
        f"    return conj(inner({', '.join([f'conj({names[0]})', *names[1:]])}))\n"
    )
    inner: DeviceFunction = row.function
    scope = {"conj": conj, "inner": inner}
    function = inline(function_from_source(source, "backward", scope))
    function.source = f"{inner.key}\n{source}"
    return Planar(Formula(row.name, function, kind="same", params=row.params))


# ------------------------------------------------------------------------------------------- casts

_REAL = Formula("real_part", real_part, kind="cast")
_TRUTH = Formula("truth", truth, kind="cast")


def cast_formula(source: DType, target: DType) -> DeviceFunction | None:
    """The formula that reads an element of ``source`` for one of ``target``; None: it is the element."""
    if target.is_complex:
        return number if source is dt.bool_ else None
    return (_TRUTH if target is dt.bool_ else _REAL).function
