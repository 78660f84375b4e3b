"""Products with Jacobians and Hessians of functions, PyTorch's ``torch.autograd.functional``.

All derivatives are taken backward: ``jvp`` and ``hvp`` differentiate a backward pass, and
``vectorize`` changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tilegrad.autograd.gradients import grad
from tilegrad.autograd.mode import enable_grad
from tilegrad.autograd.rules.creation import ones_like, zeros, zeros_like
from tilegrad.autograd.rules.movement import stack
from tilegrad.autograd.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = tuple[Tensor, ...]
Value: TypeAlias = Tensor | Sequence[Tensor]  # one, or several
Nested: TypeAlias = "Tensor | tuple[Nested, ...]"
Function = Callable[..., object]


def _tupled(value: object, name: str, what: str) -> tuple[bool, Tensors]:
    """(whether there are several, ``value`` as a tuple of tensors)

    Raises:
        TypeError: it is none.
    """
    several = isinstance(value, (tuple, list))
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    found = tuple([each for each in given if isinstance(each, Tensor)])
    if len(found) != len(given):
        place = next(k for k, each in enumerate(given) if not isinstance(each, Tensor))
        kind = type(given[place]).__name__
        raise TypeError(
            f"The {what} {name} must be a Tensor or a tuple of Tensors but got "
            + (f"{kind} at index {place}" if several else kind)
        )
    return several, found


def _inputs(value: Value, name: str, create_graph: bool) -> tuple[bool, Tensors]:
    """The inputs as tensors that gradients are asked of."""
    several, given = _tupled(value, "given to " + name, "inputs")
    if create_graph:
        return several, tuple(x.view_as(x) for x in given)
    return several, tuple(x.detach().requires_grad_() for x in given)


def _called(func: Function, inputs: Tensors, name: str, strict: bool) -> tuple[bool, Tensors]:
    several, outputs = _tupled(func(*inputs), "returned to " + name, "outputs")
    if strict:
        for place, out in enumerate(outputs):
            if not out.requires_grad:
                raise RuntimeError(
                    f"Output {place} of the user-provided function does not require gradients. The "
                    f"outputs must be computed in a differentiable manner from the input when "
                    f"running in strict mode."
                )
    return several, outputs


def _grads(
    outputs: Sequence[Tensor | None],
    inputs: Tensors,
    starts: Sequence[Tensor | None] | None = None,
    create_graph: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients, None where there are none; outputs without a graph are left out."""
    starts = [None] * len(outputs) if starts is None else starts
    asked = [
        (o, s) for o, s in zip(outputs, starts, strict=True) if o is not None and o.requires_grad
    ]
    if not asked:
        return (None,) * len(inputs)
    outs, given = (list(part) for part in zip(*asked, strict=True))
    return grad(
        outs, inputs, given, retain_graph=True, create_graph=create_graph, allow_unused=True
    )


def _whole(found: Sequence[Tensor | None], kinds: Tensors, strict: bool, what: str) -> Tensors:
    """Zeros in place of None; with ``strict`` RuntimeError instead."""
    for place, each in enumerate(found):
        if each is None and strict:
            raise RuntimeError(
                f"The {what} is independent of input {place}. This is not allowed in strict mode."
            )
    return tuple(
        zeros_like(kind) if each is None else each for each, kind in zip(found, kinds, strict=True)
    )


def _handed(found: Tensors, several: bool, create_graph: bool) -> Tensor | Tensors:
    """What a caller gets: without a graph unless it asked for one, as many as it gave."""
    values = tuple(f if create_graph else f.detach() for f in found)
    return values if several else values[0]


def _vector(v: Value | None, kinds: Tensors, name: str, of: str) -> Tensors:
    """``v`` as a tuple, shaped like ``kinds``; ones, if that is one number.

    Raises:
        RuntimeError: it is shaped otherwise, or None where there is more.
    """
    if v is None:
        if len(kinds) != 1 or kinds[0].numel() != 1:
            raise RuntimeError(
                f"The vector v can only be None if {of} a single Tensor with a single element."
            )
        return (ones_like(kinds[0]),)
    _, given = _tupled(v, "given to " + name, "v")
    if len(given) != len(kinds):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(kinds)} but got {len(given)}."
        )
    for place, (each, kind) in enumerate(zip(given, kinds, strict=True)):
        if each.shape != kind.shape:
            raise RuntimeError(
                f"Entry {place} in v has invalid size: should be {kind.shape} but got {each.shape}."
            )
    return given


def vjp(
    func: Function,
    inputs: Value,
    v: Value | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Value, Value]:
    """(what ``func(*inputs)`` gives, ``v`` times its Jacobian).

    Args:
        inputs: a tensor or a tuple. v: shaped like the outputs; None for one number.
        create_graph: the results can be differentiated.
        strict: RuntimeError, not zeros, for an input or output that does not count.
    """
    with enable_grad():
        several, given = _inputs(inputs, "vjp", create_graph)
        many, outputs = _called(func, given, "vjp", strict)
        starts = _vector(v, outputs, "vjp", "the user-provided function returns")
        found = _grads(outputs, given, starts, create_graph)
        found = _whole(found, given, strict, "output of the user-provided function")
    return _handed(outputs, many, create_graph), _handed(found, several, create_graph)


def jvp(
    func: Function,
    inputs: Value,
    v: Value | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Value, Value]:
    """(what ``func(*inputs)`` gives, its Jacobian times ``v``). Arguments as :func:`vjp`.

    The product with the Jacobian is linear in its cotangent: its derivative by that is the answer.
    """
    with enable_grad():
        _, given = _inputs(inputs, "jvp", create_graph)
        ways = _vector(v, given, "jvp", "the input is")
        many, outputs = _called(func, given, "jvp", strict)
        starts = tuple(zeros_like(o).requires_grad_() for o in outputs)
        first = _grads(outputs, given, starts, create_graph=True)
        found = _grads(first, starts, ways, create_graph)
        found = _whole(found, outputs, strict, "Jacobian")
    return _handed(outputs, many, create_graph), _handed(found, many, create_graph)


def jacobian(
    func: Function,
    inputs: Value,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Nested:
    """The Jacobian: shaped output by input, a tuple for each of several outputs and inputs.

    Args:
        inputs, create_graph, strict: as :func:`vjp`.
        vectorize, strategy: of no effect on the result; a backward pass is run per element.
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function '
            'has more outputs than inputs, "forward-mode" tends to be more performant. Otherwise, '
            'prefer to use "reverse-mode".'
        )
    with enable_grad():
        several, given = _inputs(inputs, "jacobian", create_graph)
        many, outputs = _called(func, given, "jacobian", strict)
        rows = []
        for out in outputs:
            flat = out.reshape(-1)
            passes = [
                _whole(
                    _grads((flat[place],), given, None, create_graph), given, strict,
                    "output of the user-provided function",
                )
                for place in range(flat.numel())
            ]  # fmt: skip
            rows.append(tuple(_stacked(passes, k, out, x) for k, x in enumerate(given)))
    made = [_handed(row, several, create_graph) for row in rows]
    return tuple(made) if many else made[0]


def _stacked(passes: list[Tensors], place: int, out: Tensor, x: Tensor) -> Tensor:
    """The gradients of all elements of ``out`` by input ``place``, as one tensor."""
    shape = (*out.shape, *x.shape)
    if not passes:
        return zeros(shape, dtype=x.dtype, device=x.device)
    return stack([each[place] for each in passes]).reshape(shape)


def _number(func: Function, name: str) -> Callable[..., Tensor]:
    """``func``, which must give one number."""

    def single(*inputs: Value) -> Tensor:
        out = func(*inputs)
        many, found = _tupled(out, "returned to " + name, "outputs")
        if many:
            raise RuntimeError(f"The function given to {name} should return a single Tensor")
        if found[0].numel() != 1:
            raise RuntimeError(
                f"The Tensor returned by the function given to {name} should contain a single element"
            )
        return found[0].squeeze()

    return single


def hessian(
    func: Function,
    inputs: Value,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Nested:
    """The Hessian of a function of one number: a tensor, or a tuple of tuples of several inputs.

    Arguments as :func:`jacobian`.
    """
    several, _ = _tupled(inputs, "given to hessian", "inputs")
    single = _number(func, "hessian")

    def slope(*given: Tensor) -> Nested:
        return jacobian(single, given if several else given[0], create_graph=True, strict=strict)

    return jacobian(slope, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


def vhp(
    func: Function,
    inputs: Value,
    v: Value | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Value, Value]:
    """(what ``func(*inputs)``, one number, gives, ``v`` times its Hessian). Arguments as :func:`vjp`."""
    with enable_grad():
        several, given = _inputs(inputs, "vhp", create_graph)
        ways = _vector(v, given, "vhp", "the input is")
        many, outputs = _called(_number(func, "vhp"), given, "vhp", strict)
        first = _grads(outputs, given, None, create_graph=True)
        first = _whole(first, given, strict, "output of the user-provided function")
        found = _whole(_grads(first, given, ways, create_graph), given, strict, "Jacobian")
    return _handed(outputs, many, create_graph), _handed(found, several, create_graph)


def hvp(
    func: Function,
    inputs: Value,
    v: Value | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Value, Value]:
    """(what ``func(*inputs)``, one number, gives, its Hessian times ``v``). Arguments as :func:`vjp`.

    Hessians are symmetric: the product from the left, in one pass less, is that from the right.
    """
    return vhp(func, inputs, v, create_graph, strict)
