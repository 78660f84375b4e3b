"""Checks of what a kernel found, made when the host waits."""

from __future__ import annotations

import pytest

from tests.cuda.simulated import ramp
from tilegrad import cuda
from tilegrad.engine import (
    cuda as engine,
)


def test_checks_wait_until_the_host_does() -> None:
    def fail() -> None:
        raise IndexError("found")

    ran: list[int] = []
    engine.check_later(lambda: ran.append(1))
    ramp(3) + 1
    assert not ran
    ramp(3).tolist()
    assert ran == [1]
    for wait in (cuda.synchronize, lambda: ramp(1).item(), cuda.current_stream().synchronize):
        engine.check_later(fail)
        engine.check_later(lambda: ran.append(2))
        with pytest.raises(IndexError, match="found"):
            wait()
        cuda.synchronize()
    assert ran == [1]  # what comes after a fault is not looked at


def test_checks_belong_to_their_stream() -> None:
    ran: list[str] = []
    other = cuda.Stream()
    with other:
        engine.check_later(lambda: ran.append("other"))
    engine.check_later(lambda: ran.append("own"))
    ramp(1).item()
    assert ran == ["own"]
    other.synchronize()
    assert ran == ["own", "other"]
