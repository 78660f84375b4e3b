"""Gradient modes, per thread: ``no_grad``, ``enable_grad``, ``inference_mode``, anomaly mode."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class _State(threading.local):
    grad = True
    inference = False
    anomaly = False


state = _State()


anomalies: list[None] = []  # one for each thread in anomaly mode: a cheap question before its flag


class _Switch:
    """Context manager and decorator that sets the gradient mode."""

    def __init__(self, grad: bool, inference: bool = False):
        self.grad = grad
        self.inference = inference
        self.saved: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self.saved.append((state.grad, state.inference))
        state.grad = self.grad
        state.inference = state.inference or self.inference

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        state.grad, state.inference = self.saved.pop()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with _Switch(self.grad, self.inference):
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class no_grad(_Switch):
    """Record nothing inside: results have ``requires_grad=False``."""

    def __new__(cls, function: Any = None) -> Any:
        made = super().__new__(cls)
        if function is not None:
            made.__init__()  # type: ignore[misc]
            return made(function)
        return made

    def __init__(self, function: Any = None) -> None:
        super().__init__(False)


class enable_grad(_Switch):
    """Record inside, also where the surrounding code does not."""

    def __new__(cls, function: Any = None) -> Any:
        made = super().__new__(cls)
        if function is not None:
            made.__init__()  # type: ignore[misc]
            return made(function)
        return made

    def __init__(self, function: Any = None) -> None:
        super().__init__(True)


class inference_mode(_Switch):
    """As ``no_grad``, for code that will never need gradients of its results."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not mode and state.grad, mode)


class set_grad_enabled(_Switch):
    """Turn recording on or off, as a statement or as a context manager."""

    def __init__(self, mode: bool) -> None:
        super().__init__(mode)
        self.before = state.grad
        state.grad = mode

    def __enter__(self) -> None:
        self.saved.append((self.before, state.inference))
        state.grad = self.grad


def is_grad_enabled() -> bool:
    """Whether ops record a graph now, in this thread."""
    return state.grad


def is_inference_mode_enabled() -> bool:
    """Whether an ``inference_mode`` block is active, in this thread."""
    return state.inference


class set_detect_anomaly:
    """Anomaly mode: remember the forward line of every node, and stop the backward pass at the
    first NaN, naming that line. A statement, or a context manager.
    """

    def __init__(self, mode: bool = True, check_nan: bool = True) -> None:
        self.before = state.anomaly
        self.check_nan = check_nan
        _set_anomaly(mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *args: object) -> None:
        _set_anomaly(self.before)


class detect_anomaly:
    """``with detect_anomaly():`` runs the block in anomaly mode."""

    def __init__(self, check_nan: bool = True) -> None:
        self.before = state.anomaly
        self.check_nan = check_nan

    def __enter__(self) -> None:
        self.before = state.anomaly
        _set_anomaly(True)

    def __exit__(self, *args: object) -> None:
        _set_anomaly(self.before)


def _set_anomaly(mode: bool) -> None:
    if mode and not state.anomaly:
        anomalies.append(None)
    elif state.anomaly and not mode:
        anomalies.pop()
    state.anomaly = mode


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on, in this thread."""
    return state.anomaly
