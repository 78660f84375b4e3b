"""The machine code of calls and of recording: nothing leaks, errors arrive, detours are taken."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from typing import Any

import pytest

import tilegrad
from tilegrad.autograd import graph
from tilegrad.engine import calls, dispatch, memory, native
from tilegrad.engine.interpreter import slot_offset, why_plain
from tilegrad.engine.ops.elementwise import OPS

compiled = pytest.mark.skipif(why_plain() is not None, reason=f"calls are plain: {why_plain()}")


def _work(x: Any, y: Any) -> None:
    """Every built-in: ops with and without a node, constants, views, reductions, a backward pass."""
    x.grad = y.grad = None
    part = (x * y + x).relu()[1:3].view(2, 2).t()
    (part.exp().sum(0) * 2.0).mean().backward()
    x.detach().clone().softmax(0)
    x.detach().sort(0)  # two results, and scratch memory
    tilegrad.nn.functional.layer_norm(x, (2,))[y.detach().argmax(0)]


def test_references_and_memory_are_given_back() -> None:
    """In a process of its own: what other tests have compiled would be freed in between."""
    command = [sys.executable, "-c", "from tests.engine import test_native; test_native.balance()"]
    paths = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr


def balance() -> None:
    """References and memory after a thousand rounds are what they were: a leak shows in any thousand.

    In the first ones numba, in threads too, lets go of what it compiled with.
    """
    x, y = (tilegrad.rand(4, 2, requires_grad=True) for _ in range(2))
    watched = [None, True, False, (), 0, x.layout, OPS["add"], "add", type(x)]
    counts: list[list[int]] = []
    for _ in range(6):
        for _ in range(1000):
            _work(x, y)
        gc.collect()
        counts.append([sys.getrefcount(w) for w in watched] + [memory.HOST.counts.allocated])
        before, after = counts[-2:] if len(counts) > 1 else ([0], [1000])
        if after[-1] == before[-1] and _near(before, after):
            return
    raise AssertionError(counts)


def _near(before: list[int], after: list[int]) -> bool:
    return all(abs(a - b) < 100 for a, b in zip(after, before, strict=True))


def test_nodes_of_one_rule_keep_their_own_names() -> None:
    x = tilegrad.ones(2, 1, requires_grad=True)
    for _ in range(2):  # the second time by what the first has left
        made = (x.squeeze(), x.view(2), x.unsqueeze(0), x.amax(), x.amin())
        names = [y.grad_fn.op for y in made]
        assert names == ["squeeze", "view", "unsqueeze", "amax", "amin"]


def test_what_belongs_to_one_call_is_not_kept_for_others() -> None:
    x, y = tilegrad.rand(4, 3, requires_grad=True), tilegrad.zeros(4, dtype=tilegrad.int64)
    for _ in range(3):
        tilegrad.nn.functional.cross_entropy(x, y).backward()
    gc.collect()
    held = memory.HOST.counts.allocated
    for _ in range(50):
        tilegrad.nn.functional.cross_entropy(x, y).backward()
    gc.collect()
    assert memory.HOST.counts.allocated == held


def test_what_a_launch_raises_arrives() -> None:
    def refuse(*args: int) -> None:
        raise ValueError(f"launched with {len(args)} addresses")

    x = tilegrad.ones(3)
    tilegrad.ones(3)  # leaves a block in the pool
    op = dispatch.Op("refuse", lambda kind: dispatch.Plan((kind,), refuse))
    for _ in range(2):  # the second time by its plan
        with pytest.raises(ValueError, match="launched with 2 addresses"):
            op(x)
    if why_plain() is None:
        with pytest.raises(ValueError, match="launched with 2 addresses"):
            calls.run(op, x)


def test_several_results_scratch_memory_and_numbers() -> None:
    seen: list[tuple[float, ...]] = []
    kind = tilegrad.ones(3).layout
    op = dispatch.Op(
        "pair", lambda *kinds: dispatch.Plan((kind, kind), lambda *args: seen.append(args), 100)
    )
    x, y = tilegrad.ones(3), tilegrad.ones(3)
    held = memory.HOST.counts.allocated
    for _ in range(2):  # the second time by its plan
        one, two = op(x, y, params=(7, 0.5))
        assert seen[-1][:4] == (x.address, y.address, one.address, two.address)
        assert len(set(seen[-1][:5])) == 5 and seen[-1][5:] == (7, 0.5)
        del one, two
        assert memory.HOST.counts.allocated == held
    many = dispatch.Op("many", lambda *kinds: dispatch.Plan((kind,) * 30, lambda *args: None))
    for _ in range(2):
        assert len(many(x)) == 30
    assert calls.run(many, x) is None and memory.HOST.counts.allocated == held


def test_every_looks_at_each_word() -> None:
    x = tilegrad.full((70,), -1, dtype=tilegrad.int64)
    assert calls.all_equal(x, -1) and not calls.all_equal(x, 0)
    x[69] = 0
    assert not calls.all_equal(x, -1)
    assert calls.all_equal(x[:0], 5)


@compiled
def test_what_cannot_be_done_is_answered_with_none() -> None:
    x = tilegrad.ones(3, 5)
    add = OPS["add"]
    x + x
    assert calls.run(add, x, x).tolist() == (x + x).tolist()
    assert calls.run(add, x, 1.0) is None
    assert calls.run(add, *[x] * (native.MOST + 1)) is None
    assert calls.run(add, x, tilegrad.ones(11, 3, 5)) is None  # no such plan yet
    with dispatch.mode(lambda op, arrays, params, how: op(*arrays, params=params, **how)):
        assert calls.run(add, x, x) is None
    assert graph.record_by_template({}, x, x.requires_grad_()) is None


def test_blocks_return_to_lists_with_an_append_of_their_own() -> None:
    returned: list[int] = []

    class Watching(memory.FreeList):
        def append(self, address: int) -> None:
            returned.append(address)

    pool, counts = Watching(), memory.Counts()
    pool.belong_to(counts, memory.HOST.source, memory.OPEN, 64)
    counts.add(64)
    made = memory.new_storage(4096, 64, pool)
    made.version += 1
    assert (made.address, made.nbytes, made.version, made.base) == (4096, 64, 1, None)
    del made
    assert returned == [4096] and (counts.allocated, counts.peak) == (0, 64)


def test_only_slots_have_an_offset() -> None:
    with pytest.raises(TypeError, match="is no slot"):
        slot_offset(tilegrad.Tensor, "shape")
