"""Occupancy against known figures, and work on paper against what the simulated device accesses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tilegrad
from tilegrad.engine.ops.elementwise import OPS
from tilegrad.kernels.cuda.device.simulator import Pointer, machine
from tilegrad.kernels.cuda.run import driver, jit
from tilegrad.kernels.cuda.tools.occupancy import CHIPS, occupancy
from tilegrad.kernels.cuda.tools.roofline import Work, least_time, operations_of, work_of
from tilegrad.nn import functional as F


@pytest.mark.parametrize(
    "arch, registers, threads, shared, blocks, limit",
    [
        # by NVIDIA's occupancy calculator
        ((7, 5), 32, 256, 0, 4, "threads"),
        ((7, 5), 64, 1024, 0, 1, "threads"),
        ((7, 5), 16, 32, 0, 16, "blocks"),
        ((8, 0), 32, 256, 0, 8, "threads"),
        ((8, 0), 40, 256, 0, 6, "registers"),
        ((8, 0), 128, 256, 0, 2, "registers"),
        ((8, 0), 255, 256, 0, 1, "registers"),
        ((8, 0), 255, 512, 0, 0, "registers"),
        ((8, 0), 32, 32, 0, 32, "blocks"),
        ((8, 0), 32, 256, 48 << 10, 3, "shared memory"),
        ((9, 0), 32, 256, 48 << 10, 4, "shared memory"),
        ((9, 0), 168, 384, 192 << 10, 1, "registers"),
        ((10, 0), 33, 1024, 0, 1, "registers"),
    ],
)
def test_occupancy(
    arch: tuple[int, int], registers: int, threads: int, shared: int, blocks: int, limit: str
) -> None:
    held = occupancy(arch, registers, threads, shared)
    assert (held.blocks, held.limit) == (blocks, limit)
    assert held.threads == blocks * threads


def test_least_time_is_of_what_takes_longer() -> None:
    chip = CHIPS[(8, 0)]
    assert least_time(Work(2039 * 10**6, 0, 1, 0), chip) == (pytest.approx(1e-3), "memory")
    assert least_time(Work(4, 4, 195 * 10**8, 0), chip) == (pytest.approx(1e-3), "arithmetic")
    assert least_time(Work(4, 4, 97 * 10**8, 0, 8), chip) == (pytest.approx(1e-3), "arithmetic")


class Count:
    """Bytes of global memory that a launch accesses: all that it reads, and each once."""

    def __init__(self) -> None:
        self.asked = 0
        self.read: set[int] = set()
        self.written: set[int] = set()

    def see(self, pointer: Pointer, index: Any, count: int, writes: bool) -> None:
        if not pointer.where.startswith("the allocation"):
            return
        size = pointer.itemsize
        start = pointer.items.ctypes.data + (pointer.first + int(index)) * size
        (self.written if writes else self.read).update(range(start, start + count * size))
        self.asked += 0 if writes else count * size


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[Count]:
    """A count for each launch from now on."""
    made: list[Count] = []
    launch = machine.launch

    def counted(*args: Any) -> None:
        made.append(Count())
        launch(*args)

    def seen(name: str, width: Callable[..., int], writes: bool) -> None:
        function = getattr(Pointer, name)

        def access(self: Pointer, index: Any, *rest: Any) -> Any:
            made[-1].see(self, index, width(*rest), writes)
            return function(self, index, *rest)

        monkeypatch.setattr(Pointer, name, access)

    monkeypatch.setattr(machine, "launch", counted)
    seen("__getitem__", lambda: 1, False)
    seen("__setitem__", lambda value: 1, True)
    seen("load", lambda count: count, False)
    seen("store", len, True)
    return made


def _numbers(*shape: int, dtype: str = "float32") -> Any:
    values = np.random.default_rng(0).uniform(0.5, 1.5, shape).astype(dtype)
    return tilegrad.from_numpy(values).to("cuda")


def _softmax_slope(x: Any) -> Callable[[], Any]:
    y = F.softmax(x.requires_grad_(), 1)
    return lambda: y.backward(x.detach())


def _attention_slopes(*shapes: tuple[int, ...], **how: Any) -> Callable[[], Any]:
    q, k, v = (_numbers(*shape).requires_grad_() for shape in shapes)
    out = F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **how)
    grad = _numbers(*out.shape)
    return lambda: tilegrad.autograd.grad(out, (q, k, v), grad)


# name -> a function that makes operands and gives the call to look at
CALLS: dict[str, Callable[[], Callable[[], Any]]] = {
    "exp": lambda: _call(tilegrad.exp, _numbers(1000)),
    "exp-double": lambda: _call(tilegrad.exp, _numbers(37, dtype="float64")),
    "add": lambda: _call(tilegrad.add, _numbers(33, 31), _numbers(33, 31)),
    "add-row": lambda: _call(tilegrad.add, _numbers(16, 32), _numbers(32)),
    "add-column": lambda: _call(tilegrad.add, _numbers(16, 32), _numbers(16, 1)),
    "add-outer": lambda: _call(tilegrad.add, _numbers(16, 1), _numbers(1, 64)),
    "compare": lambda: _call(tilegrad.gt, _numbers(100), _numbers(100)),
    "sum-rows": lambda: _call(lambda x: x.sum(1), _numbers(7, 300)),
    "sum-columns": lambda: _call(lambda x: x.sum(0), _numbers(300, 40)),
    "sum-all": lambda: _call(lambda x: x.sum(), _numbers(5000)),
    "sum-middle": lambda: _call(lambda x: x.sum((0, 2)), _numbers(3, 5, 17)),
    "var": lambda: _call(lambda x: x.var(1), _numbers(5, 64)),
    "amax": lambda: _call(lambda x: x.amax(0), _numbers(65, 33)),
    "matmul": lambda: _call(tilegrad.matmul, _numbers(32, 48), _numbers(48, 64)),
    "matmul-batch": lambda: _call(tilegrad.matmul, _numbers(3, 32, 16), _numbers(16, 32)),
    "matmul-double": lambda: _call(
        tilegrad.matmul, _numbers(32, 32, dtype="float64"), _numbers(32, 32, dtype="float64")
    ),
    "linear": lambda: _call(F.linear, _numbers(32, 16), _numbers(32, 16), _numbers(32)),
    "mv": lambda: _call(tilegrad.mv, _numbers(20, 64), _numbers(64)),
    "mv-tall": lambda: _call(lambda x, v: x.t() @ v, _numbers(64, 40), _numbers(64)),
    "softmax": lambda: _call(lambda x: F.softmax(x, 1), _numbers(6, 100)),
    "softmax-dim0": lambda: _call(lambda x: F.softmax(x, 0), _numbers(20, 40)),
    "log_softmax": lambda: _call(lambda x: F.log_softmax(x, 1), _numbers(6, 100)),
    "softmax-slope": lambda: _softmax_slope(_numbers(6, 100)),
    "matmul-long": lambda: _call(tilegrad.matmul, _numbers(4, 2100), _numbers(2100, 8)),
    "conv2d": lambda: _call(
        lambda x, w, b: F.conv2d(x, w, b, padding=1),
        _numbers(2, 4, 6, 8), _numbers(8, 4, 3, 3), _numbers(8),
    ),
    "conv2d-pointwise": lambda: _call(F.conv2d, _numbers(2, 4, 6, 8), _numbers(8, 4, 1, 1)),
    "layer_norm": lambda: _call(
        lambda x, w, b: F.layer_norm(x, (64,), w, b), _numbers(6, 64), _numbers(64), _numbers(64)
    ),
    "attention": lambda: _call(
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m, enable_gqa=True),
        _numbers(1, 2, 9, 8), _numbers(1, 1, 34, 8), _numbers(1, 1, 34, 12), _numbers(2, 1, 34),
    ),
    "attention-causal": lambda: _call(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        _numbers(1, 1, 9, 5), _numbers(1, 1, 70, 5), _numbers(1, 1, 70, 3),
    ),
    "copy": lambda: _call(lambda x: x[:, :20].contiguous(), _numbers(16, 33)),
}  # fmt: skip


def _call(function: Callable[..., Any], *operands: Any) -> Callable[[], Any]:
    return lambda: function(*operands)


@pytest.mark.parametrize("name", CALLS)
def test_work_is_what_is_accessed(name: str, counts: list[Count]) -> None:
    """The bytes of every launch of a call are those that the simulated device sees."""
    if not driver.get().simulated:
        pytest.skip("a GPU does not count")
    call = CALLS[name]()
    counts.clear()
    with jit.recording() as launches:
        call()
    assert launches
    for launch, count in zip(launches, counts, strict=True):
        work = work_of(launch)
        assert work is not None, launch.factory.name(launch.variant)
        assert (work.read, work.written) == (len(count.read), len(count.written))
        assert work.asked in (None, count.asked)


@pytest.mark.parametrize("causal", [False, True])
def test_work_of_attention_backward(causal: bool, counts: list[Count]) -> None:
    """Both kernels, with and without keys that no query sees."""
    if not driver.get().simulated:
        pytest.skip("a GPU does not count")
    call = _attention_slopes((1, 2, 9, 5), (1, 1, 70, 5), (1, 1, 70, 6), is_causal=causal)
    counts.clear()
    with jit.recording() as launches:
        call()
    judged = [(work_of(x), c) for x, c in zip(launches, counts, strict=True)]
    judged = [pair for x, pair in zip(launches, judged) if "attention" in x.factory.__module__]
    assert len(judged) == 2
    for work, count in judged:
        assert work is not None
        assert (work.read, work.written) == (len(count.read), len(count.written))


def test_operations_of_formulas() -> None:
    pytest.importorskip("numba_cuda")
    single, whole = ("float32",), ("int64",)
    assert operations_of(OPS["add"].formula.function, single * 3) == 1
    assert operations_of(OPS["add"].formula.function, whole * 3) == 1
    assert 10 < operations_of(OPS["exp"].formula.function, single * 2) < 40
