"""Hooks of modules: how they are registered, where they are kept, and how gradients of a module's ends reach
them.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
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


Table = OrderedDict[int, Any]  # hooks by the ids of their handles


class Hooks:
    """The tables of one module, each made when it is first asked for."""

    __slots__ = (
        "_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_hooks_always_called",
        "_forward_hooks_with_kwargs", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs",
        "_load_state_dict_post_hooks", "_load_state_dict_pre_hooks", "_state_dict_hooks", "_state_dict_pre_hooks",
    )  # fmt: skip

    _forward_pre_hooks: Table | None
    _forward_hooks: Table | None
    _backward_pre_hooks: Table | None
    _backward_hooks: Table | None

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, None)

    def on_call(self) -> bool:
        """Whether a call of the module has hooks to run."""
        return bool(
            self._forward_pre_hooks
            or self._forward_hooks
            or self._backward_pre_hooks
            or self._backward_hooks
        )


class _Shown:
    """A table of ``_hooks`` as an attribute of what has them."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: type | None = None) -> Table:
        if owner is None:
            raise AttributeError(f"type object {kind!r} has no attribute {self.name!r}")
        found: Table | None = getattr(owner._hooks, self.name)
        if found is None:
            found = OrderedDict()
            setattr(owner._hooks, self.name, found)
        return found

    def __set__(self, owner: Any, value: Table) -> None:
        setattr(owner._hooks, self.name, value)


class Hooked:
    """What has hooks: PyTorch's tables, which libraries read, and take hooks out of."""

    _hooks: Hooks
    _is_full_backward_hook: bool | None = None  # of backward hooks; False for the older kind

    _forward_pre_hooks = _Shown()
    _forward_pre_hooks_with_kwargs = _Shown()
    _forward_hooks = _Shown()
    _forward_hooks_with_kwargs = _Shown()
    _forward_hooks_always_called = _Shown()
    _backward_pre_hooks = _Shown()
    _backward_hooks = _Shown()
    _state_dict_pre_hooks = _Shown()
    _state_dict_hooks = _Shown()
    _load_state_dict_pre_hooks = _Shown()
    _load_state_dict_post_hooks = _Shown()


class _Every(Hooked):
    def __init__(self) -> None:
        self._hooks = Hooks()
        self.last_node: Table = OrderedDict()  # backward hooks of the older kind


EVERY = _Every()  # those of every module, which come before its own
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


class ModuleHandle(RemovableHandle):
    """Of a hook in a table, and of what other tables say of it."""

    __slots__ = ("tables",)

    def __init__(self, table: Table, hook: Any, *marks: Table):
        self.id = next(RemovableHandle._ids)
        self.tables = (table, *marks)
        table[self.id] = hook
        for mark in marks:
            mark[self.id] = True

    def remove(self) -> None:
        """Never call the hook again."""
        for table in self.tables:
            table.pop(self.id, None)


class EveryHandle(ModuleHandle):
    """Of a hook on every module."""

    __slots__ = ()

    def __init__(self, table: Table, hook: Any, *marks: Table):
        super().__init__(table, hook, *marks)
        every.append(None)

    def remove(self) -> None:
        """Never call the hook again."""
        if self.id in self.tables[0]:
            every.pop()
        super().remove()


def _first(handle: ModuleHandle, prepend: bool) -> ModuleHandle:
    """``handle``, whose hook is called before others with ``prepend``."""
    if prepend:
        handle.tables[0].move_to_end(handle.id, last=False)
    return handle


# -------------------------------------------------------------------------------- registration


_MIXED = (
    "Cannot use both regular backward hooks and full backward hooks on a single Module. Please use only one "
    "of them."
)


class HookMethods(Hooked):
    """The methods of :class:`Module` that register hooks."""

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args[, kwargs])`` before ``forward``; it may return new ones."""
        marks = (self._forward_pre_hooks_with_kwargs,) if with_kwargs else ()
        return _first(ModuleHandle(self._forward_pre_hooks, hook, *marks), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args[, kwargs], output)`` after ``forward``; it may return another."""
        marks = _marks(self, with_kwargs, always_call)
        return _first(ModuleHandle(self._forward_hooks, hook, *marks), prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before the gradient enters; it may return another."""
        return _first(ModuleHandle(self._backward_pre_hooks, hook), prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)``; it may return another ``grad_input``.

        Raises:
            RuntimeError: there are hooks of :meth:`register_backward_hook`.
        """
        if self._is_full_backward_hook is False:
            raise RuntimeError(_MIXED)
        self._is_full_backward_hook = True
        return _first(ModuleHandle(self._backward_hooks, hook), prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` with the gradients of the op that makes the result:
        PyTorch's older kind.

        Raises:
            RuntimeError: there are full backward hooks.
        """
        if self._is_full_backward_hook is True:
            raise RuntimeError(_MIXED)
        self._is_full_backward_hook = False
        return ModuleHandle(self._backward_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before ``state_dict``."""
        return ModuleHandle(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, metadata)`` after ``state_dict``; it must give None."""
        return ModuleHandle(self._state_dict_hooks, states.giving_none(hook))

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        return ModuleHandle(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, metadata, strict, missing, unexpected, errors)``."""
        return self._register_load_state_dict_pre_hook(hook, True)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        called = hook if with_module else lambda module, *given: hook(*given)
        return ModuleHandle(self._load_state_dict_pre_hooks, called)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after ``load_state_dict``."""
        return ModuleHandle(self._load_state_dict_post_hooks, hook)


def _marks(owner: Hooked, with_kwargs: bool, always_call: bool) -> tuple[Table, ...]:
    """The tables that say how a forward hook wants to be called."""
    found = (
        (with_kwargs, owner._forward_hooks_with_kwargs),
        (always_call, owner._forward_hooks_always_called),
    )
    return tuple([table for asked, table in found if asked])


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, args)`` before ``forward`` of every module."""
    return EveryHandle(EVERY._forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call ``hook(module, args[, kwargs], output)`` after ``forward`` of every module."""
    return EveryHandle(EVERY._forward_hooks, hook, *_marks(EVERY, with_kwargs, always_call))


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` before the gradient enters any module."""
    return EveryHandle(EVERY._backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` when the gradient leaves any module."""
    return EveryHandle(EVERY._backward_hooks, hook)


def register_module_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """:meth:`Module.register_backward_hook` of every module."""
    return EveryHandle(EVERY.last_node, hook)


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, parameter)`` when one is registered; it may give another."""
    return RemovableHandle(REGISTRATIONS.parameter, hook)


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` when one is registered; it may give another."""
    return RemovableHandle(REGISTRATIONS.buffer, hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` when one is registered; it may give another."""
    return RemovableHandle(REGISTRATIONS.module, hook)


# --------------------------------------------------------------------------------------- calls


def call(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module.forward(*args, **kwargs)`` with all hooks around it."""
    older = [*EVERY.last_node.values()]
    full = EVERY._backward_pre_hooks or EVERY._backward_hooks or module._backward_pre_hooks
    if module._is_full_backward_hook is False:
        older += module._backward_hooks.values()
    else:
        full = full or module._backward_hooks
    result = None
    try:
        args, kwargs = _before(module, args, kwargs)
        ends = _Ends(module, len(args)) if full else None
        if ends is not None:
            args = ends.enter(args)
        result = module.forward(*args, **kwargs)
        result = _after(module, args, kwargs, result)
        _at_last_node(module, older, result)
        return result if ends is None else ends.leave(result)
    except BaseException:
        if result is None:
            _after(module, args, kwargs, result, failed=True)
        raise


def _before(
    module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    for owner in (EVERY, module):
        for key, hook in list(owner._forward_pre_hooks.items()):
            if key in owner._forward_pre_hooks_with_kwargs:
                changed = hook(module, args, kwargs)
                if changed is not None:
                    if not isinstance(changed, tuple) or len(changed) != 2:
                        raise RuntimeError(
                            f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                            f"but got {changed}."
                        )
                    args, kwargs = changed
            else:
                changed = hook(module, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
    return args, kwargs


def _after(
    module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, failed: bool = False
) -> Any:
    """What forward hooks make of ``result``; where ``forward`` has failed, those alone that are always called."""
    for owner in (EVERY, module):
        for key, hook in list(owner._forward_hooks.items()):
            if failed and key not in owner._forward_hooks_always_called:
                continue
            if key in owner._forward_hooks_with_kwargs:
                changed = hook(module, args, kwargs, result)
            else:
                changed = hook(module, args, result)
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
        for hook in [
            *EVERY._backward_pre_hooks.values(),
            *self.module._backward_pre_hooks.values(),
        ]:
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
        own = {} if self.module._is_full_backward_hook is False else self.module._backward_hooks
        for hook in [*EVERY._backward_hooks.values(), *own.values()]:
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
