"""What PyTorch's compilers are called by, where programs run as they are written: every call is a launch of
kernels that are compiled already, and nothing is fused across calls.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")


@lru_cache(maxsize=2)
def _say(name: str) -> None:
    """That nothing is compiled; once."""
    warnings.warn(
        f"{name}: programs run as they are written: their kernels are compiled already, and nothing is fused",
        stacklevel=3,
    )


def _decorator_of_itself(name: str, model: T | None) -> T | Callable[[T], T]:
    """``model``, or a decorator that gives what it is given."""
    if model is None:
        return itself
    if not callable(model):
        raise TypeError(f"{name}: expects a callable; got {type(model).__name__}")
    return model


def itself(fn: T) -> T:
    """``fn`` as it is: nothing is traced, and nothing left out of a compilation."""
    return fn


def compile(
    model: Callable[..., object] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: object = "inductor",
    mode: str | None = None,
    options: dict[str, object] | None = None,
    name: str | None = None,
    disable: bool = False,
    recompile_limit: int | None = None,
    isolate_recompiles: bool = False,
    shapes_spec: object = None,
) -> Callable[..., object]:
    """``model`` itself, a module or function, or a decorator: it runs as it is written, which is said once.

    Args:
        disable: True: nothing was asked for.
        fullgraph, dynamic, backend, mode, options, name, recompile_limit, isolate_recompiles, shapes_spec: of no
            effect.

    Raises:
        RuntimeError: both ``mode`` and ``options`` are given.
        TypeError: ``model`` cannot be called.
    """
    if mode is not None and options is not None:
        raise RuntimeError(
            "Either mode or options can be specified, but both can't be specified at the same time."
        )
    if not disable:
        _say("compile")
    return _decorator_of_itself("compile", model)


def script(
    obj: T,
    optimize: object = None,
    _frames_up: int = 0,
    _rcb: object = None,
    example_inputs: object = None,
) -> T:
    """``obj`` itself, a module, function or class: it runs as it is written, which is said once."""
    _say("jit.script")
    return obj


def ignore(drop: object = False, **kwargs: object) -> object:
    """Decorator of what PyTorch's scripts leave to Python: what it is given."""
    return drop if callable(drop) else itself


def annotate(the_type: object, the_value: T) -> T:
    """``the_value``: a type's name is for scripts alone."""
    return the_value


def disable(
    fn: T | None = None, recursive: bool = True, *, reason: str | None = None
) -> T | Callable[[T], T]:
    """``fn`` itself, or a decorator."""
    return _decorator_of_itself("compiler.disable", fn)


def reset() -> None:
    """Nothing is kept that could be forgotten."""
