"""What a row of a formula table says."""

from __future__ import annotations

from dataclasses import dataclass, field

from tilegrad.kernels.formulas.declared import parameters
from tilegrad.kernels.function import DeviceFunction


@dataclass(frozen=True, eq=False)
class Formula:
    """An elementwise op: a scalar function and the facts that no compiler can work out.

    Attributes:
        name: PyTorch's name of the op.
        function: the formula; array operands first, then ``params`` scalars.
        kind: how dtypes go through. ``same``: promoted dtype in and out; ``float``: integers become
            the default float; ``compare``: promoted in, bool out; ``integer``: integers and bool
            only; ``where``: a bool operand, then as ``same``; ``cast`` and ``fill``: no promotion,
            the output's dtype is asked for.
        params: number of trailing scalar parameters.
        excludes: dtypes that PyTorch rejects for this op.
        order: how many times it can be differentiated, where that is limited.
        differentiable: False where the derivative is zero almost everywhere or undefined.
        domain: where tests sample each operand.
        kinks: points where the derivative jumps; tests keep away from them and probe them apart.
        samples: values of the params for tests and benchmarks.
    """

    name: str
    function: DeviceFunction
    kind: str = "float"
    params: int = 0
    excludes: tuple[str, ...] = ()
    differentiable: bool = True
    order: int | None = None
    domain: tuple[tuple[float, float], ...] = ((-3.0, 3.0),)
    kinks: tuple[float, ...] = ()
    samples: tuple[float, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names of the formula, operands first."""
        return tuple(parameters(self.function))

    @property
    def arity(self) -> int:
        """Number of array operands."""
        return len(self.names) - self.params


def table(*rows: Formula) -> dict[str, Formula]:
    """Rows by name."""
    return {row.name: row for row in rows}
