"""How many threads a process starts with: the affinity mask and the limits of its control groups."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
