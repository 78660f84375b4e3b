"""How many threads a process starts with, by its affinity mask and control groups; what they promise."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tilegrad
from tests.conftest import ROOT
from tilegrad.kernels.cpu.run import threads


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


V1 = {"proc/self/cgroup": "5:memory:/a\n4:cpuacct,cpu:/a/b\n0::/\n"}
V1_GROUP = "sys/fs/cgroup/cpu/a/b/cpu.cfs_"


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, math.inf),
        ({"proc/self/cgroup": "0::/a/b:c\n", "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
          "sys/fs/cgroup/a/b:c/cpu.max": "max 100000\n"}, 2),  # the parent's holds
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "400000 100000\n",
          "sys/fs/cgroup/a/b/cpu.max": "50000 100000\n"}, 0.5),
        ({"proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
        ({**V1, V1_GROUP + "quota_us": "250000\n", V1_GROUP + "period_us": "100000\n"}, 2.5),
        ({**V1, V1_GROUP + "quota_us": "-1\n", V1_GROUP + "period_us": "100000\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense\n"}, math.inf),
    ],
)  # fmt: skip
def test_limits_of_control_groups(tmp_path: Path, files: dict[str, str], processors: float) -> None:
    assert threads._quota(tree(tmp_path, files)) == processors


@pytest.mark.parametrize(("limit", "count"), [(0.5, 1), (1.9, 1), (2, 2), (math.inf, 64)])
def test_the_limit_bounds_the_default(
    monkeypatch: pytest.MonkeyPatch, limit: float, count: int
) -> None:
    before = threads.get_num_threads()
    monkeypatch.delenv("TILEGRAD_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "processors", lambda: 64)
    monkeypatch.setattr(threads, "_quota", lambda: limit)
    try:
        assert threads._default_threads() == count
        monkeypatch.setenv("OMP_NUM_THREADS", "5")  # said by the user: it holds
        assert threads._default_threads() == 5
    finally:
        threads.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_the_affinity_mask_bounds_the_default() -> None:
    source = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import tilegrad as tg; print(tg.get_num_threads())"
    )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    environment["PYTHONPATH"] = str(ROOT / ".dev")
    said = subprocess.check_output([sys.executable, "-c", source], env=environment, text=True)
    assert said.strip() == "1"


def test_results_are_bit_equal_for_any_number_of_threads() -> None:
    x = np.random.default_rng(0).standard_normal((517, 1031)).astype(np.float32)

    def results() -> list[bytes]:
        a = tilegrad.from_numpy(x).requires_grad_()
        out = [(a.exp() + a.t().t() * 2).sum(), a.softmax(1), a.sum(0), a.var(1), a @ a.t()]
        (a @ a.t()).sum().backward()
        return [o.detach().numpy().tobytes() for o in out] + [a.grad.numpy().tobytes()]

    before, found = tilegrad.get_num_threads(), []
    for count in (1, 2, 3):
        tilegrad.set_num_threads(count)
        found.append(results())
    tilegrad.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True])
def test_set_num_threads_refuses(count) -> None:
    with pytest.raises(RuntimeError, match="set_num_threads"):
        tilegrad.set_num_threads(count)


def test_kernels_run_from_several_python_threads() -> None:
    x = np.random.default_rng(0).standard_normal(200_000)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                a = tilegrad.from_numpy(x)
                np.testing.assert_allclose((a * a).sum().item(), (x * x).sum())
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_our_threads_leave_the_openmp_runtime_as_it_was() -> None:
    code = """
import ctypes, sys
from tilegrad.kernels.cpu.run import threads
try:
    runtime = ctypes.CDLL("libgomp.so.1")
except OSError:
    sys.exit(print("no runtime"))
before = runtime.omp_get_max_active_levels()
threads.parallel_for_address()
print(before, runtime.omp_get_max_active_levels())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
    )  # fmt: skip
    before, *after = done.stdout.split()
    assert [before] == after or done.stdout.startswith("no runtime")
