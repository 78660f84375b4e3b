"""PyTorch's values, functions and results as tilegrad's, and the comparison of both."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

import tilegrad

# torch's name of a dtype, device, layout or memory format is tilegrad's name of the same
NAMED = (torch.dtype, torch.layout, torch.memory_format)

TOLERANCES = {torch.float64: (1e-7, 1e-7), torch.float32: (2e-4, 2e-5)}
TOLERANCES |= {kind.to_complex(): most for kind, most in TOLERANCES.items()}  # of their sizes


class NotThere(Exception):
    """What tilegrad has no name or dtype for; the message is the name."""


class Differs(AssertionError):
    """A result that is not PyTorch's."""


def attribute(path: str) -> Any:
    """What ``path`` ("nn.functional.relu") names in tilegrad.

    Raises:
        NotThere: nothing.
    """
    found: Any = tilegrad
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise NotThere(path) from None
    return found


def dtype(kind: torch.dtype) -> Any:
    """tilegrad's dtype."""
    return attribute(str(kind).removeprefix("torch."))


def tensor(value: torch.Tensor) -> Any:
    """A tilegrad tensor of its own with the same values, strides and ``requires_grad``."""
    if value.layout is not torch.strided:
        raise NotThere(str(value.layout).removeprefix("torch."))
    kind = dtype(value.dtype)
    plain = value.detach()
    made = tilegrad.empty_strided(tuple(plain.shape), _dense(plain), dtype=kind)
    if plain._is_zerotensor():
        plain = torch.zeros_like(plain)
    if plain.numel():
        made.copy_(tilegrad.from_numpy(np.array(plain.resolve_conj().resolve_neg().numpy())))
    if value.requires_grad:
        made.requires_grad_()
    return made


def _dense(value: torch.Tensor) -> tuple[int, ...]:
    """The strides of a copy: those of ``value`` where it has neither gaps nor overlaps."""
    return torch.empty_like(value, memory_format=torch.preserve_format).stride()


def value(given: Any) -> Any:
    """``given``, with everything of PyTorch's in it as tilegrad's."""
    if isinstance(given, torch.nn.Parameter):
        return tilegrad.nn.Parameter(tensor(given.detach()), given.requires_grad)
    if isinstance(given, torch.Tensor):
        return tensor(given)
    if isinstance(given, NAMED):
        return attribute(str(given).removeprefix("torch."))
    if isinstance(given, torch.device):
        return str(given)
    if isinstance(given, torch.Size):
        return tilegrad.Size(given)
    if isinstance(given, tuple):
        items = [value(v) for v in given]
        return type(given)(*items) if hasattr(given, "_fields") else tuple(items)
    if isinstance(given, list):
        return [value(v) for v in given]
    if isinstance(given, Mapping):
        return {k: value(v) for k, v in given.items()}
    if isinstance(given, slice):
        return slice(value(given.start), value(given.stop), value(given.step))
    if isinstance(given, torch.nn.Module) and type(given).__name__ in MODULES:
        return _module(given)
    if isinstance(given, torch.nn.Module | torch.Generator):
        raise NotThere(f"conversion of {type(given).__name__}")
    if callable(given):
        return function(given)
    return given


# modules that samples have as arguments, by what they are constructed of again
MODULES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "PairwiseDistance": lambda m: {"p": m.norm, "eps": m.eps, "keepdim": m.keepdim},
    "TransformerEncoderLayer": lambda m: {
        "d_model": m.linear1.in_features, "nhead": m.self_attn.num_heads,
        "dim_feedforward": m.linear1.out_features, "dropout": m.dropout.p,
        "activation": value(m.activation), "layer_norm_eps": m.norm1.eps,
        "batch_first": m.self_attn.batch_first, "norm_first": m.norm_first,
        "bias": m.linear1.bias is not None,
    },
}  # fmt: skip


def _module(given: Any) -> Any:
    name = type(given).__name__
    made = attribute(f"nn.{name}")(**MODULES[name](given)).train(given.training)
    made.load_state_dict(value(dict(given.state_dict())))
    return made


def function(given: Callable[..., Any]) -> Callable[..., Any]:
    """``given`` over tilegrad: what PyTorch defines by its name, what tests define with their ``torch``
    replaced.

    Raises:
        NotThere: tilegrad has no such name.
    """
    if isinstance(given, functools.partial):
        return functools.partial(function(given.func), *value(given.args), **value(given.keywords))
    home = getattr(given, "__module__", None) or ""
    if isinstance(given, types.FunctionType) and home.startswith("torch.testing"):
        return _rebound(given)
    if not isinstance(given, types.FunctionType | type | types.BuiltinFunctionType) or not home:
        raise NotThere(getattr(given, "__name__", type(given).__name__))
    if not home.startswith("torch"):
        return given
    path = home.removeprefix("torch").lstrip(".").replace("_C._nn", "nn.functional")
    return attribute(f"{path}.{given.__qualname__}".lstrip("."))  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=None)
def _rebound(given: types.FunctionType) -> types.FunctionType:
    scope = dict(given.__globals__)
    for name in _names(given.__code__):
        if name in scope:
            scope[name] = _seen(scope[name])
    made = types.FunctionType(
        given.__code__, scope, given.__name__, given.__defaults__, _cells(given)
    )
    made.__kwdefaults__ = given.__kwdefaults__
    return made


def _cells(given: types.FunctionType) -> tuple[types.CellType, ...] | None:
    if given.__closure__ is None:
        return None
    return tuple([types.CellType(_seen(cell.cell_contents)) for cell in given.__closure__])


def _names(code: types.CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


def _seeded(op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The database's ``wrapper_set_seed``."""
    tilegrad.manual_seed(42)
    return op(*args, **kwargs)


def _seen(found: Any) -> Any:
    """A name of the function's scope as it is over tilegrad."""
    if getattr(found, "__name__", "") == "wrapper_set_seed":
        return _seeded
    if isinstance(found, types.ModuleType):
        if found.__name__ == "torch":
            return tilegrad
        if found.__name__.startswith("torch."):
            return attribute(found.__name__.removeprefix("torch."))
        return found
    if isinstance(found, types.FunctionType):
        if found.__module__.startswith("torch."):
            return function(found)
        return found
    if isinstance(found, types.BuiltinFunctionType):
        owner = getattr(found, "__self__", None)
        if owner is not None and "torch" in str(getattr(owner, "__name__", owner)):
            return attribute(found.__name__)
    if isinstance(found, torch.Tensor | torch.dtype):
        return value(found)
    return found


def leaves(given: Any) -> list[Any]:
    """The values in nested sequences and mappings, in order."""
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        given = [getattr(given, f.name) for f in dataclasses.fields(given)]
    if isinstance(given, Mapping):
        given = list(given.values())
    if isinstance(given, tuple | list) and not isinstance(given, torch.Size | tilegrad.Size):
        return [leaf for item in given for leaf in leaves(item)]
    return [given]


def tensors(given: Any) -> list[torch.Tensor]:
    """PyTorch's tensors in nested sequences."""
    return [leaf for leaf in leaves(given) if isinstance(leaf, torch.Tensor)]


def same(got: Any, want: Any, what: str, numbers: bool = True) -> None:
    """Compare structure, shapes, dtypes and, if ``numbers``, values.

    Raises:
        Differs: something is not PyTorch's.
    """
    ours, theirs = leaves(got), leaves(want)
    if len(ours) != len(theirs):
        raise Differs(f"{what}: {len(ours)} values instead of {len(theirs)}")
    for mine, right in zip(ours, theirs, strict=True):
        _same_leaf(mine, right, what, numbers)


def _same_leaf(mine: Any, right: Any, what: str, numbers: bool) -> None:
    if not isinstance(right, torch.Tensor):
        _same_plain(mine, right, what, numbers)
        return
    if not isinstance(mine, tilegrad.Tensor):
        raise Differs(f"{what}: {type(mine).__name__} instead of a tensor")
    if tuple(mine.shape) != tuple(right.shape):
        raise Differs(f"{what}: shape {tuple(mine.shape)} instead of {tuple(right.shape)}")
    if str(mine.dtype).split(".")[-1] != str(right.dtype).split(".")[-1]:
        raise Differs(f"{what}: {mine.dtype} instead of {right.dtype}")
    if numbers and right.numel():
        if right._is_zerotensor():
            right = torch.zeros_like(right)
        have = mine.detach().numpy()
        want = right.detach().resolve_conj().resolve_neg().numpy()
        relative, absolute = TOLERANCES.get(right.dtype, (0.0, 0.0))
        if not np.allclose(have, want, relative, absolute, equal_nan=True):
            off = ~np.isclose(have, want, relative, absolute, equal_nan=True)
            first = tuple(int(i) for i in np.argwhere(off)[0]) if off.ndim else ()
            raise Differs(
                f"{what}: {int(off.sum())} of {off.size} values differ, at {first} "
                f"{have[first]} instead of {want[first]}"
            )


def _same_plain(mine: Any, right: Any, what: str, numbers: bool) -> None:
    if isinstance(right, (*NAMED, torch.device)):
        ours, theirs = str(mine).split(".")[-1], str(right).split(".")[-1]
        if ours != theirs:
            raise Differs(f"{what}: {mine} instead of {right}")
    elif isinstance(right, torch.Size):
        if tuple(mine) != tuple(right):
            raise Differs(f"{what}: {mine} instead of {right}")
    elif isinstance(right, float | int) and numbers:
        if mine.__class__ is not right.__class__:
            raise Differs(f"{what}: {type(mine).__name__} instead of {type(right).__name__}")
        if not (mine == right or math.isclose(mine, right, rel_tol=1e-5) or mine != mine != right):
            raise Differs(f"{what}: {mine} instead of {right}")
