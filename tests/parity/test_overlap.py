"""In-place writes whose source or index shares memory with the target: refused where PyTorch refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import tilegrad

# what is shown of one piece of memory, 24 elements
VIEWS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda a: a,
    "first": lambda a: a[:12],
    "last": lambda a: a[12:],
    "middle": lambda a: a[6:18],
    "next": lambda a: a[1:13],
    "one": lambda a: a[3],
    "some": lambda a: a[4:5],
    "none": lambda a: a[5:5],
    "every second": lambda a: a[::2],
    "the others": lambda a: a[1::2],
    "matrix": lambda a: a.view(4, 6)[:2],
    "rows": lambda a: a.view(4, 6)[1:3],
    "transposed": lambda a: a[:12].view(3, 4).t(),
    "square": lambda a: a[:9].view(3, 3),
    "its transpose": lambda a: a[:9].view(3, 3).t(),
    "diagonal": lambda a: a[:9].view(3, 3).diagonal(),
    "row": lambda a: a[:9].view(3, 3)[0],
    "expanded": lambda a: a[:3].expand(3, 3),
}

WRITES: dict[str, Callable[..., Any]] = {
    "copy_": lambda t, x, y: x.copy_(y),
    "add_": lambda t, x, y: x.add_(y),
    "add_ alpha": lambda t, x, y: x.add_(y, alpha=2),
    "mul_": lambda t, x, y: x.mul_(y),
    "addcmul_": lambda t, x, y: x.addcmul_(y, y),
    "clamp_": lambda t, x, y: x.clamp_(y),
    "div_ rounded": lambda t, x, y: x.div_(y, rounding_mode="floor"),
    "pow_": lambda t, x, y: x.pow_(y),
    "setitem": lambda t, x, y: x.__setitem__(slice(None), y),
    "index_add_": lambda t, x, y: x.index_add_(0, t.arange(y.shape[0]), y),
    "index_copy_": lambda t, x, y: x.index_copy_(0, t.arange(y.shape[0]), y),
    "index_put_": lambda t, x, y: x.index_put_((t.arange(y.shape[0]),), y),
}


def _outcome(t: Any, call: Callable[..., Any], one: str, other: str) -> Any:
    a = t.arange(1, 25).to(t.float64)
    x = VIEWS[one](a)
    y = x if one == other else VIEWS[other](a)
    try:
        call(t, x, y)
    except RuntimeError as error:
        text = str(error)
        return "refused" if "memory location" in text else "shape"
    except (IndexError, TypeError):
        return "shape"
    return a.tolist()


@pytest.mark.filterwarnings("ignore:Use of index_put_ on expanded")
@pytest.mark.parametrize("write", WRITES)
def test_views_of_one_piece_of_memory(write: str) -> None:
    call, differ = WRITES[write], []
    for one in VIEWS:
        if one == "expanded":  # nothing is written there, whatever the source
            continue
        for other in VIEWS:
            ours = _outcome(tilegrad, call, one, other)
            theirs = _outcome(torch, call, one, other)
            if "shape" in (ours, theirs):
                continue
            if (ours == "refused") != (theirs == "refused"):
                differ.append((one, other, ours, theirs))
            elif _apart(one, other) and ours != pytest.approx(theirs):
                differ.append((one, other, ours, theirs))
    assert not differ


def _apart(one: str, other: str) -> bool:
    """Whether the values are PyTorch's: not where it reads what it has written."""
    here, there = (set(VIEWS[n](torch.arange(24)).reshape(-1).tolist()) for n in (one, other))
    return not here & there


INDEXED: dict[str, Callable[[Any, Any], Any]] = {
    "index_add_": lambda t, i: i.index_add_(0, i, i.clone()),
    "index_copy_": lambda t, i: i.index_copy_(0, i, i.clone()),
    "index_fill_": lambda t, i: i.index_fill_(0, i, 1),
    "scatter_": lambda t, i: i.scatter_(0, i, i.clone()),
    "scatter_ of a number": lambda t, i: i.scatter_(0, i, 5),
    "scatter_add_": lambda t, i: i.scatter_add_(0, i, i.clone()),
    "scatter_reduce_": lambda t, i: i.scatter_reduce_(0, i, i.clone(), "sum"),
    "setitem": lambda t, i: i.__setitem__(i, i.clone()),
    "setitem of one value": lambda t, i: i.__setitem__(t.arange(3), i[0]),
    "setitem of a number": lambda t, i: i.__setitem__(i, 1),
    "scatter_, the source": lambda t, i: i.scatter_(0, t.arange(3), i),
    "scatter_add_, the source": lambda t, i: i.scatter_add_(0, t.arange(3), i),
    "scatter_reduce_, the source": lambda t, i: i.scatter_reduce_(0, t.arange(3), i, "sum"),
    "scatter_, part of a source": lambda t, i: i.scatter_(0, t.arange(2), i),
    "index_add_ alpha": lambda t, i: i.index_add_(0, t.arange(3), i, alpha=2),
    "index_fill_ by an element": lambda t, i: i.index_fill_(0, t.tensor([0, 1, 2]), i[0]),
    "fill_ by an element": lambda t, i: i.fill_(i[1]),
    "all by an element": lambda t, i: i.__setitem__(slice(None), i[1]),
    "masked_fill_ by an element": lambda t, i: i.masked_fill_(i >= 1, i[0]),
    "mask by an element": lambda t, i: i.__setitem__(i >= 0, i[0]),
    "masked_scatter_": lambda t, i: i.masked_scatter_(i >= 0, i),
    "itself": lambda t, i: i.add_(i),
    "a mask of itself": lambda t, i: (i > 0).masked_fill_(i > 0, False),
}


@pytest.mark.parametrize("name", INDEXED)
def test_indices_sources_and_values_in_the_target(name: str) -> None:
    found = []
    for t in (tilegrad, torch):
        index = t.tensor([2, 1, 0])
        found.append("written")
        try:
            INDEXED[name](t, index)
        except RuntimeError as error:
            found[-1] = str(error)
        found[-1] = (*index.tolist(), "memory location" in found[-1], found[-1] == "written")
    assert found[0] == found[1]


def test_a_mask_over_itself() -> None:
    for t in (tilegrad, torch):
        m = t.tensor([True, False, True])
        assert m.masked_fill_(m, False).tolist() == [False] * 3
        with pytest.raises(RuntimeError, match="memory location"):
            m[1:].masked_fill_(m[:-1], True)
