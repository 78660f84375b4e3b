"""However the main process ends, its workers end with it, whatever they are doing; seeds of samples."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import tilegrad
from tests.data import sets
from tilegrad import data
from tilegrad.data import twisters
from tilegrad.data.seeding import generators_kept, mix
from tilegrad.kernels.cpu.parts.seeding import WORDS

PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {root!r})
from tests.data import sets
from tilegrad import data

if __name__ == "__main__":
    loader = data.DataLoader(sets.Endless({busy}), batch_size=1, num_workers=2)
    iterator = iter(loader)
    next(iterator), next(iterator)
    print(*[p.process.pid for p in iterator._pool.peers], flush=True)
    next(iterator)
"""


def session(leader: int) -> list[int]:
    """Processes of the session that are not dead."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    state, _, _, number = file.read().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(number) == leader and state not in "ZX":
                found.append(int(name))
    return found


@pytest.mark.parametrize("busy", [False, True], ids=["asleep", "busy"])
@pytest.mark.parametrize("how", ["SIGINT", "SIGINT to all", "SIGTERM", "SIGKILL"])
def test_workers_end_with_the_main_process(tmp_path, how, busy):
    """No process of the program is left two seconds after its end."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(root=os.getcwd(), busy=busy))
    with subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            assert len(process.stdout.readline().split()) == 2
            time.sleep(0.3)  # both work on the third sample now
            number = getattr(signal, how.split()[0])
            if how.endswith("all"):  # as a terminal does
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            assert process.wait(30) == -number
            time.sleep(2)
            left = session(process.pid)
            assert left == []
        finally:
            for pid in session(process.pid):
                os.kill(pid, signal.SIGKILL)


def drawn():
    return (
        random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), np.random.randint(99),
        tilegrad.rand(2).tolist(), tilegrad.initial_seed(),
    )  # fmt: skip


def test_a_sample_sees_the_same_numbers_whatever_came_before():
    seeder, seen = twisters.Seeder(11), {}
    with generators_kept():
        for place in (3, 4, 3, 5, 4, 3):
            seeder(place)
            first, found = place in seen, drawn()
            assert seen.setdefault(place, found) == found
            assert first or len(set(map(str, seen.values()))) == len(seen)
            assert found[-1] == mix(11, place)
            if place == 5:
                np.random.randn()  # the second of a pair is kept
                random.gauss(0, 1)
    other = twisters.Seeder(12)
    with generators_kept():
        other(3)
        assert drawn() != seen[3]


def test_seeds_are_far_apart_and_spread():
    """Samples side by side draw numbers that have nothing to do with each other."""
    seeder, rows = twisters.Seeder(0), []
    with generators_kept():
        for place in range(400):
            seeder(place)
            rows.append([random.random() for _ in range(8)] + np.random.rand(8).tolist())
    table = np.array(rows)
    assert (
        np.abs(np.corrcoef(np.concatenate([table[1:], table[:-1]], 1).T) - np.eye(32)).max() < 0.22
    )
    assert np.abs(table.mean(0) - 0.5).max() < 0.06
    assert len(np.unique(table)) == table.size


def test_where_the_states_lie_is_found_and_without_it_the_same_is_drawn(monkeypatch):
    bits = np.random.get_bit_generator()
    assert twisters.python_address()
    assert all(twisters.numpy_addresses(bits))
    with generators_kept():
        twisters.Seeder(5)(1)
        wanted = drawn()
    monkeypatch.setattr(twisters, "python_address", lambda: 0)
    random.seed(1), np.random.seed(1), np.random.randn(), random.gauss(0, 1)
    before = random.getstate(), np.random.get_state()
    with generators_kept():
        twisters.Seeder(5)(1)
        assert drawn() == wanted
    after = random.getstate(), np.random.get_state()
    assert before[0] == after[0]
    assert all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))


@pytest.mark.parametrize("draws", [0, 1, 7])
def test_the_main_processs_generators_are_kept_to_the_bit(draws):
    for _ in range(draws):  # an odd number: each keeps a Gaussian
        np.random.randn()
        random.gauss(0, 1)
        tilegrad.rand(1)
    states = []
    for _ in range(2):
        python, numpy = random.getstate(), np.random.get_state()
        states.append((python, [str(x) for x in numpy[2:]], numpy[1].tolist(), len(numpy[1]),
                       tilegrad.get_rng_state().tolist()))  # fmt: skip
        with generators_kept():
            twisters.Seeder(3)(4)
            drawn()
    assert states[0] == states[1]
    assert states[0][3] == WORDS


def test_only_a_mersenne_twister_can_be_seeded():
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        with pytest.raises(TypeError, match="PCG64"):
            list(data.DataLoader(sets.Endless(), sampler=[0, 1]))
        assert isinstance(np.random.get_bit_generator(), np.random.PCG64)
    finally:
        np.random.set_bit_generator(before)
