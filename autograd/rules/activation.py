"""Activation functions, PyTorch's names and arguments: each one fused formula, as is its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilegrad.autograd.rules import elementwise, view
from tilegrad.autograd.rules.assign import clone, copy_
from tilegrad.autograd.rules.define import named
from tilegrad.engine import number
from tilegrad.engine.ops.elementwise import OPS
from tilegrad.engine.shape import normalize_dim

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor

__all__ = ["celu", "celu_", "hardshrink", "prelu", "selu", "selu_", "threshold", "threshold_"]


_SAFE = 3e38  # every float dtype holds what is smaller


def _stored(name: str, x: Tensor, params: tuple[float, ...]) -> tuple[Any, ...]:
    """``params`` as elements of the dtype of ``x``."""
    kind = x.layout.dtype
    return tuple([number.stored(number.required(p, name), kind, name) for p in params])


def _run(name: str, x: Tensor, inplace: bool = False, params: tuple[float, ...] = ()) -> Tensor:
    """The formula ``name`` of ``x``, written over ``x`` if ``inplace``."""
    op = OPS[name]
    floats = x.layout.dtype.is_floating_point
    for value in params:
        if value.__class__ is not float or not -_SAFE < value < _SAFE or not floats:
            params = _stored(name, x, params)
            break
    if not inplace:
        return elementwise.apply(op, x, params=params)
    if x.requires_grad and 0 in elementwise.derivative(op, 0).reads:
        # the gradient reads the old values, so they are kept
        return copy_(x, elementwise.apply(op, clone(x), params=params))
    return elementwise.inplace(op, x, params=params)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)."""
    return _run("relu", input, inplace)


def relu_(input: Tensor) -> Tensor:
    """max(x, 0), in place."""
    return _run("relu", input, True)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """x limited to [0, 6]."""
    return _run("hardtanh", input, inplace, (0.0, 6.0))


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x, times ``negative_slope`` below 0."""
    return _run("leaky_relu", input, inplace, (negative_slope,))


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x, times ``weight`` below 0: one weight, or one per channel (dimension 1).

    Raises:
        RuntimeError: weight is not of shape (1,), () or (channels,), or of another dtype.
    """
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if weight.dtype is not input.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {input.dtype.name} and {weight.dtype.name}"
        )
    if weight.numel() != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if input.ndim == 0 or channels != weight.numel():
            raise RuntimeError(
                f"prelu: Mismatch of parameter numbers and input channel size. Found parameter "
                f"numbers = {weight.numel()} and channel size = {channels}."
            )
    if input.ndim > 1:
        weight = view.reshape(weight, (1, -1) + (1,) * (input.ndim - 2))
    elif weight.ndim != input.ndim:
        weight = view.reshape(weight, (1,) * input.ndim)
    return elementwise.apply(OPS["prelu"], input, weight)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x, or alpha (e^x - 1) below 0."""
    return _run("elu", input, inplace, (alpha,))


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x, or alpha (e^(x / alpha) - 1) below 0.

    Raises:
        RuntimeError: alpha is 0.
    """
    if alpha == 0:
        raise RuntimeError("celu: ZeroDivisionError: alpha cannot be 0 for CELU")
    return _run("celu", input, inplace, (alpha,))


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """The scaled ELU of self-normalising networks."""
    return _run("selu", input, inplace)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x; ``approximate="tanh"`` for the older form.

    Raises:
        RuntimeError: approximate is neither "none" nor "tanh".
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError("gelu: approximate argument must be either none or tanh.")
    return _run("gelu" if approximate == "none" else "gelu_tanh", input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x), also known as swish."""
    return _run("silu", input, inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x))."""
    return _run("mish", input, inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta; x itself where beta x exceeds ``threshold``."""
    return _run("softplus", input, params=(beta, threshold))


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x))."""
    return _run("logsigmoid", input)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return _run("softsign", input)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return _run("tanhshrink", input)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x limited to [min_val, max_val].

    Raises:
        ValueError: min_val exceeds max_val.
    """
    if min_val > max_val:
        raise ValueError("hardtanh: min_val cannot be greater than max_val")
    if not input.dtype.is_floating_point:
        min_val, max_val = int(min_val), int(max_val)
        if not input.dtype.is_signed and (min_val < 0 or max_val < 0):
            raise RuntimeError(
                "hardtanh: cannot do hardtanh on an unsigned type with negative limits"
            )
    return _run("hardtanh", input, inplace, (min_val, max_val))


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """x / 6 + 1/2 limited to [0, 1]."""
    return _run("hardsigmoid", input, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x hardsigmoid(x)."""
    return _run("hardswish", input, inplace)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by ``lambd``, at most to 0.

    Raises:
        RuntimeError: lambd is negative.
    """
    if lambd < 0:
        raise RuntimeError(
            f"softshrink: lambda must be greater or equal to 0, but found to be {lambd:g}."
        )
    return _run("softshrink", input, params=(lambd,))


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, or 0 where |x| <= lambd."""
    return _run("hardshrink", input, params=(lambd,))


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x, or ``value`` where x <= threshold."""
    return _run("threshold", input, inplace, (threshold, value))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b) for the halves a, b of ``input`` along ``dim``.

    Raises:
        RuntimeError: the size of dim is odd, or the input has no dimensions.
    """
    if input.ndim == 0:
        raise RuntimeError("glu: does not support 0-dimensional tensors")
    axis = normalize_dim("glu", dim, input.ndim)
    size = input.shape[axis]
    if size % 2:
        raise RuntimeError(
            f"glu: Halving dimension must be even, but dimension {axis} is size {size}"
        )
    half = size // 2
    left, right = view.narrow(input, axis, 0, half), view.narrow(input, axis, half, half)
    return elementwise.apply(OPS["gate"], left, right)


def _inplace(function: Any) -> Any:
    """``function(x, *args)`` written over x: PyTorch's name with an underscore."""

    def over(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result: Tensor = function(input, *args, inplace=True, **kwargs)
        return result

    doc = f"{function.__doc__.splitlines()[0]} Written over ``input``."
    return named(over, f"{function.__name__}_", doc)


leaky_relu_ = _inplace(leaky_relu)
elu_ = _inplace(elu)
celu_ = _inplace(celu)
selu_ = _inplace(selu)
hardtanh_ = _inplace(hardtanh)
threshold_ = _inplace(threshold)
