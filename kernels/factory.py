"""What the kernel factories of both devices have in common: names and keys of variants."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tilegrad.kernels.function import DeviceFunction, place, source_digest

Made = TypeVar("Made")


class Factory(Generic[Made]):
    """A family of kernels, one per variant: what ``factory(*variant)`` makes is compiled once.

    Attributes:
        factory: of a variant, what is to be compiled.
        built: the compiled kernels of this process.
    """

    def __init__(self, factory: Callable[..., Made]):
        self.factory = factory
        self.built: dict[tuple[Any, ...], Callable[..., None]] = {}
        self.__name__ = factory.__name__
        self.__doc__ = factory.__doc__
        self.__module__ = factory.__module__

    def name(self, variant: tuple[Any, ...]) -> str:
        """For files, messages and the log: module, factory, variant."""
        words = [v.__name__ if isinstance(v, DeviceFunction) else str(v) for v in variant]
        return "_".join([place(self.__module__), self.__name__, *words])

    def symbol(self, variant: tuple[Any, ...]) -> str:
        """:meth:`name` in letters, digits and underscores."""
        return "".join(c if c.isalnum() else "_" for c in self.name(variant))

    def file(self, variant: tuple[Any, ...], ending: str, *circumstances: str) -> str:
        """Its file in the cache: a name, and a hash of its sources, its variant and the circumstances
        (target, versions) it is compiled in.
        """
        parts = [source_digest(self.__module__), self.__name__, *circumstances]
        parts += [v.key if isinstance(v, DeviceFunction) else repr(v) for v in variant]
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
        return f"{self.symbol(variant)[:80]}-{key}.{ending}"
