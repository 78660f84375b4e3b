"""Streams and events: order, time, threads."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref

import pytest
from greenlet import getcurrent

import tilegrad
from tests.cuda.simulated import ramp
from tilegrad import cuda
from tilegrad.kernels.cuda.device.simulator import machine


def test_the_current_stream_follows_its_blocks() -> None:
    default = cuda.default_stream()
    assert cuda.current_stream() == default
    one, two = cuda.Stream(), cuda.Stream(priority=-1)
    assert one != two and hash(one) != hash(two) and one != 3
    with cuda.stream(one):
        assert cuda.current_stream() == one
        with two, one:
            assert cuda.current_stream() == one
        assert cuda.current_stream("cuda") == one
        with cuda.stream(None):
            assert cuda.current_stream() == one
    assert cuda.current_stream() == default
    assert "tilegrad.cuda.Stream device=cuda:" in repr(one)


def test_streams_wait_for_each_other() -> None:
    x, other = ramp(1000), cuda.Stream()
    other.wait_stream(cuda.current_stream())
    with other:
        y = x * 2
        done = other.record_event()
    done.wait()
    cuda.current_stream().wait_event(done)
    x.record_stream(other)
    assert (y + x).tolist() == (ramp(1000, device="cpu") * 3).tolist()
    other.synchronize()
    cuda.synchronize()
    assert other.query() and done.query()


def test_events_measure_time() -> None:
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True, blocking=True)
    with pytest.raises(RuntimeError, match="must be recorded"):
        start.elapsed_time(end)
    start.record()
    ramp(10).exp()
    end.record(cuda.current_stream())
    end.synchronize()
    assert start.elapsed_time(end) >= 0
    with pytest.raises(ValueError, match="enable_timing=True"):
        start.elapsed_time(cuda.Event())
    with pytest.raises(NotImplementedError, match="interprocess"):
        cuda.Event(interprocess=True)


def test_a_stream_that_nobody_holds_is_used_again() -> None:
    handle = cuda.Stream(priority=-2).cuda_stream
    again = cuda.Stream(priority=-2)
    assert again.cuda_stream == handle
    assert cuda.Stream(priority=-2).cuda_stream != handle


def test_ops_run_from_other_threads() -> None:
    x, found = ramp(4), []
    worker = threading.Thread(target=lambda: found.append((x + 1).tolist()))
    worker.start()
    worker.join()
    assert found == [[1, 2, 3, 4]]


def test_a_launch_keeps_nothing_of_its_thread() -> None:
    """What stays behind where ``gc.freeze`` hides it, greenlet drops once too often when the thread ends."""
    x, ended = ramp(4), []

    def work() -> None:
        x.relu()
        ended.append(weakref.ref(getcurrent()))

    gc.unfreeze()
    try:
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
        for _ in range(500):  # greenlet hears of the end, and cleans up, a little later
            getcurrent()
            if ended[0]() is None:
                break
            time.sleep(0.01)
        assert ended[0]() is None
    finally:
        gc.freeze()


def test_launches_of_two_threads_take_turns() -> None:
    def work() -> None:
        found.append(tilegrad.softmax(x, 0).sum().item())

    found: list[float] = []
    x = ramp(300)
    work()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(found) == 5 and len(set(found)) == 1


def test_a_finalizer_may_launch_within_a_launch() -> None:
    def body() -> None:
        me = machine.thread, machine.block
        if me == (5, (1, 0, 0)):  # as where the collector runs just then
            found.append((x + 1).tolist())
        machine.barrier()
        after.append((machine.thread, machine.block) == me)

    found: list[list[float]] = []
    after: list[bool] = []
    x = ramp(3)
    machine.launch("outer", body, 40, (2, 1, 1), ())
    assert found == [[1, 2, 3]] and after == [True] * 80
