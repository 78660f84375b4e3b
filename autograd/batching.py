"""``vmap``: a function of single samples, called for each sample of a batch."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache

from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.rules.creation import zeros
from tilegrad.autograd.rules.movement import stack
from tilegrad.autograd.rules.rearrange import movedim
from tilegrad.autograd.rules.view import select
from tilegrad.autograd.trees import Nested, Tree, spread, taken_apart, together
from tilegrad.engine.random import default_generator

RANDOMNESS = ("error", "different", "same")


@lru_cache(maxsize=1)
def _say() -> None:
    """That the function is called many times; once."""
    warnings.warn(
        "vmap: there are no batching rules here: the function is called once for each sample, and "
        "the results are stacked",
        stacklevel=3,
    )


def vmap(
    func: Callable[..., Nested],
    in_dims: Nested = 0,
    out_dims: Nested = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Nested]:
    """``func`` of samples as a function of batches: called for each, one after the other, which is said
    once, and its results stacked. Gradients flow through it as through any function.

    Args:
        func: of tensors and nested tuples, lists and dictionaries of them, giving such.
        in_dims: the batch's dimension of every argument, nested as they are; None: the same for all samples.
            Arguments by name are the same for all.
        out_dims: where the results have theirs; None of a result that no sample changes.
        randomness: what random functions do: raise RuntimeError ("error"), draw for each sample
            ("different"), or the same for all ("same").
        chunk_size: of no effect: samples come one by one.

    Raises:
        ValueError: no argument is mapped, sizes differ, or a dimension is out of range.
    """
    if randomness not in RANDOMNESS:
        raise RuntimeError(
            f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def mapped(*args: Nested, **kwargs: Nested) -> Nested:
        _say()
        given, tree = taken_apart((args, kwargs))
        dims = _in_dims(func, in_dims, args, kwargs, tree, given)
        size = _size(func, given, dims)
        return _each(func, given, tree, dims, size, out_dims, randomness)

    return mapped


def _name(func: Nested) -> str:
    return getattr(func, "__name__", type(func).__name__)


def _in_dims(
    func: Nested, in_dims: Nested, args: Nested, kwargs: Nested, tree: Tree, given: list[Nested]
) -> list[int | None]:
    """The batch's dimension of each leaf of the arguments."""
    what = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): in_dims"
    if not isinstance(in_dims, int | tuple | list):
        raise ValueError(
            f"{what}: expected `in_dims` to be int or a (potentially nested) tuple matching the "
            f"structure of inputs, got: {type(in_dims)}."
        )
    if not args and not kwargs:
        raise ValueError(
            f"vmap({_name(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are "
            f"trying to vmap over a function with no inputs. The latter is unsupported."
        )
    form = tuple(in_dims) if isinstance(in_dims, list) else in_dims
    found = [*spread(form, tree.below[0], what), *[None] * tree.below[1].leaves]
    for place, (dim, value) in enumerate(zip(found, given, strict=True)):
        if dim is None:
            continue
        if not isinstance(dim, int):
            raise ValueError(
                f"{what}: Got in_dim={dim} for an input but in_dim must be either an integer dimension or None."
            )
        if not isinstance(value, TensorBase):
            raise ValueError(
                f"{what}: Got in_dim={dim} for an input but the input is of type {type(value)}. We cannot "
                f"vmap over non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -value.ndim <= dim < value.ndim:
            raise ValueError(
                f"{what}: Got in_dim={dim} for some input, but that input is a Tensor of dimensionality "
                f"{value.ndim} so expected in_dim to satisfy -{value.ndim} <= in_dim < {value.ndim}."
            )
        found[place] = dim % value.ndim
    return found


def _size(func: Nested, given: list[Nested], dims: list[int | None]) -> int:
    """Samples in the batch."""
    sizes = [x.shape[d] for x, d in zip(given, dims, strict=True) if d is not None]
    if not sizes:
        raise ValueError(
            f"vmap({_name(func)}, in_dims, ...)(<inputs>): at least one input must be mapped: every "
            f"in_dim is None"
        )
    if len(set(sizes)) > 1:
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return int(sizes[0])


def _each(
    func: Callable[..., Nested],
    given: list[Nested],
    tree: Tree,
    dims: list[int | None],
    size: int,
    out_dims: Nested,
    randomness: str,
) -> Nested:
    """The results of all samples, stacked."""
    start = default_generator.position
    rows: list[list[Nested]] = []
    form: Tree | None = None
    for index in range(max(size, 1)):
        if randomness == "same":
            default_generator.position = start
        sample = [
            x if d is None else select(x, d, index) if size else _none_of(x, d)
            for x, d in zip(given, dims, strict=True)
        ]
        args, kwargs = together(sample, tree)
        leaves, form = taken_apart(func(*args, **kwargs))
        if randomness == "error" and default_generator.position != start:
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode. Please either use the "
                "'same' or 'different' randomness flags on vmap or perform the randomness operation out "
                "of vmap"
            )
        for leaf in leaves:
            if not isinstance(leaf, TensorBase):
                raise ValueError(
                    f"vmap({_name(func)}, ...): `{_name(func)}` must only return Tensors, got type "
                    f"{type(leaf)} as a return."
                )
        rows.append(leaves)
    assert form is not None
    places = spread(out_dims, form, f"vmap({_name(func)}, ..., out_dims={out_dims}): out_dims")
    joined = [
        _joined(each, place, size)
        for each, place in zip(zip(*rows, strict=True), places, strict=True)
    ]
    return together(joined, form)


def _none_of(x: Nested, dim: int) -> Nested:
    """A sample of the form that those of an empty batch would have."""
    shape = [n for place, n in enumerate(x.shape) if place != dim]
    return zeros(shape, dtype=x.dtype, device=x.device)


def _joined(results: Sequence[Nested], place: int | None, size: int) -> Nested:
    if place is None:
        return results[0]
    whole = stack(list(results))[:size]
    return movedim(whole, 0, place) if place else whole
