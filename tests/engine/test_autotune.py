"""Constants of bodies that are measured: chosen once, kept on disk, shown, carried elsewhere."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numba import cuda

import tilegrad
from tests.conftest import ROOT
from tilegrad.autograd.checking import CheckError
from tilegrad.engine import autotune
from tilegrad.kernels.bodies import BodyError
from tilegrad.kernels.foreign import Foreign

T = 4


def doubled(x):
    return x * 2


def op_of(**how: Any) -> Any:
    """An op whose first candidate does its work 20,000 times over: the second is faster on any machine."""
    made = tilegrad.op("doubled(x: f[N]) -> y: like x")(doubled)

    @made.cpu(
        tasks=lambda N, rows: -(-N // rows), tune={"again": (20_000, 1), "rows": (16,)}, **how
    )
    def _(task, x, again, y, N, f, *, rows):
        for _ in range(again):
            for j in range(task * rows, min(N, task * rows + rows)):
                y[j] = x[j] * f(2)

    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for what is chosen; kernels stay where they are."""
    monkeypatch.setattr("tilegrad.kernels.cache.cache_dir", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be measured."""

    def measured(*given: Any) -> Any:
        raise AssertionError("measured")

    monkeypatch.setattr(autotune, "measured", measured)


def test_the_fastest_is_chosen_once_and_kept(folder, monkeypatch):
    op, x = op_of(), tilegrad.arange(100.0)
    assert op(x).tolist() == (x * 2).tolist()
    (choice,) = op.tuning.choices()
    assert choice.values == {"again": 1, "rows": 16} and choice.shapes == "float32, N <= 128"
    assert [values for values, _ in choice.times] == [
        {"again": 20_000, "rows": 16}, {"again": 1, "rows": 16},
    ]  # fmt: skip
    assert choice.times[0][1] > choice.times[1][1] > 0
    text = str(op.tuning)
    assert "doubled, cpu" in text and "again=1, rows=16" in text and choice.device in text
    monkeypatch.setattr(autotune, "measured", None)
    assert op(x + 1).tolist() == (x * 2 + 2).tolist()  # its plan is known
    assert op(tilegrad.ones(65)).sum().item() == 130  # of the same class
    other = op_of()
    assert other(x).tolist() == (x * 2).tolist() and len(other.tuning.choices()) == 1
    with pytest.raises(TypeError):
        op(tilegrad.ones(129))  # of another


def test_a_new_process_takes_what_was_kept(folder, monkeypatch):
    """And measures where the file is damaged, or the candidates are others."""
    op_of()(tilegrad.ones(100))
    (path,) = folder.glob("tuned_doubled-*.json")
    kept = path.read_bytes()
    runs: list[int] = []
    real = autotune.measured
    monkeypatch.setattr(autotune, "measured", lambda *given: runs.append(1) or real(*given))
    op_of()(tilegrad.ones(100))
    assert not runs
    path.write_bytes(kept[:-2] + b"??")
    op_of()(tilegrad.ones(100))
    assert len(runs) == 1 and len(path.read_bytes()) > 100
    again = tilegrad.op("doubled(x: f[N]) -> y: like x")(doubled)

    @again.cpu(tasks=1, tune={"again": (3, 1)})
    def _(task, x, y, N, f, again):
        for _ in range(again):
            for j in range(N):
                y[j] = x[j] * f(2)

    again(tilegrad.ones(100))
    assert len(runs) == 2 and len(list(folder.glob("tuned_doubled-*.json"))) == 2
    assert len(again.tuning.choices()) == 1


def test_what_another_process_kept_meanwhile_is_taken(folder, monkeypatch):
    """Two processes that measure at once end with one choice."""
    op = op_of()
    body = op.subject.checking()[0].op.bodies["cpu"]
    real = body.tuner.choose

    def choose(choice, *given):
        theirs = choice._replace(values={"again": 20_000, "rows": 16}, times=[])
        monkeypatch.setattr(autotune, "measured", lambda *runs: write(theirs) or [2.0, 1.0])
        real(choice, *given)

    def write(theirs):
        autotune.cache.write(folder / theirs.file, json.dumps(theirs._asdict()).encode())

    monkeypatch.setattr(body.tuner, "choose", choose)
    op(tilegrad.ones(3))
    assert [one.values["again"] for one in op.tuning.choices()] == [20_000]


def test_it_can_be_switched_off(folder, unmeasured, monkeypatch):
    x = tilegrad.ones(3)
    off = op_of(measure=False)
    assert off(x).tolist() == [2.0] * 3 and "switched off" in str(off.tuning)
    monkeypatch.setenv("TILEGRAD_TUNE", "0")
    op = op_of()
    assert op(x).tolist() == [2.0] * 3 and "again=20000, rows=16, the first of 2" in str(op.tuning)
    monkeypatch.delenv("TILEGRAD_TUNE")
    assert "nothing was measured yet" in str(op.tuning)
    op = op_of()
    assert op(tilegrad.ones(0)).tolist() == []
    with tilegrad.cuda.debug():
        assert op(x).tolist() == [2.0] * 3
    with pytest.raises(AssertionError, match="measured"):
        op(x)
    assert not list(folder.glob("tuned_*"))


def test_choices_are_carried_elsewhere(folder, tmp_path_factory, monkeypatch):
    op, x = op_of(), tilegrad.ones(3)
    op(x)
    file = tmp_path_factory.mktemp("out") / "tuning.json"
    assert op.tuning.export(file) == 1
    op.tuning.forget()
    assert not list(folder.glob("tuned_*")) and op.tuning.choices() == []
    rows = json.loads(file.read_text())
    rows[0]["values"]["again"] = 20_000
    file.write_text(json.dumps([*rows, {**rows[0], "body": "another"}]))
    assert op.tuning.load(file) == 1
    monkeypatch.setattr(autotune, "measured", None)
    op(x)
    assert op.tuning.choices()[0].values["again"] == 20_000
    file.write_text("[1]")
    with pytest.raises(ValueError, match="doubled: .* is no exported tuning"):
        op.tuning.load(file)


def test_operands_that_are_written_over_are_written_once(folder):
    op = _gathered()
    total = tilegrad.zeros(4, 6)[:, 2]
    before = total.storage.version
    assert op(total, tilegrad.ones(4)).tolist() == [1.0] * 4
    assert total.storage.version == before + 1
    assert op(total, tilegrad.ones(4)).tolist() == [2.0] * 4 and op.tuning.choices()


def _gathered() -> Any:
    @tilegrad.op("gathered(total: inout f[N], x: f[N])")
    def gathered(total, x):
        return total + x

    @gathered.cpu(tasks=1, tune={"step": (1, 2)}, strided=True)
    def _(task, total, total_strides, x, N, step):
        for first in range(step):
            for j in range(first, N, step):
                total[j * total_strides[0]] += x[j]

    return gathered


def test_candidates_that_cannot_be_launched_are_left_out(folder):
    op = tilegrad.op("doubled(x: f[N]) -> y: like x")(doubled)

    @op.cpu(tasks=lambda tasks_: tasks_, tune={"tasks_": (-1, 1)})
    def _(x, y, N, f):
        for j in range(N):
            y[j] = x[j] * f(2)

    assert op(tilegrad.ones(3)).tolist() == [2.0] * 3
    (choice,) = op.tuning.choices()
    assert choice.values == {"tasks_": 1} and "tasks must be a whole number" in choice.times[0][1]
    assert "tasks must be a whole number" in str(op.tuning)

    @op.cpu(tasks=lambda tasks_: tasks_, tune={"tasks_": (-1, -2)})
    def _(x, y, N, f):
        y[0] = x[0]

    with pytest.raises(BodyError, match="got -1"):
        op(tilegrad.ones(3))


def test_a_simulated_gpu_takes_the_first_and_says_so(unmeasured):
    """Constants size shared arrays there."""
    op = _summed()
    x = tilegrad.arange(15.0).reshape(3, 5)
    assert op(x.to("cuda")).cpu().tolist() == x.sum(-1).tolist()
    assert "rows=2, threads=4, the first of 2" in str(op.tuning) and "simulated" in str(op.tuning)


def _summed(wrong: bool = False) -> Any:
    @tilegrad.op("summed(x: f[B, N]) -> y: f[B]")
    def summed(x):
        return x.sum(-1)

    tune = {"rows": (2,), "threads": (4, 8)}

    @summed.cuda(grid=lambda B, rows: -(-B // rows), block=lambda threads: threads, tune=tune)
    def _(x, rows, y, B, N, f, *, threads):
        part = cuda.shared.array(threads, f)
        t = cuda.threadIdx.x
        for row in range(cuda.blockIdx.x * rows, min(B, cuda.blockIdx.x * rows + rows)):
            total = f(0)
            for j in range(t, N, threads):
                total += x[row * N + j]
            part[t] = total
            cuda.syncthreads()
            if t == 0:
                for k in range(2 if wrong and threads == 8 else 1, threads):
                    total += part[k]
                y[row] = total
            cuda.syncthreads()

    return summed


def test_check_covers_every_candidate():
    work, run = _summed().subject.checking(shapes={"B": 3})
    run()
    assert ("2 candidates of tune=", "cuda", "", "each, as follows") in work.rows
    with pytest.raises(CheckError, match=r"(?s)primes, cuda.*threads=8"):
        _summed(True).check(shapes={"B": 3})
    names = [p.id for p in tilegrad.testing.cases(_summed())]
    assert any("threads=8" in n for n in names) and any("threads=4" in n for n in names)


def test_constants_size_shared_arrays_on_paper():
    """What the compiler for GPUs is given, without one."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom tests.engine.test_autotune import _summed\n"
    code += "_summed().explain((3, 100), arch='sm_80')\n"
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "shared memory   16 bytes" in done.stdout, done.stdout + done.stderr
    assert "summed, cuda: rows=2, threads=4, the first of 2 candidates" in done.stdout


def test_constants_are_macros_of_cpp():
    op = tilegrad.op("doubled(x: f[N]) -> y: like x")(doubled)
    how = {"source": "", "entry": "twice", "args": ("x", "y", "N")}
    op.cuda(grid=1, block=lambda threads: threads, tune={"threads": (32, 64), "A": (1,)}, **how)
    body = op.subject.checking()[0].op.bodies["cuda"]
    made = body.brought({"threads": 64, "A": 1})
    assert isinstance(made, Foreign) and made.options == ("-Dthreads=64", "-DA=1")


def test_wrong_declarations():
    op = _declared()

    def body(x, y, N, f):
        pass

    for tune, words in (
        ({"rows": 2}, r"a tuple of numbers, as in tune={'rows': \(1, 2\)}; got rows=2"),
        ({"rows": ()}, "a tuple of numbers"),
        ({"rows": ("a",)}, "a tuple of numbers"),
        ({"rows": (1, 2)}, "candidates for rows, which neither the body nor its launch asks for"),
        ({"N": (1, 2)}, "N is given by the call; a constant needs another name"),
        ({"k": (1.0,)}, "k is given by the call"),
    ):
        with pytest.raises(BodyError, match=words):
            op.cpu(tasks=1, tune=tune)(body)
    with pytest.raises(BodyError, match="tasks= asks for 'rows'"):
        op.cpu(tasks=lambda rows: rows)(body)
    with pytest.raises(BodyError, match="k is given by the call"):

        @op.cpu(tasks=1)
        def _(x, y, N, f, k=3.0):
            pass


def _declared() -> Any:
    @tilegrad.op("scaled(x: f[N], k: float = 1.0) -> y: like x")
    def scaled(x, k):
        return x * k

    return scaled


def test_classes_of_sizes():
    assert [autotune.size_class(n) for n in (0, 1, 2, 3, 4, 5, 128, 129)] == [
        0,
        1,
        2,
        4,
        4,
        8,
        128,
        256,
    ]


def test_hopeless_candidates_get_no_more_rounds():
    counts = [0, 0]

    def slow() -> None:
        counts[0] += 1
        sum(range(200_000))

    def fast() -> None:
        counts[1] += 1

    times = autotune.measured([slow, fast], lambda: None)
    assert times[0] > 100 * times[1] and math.isfinite(times[0])
    assert counts[0] <= 2 + 2 * max(1, math.ceil(autotune.SAMPLE / times[0]) + 1)
