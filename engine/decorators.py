"""Decorating what runs in pieces: a context manager that holds while the function runs, and not
while it waits.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

Make = Callable[[], AbstractContextManager[Any]]


def decorated(make: Make, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, of any kind, whose every step runs within ``make()``."""
    if inspect.isasyncgenfunction(function):
        return _async_generator(make, function)
    if inspect.iscoroutinefunction(function):
        return _coroutine(make, function)
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Any:
            return (yield from _steps(make, function(*args, **kwargs)))

        return generator

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with make():
            return function(*args, **kwargs)

    return plain


def _steps(make: Make, inner: Any) -> Generator[Any, Any, Any]:
    """What ``inner`` (a generator, or what a coroutine waits with) yields, takes and returns."""
    step: Callable[[Any], Any] = inner.send
    given: Any = None
    while True:
        try:
            with make():
                value = step(given)
        except StopIteration as end:
            return end.value
        try:
            given = yield value
        except GeneratorExit:
            with make():
                inner.close()
            raise
        except BaseException as error:
            step, given = inner.throw, error
        else:
            step = inner.send


class _Waiting:
    """Awaits ``inner`` step by step."""

    def __init__(self, make: Make, inner: Any):
        self.make, self.inner = make, inner

    def __await__(self) -> Generator[Any, Any, Any]:
        return _steps(self.make, self.inner)


def _coroutine(make: Make, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        return await _Waiting(make, function(*args, **kwargs))

    return coroutine


def _async_generator(make: Make, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def generator(*args: Any, **kwargs: Any) -> Any:
        inner = function(*args, **kwargs)
        step = inner.asend(None)
        while True:
            try:
                value = await _Waiting(make, step)
            except StopAsyncIteration:
                return
            try:
                given = yield value
            except GeneratorExit:
                await _Waiting(make, inner.aclose())
                raise
            except BaseException as error:
                step = inner.athrow(error)
            else:
                step = inner.asend(given)

    return generator
