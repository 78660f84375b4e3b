"""Where memory ends, in step with PyTorch: views of any extent, storages that grow, memory that is lent."""

from __future__ import annotations

import copy
import gc
import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.engine import memory

On = Callable[..., Any]


def values(found: Any) -> Any:
    """Tensors as lists."""
    if isinstance(found, tuple):
        return [values(x) for x in found]
    return found.tolist() if hasattr(found, "tolist") else found


def answer(call: Callable[..., Any], *args: Any) -> Any:
    """What a call gives, as lists, or the class of what it raises."""
    try:
        return values(call(*args))
    except Exception as error:
        return type(error)


def extents() -> list[tuple[tuple[int, ...], tuple[int, ...], int]]:
    """Sizes, strides and starts about the end of eleven elements."""
    draw = random.Random(3)
    found = [
        ((n,), (s,), k)
        for n, s, k in itertools.product((0, 1, 3, 4, 11, 12), (0, 1, 3, 4), (0, 1, 10, 11, 16))
    ]
    for _ in range(150):
        rank = draw.randrange(4)
        shape = tuple(draw.choices((0, 1, 2, 3), k=rank))
        found.append((shape, tuple(draw.choices((0, 1, 2, 3, 4), k=rank)), draw.randrange(-1, 12)))
    return [*found, ((2,), (-1,), 5), ((-1,), (1,), 0), ((2, 2), (1,), 0)]


@pytest.mark.parametrize(
    ("kind", "device"), [("int8", "cpu"), ("float32", "cuda"), ("complex128", "cpu")]
)
def test_no_view_reaches_beyond_what_was_asked_for(kind: str, device: str) -> None:
    """A block of the pool is longer than eleven elements of any of these dtypes."""
    ours = tilegrad.arange(11).to(getattr(tilegrad, kind)).to(device)
    theirs = torch.arange(11).to(getattr(torch, kind))
    refused = 0
    for shape, strides, start in extents():
        for mine, other in ((ours, theirs), (ours[3:5], theirs[3:5])):
            for name in ("as_strided", "as_strided_copy"):
                want = answer(getattr(torch, name), other, shape, strides, start)
                have = answer(getattr(tilegrad, name), mine, shape, strides, start)
                assert have == want, (name, shape, strides, start)
                refused += want is RuntimeError
    assert refused > 300


def test_what_a_refused_view_says() -> None:
    for t in (torch, tilegrad):
        with pytest.raises(
            RuntimeError,
            match=r"setStorage: sizes \[4\], strides \[2\], storage offset 1, and itemsize "
            "4 requiring a storage size of 32 are out of bounds for storage of size 20",
        ):
            t.arange(5.0).as_strided((4,), (2,), 1)


SIZES: dict[str, On] = {
    "new": lambda t, x: x,
    "view": lambda t, x: x[1:3],
    "result": lambda t, x: x + 1,
    "number": lambda t, x: x.sum(),
    "none": lambda t, x: x.new_empty(0),
    "bytes": lambda t, x: x.to(t.int8),
    "expanded": lambda t, x: x.expand(7, 5),
    "two results": lambda t, x: x.sort()[1],
    "joined": lambda t, x: t.cat([x, x]),
    "product": lambda t, x: x.reshape(5, 1) @ x.reshape(1, 5),
    "copy of a view": lambda t, x: x[2:].clone(),
    "deep copy of a view": lambda t, x: copy.deepcopy(x[1:3]),
    "other dtype": lambda t, x: x.double().view(t.int16),
    "part of complex": lambda t, x: t.complex(x, x).real,
    "smaller": lambda t, x: x.resize_(3),
    "larger": lambda t, x: x.resize_(9),
    "larger part": lambda t, x: x[2:].resize_(4),
    "nothing": lambda t, x: x.set_(),
    "gaps": lambda t, x: x.new_empty_strided((2, 2), (5, 1)),
    "channels last": lambda t, x: t.ones(2, 3, 4, 5).to(memory_format=t.channels_last)[:1],
    "resized as channels last": lambda t, x: x.resize_(2, 3, 1, 2, memory_format=t.channels_last),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_storages(name: str, device: str) -> None:
    found = []
    for t, where in ((torch, "cpu"), (tilegrad, device)):
        y = SIZES[name](t, t.arange(5.0, device=where))
        held = y.untyped_storage()
        found.append((held.nbytes(), held.size(), len(held), y.storage_offset(), y.stride()))
    assert found[0] == found[1]


def _grown(t: Any, x: Any) -> Any:
    part, apart = x[1:3], x.detach()
    x.resize_(2, 9)
    part[0] = 50
    return x[0, :4], part, apart


def _grown_where_frozen(t: Any, x: Any) -> Any:
    """``gc.freeze``, as before a fork, hides the tensors that share the memory."""
    part, apart = x[1:3], x.detach()
    gc.freeze()
    x.resize_(9)
    assert gc.get_freeze_count()
    part[0] = 50
    return x[:4], part, apart, x.untyped_storage().nbytes()


def _grown_by_a_part(t: Any, x: Any) -> Any:
    part = x[1:3]
    part.resize_(9)
    part[1] = 50
    return x, part[:3], x.untyped_storage().nbytes()


def _grown_by_set(t: Any, x: Any) -> Any:
    y = x.new_empty(0).set_(x[2:], 1, (9,), (2,))
    y[0] = 50
    return x, y[0], y.storage_offset(), x.untyped_storage().nbytes()


def _set_and_grown(t: Any, x: Any) -> Any:
    y = x.new_zeros(3)
    x.set_(y)
    x.resize_(9)
    y[0] = 7
    return x[:3], y


GROWN: dict[str, On] = {
    "whole": _grown,
    "frozen": _grown_where_frozen,
    "part": _grown_by_a_part,
    "set": _grown_by_set,
    "after set": _set_and_grown,
    "set, relative to a part": lambda t, x: x.new_empty(0).set_(x[2:], 0, (3,), (1,)),
    "set of what has gaps": lambda t, x: x.new_empty(0).set_(x[::2], 0, (3,), (1,)),
    "set before the start": lambda t, x: x.new_empty(0).set_(x, -1, (3,), (1,)),
    "set backwards": lambda t, x: x.new_empty(0).set_(x, 4, (2,), (-1,)),
    "shrunk and grown": lambda t, x: (x.resize_(2).resize_(5), x.untyped_storage().nbytes()),
    "out": lambda t, x: (t.cumsum(x.new_ones(9), 0, out=x.resize_(0)), x),
    "beyond all memory": lambda t, x: x.resize_(1 << 62),
    "data": lambda t, x: setattr(x, "data", x.new_ones(2)) or x.resize_(3)[:2],
}  # fmt: skip


@pytest.mark.parametrize("name", GROWN)
def test_storages_grow_for_all_that_share_them(name: str, device: str) -> None:
    want = answer(GROWN[name], torch, torch.arange(5.0))
    have = answer(GROWN[name], tilegrad, tilegrad.arange(5.0, device=device))
    assert have == want


def test_what_numpy_sees_does_not_grow() -> None:
    for t in (torch, tilegrad):
        x, y = t.arange(4.0), t.from_numpy(np.arange(4.0))
        held = x.numpy()
        for one in (x, y, x[1:]):
            with pytest.raises(RuntimeError, match="resize storage that is not resizable"):
                one.resize_(9)
        held[0] = 7
        assert x[:4].tolist() == [7, 1, 2, 3] and y.resize_(2).tolist() == [0, 1]
    assert x.shape == (4,)  # PyTorch's has the new shape by now


def test_growing_counts_as_a_write() -> None:
    for t in (torch, tilegrad):
        x = t.arange(4.0, requires_grad=True)
        y = x * 2
        z = y * y
        y.detach().resize_(9)
        y.detach().zero_()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()
    x = tilegrad.empty(3, device="meta")
    assert x.resize_(9).shape == (9,)


LENT: dict[str, On] = {
    "set": lambda t, x: x.new_empty(0).set_(x),
    "chunk": lambda t, x: t.unsafe_chunk(x, 1)[0],
    "numpy": lambda t, x: t.from_numpy(x.numpy()),
    "numpy, a part": lambda t, x: t.from_numpy(x.numpy()[1:]),
    "dlpack": lambda t, x: t.from_dlpack(x),
}  # fmt: skip

WRITES: dict[str, On] = {
    "add_": lambda t, y, x: y[1:].add_(x[:-1]),
    "copy_": lambda t, y, x: y[1:].copy_(x[:-1]),
    "setitem": lambda t, y, x: y.__setitem__(slice(1, None), x[:-1]),
    "out": lambda t, y, x: t.add(x.detach()[:-1], 1, out=y[1:]),
    "transposed": lambda t, y, x: y[:4].view(2, 2).copy_(x[:4].view(2, 2).t()),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("lent", LENT)
@pytest.mark.parametrize("recorded", [False, True])
def test_a_write_over_lent_memory_is_refused_or_right(name: str, lent: str, recorded: bool) -> None:
    """PyTorch refuses it where it knows of it; else its elements depend on the order of the writes."""
    right = torch.arange(8.0) / 8
    y = LENT[lent](torch, right)
    count = len(y)
    WRITES[name](torch, y, right.clone()[:count])
    for _ in range(2):
        x = tilegrad.arange(8.0) / 8
        y = LENT[lent](tilegrad, x)
        source = x[:count]
        if recorded:
            source.requires_grad_()
        before = x.tolist()
        found = answer(WRITES[name], tilegrad, y.detach(), source)
        assert x.tolist() == (before if found is RuntimeError else right.tolist())


def test_memory_in_common() -> None:
    x, y = tilegrad.arange(4.0), tilegrad.arange(4.0)
    over = tilegrad.from_numpy(x.numpy()[2:])
    empty = tilegrad.from_numpy(np.zeros((0,), np.float32))
    nowhere = [tilegrad.empty(3, device="meta") for _ in range(2)]
    held = [a.storage for a in (x, x[1:], over, y, empty, *nowhere)]
    assert memory.overlap(held[0], held[1]) and memory.overlap(held[0], held[2])
    assert not any(memory.overlap(held[2], other) for other in held[3:])
    assert not memory.overlap(held[0], held[3]) and not memory.overlap(held[5], held[6])
