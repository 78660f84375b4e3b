"""``_foreach_NAME``: a function of tensors over each of a list.

What is a list beside the tensors gives each its own; a number, or a tensor, goes to all. Twins that end in
``_`` write over the tensors and give them back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.engine.dtype import can_cast

NAMES = frozenset((
    "abs", "acos", "add", "addcdiv", "addcmul", "asin", "atan", "ceil", "clamp_max", "clamp_min", "cos",
    "cosh", "div", "erf", "erfc", "exp", "expm1", "floor", "frac", "lerp", "lgamma", "log", "log10", "log1p",
    "log2", "maximum", "minimum", "mul", "neg", "pow", "reciprocal", "round", "rsqrt", "sigmoid", "sign",
    "sin", "sinh", "sqrt", "sub", "tan", "tanh", "trunc",
))  # fmt: skip
ALONE = frozenset(("clone", "max", "mm", "norm"))  # no twin
TWINS = frozenset(("copy_", "zero_"))  # nothing else
_AS = {"maximum": "clamp_min", "minimum": "clamp_max"}  # beside numbers

PREFIX = "_foreach_"


def known(name: str) -> bool:
    """Whether PyTorch has the function ``_foreach_NAME``."""
    base = name.removeprefix(PREFIX)
    return base in NAMES | ALONE | TWINS or (base[-1:] == "_" and base[:-1] in NAMES)


def made(name: str) -> Callable[..., Any]:
    """The function ``_foreach_NAME``."""
    base = name.removeprefix(PREFIX)
    over = base.endswith("_")

    def each(self: Sequence[Any], *args: object, **kwargs: object) -> object:
        tensors = self
        if base == "pow" and not isinstance(tensors, list | tuple):  # a number to powers
            tensors, args = args[0], (tensors, *args[1:])  # type: ignore[assignment]
            found = [args[0] ** x for x in _checked(name, tensors, ())]
            return tuple(found)
        found = [
            _method(base, x, given)(*given, **words)
            for x, given, words in _calls(name, tensors, args, kwargs)
        ]
        return tensors if over else tuple(found)

    each.__name__ = each.__qualname__ = name
    each.__module__ = "tilegrad"
    each.__doc__ = f"``x.{base}(…)`` of each tensor ``x`` of a list."
    return each


def _method(base: str, x: Any, given: Sequence[Any]) -> Any:
    """The method of a tensor, with what it is called."""
    stem = base.rstrip("_")
    if stem in _AS and not (given and isinstance(given[0], TensorBase)):
        base = base.replace(stem, _AS[stem])
    elif stem in ("maximum", "minimum") and base != stem:
        return lambda other: _over(base, x, getattr(x, stem)(other))
    return getattr(x, base)


def _over(base: str, x: Tensor, value: Tensor) -> Tensor:
    """``value`` in the place of ``x``, whose dtype holds it."""
    if not can_cast(value.layout.dtype, x.layout.dtype):
        raise RuntimeError(
            f"{base}: result type {value.layout.dtype.name} can't be cast to the desired output type "
            f"{x.layout.dtype.name}"
        )
    return x.copy_(value)


def _checked(name: str, tensors: Any, lists: Sequence[Any]) -> Sequence[Any]:
    if not isinstance(tensors, list | tuple) or not all(isinstance(x, TensorBase) for x in tensors):
        raise TypeError(
            f"{name}(): argument 'self' (position 1) must be tuple of Tensors, not "
            f"{type(tensors).__name__}"
        )
    if not tensors:
        raise RuntimeError(f"{name}: Tensor list must have at least one tensor.")
    for one in lists:
        if len(one) != len(tensors):
            tensors_too = bool(one) and isinstance(one[0], TensorBase)
            raise RuntimeError(
                f"{name}: Tensor lists must have the same number of tensors, got {len(tensors)} and "
                f"{len(one)}"
                if tensors_too
                else f"{name}: Tensor list must have same number of elements as scalar list."
            )
    return tensors


def _calls(name: str, tensors: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """(tensor, arguments, keywords) of each call; a last number by position is ``value=`` or ``alpha=``."""
    words = dict(kwargs)
    stem = name.removeprefix(PREFIX).rstrip("_")
    if (
        stem in ("add", "div", "mul")
        and args
        and isinstance(args[0], TensorBase)
        and args[0].layout.ndim
    ):
        kind = args[0].layout
        raise RuntimeError(
            f"{name}: scalar tensor expected to be 0 dim but it has {kind.ndim} dimensions and "
            f"{kind.numel} elements."
        )
    for key in ("other", "exponent", "scalar", "scalars", "tensor1", "tensors1", "tensor2", "tensors2", "weight",
                "weights", "src"):  # fmt: skip
        if key in words:
            args = (*args, words.pop(key))
    if stem in ("addcmul", "addcdiv") and len(args) == 3:
        words["value"] = args[2]
        args = args[:2]
    lists = [a for a in (*args, *words.values()) if isinstance(a, list | tuple)]
    tensors = _checked(name, tensors, lists)
    for place, x in enumerate(tensors):

        def own(value: object, place: int = place) -> object:
            return value[place] if isinstance(value, list | tuple) else value

        given = {k: own(v) for k, v in words.items()}
        value = words.get("value")
        if isinstance(value, TensorBase):  # a vector of numbers, one each
            given["value"] = value[place].item()
        yield x, [own(a) for a in args], given
