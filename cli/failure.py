"""What the user can put right: one line on stderr and exit status 2."""

from __future__ import annotations

from tilegrad.bench.failure import Failure as Failure


def missing(name: str, package: str) -> Failure:
    """A package of the extra ``train`` is not installed."""
    return Failure(f"{name} needs {package}, which is not installed: pip install 'tilegrad[train]'")
