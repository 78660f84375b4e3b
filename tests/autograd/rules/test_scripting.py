"""Methods of old and odd programs, in step with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

BOTH = (tilegrad, torch)

CALLS: dict[str, Any] = {
    "apply_": lambda t: t.arange(4.0).apply_(lambda v: v * v + 1),
    "apply_ to a view": lambda t: t.arange(6).reshape(2, 3).t().apply_(lambda v: v + 10),
    "map_": lambda t: t.arange(4.0).map_(t.ones(1), lambda a, b: a - b),
    "map2_": lambda t: t.arange(4.0).map2_(t.ones(4), t.full((4,), 2.0), lambda a, b, c: a * b + c),
    "new": lambda t: t.arange(3).new([1, 2]),
    "new sizes": lambda t: t.ones(1, dtype=t.float64).new(2, 3).zero_(),
    "new of a size": lambda t: t.ones(1).new(t.ones(2, 3).size()).zero_(),
    "new nothing": lambda t: t.ones(2).new(),
    "set_": lambda t: t.zeros(2).set_(t.arange(6.0).reshape(2, 3).t()),
    "set_ a part": lambda t: t.zeros(2).set_(t.arange(6.0), 1, (2, 2), (1, 2)),
    "set_ rows": lambda t: t.zeros(2).set_(t.arange(6.0), 2, (2, 2)),
    "new by name": lambda t: t.ones(2).new(size=(2, 2)).zero_() + t.ones(2).new(other=t.arange(2.0)),
    "set_ nothing": lambda t: t.zeros(2).set_(),
    "to_dense": lambda t: t.ones(2).to_dense(),
    "resize": lambda t: t.arange(6.0).resize(2, 3),
    "resize_as": lambda t: t.arange(6.0).resize_as(t.ones(3, 2)),
    "swapdims": lambda t: t.swapdims(t.ones(2, 3), 0, 1),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_as_pytorch(name: str) -> None:
    ours, theirs = (CALLS[name](t) for t in BOTH)
    assert str(ours.dtype)[9:] == str(theirs.dtype)[6:] and ours.stride() == theirs.stride()
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


WRONG: dict[str, Any] = {
    "gradient": lambda t: t.ones(2, requires_grad=True).apply_(lambda v: v),
    "dtype": lambda t: t.ones(2).set_(t.ones(2, dtype=t.int64)),
    "count": lambda t: t.ones(6).resize(4),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name: str) -> None:
    kinds = []
    for t in BOTH:
        with pytest.raises((RuntimeError, TypeError)) as error:
            WRONG[name](t)
        kinds.append(error.type)
    assert kinds[0] is kinds[1]


def test_facts() -> None:
    for t in BOTH:
        x = t.ones(2, 3, 4).permute(2, 0, 1)
        assert (
            x.dim_order() == (1, 2, 0)
            and x.is_cpu
            and not (x.is_sparse or x.is_quantized or x.is_mps)
        )
        y = x.view(x.shape)
        assert y.is_set_to(x) and not x[0].is_set_to(x) and not x.is_shared()
        assert x[1:].untyped_storage().data_ptr() == x.data_ptr() == x.const_data_ptr()
        assert x.untyped_storage().nbytes() == 96 and x.output_nr == 0
        z = t.ones(2, requires_grad=True).unbind()[1]
        assert z.output_nr == 1
