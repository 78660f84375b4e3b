"""The GPU check without a GPU: its stages survive what they find, keep what they had, and fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bench import made
from tests.conftest import ROOT
from tilegrad.bench import headline
from tilegrad.bench.arguments import Parser
from tilegrad.bench.gpu import __main__ as gpu_check, report, sanitizer, speed
from tilegrad.bench.gpu.pool import Pool

ENVIRONMENT = os.environ | {
    "NUMBA_ENABLE_CUDASIM": "1",
    "PYTHONPATH": os.pathsep.join([str(ROOT / ".dev"), str(ROOT)]),
}

# checks of which some end their process, one loses the GPU, one hangs
CHECKS = """
import os, sys, time
from tilegrad.bench.gpu.pool import serve

lost = False

def fine(): return 1
def wrong(): raise AssertionError("1 is not 2")
def dies(): os._exit(11)
def hangs(): time.sleep(60)
def loses():
    global lost
    lost = True
    raise RuntimeError("an illegal memory access was encountered")
def after():
    assert not lost, "run in a process that has no GPU any more"
def loud(): print("not JSON")
def alive():
    if lost: raise RuntimeError("CUDA error 700")

rows = [fine, wrong, after, dies, after, loses, after, loud, hangs, after]
checks = [(f"{k} {f.__name__}", f) for k, f in enumerate(rows)]
serve(checks, alive)
"""


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package ``fake`` for stages, and a folder for what comes out."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake/__init__.py").touch()
    paths = os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])
    monkeypatch.setenv("PYTHONPATH", paths)
    monkeypatch.setattr(gpu_check, "OUT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("workers", [1, 3])
def test_a_check_that_kills_its_process_costs_itself_alone(stages: Path, workers: int) -> None:
    (stages / "fake/checks.py").write_text(CHECKS)
    kept: list[int] = []
    deadline = time.perf_counter() + 60
    pool = Pool("fake.checks", workers, 8.0, deadline, lambda p: kept.append(p.result()["ran"]))
    result = pool.run().result()
    assert result["whole"] and result["ran"] == result["of"] == 10
    assert sorted(result["failed"]) == [
        "1 wrong: AssertionError: 1 is not 2",
        "3 dies: its process died: 11",
        "5 loses: RuntimeError: an illegal memory access was encountered",
        "8 hangs: not done after 8.0 s",
    ]
    assert kept == list(range(1, 11))


def test_what_was_found_is_kept_at_the_deadline(stages: Path) -> None:
    text = CHECKS.replace("rows = [", "rows = [fine, hangs] * 3 + [")
    (stages / "fake/checks.py").write_text(text)
    start = time.perf_counter()
    result = Pool("fake.checks", 1, 59.0, start + 12).run().result()
    assert time.perf_counter() - start < 40
    assert (result["ran"], result["whole"], result["failed"]) == (1, False, [])


def test_workers_that_do_not_start(stages: Path) -> None:
    (stages / "fake/checks.py").write_text("raise SystemExit('no GPU here')")
    result = Pool("fake.checks", 2, 1.0, time.perf_counter() + 30).run().result()
    assert not result["whole"] and "did not start, exit status 1" in result["failed"][0]


def test_a_stage_that_hangs_keeps_what_it_wrote(stages: Path) -> None:
    (stages / "fake/slow.py").write_text(
        "import pathlib, subprocess, sys, time\n"
        'pathlib.Path(sys.argv[1]).write_text(\'{"ran": 5, "failed": []}\')\n'
        "child = subprocess.Popen(['sleep', '77'])\n"
        "print('child', child.pid, flush=True)\n"
        "time.sleep(77)\n"
    )
    seen: list[Any] = []
    result = gpu_check.run("slow", 1, seen.append, "fake")
    assert result["ran"] == 5 and result["error"]["what"] == "not done after 1 s"
    assert {"ran": 5, "failed": []} in seen and not gpu_check.well(result)
    child = int((stages / "slow.log").read_text().split()[1])
    for _ in range(50):
        if (
            not Path(f"/proc/{child}").exists()
            or "(sleep) Z" in Path(f"/proc/{child}/stat").read_text()
        ):
            return
        time.sleep(0.1)
    raise AssertionError("a stage's process was left behind")


def test_a_stage_that_fails_says_why(stages: Path) -> None:
    (stages / "fake/bad.py").write_text("raise RuntimeError('no such GPU')")
    result = gpu_check.run("bad", 10, lambda r: None, "fake")
    assert result["error"]["what"] == "exit status 1"
    assert "no such GPU" in result["error"]["log"][-1]


def test_the_plan_fits() -> None:
    for quick, total in enumerate(gpu_check.TOTAL):
        assert sum(limits[quick] for limits in gpu_check.STAGES.values()) <= total
    assert gpu_check.TOTAL == (8 * 60, 3 * 60)


def test_every_stage_is_a_module() -> None:
    for stage in gpu_check.STAGES:
        assert (ROOT / "bench/gpu" / f"{stage}.py").is_file()
    assert "tilegrad.bench.gpu" in (ROOT / "bench/gpu_check.sh").read_text()


# ------------------------------------------------------------------------------------- sanitizer

COMPLAINT = """\
========= Program hit CUDA_ERROR_NOT_FOUND (error 500) due to "named symbol not found" on CUDA API call to cuGetProcAddress_v2.
=========     Saved host backtrace up to driver entry point at error
=========     Host Frame:  [0x5e0b3f] in libcuda.so.1
=========
"""
READ = """\
========= Invalid __global__ read of size 4 bytes
=========     at select_long_rows+0x3230
=========     by thread (0,0,0) in block (7,0,0)
=========     Access at 0x7f1417dffffc is out of bounds
=========
"""


def _output(*reports: str, count: int) -> str:
    return "".join(
        ["========= COMPUTE-SANITIZER\n", *reports, f"========= ERROR SUMMARY: {count} errors\n"]
    )


def test_the_bindings_complaints_are_counted_and_left_out() -> None:
    found = sanitizer.read(_output(COMPLAINT, COMPLAINT, count=2), 0)
    assert (found.ours, found.foreign, found.lines) == (0, {"cuGetProcAddress": 2}, [])


def test_our_faults_are_found_among_them() -> None:
    found = sanitizer.read(_output(COMPLAINT, READ, COMPLAINT, READ, count=4), 0)
    assert (found.ours, found.foreign) == (2, {"cuGetProcAddress": 2})
    assert found.lines[0] == "========= Invalid __global__ read of size 4 bytes"
    assert not any("cuGetProcAddress" in line or "libcuda" in line for line in found.lines)


@pytest.mark.parametrize(
    "text, status, ours",
    [
        ("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n", 0, 0),
        ("========= RACECHECK SUMMARY: 3 hazards displayed (3 errors, 0 warnings)\n", 0, 3),
        (_output(count=0), 1, 1),
        (_output(COMPLAINT, count=1), 1, 1),
        ("Segmentation fault\n", 139, 1),
    ],
)
def test_other_ends_of_a_tool(text: str, status: int, ours: int) -> None:
    assert sanitizer.read(text, status).ours == ours


# ------------------------------------------------------------------- on the simulated device


def simulated(code: str) -> str:
    """The output of a program on the simulated device."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False,
        cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_sanitizers_pass_has_no_fault_of_its_own() -> None:
    simulated("from tilegrad.bench.gpu.sanitizer import small_pass; small_pass()")


def test_checks_see_what_is_wrong() -> None:
    """Bits of a single number, and the small column of the large calls; what a short run has."""
    code = (
        "import os\n"
        "from dataclasses import replace\n"
        "import tilegrad as t\n"
        "from tilegrad.bench.gpu import correctness, large\n"
        "correctness.bits(correctness.promised()['integer sum'])\n"
        "wrong = lambda d: t.zeros((), device=d) + (1 if d == 'cpu' else 2)\n"
        "rows = {f.name: f for f in large.FAMILIES}\n"
        "few = rows['sum dim 0'].small\n"
        "for name in ('row column', 'mask', 'matmul, float64'):\n"
        "    assert max(large.compare(rows[name], rows[name].small)) < 1e-4\n"
        "off = lambda t, x: x * (1 if t.__name__ == 'torch' else 1.001)\n"
        "slope = lambda t, x: x * x.detach() if t.__name__ == 'torch' else x * x\n"
        "for call in (\n"
        "    lambda: correctness.bits(wrong),\n"
        "    lambda: large.compare(replace(rows['mul exp'], call=off), few),\n"
        "    lambda: large.compare(replace(rows['mul exp'], call=slope), few),\n"
        "):\n"
        "    try: call()\n"
        "    except AssertionError: print('seen')\n"
        "print(len(correctness.checks()), len(large.checks()))\n"
        "os.environ['GPU_CHECK_QUICK'] = '1'\n"
        "print(len(correctness.checks()), len(large.checks()))\n"
    )
    *seen, most, large, some, few = simulated(code).split()
    assert seen == ["seen"] * 3
    assert int(most) > 3900 and int(large) > 110
    assert 200 < int(some) < 1000 and 12 < int(few) < 40


def test_building_is_shared_out(tmp_path: Path) -> None:
    """Two processes make every kernel once between them, and say what they could not make."""
    code = (
        "import sys, json, time\n"
        "from pathlib import Path\n"
        "from tilegrad.bench.gpu import build\n"
        "from tests.assembly.assembler import Survey\n"
        "from functools import partial\n"
        "def call(n):\n"
        "    import tilegrad as t\n"
        "    t.empty(n, device='cuda').sum()\n"
        "    if n == 5: raise ValueError('cannot be planned')\n"
        "build.plans = lambda: [(str(n), partial(Survey.run, name=str(n), call=partial(call, n)))"
        " for n in (5, 6, 7)]\n"
        f"build.share(int(sys.argv[1]), 2, (9, 0), Path({str(tmp_path)!r}))\n"
    )
    environment = ENVIRONMENT | {"TILEGRAD_CACHE_DIR": str(tmp_path / "kernels")}
    environment.pop("NUMBA_ENABLE_CUDASIM")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(k)], env=environment, stdout=subprocess.PIPE, cwd=ROOT
        )
        for k in range(2)
    ]
    said = [[json.loads(line) for line in p.communicate()[0].splitlines()] for p in running]
    assert all(lines[-1] == {"done": True} for lines in said)
    made = [line for lines in said for line in lines[:-1]]
    assert len(made) == 1 and made[0]["fault"] is None
    assert len(list((tmp_path / "kernels").glob("*.cubin"))) == 1


def test_the_table_tells_all() -> None:
    results: dict[str, Any] = {
        "environment": {"nvidia-smi": "a GPU", "commit": "abc", "seconds": 1},
        "correctness": {"ran": 5, "of": 9, "failed": ["exp: wrong"], "whole": False, "seconds": 2},
        "sanitizer": {"tools": {"memcheck": "2 errors"}, "foreign": {"memcheck": {"cuGetProcAddress": 2}},
                      "failed": []},
        "speed": {
            "folder": "kept/here", "failed": [],
            "rows": {"x + y": {"us": 12.5, "share": 0.87, "torch/tilegrad": 0.5}},
        },
        "train": {"error": {"what": "not done after 3 s", "log": ["last words"]}},
    }  # fmt: skip
    text = report.table(results)
    for word in (
        "5 of 9 checks, 1 failed",
        "exp: wrong",
        "(2 of them not ours)",
        "last words",
        "1 rows, 0 failed; kept/here",
        "12.5 us     87% of the roof  0.50x PyTorch (mark 0.8)",
    ):
        assert word in text
    assert np.array_equal(
        [gpu_check.well(r) for r in results.values()], [True, False, True, True, False]
    )


def test_the_speed_stage_is_the_harness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What it calls is a command of `tilegrad bench`; what it keeps says what is wrong."""
    words = speed.command(tmp_path, 60)
    assert (
        words[2:5] == ["tilegrad.bench", "--devices", "cuda"]
        and words[words.index("--limit") + 1] == "52"
    )
    parser = Parser()
    headline.add_arguments(parser)
    given = parser.parse_args(words[3:])
    assert given.devices == ["cuda"] and given.sizes == list(speed.SIZES) and given.out == tmp_path
    monkeypatch.setenv("GPU_CHECK_QUICK", "1")
    assert parser.parse_args(speed.command(tmp_path, 14)[3:]).quick
    found = made.results(gpu=True)
    found["rows"][0] |= {"agrees": False, "error": 0.5}
    kept = speed.said(found)
    assert kept["failed"] == ["add, 2^10, tilegrad/cpu/1: off by 0.5, tolerance 1e-05"]
    text = report.table({"environment": {}, "speed": {**kept, "folder": "there", "seconds": 1.0}})
    assert "207 rows, 1 failed; there" in text and "add, 2^26" in text and "x PyTorch" in text


def test_the_harness_on_the_simulated_device() -> None:
    """Events, copies in and out, and speedups over the CPU; no time of it means anything."""
    code = (
        "from tilegrad.bench import measure, sizes\n"
        "from tilegrad.bench.columns import Column\n"
        "how = measure.How(rounds=2, least=1, budget=0.1, sample=1e-5, settle=0.0, cache=0)\n"
        "here, there = Column('tilegrad', 'cpu', 1), Column('tilegrad', 'cuda', 0)\n"
        "for op in sizes.OPS:\n"
        "    if op.name in ('add', 'copy to the GPU', 'copy from the GPU'):\n"
        "        for r in measure.measure(op.row(10), [here, there], how):\n"
        "            print(op.name, r['column'], r['agrees'], *r['speedup'], r['min'] > 0, sep=';')\n"
    )
    assert simulated(code).split("\n")[:-1] == [
        "add;tilegrad/cpu/1;True;tilegrad/cuda;True",
        "add;tilegrad/cuda;True;tilegrad/cpu/1;True",
        "copy to the GPU;tilegrad/cuda;True;True",
        "copy from the GPU;tilegrad/cuda;True;True",
    ]
