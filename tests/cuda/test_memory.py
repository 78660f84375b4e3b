"""The GPU's memory: counted, bounded, given to one stream at a time, pinned."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import tilegrad
from tests.cuda.simulated import only_simulated, ramp
from tilegrad import cuda
from tilegrad.engine import (
    calls,
    device_memory,
    dispatch,
)
from tilegrad.engine.array import layout
from tilegrad.engine.device import device as as_device
from tilegrad.kernels.cuda.run import driver


def test_memory_is_counted() -> None:
    cuda.empty_cache()
    before = cuda.memory_allocated()
    cuda.reset_peak_memory_stats()
    x = tilegrad.empty(100_000, device="cuda")
    held = cuda.memory_allocated() - before
    assert held >= 400_000
    assert cuda.memory_reserved() >= cuda.memory_allocated()
    del x
    assert cuda.memory_allocated() == before
    assert cuda.max_memory_allocated() == before + held
    assert cuda.max_memory_reserved() >= cuda.memory_reserved()
    stats = cuda.memory_stats()
    assert stats["allocated_bytes.all.current"] == before
    assert stats["allocated_bytes.all.peak"] == before + held
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == before
    free, total = cuda.mem_get_info()
    assert 0 < free <= total
    summary = cuda.memory_summary()
    assert cuda.get_device_name() in summary and "in live tensors" in summary


def test_too_much_memory_is_a_clear_error() -> None:
    held = ramp(3)
    with pytest.raises(cuda.OutOfMemoryError, match=r"out of memory.*bytes are in use.*are free"):
        tilegrad.empty(1 << 50, dtype=tilegrad.uint8, device="cuda")
    assert held.tolist() == [0, 1, 2]


@only_simulated
def test_memory_that_another_stream_uses_waits_for_it(monkeypatch: Any) -> None:
    there = driver.get()
    x, before = tilegrad.empty(1000, device="cuda"), there.used  # type: ignore[attr-defined]
    x.record_stream(cuda.current_stream())  # its own: no need to wait
    assert not isinstance(x.storage.pool, device_memory._Lent)
    view = x[1:]
    x.record_stream(cuda.Stream())
    view.record_stream(cuda.Stream())
    monkeypatch.setattr(there, "event_is_done", lambda event: False)
    del x, view
    tilegrad.empty(1, device="cuda")
    assert there.used == before  # type: ignore[attr-defined]
    monkeypatch.undo()
    tilegrad.empty(1, device="cuda")
    assert there.used == before - 4000  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="record_stream: needs a CUDA tensor"):
        tilegrad.ones(2).record_stream(cuda.current_stream())


@only_simulated
def test_machine_code_gives_memory_to_one_thread_on_the_default_stream(monkeypatch: Any) -> None:
    monkeypatch.setattr(driver.get(), "simulated", False)
    memory = device_memory.DeviceAllocator(0)
    kind = layout((250,), tilegrad.float32, as_device("cuda"))
    plan = dispatch.Plan((kind,), lambda *args: None)
    plan.pool = memory.pool_of(kind.nbytes)
    address = memory.allocate(kind.nbytes).address
    assert memory.counts.allocated == 0
    made = calls.fresh(plan)
    assert made.data_ptr() == address and memory.counts.allocated == plan.pool.size
    del made
    elsewhere: list[Any] = []
    thread = threading.Thread(target=lambda: elsewhere.append(calls.fresh(plan)))
    thread.start()
    thread.join()
    with cuda.stream(cuda.Stream()):
        elsewhere.append(calls.fresh(plan))
    elsewhere.append(calls.fresh(plan))  # back, but nobody has looked yet
    assert elsewhere == [None, None, None] and memory.counts.allocated == 0
    memory.allocate(kind.nbytes)  # looks
    assert calls.fresh(plan) is not None


def test_pinned_memory() -> None:
    x = ramp(2, 3, device="cpu")
    pinned = x.t().pin_memory()
    assert pinned.is_pinned() and pinned[0].is_pinned() and not x.is_pinned()
    assert pinned.tolist() == x.t().tolist() and pinned.pin_memory().data_ptr() == pinned.data_ptr()
    there = pinned.to("cuda", non_blocking=True)
    assert there.stride() == (1, 3) and not there.is_pinned()
    back = there.to("cpu", non_blocking=True)
    cuda.synchronize()
    assert back.is_pinned() and back.tolist() == x.t().tolist()
    with pytest.raises(RuntimeError, match="only dense CPU tensors"):
        there.pin_memory()


@only_simulated
def test_pinned_memory_is_not_used_again_before_the_copy_is_done(monkeypatch: Any) -> None:
    x = tilegrad.ones(50).pin_memory()
    address = x.data_ptr()
    x.to("cuda", non_blocking=True)
    monkeypatch.setattr(driver.get(), "event_is_done", lambda event: False)
    del x
    assert tilegrad.ones(50).pin_memory().data_ptr() != address
    monkeypatch.undo()
    held = [tilegrad.ones(50).pin_memory() for _ in range(3)]
    assert address in {t.data_ptr() for t in held}
