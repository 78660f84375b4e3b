"""What a row of a formula table says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tilegrad.kernels.formulas.declared import parameters
from tilegrad.kernels.function import DeviceFunction

INTEGERS = ("bool", "uint8", "int8", "int16", "int32", "int64")


@dataclass(frozen=True, eq=False)
class Formula:
    """An elementwise op: a scalar function and the facts that no compiler can work out.

    Attributes:
        name: PyTorch's name of the op.
        function: the formula; array operands first, then ``params`` scalars, by PyTorch's names.
        kind: how dtypes go through. ``same``: promoted dtype in and out; ``float``: integers become
            the default float; ``rounding``: as ``float``, but the function leaves integers as they
            are; ``compare``: promoted in, bool out; ``integer``: integers and bool only; ``where``: a
            bool operand, then as ``same``; ``cast`` and ``fill``: no promotion, the output's dtype is
            asked for.
        params: number of trailing scalar parameters.
        excludes: dtypes, as operands promote to, that PyTorch rejects for this op.
        order: how many times it can be differentiated, where that is limited.
        differentiable: False where the derivative is zero almost everywhere or undefined.
        masks: True where what the gradient reads only to choose by is no part of its graph, as in
            PyTorch, whose formula makes a mask of it; else its derivative is zeros.
        domain: where tests sample each operand.
        kinks: points where the derivative jumps; tests keep away from them and probe them apart.
        samples: values of the params for tests and benchmarks.
        caller: the public function, written by hand, that runs the formula; ``""`` where the public
            function is made from this row (``autograd/rules/define.py``).
        twin: what becomes of ``name_``, which writes over its first operand: a public ``function``
            that may be a method too, a ``method`` only, or ``none``. By default a function of one
            operand has a function, others a method.
        home: where the public function is: ``tilegrad``, ``nn.functional``, or both.
        inplace: whether the public function takes ``inplace=False``, as activations do.
        defaults: values of the last params where a call does not give them.
        aliases: other public names; one that ends in ``_`` is another name of the twin.
        reference: what tests compare with where PyTorch lacks the name: ``lambda torch, x: …``.
        tolerance: factor on the tolerance of tests, with the ``reason`` why.
        denormals: False where PyTorch's own vectorised loop is wrong for denormal operands.
    """

    name: str
    function: DeviceFunction
    kind: str = "float"
    params: int = 0
    excludes: tuple[str, ...] = ()
    differentiable: bool = True
    masks: bool = False
    order: int | None = None
    domain: tuple[tuple[float, float], ...] = ((-3.0, 3.0),)
    kinks: tuple[float, ...] = ()
    samples: tuple[float, ...] = field(default=())
    caller: str = ""
    twin: str = ""
    home: tuple[str, ...] = ("tilegrad",)
    inplace: bool = False
    defaults: tuple[float, ...] = ()
    aliases: tuple[str, ...] = ()
    reference: Callable[..., Any] | None = None
    tolerance: float = 1.0
    reason: str = ""
    denormals: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names of the formula, operands first."""
        return tuple(parameters(self.function))

    @property
    def arity(self) -> int:
        """Number of array operands."""
        return len(self.names) - self.params

    @property
    def writes(self) -> str:
        """``twin``, or what it is by default."""
        if self.twin:
            return self.twin
        alone = self.arity == 1 and self.kind in ("same", "float", "rounding")
        return "function" if alone else "method"


def table(*rows: Formula) -> dict[str, Formula]:
    """Rows by name."""
    return {row.name: row for row in rows}
