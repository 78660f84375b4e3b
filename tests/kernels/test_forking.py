"""Forked children: memory, random numbers, locks and threads are their own."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import tilegrad
from tilegrad.engine import memory
from tilegrad.kernels import forking

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]


def in_child(function: Callable[[], Any], seconds: float = 60) -> Any:
    """What ``function`` returns in a forked child."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, pickle.dumps(function()))
        finally:
            os._exit(0)
    os.close(write)
    deadline = time.monotonic() + seconds
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pytest.fail("the child hangs")
        time.sleep(0.005)
    with os.fdopen(read, "rb") as pipe:
        return pickle.loads(pipe.read())


@pytest.mark.parametrize("count", [10, 1000, 1 << 20])  # a slab, and a segment of its own
def test_a_childs_writes_stay_its_own(count: int) -> None:
    x = tilegrad.zeros(count)
    seen = x.numpy()

    def child() -> float:
        x.add_(1)
        return x.sum().item()

    assert in_child(child) == count
    assert in_child(child) == count  # nor does a sibling see them
    assert not seen.any()
    x.fill_(3)
    assert in_child(lambda: x.sum().item()) == 3 * count


def test_free_blocks_are_each_sides_own() -> None:
    del_me = [tilegrad.full((5000,), float(i)) for i in range(8)]
    kept = tilegrad.ones(5000)
    del del_me  # blocks on the free list, at the same addresses in parent and child

    def child() -> bool:
        mine = [tilegrad.full((5000,), -1.0) for _ in range(16)]
        tilegrad.cuda.empty_cache() if tilegrad.cuda.is_available() else None
        return all(bool((m == -1).all()) for m in mine) and bool((kept == 1).all())

    mine = [tilegrad.full((5000,), 7.0) for _ in range(4)]
    assert in_child(child)
    more = [tilegrad.full((5000,), 8.0) for _ in range(8)]
    assert all(bool((m == 7).all()) for m in mine)
    assert all(bool((m == 8).all()) for m in more)


def test_children_train_apart() -> None:
    model = tilegrad.nn.Linear(4, 2)
    optimizer = tilegrad.optim.SGD(model.parameters(), lr=0.1)
    before = [p.detach().clone() for p in model.parameters()]

    def train(steps: int) -> list[float]:
        for _ in range(steps):
            optimizer.zero_grad()
            model(tilegrad.ones(3, 4)).sum().backward()
            optimizer.step()
        return model.weight.detach().numpy().ravel().tolist()

    one, two = in_child(lambda: train(1)), in_child(lambda: train(2))
    assert all(bool((a == b).all()) for a, b in zip(before, model.parameters(), strict=True))
    assert train(1) == one
    assert train(1) == two


def test_multiprocessings_fork() -> None:
    context = multiprocessing.get_context("fork")
    x = tilegrad.zeros(1000)

    def work(number: int, queue: Any) -> None:
        x.add_(number)
        queue.put(x.sum().item())

    queues = [context.SimpleQueue() for _ in range(3)]
    children = [context.Process(target=work, args=(n + 1, queue)) for n, queue in enumerate(queues)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert [q.get() for q in queues] == [1000, 2000, 3000]
    assert x.sum().item() == 0


def test_children_of_children() -> None:
    x = tilegrad.zeros(100_000)

    def grandchild() -> float:
        x.add_(10)
        return x.sum().item()

    def child() -> tuple[float, float]:
        x.add_(1)
        return in_child(grandchild), x.sum().item()

    assert in_child(child) == (1_100_000, 100_000)
    assert x.sum().item() == 0


def test_a_child_draws_what_its_parent_draws_next() -> None:
    tilegrad.manual_seed(5)
    tilegrad.rand(3)
    theirs = in_child(lambda: tilegrad.rand(1000).numpy().tolist())
    assert tilegrad.rand(1000).numpy().tolist() == theirs  # as in PyTorch: a copy of the state
    assert in_child(lambda: tilegrad.manual_seed(1).initial_seed()) == 1
    assert tilegrad.initial_seed() == 5


def test_while_another_thread_computes() -> None:
    stop, failures = threading.Event(), []
    shared = tilegrad.zeros(1 << 16)

    def compute() -> None:
        a = tilegrad.rand(120, 120)
        while not stop.is_set():
            b = (a @ a).softmax(1) + 1
            shared.add_(1)
            if not 120 * 121 * 0.99 < b.sum().item() < 120 * 121 * 1.01:
                failures.append(b)

    def child() -> float:
        shared.fill_(-5)
        x = tilegrad.rand(200, 200, requires_grad=True)
        (x @ x).softmax(1).sum().backward()
        return shared.sum().item()

    threads = [threading.Thread(target=compute) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        for _ in range(20):
            assert in_child(child) == -5 * (1 << 16)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not failures
    assert shared.min().item() >= 0


def test_locks_are_free_in_a_child_whoever_held_them() -> None:
    holding, let_go = threading.Event(), threading.Event()

    def hold(lock: Any) -> None:
        with lock:
            holding.set()
            let_go.wait(60)

    def acquire(lock: Any) -> int:
        assert lock.acquire(timeout=1)
        return int(tilegrad.rand(7777).shape[0])

    from tilegrad.engine import autotune, random
    from tilegrad.kernels.formulas import declared

    locks = (forking.compiler.lock, memory.HOST._lock, random._lock, declared.lock)
    for lock in (autotune._measuring, *locks):
        holding.clear()
        let_go.clear()
        holder = threading.Thread(target=hold, args=(lock,))
        holder.start()
        holding.wait(60)
        threading.Timer(0.05, let_go.set).start()  # the fork waits for it
        assert in_child(partial(acquire, lock)) == 7777
        holder.join()
        assert lock.acquire(timeout=1)  # and the parent has it back
        lock.release()


def test_every_lock_is_one_that_forks_take() -> None:
    """A lock of another making would stay locked in a child."""
    root = os.path.dirname(os.path.abspath(tilegrad.__file__))
    for folder in ("kernels", "engine", "autograd", "nn", "optim"):
        for path, _, names in os.walk(os.path.join(root, folder)):
            for name in names:
                if name.endswith(".py") and name != "forking.py":
                    with open(os.path.join(path, name), encoding="utf-8") as file:
                        text = file.read()
                    assert "Lock()" not in text and "Condition(" not in text, name


def test_shared_segments_stay_shared() -> None:
    from tilegrad.data.shared import Segment

    segment = Segment.create(4096)
    try:
        seen = np.frombuffer(segment.memory, np.uint8)
        segment.memory[0] = 1

        def child() -> int:
            segment.memory[1] = 2
            return segment.memory[0]

        assert in_child(child) == 1
        assert seen[1] == 2
        del seen
    finally:
        segment.close()


def test_a_child_forgets_other_threads_inference() -> None:
    """A thread in inference mode is not in the child: what is made there counts versions."""
    inside, leave = threading.Event(), threading.Event()

    def infer() -> None:
        with tilegrad.inference_mode():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=infer)
    thread.start()
    inside.wait()
    try:

        def child() -> int:
            from tilegrad.engine import inference

            return int(inference.here.value == 0 and not tilegrad.ones(2).is_inference())

        assert in_child(child) == 1
    finally:
        leave.set()
        thread.join()


def test_a_forked_child_computes() -> None:
    x = tilegrad.ones(1_000_000)
    assert (x + 1).sum().item() == 2_000_000  # the OpenMP team runs
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put((x + 1).sum().item()))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert queue.get() == 2_000_000
