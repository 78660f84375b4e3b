"""Kernels that installed packages ship: ``tilegrad.ops.<name>``, by the entry point group ``tilegrad.kernels``.

A package names its ops in its metadata::

    [project.entry-points."tilegrad.kernels"]
    swish = "mypackage.ops:swish"
    mypackage = "mypackage.ops"

Nothing of it is loaded before the name is asked for: an op, or a module of them.
"""

from __future__ import annotations

import difflib
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP = "tilegrad.kernels"

_loaded: dict[str, Any] = {}


@lru_cache(maxsize=None)
def _shipped() -> dict[str, list[EntryPoint]]:
    """The entry points by name; several where packages take one name."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        alike = found.setdefault(point.name, [])
        if all((p.value, _package(p)) != (point.value, _package(point)) for p in alike):
            alike.append(point)  # a folder that is on the path twice is one package
    return found


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "?"


def refresh() -> None:
    """Look again: for packages that were installed while this process runs."""
    _shipped.cache_clear()
    _loaded.clear()


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module 'tilegrad.ops' has no attribute {name!r}")
    if name not in _loaded:
        _loaded[name] = _load(name)
    return _loaded[name]


def _load(name: str) -> Any:
    points = _shipped().get(name, [])
    if not points:
        near = difflib.get_close_matches(name, list(_shipped()), 3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise AttributeError(
            f"tilegrad.ops: no installed package ships {name!r} (entry point group {GROUP}){hint}"
        )
    if len(points) > 1:
        raise AttributeError(
            f"tilegrad.ops: {name!r} is shipped by {' and '.join(_package(p) for p in points)}; import it "
            f"from the one that is meant: {' or '.join(p.value for p in points)}"
        )
    (point,) = points
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"tilegrad.ops: {name!r} of {_package(point)} ({point.value}) cannot be loaded: {error}"
        ) from error
    if point.attr and not hasattr(found, "subject"):
        raise TypeError(
            f"tilegrad.ops: {name!r} of {_package(point)} ({point.value}) must be an op of "
            f"tilegrad.elementwise, fuse, reduction or op; got {type(found).__name__}"
        )
    return found


def __dir__() -> list[str]:
    return sorted(_shipped())
