"""Subclasses of Tensor made by users: methods and operators give tensors of the subclass."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType

from tilegrad.autograd.later import Later

# what gives no tensor, or one that was there before
_KEPT = frozenset(
    [
        "__new__",
        "__init__",
        "__init_subclass__",
        "__hash__",
        "__repr__",
        "__format__",
        "__len__",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
        "__array__",
        "__deepcopy__",
        "__copy__",
        "__reduce_ex__",
        "item",
        "tolist",
        "numpy",
        "backward",
        "size",
        "stride",
        "dim",
        "numel",
        "requires_grad_",
        "register_hook",
        "data_ptr",
        "as_subclass",
    ]
)


def keep_class(cls: type[object], plain: type[object]) -> None:
    """Let the methods that ``cls`` inherits from ``plain`` give tensors of ``cls``."""
    for base in reversed(plain.__mro__[:-1]):
        for name, method in vars(base).items():
            if name in _KEPT or name in vars(cls):
                continue
            if isinstance(method, Later):
                setattr(cls, name, _giving_later(name, cls, plain))
            elif isinstance(method, FunctionType) and getattr(cls, name) is getattr(plain, name):
                setattr(cls, name, _giving(method, cls, plain))


def _giving_later(name: str, cls: type[object], plain: type[object]) -> Callable[..., object]:
    def call(self: object, *args: object, **kwargs: object) -> object:
        setattr(cls, name, _giving(getattr(plain, name), cls, plain))
        return getattr(self, name)(*args, **kwargs)

    return call


def _giving(
    method: Callable[..., object], cls: type[object], plain: type[object]
) -> Callable[..., object]:
    @functools.wraps(method)
    def call(self: object, *args: object, **kwargs: object) -> object:
        return _as(method(self, *args, **kwargs), type(self), plain, args)

    return call


def _as(made: object, cls: type[object], plain: type[object], given: tuple[object, ...]) -> object:
    """The fresh tensors of a result as ``cls``."""
    if made.__class__ is plain:
        if not any(made is value for value in given):
            made.__class__ = cls
        return made
    if isinstance(made, tuple | list):
        for one in made:
            _as(one, cls, plain, given)
    return made
