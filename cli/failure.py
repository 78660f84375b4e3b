"""What the user can put right: one line on stderr and exit status 2."""

from __future__ import annotations


class Failure(Exception):  # noqa: N818 - not a fault of the program
    """A wrong argument, file or environment; the message is one line."""


def missing(name: str, package: str) -> Failure:
    """A package of the extra ``train`` is not installed."""
    return Failure(f"{name} needs {package}, which is not installed: pip install 'tilegrad[train]'")
