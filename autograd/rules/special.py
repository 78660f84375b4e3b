"""Special functions, made of the rows of :mod:`tilegrad.kernels.formulas.beyond`."""

from __future__ import annotations

from types import FunctionType

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, detached_view
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules.define import Function, made, named, run
from tilegrad.autograd.rules.elementwise import binary, to_dtype, unary
from tilegrad.autograd.rules.operands import operand
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops.elementwise import Elementwise
from tilegrad.kernels.formulas.beyond import TABLE
from tilegrad.kernels.formulas.formula import INTEGERS, Formula
from tilegrad.kernels.formulas.incomplete_gamma import gamma_density

__all__ = ["i0", "igamma", "igammac", "polygamma"]


def of_row(name: str, module: str, *arguments: str) -> Function:
    """The function of a row, defined in ``module``, with ``arguments`` for ``input`` and ``other``."""
    function = made(Elementwise(TABLE[name]), module)
    if arguments:
        assert isinstance(function, FunctionType)
        kinds = dict(zip(function.__code__.co_varnames, arguments, strict=True))
        function.__code__ = function.__code__.replace(co_varnames=arguments)
        function.__annotations__ = {kinds.get(k, k): v for k, v in function.__annotations__.items()}
    return function


_I0 = Elementwise(TABLE["i0"])


def i0(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind of order 0."""
    return unary(_I0, input)


_POLYGAMMA = Elementwise(TABLE["polygamma"])


def polygamma(n: int, input: Tensor) -> Tensor:
    """The derivative of order ``n`` of the digamma function, of real numbers of any shape.

    Raises:
        RuntimeError: ``n`` is negative.
    """
    if n < 0:
        raise RuntimeError(f"polygamma: polygamma(n, x) does not support negative n; got {n}")
    kind = input.layout.dtype
    if not (kind.is_floating_point or kind.is_complex):
        input = to_dtype(input, dt.get_default_dtype())
    return run(_POLYGAMMA, input, params=(float(n),))


def of_x(
    name: str, title: str, slope: Function, numbers: bool = False, module: str = __name__
) -> Function:
    """The function of a row of (a, x), of which the gradient by ``a`` is refused, defined in ``module``;
    ``slope(a, x)``: that by x. ``numbers`` may stand for one of them.
    """
    op = Elementwise(TABLE[name])

    def refused(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
        raise NotImplementedError(f"the derivative for '{title}' is not implemented.")

    def vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
        by_x = None if node.edges[1] is None else grad * slope(*node.unpack())
        return None if node.edges[0] is None else grad, by_x

    refusal, rule = Rule(name, refused), Rule(name, vjp, (0, 1))

    def function(input: Tensor, other: Tensor) -> Tensor:
        one = numbers and (isinstance(input, TensorBase) or isinstance(other, TensorBase))
        for place, (key, value) in enumerate((("input", input), ("other", other)), 1):
            if not (one or isinstance(value, TensorBase)):
                raise TypeError(
                    f"{name}(): argument '{key}' (position {place}) must be Tensor, not {type(value).__name__}"
                )
        if not isinstance(input, TensorBase):
            input = operand(input, other, name)
        other = operand(other, input, name)
        with no_grad():
            out = binary(op, input, other)
        # a node of its own, so that the gradient by x alone may be asked for
        by_a = refusal.record((input,), detached_view(input))
        return rule.record((by_a, other), out)

    function.__module__ = module
    return named(function, name, op.formula.function.__doc__ or "")


_gamma_density = made(
    Elementwise(Formula("gamma_density", gamma_density, "same", excludes=INTEGERS)), __name__
)
igamma = of_x("igamma", "igamma: input", _gamma_density)
igammac = of_x("igammac", "igammac: input", lambda a, x: -_gamma_density(a, x))
