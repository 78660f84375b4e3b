"""Hooks of modules: where they are kept, and how gradients of a module's ends reach them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tilegrad.autograd.base import detached_view
from tilegrad.autograd.graph import Node, RemovableHandle
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule, needs_graph
from tilegrad.autograd.tensor import Tensor

if TYPE_CHECKING:
    from tilegrad.nn.modules.module import Module


@dataclass(frozen=True)
class Hook:
    """A forward hook and how it wants to be called."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


@dataclass
class Hooks:
    """All hooks of one module. False as long as there are none."""

    forward_pre: list[Hook] = field(default_factory=list)
    forward: list[Hook] = field(default_factory=list)
    backward_pre: list[Callable[..., Any]] = field(default_factory=list)
    backward: list[Callable[..., Any]] = field(default_factory=list)
    state_dict_pre: list[Callable[..., Any]] = field(default_factory=list)
    state_dict: list[Callable[..., Any]] = field(default_factory=list)
    load_pre: list[Callable[..., Any]] = field(default_factory=list)
    load_post: list[Callable[..., Any]] = field(default_factory=list)

    def on_call(self) -> bool:
        """Whether a call of the module has hooks to run."""
        return bool(self.forward_pre or self.forward or self.backward_pre or self.backward)


def add(hooks: list[Any], hook: Any, prepend: bool = False) -> RemovableHandle:
    """Put ``hook`` at the end of ``hooks``, or at the start."""
    handle = RemovableHandle(hooks, hook)
    if prepend:
        hooks.insert(0, hooks.pop())
    return handle


def call(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module.forward(*args, **kwargs)`` with all hooks around it."""
    hooks = module._hooks
    result = None
    try:
        args, kwargs = _before(module, args, kwargs)
        ends = _Ends(module, len(args)) if hooks.backward or hooks.backward_pre else None
        if ends is not None:
            args = ends.enter(args)
        result = module.forward(*args, **kwargs)
        result = _after(module, list(hooks.forward), args, kwargs, result)
        return result if ends is None else ends.leave(result)
    except BaseException:
        always = [h for h in hooks.forward if h.always_call]
        if result is None and always:
            _after(module, always, args, kwargs, result)
        raise


def _before(
    module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    for hook in list(module._hooks.forward_pre):
        if hook.with_kwargs:
            changed = hook.function(module, args, kwargs)
            if changed is not None:
                if not isinstance(changed, tuple) or len(changed) != 2:
                    raise RuntimeError(
                        f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                        f"but got {changed}."
                    )
                args, kwargs = changed
        else:
            changed = hook.function(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    return args, kwargs


def _after(
    module: Module, hooks: list[Hook], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Any:
    for hook in hooks:
        if hook.with_kwargs:
            changed = hook.function(module, args, kwargs, result)
        else:
            changed = hook.function(module, args, result)
        if changed is not None:
            result = changed
    return result


# ------------------------------------------------------------------------------ backward hooks


class _Ends:
    """Identity nodes at both ends of a module, which show its gradients to its hooks."""

    def __init__(self, module: Module, count: int):
        self.module = module
        self.count = count
        self.entered = False
        self.places: list[int] = []
        self.grad_outputs: tuple[Tensor | None, ...] = ()

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """``args`` behind a node that reports their gradients."""
        tensors = [(k, a) for k, a in enumerate(args) if isinstance(a, Tensor)]
        self.places = [k for k, _ in tensors]
        passed = _identity("module_inputs", [a for _, a in tensors], self._inputs_vjp)
        self.entered = any(p is not t for p, (_, t) in zip(passed, tensors, strict=True))
        result = list(args)
        for place, value in zip(self.places, passed, strict=True):
            result[place] = value
        return tuple(result)

    def leave(self, result: Any) -> Any:
        """``result`` in front of a node that reports its gradients."""
        single = not isinstance(result, (tuple, list))
        values = [result] if single else list(result)
        places = [k for k, v in enumerate(values) if isinstance(v, Tensor)]
        passed = _identity("module_outputs", [values[k] for k in places], self._outputs_vjp)
        for place, value in zip(places, passed, strict=True):
            values[place] = value
        if single:
            return values[0]
        return type(result)(*values) if hasattr(result, "_fields") else type(result)(values)

    def _outputs_vjp(self, node: Node, *grads: Tensor) -> tuple[Tensor | None, ...]:
        shown: tuple[Any, ...] = tuple(
            [None if e is None else g for g, e in zip(grads, node.edges, strict=True)]
        )
        for hook in list(self.module._hooks.backward_pre):
            changed = hook(self.module, shown)
            if changed is not None:
                shown = changed if isinstance(changed, tuple) else (changed,)
        self.grad_outputs = shown
        if not self.entered:
            self._report((None,) * self.count)
        return shown

    def _inputs_vjp(self, node: Node, *grads: Tensor) -> tuple[Tensor | None, ...]:
        spread: list[Tensor | None] = [None] * self.count
        for place, grad, edge in zip(self.places, grads, node.edges, strict=True):
            spread[place] = None if edge is None else grad
        result = self._report(tuple(spread))
        return tuple([result[place] for place in self.places])

    def _report(self, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        for hook in list(self.module._hooks.backward):
            changed = hook(self.module, grads, self.grad_outputs)
            if changed is not None:
                changed = changed if isinstance(changed, tuple) else (changed,)
                if len(changed) != len(grads):
                    raise RuntimeError(
                        f"Backward hook returned an invalid number of grad_input, got "
                        f"{len(changed)}, but expected {len(grads)}"
                    )
                grads = changed
        return grads


def _identity(name: str, tensors: list[Tensor], vjp: Callable[..., Any]) -> list[Tensor]:
    """The same tensors as outputs of one recorded node; themselves where none needs a gradient."""
    inputs = tuple(tensors)
    if not (state.grad and needs_graph(inputs)):
        return tensors
    results = tuple([detached_view(t) for t in tensors])
    Rule(name, vjp).record_all(inputs, results)
    for made, given in zip(results, tensors, strict=True):
        if not given._tracked:
            made.detach_()
    return list(results)
