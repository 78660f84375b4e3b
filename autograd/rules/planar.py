"""Complex tensors: their parts, conjugates and angles, and how elementwise ops on them are differentiated.

The gradient of a real loss L by z = x + iy is dL/dx + i dL/dy, PyTorch's convention: what reaches the operand
of a holomorphic f is g conj(f'). :func:`_planar_vjp` applies that to the backward formula of every op; those
that are not holomorphic (:data:`_OTHERS`) have VJPs of their own. A real operand's gradient is the real part
of what reaches it (``autograd/traversal.py``).

Conjugates are computed, not remembered: ``is_conj()`` is False of every tensor, and ``resolve_conj`` gives it
as it is.
"""

from __future__ import annotations

import math

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import Node, Vjp, called
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule, Template
from tilegrad.autograd.rules import pointwise, view
from tilegrad.autograd.rules.arithmetic import pow
from tilegrad.autograd.rules.assign import before, overwrite
from tilegrad.autograd.rules.elementwise import Steps, apply, needed_steps, to_dtype, unary
from tilegrad.autograd.rules.movement import stack
from tilegrad.autograd.rules.operands import operand
from tilegrad.autograd.rules.rearrange import broadcast_tensors
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops import elementwise as ops, parts
from tilegrad.engine.ops.elementwise import OPS, Elementwise
from tilegrad.engine.ops.planar import ANGLE, CONJ, conjugated

__all__ = [
    "adjoint", "angle", "complex", "conj", "conj_physical", "conj_physical_", "imag", "is_conj", "is_neg",
    "isreal", "polar", "real", "resolve_conj", "resolve_neg", "view_as_complex", "view_as_real",
]  # fmt: skip


# --------------------------------------------------------------------------------- elementwise ops


def template(op: Elementwise, tracked: int) -> Template:
    """See :meth:`Rule.template`, of an op on complex operands."""
    if op.formula.name in _OTHERS:
        vjp, saves = _OTHERS[op.formula.name]
        return op.name, vjp, saves, None
    saves, steps = needed_steps(op, tracked)
    return op.name, _planar_vjp, saves, (steps, ())


def _planar_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """g conj(f') for each operand of a holomorphic f: the conjugate of the backward formula g f' of the
    conjugate of g.
    """
    steps: Steps = node.meta[0]
    saved = node.unpack()
    kind = grad.layout.dtype
    result: list[Tensor | None] = []
    for step in steps:
        if step is None:
            result.append(None)
            continue
        op, places, used, _ = step
        values = [saved[p] for p in places[1:] if p is not None]
        values = [v if v.layout.dtype is dt.bool_ else to_dtype(v, kind) for v in values]
        params = tuple([node.meta[1][p] for p in used])
        if state.grad:
            result.append(conj(apply(op, conj(grad), *values, params=params)))
        else:
            result.append(conjugated(op)(grad, *values, params=params))
    return tuple(result)


def _abs_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (x,) = node.unpack()
    return (pointwise.sgn(x) * grad,)


def _angle_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """i g / conj(x); zero where x is."""
    (x,) = node.unpack()
    return (_but_at_zero(x, conj(to_dtype(grad, x.dtype) * -1j / x)),)


def _sgn_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The part of g that turns x, over its size; zero where x is."""
    x, out = node.unpack()
    along = real(grad * conj(out))
    return (_but_at_zero(x, (grad - out * along) / pointwise.abs(x)),)


def _softsign_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """g / (1 + |x|), less the part of g along x that lengthens the denominator."""
    (x,) = node.unpack()
    less = 1 / (1 + pointwise.abs(x))
    along = real(grad * conj(x)) * less * less
    return (grad * less - pointwise.sgn(x) * along,)


def _but_at_zero(x: Tensor, value: Tensor) -> Tensor:
    zero = tensor_of(ops.scalar(0, value.dtype, value.device))
    return apply(OPS["where"], pointwise.ne(x.detach(), 0), value, zero)


def _conj_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (conj(grad),)


def _where_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (chosen,) = node.unpack()
    zero = tensor_of(ops.scalar(0, grad.dtype, grad.device))
    pick = OPS["where"]
    return None, apply(pick, chosen, grad, zero), apply(pick, chosen, zero, grad)


def _pow_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """g conj(y x^(y - 1)), zero where y is; and g conj(x^y log x), zero where x is and y is not negative."""
    x, y, out = node.unpack()
    of_x = of_y = None
    if node.edges[0] is not None:
        of_x = _but_at_zero(y, grad * conj(y * pow(x, y - 1)))
    if node.edges[1] is not None:
        turns = pointwise.log(to_dtype(x, out.layout.dtype))  # a negative real number has one too
        value = grad * conj(out * turns)
        falls = pointwise.lt(real(y.detach()), 0)
        kept = pointwise.logical_or(pointwise.ne(x.detach(), 0), falls)
        zero = tensor_of(ops.scalar(0, value.dtype, value.device))
        of_y = apply(OPS["where"], kept, value, zero)
    return of_x, of_y


# ops that are not holomorphic, or whose derivative has branches: VJP and what is saved
_OTHERS: dict[str, tuple[Vjp, tuple[int, ...]]] = {
    "abs": (_abs_vjp, (0,)), "angle": (_angle_vjp, (0,)), "sgn": (_sgn_vjp, (0, -1)), "softsign": (_softsign_vjp, (0,)),
    "conj": (_conj_vjp, ()), "where": (_where_vjp, (0,)), "pow": (_pow_vjp, (0, 1, -1)),
}  # fmt: skip


# ------------------------------------------------------------------------------------- conjugates


def _itself(input: Tensor) -> Tensor:
    """``input``; an AttributeError of what is no tensor, which the public function's clause words."""
    _ = input.layout
    return input


def conj(input: Tensor) -> Tensor:
    """The conjugate, computed at once, where PyTorch's is a view: ``is_conj()`` is False. Of real numbers
    ``input`` itself.
    """
    return unary(CONJ, input) if _itself(input).layout.dtype.is_complex else input


def conj_physical(input: Tensor) -> Tensor:
    """:func:`conj`."""
    return conj(input)


def conj_physical_(input: Tensor) -> Tensor:
    """:func:`conj_physical`, in place."""
    if not _itself(input).layout.dtype.is_complex:
        return input
    return overwrite("conj_physical_", input, conj(before("conj_physical_", input)))


def resolve_conj(input: Tensor) -> Tensor:
    """``input``, conjugated where that is due: never."""
    return _itself(input)


def resolve_neg(input: Tensor) -> Tensor:
    """``input``, negated where that is due: never."""
    return _itself(input)


def is_conj(input: Tensor) -> bool:
    """Whether elements are to be conjugated when they are read: never."""
    _itself(input)
    return False


def is_neg(input: Tensor) -> bool:
    """Whether elements are to be negated when they are read: never."""
    _itself(input)
    return False


def adjoint(input: Tensor) -> Tensor:
    """The conjugate of each matrix, with its last two dimensions swapped."""
    if not input.layout.ndim:
        return conj(input)
    if input.layout.ndim < 2:
        raise RuntimeError(
            f"adjoint: tensor.adjoint() is only supported on matrices or batches of matrices; got "
            f"{input.layout.ndim}-D tensor."
        )
    return conj(view.transpose(input, -2, -1))


# ------------------------------------------------------------------------------------------ parts


def _real_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (to_dtype(grad, node.inputs[0].dtype),)


def _imag_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (to_dtype(grad, node.inputs[0].dtype) * 1j,)


def _parts_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    kind = grad.layout
    if kind.strides[-1] != 1 or grad.offset % 2 or any(s % 2 for s in kind.strides[:-1]):
        return (complex(view.select(grad, -1, 0), view.select(grad, -1, 1)),)  # no pairs lie there
    return (view_as_complex(grad),)


def _whole_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (view_as_real(grad),)


_PARTS, _WHOLE = Rule(parts.parts, _parts_vjp), Rule(parts.whole, _whole_vjp)
_REAL, _IMAG = Rule(parts.real, _real_vjp), Rule(parts.imag, _imag_vjp)


def view_as_real(input: Tensor) -> Tensor:
    """The memory of a complex tensor as real and imaginary parts: (…) as (…, 2).

    Raises:
        RuntimeError: it is not complex.
    """
    if not input.layout.dtype.is_complex:
        raise RuntimeError(
            f"view_as_real: view_as_real is only supported for complex tensors; got "
            f"{input.layout.describe()}"
        )
    return _PARTS.view(input)


def view_as_complex(input: Tensor) -> Tensor:
    """The memory of pairs of floats (…, 2) as complex numbers (…).

    Raises:
        RuntimeError: the dtype is not floating point, or pairs do not lie as complex numbers do.
    """
    kind = input.layout
    if not kind.dtype.is_floating_point:
        raise RuntimeError(
            f"view_as_complex: view_as_complex is only supported for half, float and double tensors, but got "
            f"a tensor of scalar type: {kind.dtype.name}"
        )
    if not kind.ndim:
        raise RuntimeError("view_as_complex: Input tensor must have one or more dimensions")
    if kind.shape[-1] != 2:
        raise RuntimeError(
            f"view_as_complex: Tensor must have a last dimension of size 2; got {kind.shape}"
        )
    if kind.strides[-1] != 1:
        raise RuntimeError(
            f"view_as_complex: Tensor must have a last dimension with stride 1; got {kind.strides}"
        )
    if any(s % 2 for s in kind.strides[:-1]):
        raise RuntimeError(
            f"view_as_complex: Tensor must have a stride divisible by 2 for all but last dimension; "
            f"got {kind.strides}"
        )
    if input.offset % 2:
        raise RuntimeError(
            f"view_as_complex: Tensor must have a storage_offset divisible by 2; got {input.offset}"
        )
    return _WHOLE.view(input)


def real(input: Tensor) -> Tensor:
    """The real parts, a view; of real numbers ``input`` itself."""
    return _REAL.view(input) if _itself(input).layout.dtype.is_complex else input


def imag(input: Tensor) -> Tensor:
    """The imaginary parts, a view.

    Raises:
        RuntimeError: ``input`` is not complex.
    """
    if not _itself(input).layout.dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return _IMAG.view(input)


def isreal(input: Tensor) -> Tensor:
    """Whether each element is a real number."""
    if input.layout.dtype.is_complex:
        return pointwise.eq(imag(input.detach()), 0)
    kind = input.layout
    return tensor_of(ops.full(kind.shape, True, dt.bool_, kind.device))


# -------------------------------------------------------------------------------------- made of two


def _two(op: str, a: Tensor, b: Tensor) -> None:
    for x in (a, b):
        if not x.layout.dtype.is_floating_point:
            raise RuntimeError(
                f"{op}: Expected both inputs to be Half, Float or Double tensors but got "
                f"{a.dtype.name} and {b.dtype.name}"
            )
    if a.layout.dtype is not b.layout.dtype:
        raise RuntimeError(
            f"{op}: Expected object of scalar type {a.dtype.name} but got scalar type {b.dtype.name} for "
            f"second argument"
        )


def complex(real: Tensor, imag: Tensor) -> Tensor:
    """``real + i imag``, of two tensors of one floating dtype, which broadcast.

    Gradient: of both: the parts of what reaches the result.

    Raises:
        RuntimeError: the dtypes are not floating point, or differ.
    """
    _two("complex", real, imag)
    return called("complex", view_as_complex(stack(broadcast_tensors(real, imag), -1)))


def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """``abs (cos angle + i sin angle)``, of two tensors of one floating dtype, which broadcast.

    Gradient: of both.

    Raises:
        RuntimeError: the dtypes are not floating point, or differ.
    """
    _two("polar", abs, angle)
    return called("polar", complex(abs * pointwise.cos(angle), abs * pointwise.sin(angle)))


def angle(input: Tensor) -> Tensor:
    """The angle in the plane, in [-pi, pi]; of real numbers 0 or, of negative ones, pi. NaN of NaN.

    Gradient: of ``input``; zeros of real numbers.
    """
    kind = input.layout.dtype
    if kind.is_complex:
        return unary(ANGLE, input)
    if not kind.is_floating_point:
        input = to_dtype(input, dt.get_default_dtype())
    steps = pointwise.sign(input) * 0
    pi = operand(math.pi, input, "angle")
    turned = apply(OPS["where"], pointwise.lt(input.detach(), 0), pi, steps)
    kept = apply(OPS["where"], pointwise.isnan(input.detach()), input.detach(), turned)
    return called("angle", kept)
