"""Gradient modes, per thread: ``no_grad``, ``enable_grad``, ``inference_mode``, anomaly mode."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from tilegrad.engine import inference
from tilegrad.engine.decorators import decorated

F = TypeVar("F", bound=Callable[..., object])


others: list[None] = []  # one for each further thread that has a mode


class _State(threading.local):
    grad = True  # ops record a graph
    asked = True  # what the last gradient mode said: ``grad``, but in inference mode
    inference = False
    anomaly = False
    no_packers: str | None = None  # why saved tensors have no hooks here

    def __init__(self) -> None:
        others.append(None)
        self.packers: list[tuple[Callable[..., object], Callable[..., object]]] = []


state = _State()
others.clear()


# one for each thread in anomaly mode (or block of hooks of saved tensors), that records nothing, in inference mode: cheap questions before
# their flags
anomalies: list[None] = []
unrecording: list[None] = []
inferring: list[None] = []


def set_grad(grad: bool) -> None:
    """Change whether this thread records, which it did not do, or did, before."""
    if grad:
        unrecording.pop()
    else:
        unrecording.append(None)
    state.grad = grad


class _Switch:
    """Context manager that sets the gradient mode; used by the graph itself."""

    def __init__(self, grad: bool):
        self.grad = grad
        self.saved: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        before, grad = state.grad, self.grad and not state.inference
        self.saved.append((state.asked, before))
        state.asked = self.grad
        if grad is not before:
            state.grad = grad
            unrecording.pop() if grad else unrecording.append(None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        state.asked, grad = self.saved.pop()
        if grad is not state.grad:
            state.grad = grad
            unrecording.pop() if grad else unrecording.append(None)


class _Mode(_Switch):
    """A switch that is a decorator too: of functions, generators, coroutines and their kin, which
    have the mode while they run and not while they wait; of a class, whose ``__init__`` has it.
    """

    def again(self) -> _Mode:
        """A context manager that does the same as this one."""
        raise NotImplementedError

    def __call__(self, function: F) -> F:
        if not callable(function):
            raise TypeError(
                f"{type(self).__name__}: decorates a function or a class; "
                f"got {type(function).__name__}"
            )
        if isinstance(function, type):
            warnings.warn(
                "Decorating classes is deprecated: decorate functions or methods; here __init__ "
                "is decorated and nothing else",
                FutureWarning,
                stacklevel=2,
            )
            kind: Any = function
            kind.__init__ = decorated(self.again, kind.__init__)
            return kind  # type: ignore[no-any-return]
        return decorated(self.again, function)  # type: ignore[return-value]


class _BareMode(_Mode):
    """A mode without arguments, whose parentheses a decorator may leave out."""

    def __new__(cls, function: Callable[..., object] | None = None) -> Any:
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)

    def again(self) -> _Mode:
        made: _Mode = type(self)()
        return made


class no_grad(_BareMode):
    """Record nothing inside: results have ``requires_grad=False``."""

    def __init__(self, function: object = None) -> None:
        super().__init__(False)


class enable_grad(_BareMode):
    """Record inside, also where the surrounding code does not (inference mode never does)."""

    def __init__(self, function: object = None) -> None:
        super().__init__(True)


class inference_mode(_Mode):
    """As ``no_grad``, for code that will never need gradients of its results: tensors made inside
    cannot be saved for a backward pass, and are written in place inside only. With ``mode=False``
    the surrounding inference mode ends until the block does.
    """

    def __new__(cls, mode: bool | Callable[..., object] = True) -> Any:
        made = super().__new__(cls)
        if isinstance(mode, bool):
            return made
        made.__init__()  # type: ignore[misc]
        return made(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not mode)
        self.mode = mode
        self.before: list[bool] = []

    def again(self) -> _Mode:
        return inference_mode(self.mode)

    def __enter__(self) -> None:
        self.before.append(state.inference)
        _set_inference(self.mode)
        super().__enter__()

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)
        _set_inference(self.before.pop())


def _set_inference(mode: bool) -> None:
    if mode != state.inference:
        if mode:
            inferring.append(None)
        else:
            inferring.pop()
        state.inference = mode
        inference.change(mode)


inference.set_question(lambda: state.inference)


class set_grad_enabled(_Mode):
    """Turn recording on or off, as a statement, a context manager or a decorator.

    Raises:
        TypeError: ``mode`` is no bool.
    """

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise TypeError(
                f"set_grad_enabled: argument 'mode' must be bool, not {type(mode).__name__}"
            )
        super().__init__(mode)
        super().__enter__()

    def __enter__(self) -> None:
        if len(self.saved) == 1 and not self.entered:
            self.entered = True  # the statement has done it
            return
        super().__enter__()

    entered = False

    def __call__(self, function: F) -> F:
        self.__exit__(None, None, None)
        return super().__call__(function)

    def again(self) -> _Mode:
        return set_grad_enabled(self.grad)

    def __repr__(self) -> str:
        return f"set_grad_enabled(mode={self.grad})"


def is_grad_enabled() -> bool:
    """Whether ops record a graph now, in this thread."""
    return state.asked


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
