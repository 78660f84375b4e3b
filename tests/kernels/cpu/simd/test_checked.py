"""Debug builds of bodies for the CPU: what falls outside is not made, and is told."""

from __future__ import annotations

from typing import Any

import pytest

import tilegrad
from tilegrad.cuda import KernelFault, debug
from tilegrad.kernels.cpu.simd.memory import offset, read, write
from tilegrad.kernels.cpu.simd.vector import (
    broadcast,
    head,
    lanes,
    load,
    load_masked,
    prefetch,
    splat,
    store,
    store_masked,
)

W = lanes("float32")


def op_of(
    body: Any, signature: str = "moved(x: f[N], at: int = 0) -> y: like x", **how: Any
) -> Any:
    @tilegrad.op(signature)
    def moved(x, at):
        return x * 1

    moved.cpu(**{"tasks": 2, **how})(body)
    return moved


def reads(task, x, y, at, N):
    y[task] = x[at] + 1


def writes(task, x, y, at, N):
    y[at] = x[task] + 1


def by_offset(task, x, y, at, N):
    y[task] = offset(x, 2)[at - 2] + read(x, 0)
    write(y, at, x[0])


def in_scratch(task, x, y, at, N, scratch):
    scratch[at] = x[task]
    y[task] = scratch[at]


@pytest.mark.parametrize("body", [reads, writes, by_offset, in_scratch])
def test_the_first_access_outside_is_told(body):
    how = {"scratch": lambda N, itemsize: N * itemsize} if body is in_scratch else {}
    op, x = op_of(body, **how), tilegrad.rand(40)
    array = {reads: "x", by_offset: "x", writes: "y", in_scratch: "scratch"}[body]
    with debug():
        for at in (0, 39, 2):
            op(x, at)
        for at in (40, -1, 1 << 40):
            told = at - 2 if body is by_offset else at
            words = rf"^moved: the \.cpu body: task \d: access outside {array}: element {told} of a float32"
            with pytest.raises(KernelFault, match=words) as caught:
                op(x, at)
            bounds = "-2 … 37" if body is by_offset else "0 … 39"
            assert f"pointer that has {bounds}" in str(caught.value)
        op(x, 3)  # the report is gone


def test_nothing_outside_is_touched():
    base = tilegrad.zeros(64)
    x = base[16:32]
    op = op_of(writes, "moved(x: inout f[N], at: int = 0) -> y: like x")

    @op.cpu(tasks=1)
    def _(task, x, at):
        x[at] = 7

    with debug(), pytest.raises(KernelFault, match="outside x: element 20"):
        op(x, 20)
    assert base.sum().item() == 0
    op(x, 15)
    assert base[31].item() == 7


def in_vectors(task, x, y, at, N, f):
    store(y, at, load(x, 0))


def masked(task, x, y, at, N, f):
    some = head(f, 3)
    prefetch(x, at)
    store_masked(y, at, load_masked(x, 0, some, splat(f(0))), some)


def spread(task, x, y, at, N, f):
    store(y, 0, broadcast(x, at))


@pytest.mark.parametrize(("body", "last"), [(in_vectors, 40 - W), (masked, 37), (spread, 39)])
def test_vectors_are_checked(body, last):
    op, x = op_of(body, tasks=1), tilegrad.rand(40)
    with debug():
        op(x, last)
        array = "x" if body is spread else "y"
        with pytest.raises(KernelFault, match=f"outside {array}: element {last + 1} "):
            op(x, last + 1)


def test_the_simulated_gpu_always_checks():
    op, x = op_of(reads), tilegrad.rand(100).to("cuda")[:40]  # memory goes on behind it

    @op.cuda(grid=1, block=1)
    def _(x, y, at):
        y[0] = x[at]

    assert op(x, 39)[0].item() == x[39].item()
    words = r"^moved: the \.cuda body: block \(0, 0, 0\), thread 0: access outside x: element 40 of a float32"
    with pytest.raises(KernelFault, match=words):
        op(x, 40)
    with debug(), pytest.raises(KernelFault, match=words):
        op(x, 40)
