"""Hooks' handles, and hooks on several tensors, which a pass calls once for all of them."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from tilegrad.autograd.annotations import Tensor

# of a node or a leaf; what it returns is looked at by whoever calls it
Hook = Callable[..., object]

# a node with the number of an output, or a leaf with 0
Place: TypeAlias = tuple[object, int]


class RemovableHandle:
    """Takes a hook back with :meth:`remove`."""

    __slots__ = ("hook", "hooks", "id")

    _ids = itertools.count()

    def __init__(self, hooks: list[Hook], hook: Hook):
        # an object of its own, so that it is found again where a function is registered twice
        hook = functools.update_wrapper(functools.partial(hook), hook)
        self.hooks = hooks
        self.hook = hook
        self.id = next(RemovableHandle._ids)
        hooks.append(hook)

    def remove(self) -> None:
        """Never call the hook again; another registration of the same function stays."""
        if self.hooks and self.hooks[-1] is self.hook:  # the newest first, as blocks end
            self.hooks.pop()
        elif self.hook in self.hooks:
            self.hooks.remove(self.hook)
        self.hooks = []

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *args: object) -> None:
        self.remove()


class MultiHandle(RemovableHandle):
    """Takes the hooks on several tensors back."""

    __slots__ = ("handles",)

    def __init__(self, handles: Sequence[RemovableHandle]):
        self.handles = handles

    def remove(self) -> None:
        """Never call the hooks again."""
        for handle in self.handles:
            handle.remove()


class Run(Protocol):
    """What a backward pass keeps for hooks on several tensors."""

    @property
    def gathering(self) -> dict[object, Gathering]: ...

    def visits(self, place: Place) -> bool:
        """Whether the pass comes to ``place``, as far as the graph says."""


class Running(threading.local):
    """The innermost pass of this thread."""

    run: Run | None = None


running = Running()
# whether any hook on several tensors was ever registered: passes then say that they run
asked = [False]


class Gathering:
    """The gradients of several tensors, as one pass works them out.

    Attributes:
        call: what gets them all, None for those that the pass has not worked out.
        missing: how many the pass will still work out.
    """

    def __init__(self, run: Run, places: Sequence[Place], call: Callable[..., object]):
        self.call = call
        self.grads: list[Tensor | None] = [None] * len(places)
        self.missing = sum([run.visits(place) for place in places])

    def take(self, place: int, grad: Tensor) -> None:
        """Note one, and call if it was the last."""
        self.grads[place] = grad
        self.missing -= 1
        if not self.missing:
            self.call(self.grads)

    def finish(self) -> None:
        """Call at the end of the pass, where a gradient that was waited for is None."""
        if self.missing > 0:
            self.missing = 0
            self.call(self.grads)


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., object], *, mode: str = "all"
) -> RemovableHandle:
    """Call ``fn`` once in each pass that works out gradients of ``tensors``: with the list of them when all are there
    ("all"; None for those that the pass does not work out), or with the first alone ("any").

    Raises:
        ValueError: another mode.
        RuntimeError: a tensor requires no gradient, under "all". By a pass that began before the process's first such
            hook was registered: it does not know of it.
    """
    if mode not in ("all", "any"):
        raise ValueError(
            f"register_multi_grad_hook: Expects mode to be one of ('all', 'any') but got {mode}"
        )
    if mode == "any":
        tensors = [tensor for tensor in tensors if tensor.requires_grad]
    key = object()
    asked[0] = True
    places: list[Place] = []

    def hook(place: int, grad: Tensor) -> None:
        run = running.run
        if run is None:
            raise RuntimeError(
                "register_multi_grad_hook: the first hook of its kind was registered while a pass was running, "
                "which cannot call it; register it before"
            )
        found = run.gathering.get(key)
        if found is None:
            found = run.gathering[key] = Gathering(run, places, fn)
            if mode == "any":
                found.missing = 0
                fn(grad)
        if mode == "all":
            found.take(place, grad)

    handles = []
    for place, tensor in enumerate(tensors):
        handles.append(tensor.register_hook(functools.partial(hook, place)))
        places.append((tensor, 0) if tensor.grad_fn is None else (tensor.grad_fn, tensor._index))
    return MultiHandle(handles)
