"""PyTorch's ``torch.func``: functions that give derivatives of functions, of any order.

All of them differentiate backward: ``jvp`` and ``jacfwd`` differentiate a backward pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

import numpy as np

from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.gradients import grad as gradients
from tilegrad.autograd.graph import Edge, Node, edge_of
from tilegrad.autograd.mode import enable_grad, is_grad_enabled
from tilegrad.autograd.rules.creation import zeros, zeros_like
from tilegrad.autograd.rules.movement import stack
from tilegrad.autograd.rules.view import reshape, view
from tilegrad.autograd.trees import Nested, mapped, taken_apart, together

Argnums = int | tuple[int, ...]


# leaves that were made here, by their ids: nobody else differentiates by them
_inner: WeakValueDictionary[int, Nested] = WeakValueDictionary()


def _continuous(word: str, given: Sequence[Nested]) -> None:
    """Raise ValueError unless derivatives along tensors such as these exist."""
    for x in given:
        if isinstance(x, TensorBase) and not x.layout.dtype.has_gradient:
            raise ValueError(
                f"jvp: Expected {word} to be floating point or complex, but got: {x.layout.dtype.name}"
            )


def _leaf(x: Nested) -> Nested:
    """``x`` as a leaf of its own."""
    made = x.detach().requires_grad_()
    _inner[id(made)] = made
    return made


def _watched(x: Nested) -> Nested:
    """``x`` as something whose derivative can be asked for alone, with the history that it has."""
    if not isinstance(x, TensorBase) or not x.dtype.is_floating_point:
        return x
    return view(x, x.shape) if x.requires_grad else _leaf(x)


def _others(outputs: Sequence[Nested], own: Sequence[Nested]) -> bool:
    """Whether the graph of ``outputs`` leads to leaves other than ``own``: a derivative may be
    differentiated by these.
    """
    stop = {id(x._node if x._node is not None else x) for x in own}
    left: list[Edge | None] = [edge_of(o) for o in outputs if o._tracked]
    seen: set[int] = set()
    while left:
        edge = left.pop()
        edge = edge[0] if isinstance(edge, tuple) else edge
        if edge is None or id(edge) in seen:
            continue
        seen.add(id(edge))
        if isinstance(edge, Node):
            left += edge.edges
        elif id(edge) not in stop and _inner.get(id(edge)) is not edge:
            return True
    return False


class _Call:
    """``func`` called on watched arguments: outputs, and derivatives of them.

    Attributes:
        inputs: the watched tensors, leaf by leaf; tree: their form.
        outputs: the results, leaf by leaf; form: theirs; aux: what else ``func`` gave.
    """

    def __init__(
        self,
        func: Callable[..., Nested],
        primals: Nested,
        call: Callable[..., Nested],
        has_aux: bool,
        name: str,
    ):
        self.again = is_grad_enabled()  # whether who asks may differentiate
        with enable_grad():
            leaves, self.tree = taken_apart(primals)
            for leaf in leaves:
                if not isinstance(leaf, TensorBase):
                    raise ValueError(
                        f"{name}: Expected all inputs to be differentiated to be Tensors, got {type(leaf).__name__}"
                    )
            self.inputs = [_watched(leaf) for leaf in leaves]
            found = call(together(self.inputs, self.tree))
        self.aux = None
        if has_aux:
            if not isinstance(found, tuple) or len(found) != 2:
                raise RuntimeError(
                    f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True"
                )
            found, self.aux = found[0], _bare(found[1], self.inputs)
        self.outputs, self.form = taken_apart(found)
        for out in self.outputs:
            if not isinstance(out, TensorBase):
                raise RuntimeError(
                    f"{name}: Expected f to be a function that has non-empty output and whose output "
                    f"consists only of Tensors; got {type(out).__name__}"
                )
        nested = any(x._node is not None for x in self.inputs)
        self.again = self.again and (nested or _others(self.outputs, self.inputs))

    @property
    def value(self) -> Nested:
        """What ``func`` gave."""
        return together([o if self.again else o.detach() for o in self.outputs], self.form)

    def pullback(self, cotangents: Sequence[Nested], create: bool | None = None) -> list[Nested]:
        """The cotangents of the inputs, zeros where they do not count."""
        create = self.again if create is None else create
        asked = [(o, c) for o, c in zip(self.outputs, cotangents, strict=True) if o.requires_grad]
        wanted = [x for x in self.inputs if x.requires_grad]
        if not asked or not wanted:
            return [zeros_like(x) for x in self.inputs]
        outs, starts = (list(part) for part in zip(*asked, strict=True))
        with enable_grad():
            found = iter(
                gradients(
                    outs, wanted, starts, retain_graph=True, create_graph=create, allow_unused=True
                )
            )
        every = [next(found) if x.requires_grad else None for x in self.inputs]
        return [zeros_like(x) if g is None else g for x, g in zip(self.inputs, every, strict=True)]


def _bare(value: Nested, own: Sequence[Nested]) -> Nested:
    """``value`` without the history that only ``own`` gave it."""

    def one(x: Nested) -> Nested:
        if not isinstance(x, TensorBase) or not x.requires_grad:
            return x
        return x if _others([x], own) else x.detach()

    return mapped(one, value)


def _chosen(args: tuple[Nested, ...], argnums: Argnums, name: str) -> Nested:
    """The arguments that are differentiated by: one, or a tuple.

    Raises:
        RuntimeError: there is no such argument.
    """
    for place in (argnums,) if isinstance(argnums, int) else argnums:
        if not -len(args) <= place < len(args):
            raise RuntimeError(
                f"{name}: Got argnum={place}, but only {len(args)} positional inputs"
            )
    return args[argnums] if isinstance(argnums, int) else tuple([args[k] for k in argnums])


def _replacing(
    func: Callable[..., Nested],
    args: tuple[Nested, ...],
    argnums: Argnums,
    kwargs: dict[str, Nested],
) -> Callable[[Nested], Nested]:
    """``func`` of the chosen arguments."""

    def call(values: Nested) -> Nested:
        given = list(args)
        if isinstance(argnums, int):
            given[argnums] = values
        else:
            for place, value in zip(argnums, values, strict=True):
                given[place] = value
        return func(*given, **kwargs)

    return call


def grad_and_value(
    func: Callable[..., Nested], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Nested]:
    """A function that gives (gradient, value) of ``func``, which gives one number.

    Args:
        argnums: which arguments the gradient is by: one, or several, whose gradients are a tuple.
        has_aux: ``func`` gives (number, anything); then the value is that pair.

    Raises:
        RuntimeError: ``func`` gives no tensor, or not one number.
    """

    @functools.wraps(func)
    def derived(*args: Nested, **kwargs: Nested) -> Nested:
        call = _Call(
            func,
            _chosen(args, argnums, "grad"),
            _replacing(func, args, argnums, kwargs),
            has_aux,
            "grad",
        )
        out = call.outputs[0]
        if call.form.kind is not None:
            raise RuntimeError(
                f"Expected f given to grad_and_value(f) to return a Tensor; got {call.form.kind.__name__}"
            )
        if out.ndim:
            raise RuntimeError(
                f"grad: Expected the function given to grad to return a scalar tensor. Got tensor with "
                f"{out.ndim} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
            )
        slope = together(call.pullback([None]), call.tree)
        value = call.value
        return (slope, (value, call.aux)) if has_aux else (slope, value)

    return derived


def grad(
    func: Callable[..., Nested], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Nested]:
    """A function that gives the gradient of ``func``, which gives one number; with ``has_aux`` a pair of
    the gradient and what else ``func`` gave. Arguments as :func:`grad_and_value`.
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def derived(*args: Nested, **kwargs: Nested) -> Nested:
        slope, value = both(*args, **kwargs)
        return (slope, value[1]) if has_aux else slope

    return derived


def vjp(func: Callable[..., Nested], *primals: Nested, has_aux: bool = False) -> tuple[Nested, ...]:
    """(``func(*primals)``, a function from cotangents of it to a tuple of those of the arguments); with
    ``has_aux`` what else ``func`` gave comes third.
    """
    call = _Call(func, primals, lambda given: func(*given), has_aux, "vjp")

    def pullback(*cotangents: Nested) -> Nested:
        given: Nested = cotangents[0] if len(cotangents) == 1 else cotangents
        leaves, form = taken_apart(given)
        if form != call.form and len(leaves) != len(call.outputs):
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to "
                "the function."
            )
        create = call.again or any(c.requires_grad for c in leaves)
        found: tuple[Nested, ...] = together(call.pullback(leaves, create), call.tree)
        return found

    return (call.value, pullback, call.aux) if has_aux else (call.value, pullback)


def jvp(
    func: Callable[..., Nested],
    primals: Nested,
    tangents: Nested,
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> tuple[Nested, ...]:
    """(``func(*primals)``, its derivative along ``tangents``); with ``has_aux`` what else ``func`` gave comes
    third.

    Raises:
        RuntimeError: tangents unlike the arguments; with ``strict``, an output does not depend on them.
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(f"jvp: Expected primals to be a tuple; got {type(primals).__name__}")
    _continuous("primal", taken_apart(primals)[0])
    ways, form = taken_apart(tangents)
    _continuous("tangent", ways)
    call = _Call(func, primals, lambda given: func(*given), has_aux, "jvp")
    if form != call.tree:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same python structure."
        )
    found = _pushed(call, ways, strict)
    return (call.value, found, call.aux) if has_aux else (call.value, found)


def _pushed(call: _Call, ways: Sequence[Nested], strict: bool = False) -> Nested:
    """The product with the Jacobian is linear in its cotangent: its derivative by that is the answer."""
    create = call.again or any(isinstance(w, TensorBase) and w.requires_grad for w in ways)
    with enable_grad():
        starts = [_leaf(zeros_like(o)) for o in call.outputs]
        first = call.pullback(starts, True)
        pairs = [(f, w) for f, w in zip(first, ways, strict=True) if f.requires_grad]
        found: Sequence[Nested] = [None] * len(starts)
        if pairs:
            outs, given = (list(part) for part in zip(*pairs, strict=True))
            found = gradients(
                outs, starts, given, retain_graph=True, create_graph=create, allow_unused=True
            )
    if strict and any(f is None for f in found):
        raise RuntimeError(
            "jvp(f, primals, tangents, strict=True): an output is independent of the inputs"
        )
    made = [zeros_like(o) if f is None else f for f, o in zip(found, call.outputs, strict=True)]
    return together([m if create else m.detach() for m in made], call.form)


def linearize(
    func: Callable[..., Nested], *primals: Nested
) -> tuple[Nested, Callable[..., Nested]]:
    """(``func(*primals)``, a function from tangents to the derivative along them)."""
    call = _Call(func, primals, lambda given: func(*given), False, "linearize")
    return call.value, lambda *tangents: _pushed(call, taken_apart(tangents)[0])


def jacrev(
    func: Callable[..., Nested],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Nested]:
    """A function that gives the Jacobian of ``func``: shaped output by input, nested as the outputs and in
    each of them as the inputs. A backward pass is run per element of the outputs.

    Args:
        argnums, has_aux: as :func:`grad_and_value`; chunk_size: of no effect.
    """

    @functools.wraps(func)
    def derived(*args: Nested, **kwargs: Nested) -> Nested:
        call = _Call(
            func, _chosen(args, argnums, "jacrev"), _replacing(func, args, argnums, kwargs), has_aux,
            "jacrev",
        )  # fmt: skip
        blocks = []
        for place, out in enumerate(call.outputs):
            rows = [call.pullback(_unit(call.outputs, place, k)) for k in range(out.numel())]
            blocks.append(
                together(
                    [_block(rows, k, out, x, False) for k, x in enumerate(call.inputs)], call.tree
                )
            )
        made = together(blocks, call.form)
        return (made, call.aux) if has_aux else made

    return derived


def jacfwd(
    func: Callable[..., Nested],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Callable[..., Nested]:
    """:func:`jacrev` by columns: a product with the Jacobian per element of the inputs. ``randomness`` is of
    no effect: ``func`` is called once.
    """

    @functools.wraps(func)
    def derived(*args: Nested, **kwargs: Nested) -> Nested:
        _continuous("primal", args)
        call = _Call(
            func, _chosen(args, argnums, "jacfwd"), _replacing(func, args, argnums, kwargs), has_aux,
            "jacfwd",
        )  # fmt: skip
        columns = []
        for place, x in enumerate(call.inputs):
            columns.append(
                [
                    taken_apart(_pushed(call, _unit(call.inputs, place, k)))[0]
                    for k in range(x.numel())
                ]
            )
        blocks = [
            together(
                [_block(columns[p], k, out, x, True) for p, x in enumerate(call.inputs)], call.tree
            )
            for k, out in enumerate(call.outputs)
        ]
        made = together(blocks, call.form)
        return (made, call.aux) if has_aux else made

    return derived


def _unit(kinds: Sequence[Nested], place: int, element: int) -> list[Nested]:
    """Zeros shaped like ``kinds``, but for a 1 in one of them."""
    made = [zeros_like(kind.detach()) for kind in kinds]
    made[place][np.unravel_index(element, made[place].shape)] = 1
    return made


def _block(found: list[list[Nested]], place: int, out: Nested, x: Nested, columns: bool) -> Nested:
    """The Jacobian of ``out`` by ``x``, of its rows or its columns."""
    if not found:
        return zeros((*out.shape, *x.shape), dtype=out.dtype, device=out.device)
    whole = stack([each[place] for each in found], -1 if columns else 0)
    return reshape(whole, (*out.shape, *x.shape))


def hessian(func: Callable[..., Nested], argnums: Argnums = 0) -> Callable[..., Nested]:
    """A function that gives the Hessian of ``func``: :func:`jacfwd` of :func:`jacrev`."""
    return jacfwd(jacrev(func, argnums), argnums)


def stack_module_state(models: Sequence[Nested]) -> tuple[dict[str, Nested], dict[str, Nested]]:
    """The parameters and the buffers of modules of one form, each stacked, by name, for :func:`vmap` over
    them.

    Raises:
        RuntimeError: none, of several classes, or in several modes.
    """
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parts = []
    for table in ("named_parameters", "named_buffers"):
        each = [dict(getattr(m, table)()) for m in models]
        made = {}
        for name, first in each[0].items():
            whole = stack([one[name].detach() for one in each])
            made[name] = whole.requires_grad_(first.requires_grad)
        parts.append(made)
    return parts[0], parts[1]


__all__ = [
    "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "stack_module_state", "vjp",
]  # fmt: skip
