"""Ctrl-C while kernels are compiled: seen once, locks free, and the next call compiles and is right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tilegrad.kernels import forking
from tilegrad.kernels.interrupt import Uninterrupted

PROGRAM = """
import math, os, signal, threading, time
import tilegrad as tg
from tilegrad.kernels import forking

def later(seconds):
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGINT)

def free():  # asked by another thread
    got.append(forking.compiler.lock.acquire(timeout=1))
    got[-1] and forking.compiler.lock.release()

got, seen = [], []
x = tg.full((5,), 0.5)
for k, name in enumerate(("sin", "erf", "lgamma", "tan", "asinh", "expm1", "acos", "log1p")):
    sender = threading.Thread(target=later, args=(0.02 + 0.045 * k,))
    caught = 0
    try:
        sender.start()
        getattr(x, name)()
        sender.join()
        time.sleep(0.2)
    except KeyboardInterrupt:
        caught += 1
    asks = threading.Thread(target=free)
    asks.start()
    asks.join()
    right = abs(getattr(x, name)().sum().item() / 5 - getattr(math, name)(0.5)) < 1e-5
    seen.append((caught, right))
print(seen.count((1, True)), got.count(True), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_ctrl_c_while_kernels_are_compiled(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {
        **os.environ,
        "TILEGRAD_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT / ".dev"),
    }
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, timeout=300,
        env=environment, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert done.stdout.split() == ["8", "8", "True"], done.stdout + done.stderr[-3000:]


@pytest.fixture
def noted():
    """Signals that reached the handler that was there before."""
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGINT, before)


def test_a_signal_waits_for_the_outermost_exit(noted: list[int]) -> None:
    lock = Uninterrupted(threading.RLock())
    with lock:
        with lock:
            signal.raise_signal(signal.SIGINT)
        assert noted == []
    assert noted == [signal.SIGINT]
    with lock:
        pass
    assert len(noted) == 1


def test_a_signal_is_served_at_a_check(noted: list[int]) -> None:
    lock = Uninterrupted(threading.RLock())
    with lock:
        signal.raise_signal(signal.SIGINT)
        lock.check()
        assert noted == [signal.SIGINT]
        lock.check()
    assert len(noted) == 1


def test_an_interrupt_where_errors_are_lost() -> None:
    """In a finalizer Python prints KeyboardInterrupt and goes on."""

    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    lock, ended = Uninterrupted(threading.RLock()), []

    def held() -> None:
        with lock:
            Finalized()
            ended.append(True)

    try:
        with pytest.raises(KeyboardInterrupt):
            held()
        assert ended
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    other = threading.Thread(target=lambda: lock.lock.acquire())
    other.start()
    other.join(5)
    assert not other.is_alive()


def test_handlers_that_are_not_pythons_stay() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with forking.compiler:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
