"""Neural networks: modules, layers, losses and their functions, PyTorch's names and arguments."""

if __name__ != "tilegrad.nn":
    raise ImportError("import this package as tilegrad.nn, not as a top-level 'nn'")

from importlib import import_module as _import_module

from tilegrad.nn import functional, init, modules, parallel, utils
from tilegrad.nn.modules import *
from tilegrad.nn.modules import __all__ as _modules
from tilegrad.nn.parallel import DataParallel
from tilegrad.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)

__all__ = [
    *_modules,
    "Buffer",
    "DataParallel",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "factory_kwargs",
    "functional",
    "init",
    "modules",
    "parallel",
    "utils",
]


def factory_kwargs(kwargs: dict[str, object] | None) -> dict[str, object]:
    """What of ``kwargs`` functions that make tensors take: device, dtype, memory_format; those in its
    ``factory_kwargs`` too.

    Raises:
        TypeError: others are there, or one is there twice.
    """
    given = dict(kwargs or {})
    made: dict[str, object] = dict(given.pop("factory_kwargs", None) or {})  # type: ignore[call-overload]
    unknown = given.keys() - {"device", "dtype", "memory_format"}
    if unknown:
        raise TypeError(f"unexpected kwargs {unknown}")
    for name, value in given.items():
        if name in made:
            raise TypeError(f"{name} specified twice, in **kwargs and in factory_kwargs")
        made[name] = value
    return made


def __getattr__(name: str) -> object:
    if name == "attention":  # gathered of names that stand elsewhere
        return _import_module("tilegrad.nn.attention")
    raise AttributeError(f"module 'tilegrad.nn' has no attribute {name!r}")
