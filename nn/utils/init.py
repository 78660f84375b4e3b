"""Modules made without filling their parameters."""

from __future__ import annotations

import inspect
from typing import Any

from tilegrad.autograd.rules.random import get_rng_state, random_state
from tilegrad.nn.modules.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """A module whose parameters may have any values, and for which no random numbers are drawn.

    Raises:
        RuntimeError: no module, or one that does not take ``device``.
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    with random_state(get_rng_state()):
        return module_cls(*args, **kwargs)
