"""Kernels in other languages than Python, for ops of the user's own: CUDA C++ and PTX."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Foreign:
    """The source of a kernel.

    Attributes:
        language: ``c++`` or ``ptx``.
        text: the source; entry: the kernel's name in it, of a template with its arguments.
        args: what its parameters are, by name.
        options: of the compiler.
    """

    language: str
    text: str
    entry: str
    args: tuple[str, ...]
    options: tuple[str, ...] = ()

    @property
    def asks(self) -> tuple[str, ...]:
        """What it is given, in order."""
        return self.args

    @property
    def key(self) -> str:
        """Names the source and how it is compiled."""
        parts = (self.language, self.text, self.entry, *self.options)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
