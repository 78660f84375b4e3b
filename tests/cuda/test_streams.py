"""Streams and events: order, time, threads."""

from __future__ import annotations

import threading

import pytest

from tests.cuda.simulated import ramp
from tilegrad import cuda


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
