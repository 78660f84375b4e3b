"""Hooks of modules: how they are registered, where they are kept, and how gradients of a module's ends reach
them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tilegrad.autograd.base import detached_view
from tilegrad.autograd.graph import Node, RemovableHandle
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule, needs_graph
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import state as states

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
    last_node: list[Callable[..., Any]] = field(default_factory=list)
    state_dict_pre: list[Callable[..., Any]] = field(default_factory=list)
    state_dict: list[Callable[..., Any]] = field(default_factory=list)
    load_pre: list[Callable[..., Any]] = field(default_factory=list)
    load_post: list[Callable[..., Any]] = field(default_factory=list)

    def on_call(self) -> bool:
        """Whether a call of the module has hooks to run."""
        return bool(
            self.forward_pre or self.forward or self.backward_pre or self.backward or self.last_node
        )


EVERY = Hooks()  # those of every module, which come before its own
every: list[None] = []  # not empty while there are some: a cheap question


@dataclass
class Registrations:
    """Hooks on what is registered in any module; each may give another value."""

    parameter: list[Callable[..., Any]] = field(default_factory=list)
    buffer: list[Callable[..., Any]] = field(default_factory=list)
    module: list[Callable[..., Any]] = field(default_factory=list)


REGISTRATIONS = Registrations()


def registered(hooks: list[Callable[..., Any]], module: Module, name: str, value: Any) -> Any:
    """``value``, or what hooks give instead of it."""
    for hook in list(hooks):
        given = hook(module, name, value)
        value = value if given is None else given
    return value


class EveryHandle(RemovableHandle):
    """Of a hook on every module."""

    __slots__ = ()

    def __init__(self, hooks: list[Any], hook: Any):
        super().__init__(hooks, hook)
        every.append(None)

    def remove(self) -> None:
        """Never call the hook again."""
        before = len(self.hooks)
        hooks = self.hooks
        super().remove()
        if len(hooks) < before:
            every.pop()


def add(hooks: list[Any], hook: Any, prepend: bool = False) -> RemovableHandle:
    """Put ``hook`` at the end of ``hooks``, or at the start."""
    handle = RemovableHandle(hooks, hook)
    if prepend:
        hooks.insert(0, hooks.pop())
    return handle


# -------------------------------------------------------------------------------- registration


_MIXED = (
    "Cannot use both regular backward hooks and full backward hooks on a single Module. Please use only one "
    "of them."
)


class HookMethods:
    """The methods of :class:`Module` that register hooks."""

    _hooks: Hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args[, kwargs])`` before ``forward``; it may return new ones."""
        return add(self._hooks.forward_pre, Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args[, kwargs], output)`` after ``forward``; it may return another."""
        return add(self._hooks.forward, Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before the gradient enters; it may return another."""
        return add(self._hooks.backward_pre, hook, prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)``; it may return another ``grad_input``.

        Raises:
            RuntimeError: there are hooks of :meth:`register_backward_hook`.
        """
        if self._hooks.last_node:
            raise RuntimeError(_MIXED)
        return add(self._hooks.backward, hook, prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` with the gradients of the op that makes the result:
        PyTorch's older kind.

        Raises:
            RuntimeError: there are full backward hooks.
        """
        if self._hooks.backward:
            raise RuntimeError(_MIXED)
        return add(self._hooks.last_node, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before ``state_dict``."""
        return add(self._hooks.state_dict_pre, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, metadata)`` after ``state_dict``; it must give None."""
        return add(self._hooks.state_dict, states.giving_none(hook))

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        return add(self._hooks.state_dict, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, metadata, strict, missing, unexpected, errors)``."""
        return self._register_load_state_dict_pre_hook(hook, True)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        called = hook if with_module else lambda module, *given: hook(*given)
        return add(self._hooks.load_pre, called)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after ``load_state_dict``."""
        return add(self._hooks.load_post, hook)


def _every(found: list[Any], hook: Any) -> RemovableHandle:
    return EveryHandle(found, hook)


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, args)`` before ``forward`` of every module."""
    return _every(EVERY.forward_pre, Hook(hook))


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call ``hook(module, args[, kwargs], output)`` after ``forward`` of every module."""
    return _every(EVERY.forward, Hook(hook, with_kwargs, always_call))


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` before the gradient enters any module."""
    return _every(EVERY.backward_pre, hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` when the gradient leaves any module."""
    return _every(EVERY.backward, hook)


def register_module_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """:meth:`Module.register_backward_hook` of every module."""
    return _every(EVERY.last_node, hook)


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, parameter)`` when one is registered; it may give another."""
    return add(REGISTRATIONS.parameter, hook)


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` when one is registered; it may give another."""
    return add(REGISTRATIONS.buffer, hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` when one is registered; it may give another."""
    return add(REGISTRATIONS.module, hook)


# --------------------------------------------------------------------------------------- calls


def call(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module.forward(*args, **kwargs)`` with all hooks around it."""
    hooks = module._hooks
    after = [*EVERY.forward, *hooks.forward]
    around = hooks.backward or hooks.backward_pre or EVERY.backward or EVERY.backward_pre
    result = None
    try:
        args, kwargs = _before(module, args, kwargs)
        ends = _Ends(module, len(args)) if around else None
        if ends is not None:
            args = ends.enter(args)
        result = module.forward(*args, **kwargs)
        result = _after(module, after, args, kwargs, result)
        _at_last_node(module, [*EVERY.last_node, *hooks.last_node], result)
        return result if ends is None else ends.leave(result)
    except BaseException:
        always = [h for h in after if h.always_call]
        if result is None and always:
            _after(module, always, args, kwargs, result)
        raise


def _before(
    module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    for hook in [*EVERY.forward_pre, *module._hooks.forward_pre]:
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


def _at_last_node(module: Module, hooks: list[Callable[..., Any]], result: Any) -> None:
    """Let older backward hooks see the node that made (the first tensor of) the result."""
    while hooks and not isinstance(result, Tensor):
        values = list(result.values()) if isinstance(result, dict) else result
        result = next((v for v in values if isinstance(v, Tensor)), values[0])
    node = result.grad_fn if hooks else None
    if node is not None:
        for hook in hooks:
            node.register_hook(functools.partial(hook, module))


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
        for hook in [*EVERY.backward_pre, *self.module._hooks.backward_pre]:
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
        for hook in [*EVERY.backward, *self.module._hooks.backward]:
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
