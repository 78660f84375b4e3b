"""`tilegrad bench`: what runs measure, keep, go on with and refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from tests.bench import made
from tests.conftest import ROOT
from tilegrad.bench import (
    columns,
    finish,
    gpu_results,
    jobs,
    measure,
    page,
    roofline,
    sizes,
    store,
    trainings,
)
from tilegrad.bench.arguments import main
from tilegrad.bench.columns import Column
from tilegrad.bench.headline import QUICK_SIZES, Sized
from tilegrad.bench.measure import How
from tilegrad.bench.rows.row import Row, floats
from tilegrad.bench.speedups import crossover

HERE = Column("tilegrad", "cpu", 1)
FAST = How(rounds=3, least=2, budget=0.01, sample=1e-4, settle=0.0, cache=0)
H200 = Path(page.__file__).resolve().parent / "results" / "gpu-h200.json"


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and short samples, no roofline of large arrays."""
    monkeypatch.setattr("tilegrad.bench.headline.how", lambda given: FAST)
    monkeypatch.setattr("tilegrad.bench.machine._peers", dict)
    monkeypatch.setattr("tilegrad.bench.machine._faults", dict)
    monkeypatch.setattr(
        "tilegrad.bench.roofline.measure",
        lambda *_: {"copies": [{"nbytes": 8192.0, "gbps": 10.0}], "gflops": 50.0, "product": 64},
    )


def words(out: Path, *more: str) -> list[str]:
    return ["run", "add", "sum", "--sizes", "2^10,2^12", "--threads", "1", "--against", "torch,numpy",
            "--out", str(out), *more]  # fmt: skip


def test_a_run_leaves_its_files(
    quickly: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path / "run")) == 0
    out = capsys.readouterr().out
    assert out.rstrip().endswith(f"results in {tmp_path / 'run'}/")
    assert "No GPU was measured" in out and "over NumPy" in out
    found = store.load(tmp_path / "run")
    jsonschema.Draft202012Validator.check_schema(store.schema())
    assert found["finished"] and len(found["rows"]) == 2 * 2 * 3
    row = next(r for r in found["rows"] if r["column"] == "tilegrad/cpu/1" and r["op"] == "add")
    assert row["agrees"] and row["error"] < 1e-6 and row["oracle"] == "PyTorch, float64"
    assert row["min"] <= row["median"] <= row["p95"] and len(row["samples"]) == row["rounds"]
    assert row["gbps"] == pytest.approx(12 * row["size"] / row["min"] / 1e9)
    assert row["share"] == pytest.approx(row["gbps"] / 10.0)
    assert set(row["speedup"]) == {"torch/cpu/1", "numpy/cpu/1"}
    assert {"processor", "caches", "clocks", "load", "versions", "commit", "seed"} <= set(
        found["machine"]
    )
    with (tmp_path / "run/results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert (
        len(lines) == 12 and float(lines[0]["min"]) > 0 and "speedup over numpy/cpu/1" in lines[0]
    )
    assert (tmp_path / "run/report.html").stat().st_size < page.MOST


def test_no_speedup_is_told_of_what_disagrees() -> None:
    import torch

    def call(t: Any, x: Any) -> Any:
        return x * 1.01 if t is torch else x + 0.0

    row = Row("elementwise", "odd", call, (floats(1000),), numpy=lambda x: x + 0.0)
    found = {
        r["library"]: r
        for r in measure.measure(
            row, [HERE, Column("torch", "cpu", 1), Column("numpy", "cpu", 1)], FAST
        )
    }
    # the oracle is PyTorch's own, in float64: the two others are off it
    assert [found[x]["agrees"] for x in ("tilegrad", "torch", "numpy")] == [False, True, False]
    assert all(not r["speedup"] for r in found.values())


@pytest.mark.parametrize("off, agrees", [(1, True), (100, False)])
def test_steps_are_held_to_norms(off: int, agrees: bool) -> None:
    """An element at a kink may be far off; a tenth of them may not."""

    def call(t: Any, x: Any) -> Any:
        if t.__name__ == "torch":
            return x
        wrong = np.ones(1000, np.float32)
        wrong[:off] = 1.3
        return x * t.from_numpy(wrong)

    row = Row("training", "odd", call, (floats(1000, low=0.5),), by_norm=True)
    (found,) = measure.measure(row, [HERE], FAST)
    assert found["agrees"] is agrees and found["tolerance"] == measure.NORM


def test_what_a_limit_left_is_resumed(
    quickly: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    with monkeypatch.context() as patched:
        patched.setattr(jobs.time, "perf_counter", tick)
        assert main(words(tmp_path / "run", "--limit", "4")) == 0
    half = store.load(tmp_path / "run")
    assert not half["finished"] and any(
        x["why"] == "--limit 4: no time was left" for x in half["left_out"]
    )
    assert main(["run", "--resume", str(tmp_path / "run"), "--limit", "500"]) == 0
    whole = store.load(tmp_path / "run")
    assert whole["finished"] and not whole["left_out"] and len(whole["rows"]) == 12


def test_a_column_that_cannot_run_says_why() -> None:
    def call(t: Any, x: Any) -> Any:
        if t.__name__ == "tilegrad":
            raise ValueError("cannot")
        return x

    row = Row("elementwise", "odd", call, (floats(10),))
    ours, theirs = sorted(
        measure.measure(row, [HERE, Column("torch", "cpu", 1)], FAST),
        key=lambda r: "fault" not in r,
    )
    assert ours["fault"] == "ValueError: cannot" and theirs["agrees"]


def test_a_cold_cache_is_slower_operands_or_none() -> None:
    """Operands are rotated past the cache; what would need too many sets has no cold time."""
    how = How(rounds=2, least=2, budget=0.01, sample=1e-4, settle=0.0, cache=1 << 20)
    (large,) = measure.measure(sizes.OPS[0].row(14), [HERE], how)
    (small,) = measure.measure(sizes.OPS[0].row(7), [HERE], how)
    assert large["cold"] > 0 and small["cold"] is None


@pytest.mark.parametrize("op", sizes.OPS, ids=lambda op: op.name)
def test_every_op_has_every_size(op: sizes.Op) -> None:
    for exponent in range(sizes.LEAST, sizes.MOST + 1):
        shapes = op.shapes(1 << exponent)
        assert np.prod(shapes[0]) == 1 << exponent
        row = op.row(exponent)
        assert row.nbytes >= 4 << exponent and row.flops >= 0


@pytest.mark.parametrize("op", [o for o in sizes.OPS if not o.transfer], ids=lambda op: op.name)
def test_every_op_agrees_with_float64(op: sizes.Op) -> None:
    (found,) = measure.measure(op.row(10), [HERE], FAST)
    assert found["agrees"], found["error"]
    jsonschema.validate(found, {**store.schema()["$defs"]["row"], "$defs": store.schema()["$defs"]})


def test_ctrl_c_keeps_and_resume_goes_on(
    quickly: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real, seen = measure.measure, list[str]()

    def interrupted(row: Any, *rest: Any) -> Any:
        seen.append(row.name)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(row, *rest)

    monkeypatch.setattr("tilegrad.bench.measure.measure", interrupted)
    assert main(words(tmp_path / "run")) == 130
    assert f"--resume {tmp_path / 'run'}" in capsys.readouterr().out
    half = store.load(tmp_path / "run")
    assert not half["finished"] and len(half["rows"]) == 6
    assert "stopped before its end" in (tmp_path / "run/report.html").read_text()
    assert main(["run", "--resume", str(tmp_path / "run")]) == 0
    whole = store.load(tmp_path / "run")
    assert whole["finished"] and len(whole["rows"]) == 12
    for row, first in zip(
        whole["rows"], half["rows"], strict=False
    ):  # looked at once more, at the end
        count = len(first["samples"])
        assert row["name"] == first["name"] and row["column"] == first["column"]
        assert row["samples"][:count] == first["samples"] and len(row["samples"]) > count
        assert row["min"] == pytest.approx(min(row["samples"]), rel=1e-3)
    every = ["add, 2^10", "add, 2^12", "sum, 2^10", "sum, 2^12"]
    assert seen == [*every[:3], *every[2:], *every]
    assert main(["--resume", str(tmp_path / "run")]) == 2
    assert "is a run of 'run', not of 'headline'" in capsys.readouterr().err


def test_sizes_that_take_too_long_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sized = Sized(sizes.OPS[0], [HERE, Column("numpy", "cpu", 1)], FAST)
    results = store.empty("run", {}, {})
    monkeypatch.setattr("tilegrad.bench.headline.LONGEST_QUICK", 1.0)
    sized.longest = 1.0
    sized.pace = {"numpy/cpu/1": 1e-3}
    sized.measure(10, results)
    assert [r["library"] for r in results["rows"]] == ["tilegrad"]
    assert results["left_out"][0]["what"] == "add, 2^10, NumPy, 1 thread"
    assert "a call would take about" in results["left_out"][0]["why"]


# ------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "given, said",
    [
        (["run", "ad", "--sizes", "2^10"], "no area or op is called 'ad'; did you mean 'add'"),
        (["run", "add"], "no area is called 'add' (ops take --sizes)"),
        (["run", "-k", "nothing has this"], "no row has 'nothing has this'"),
        (["run", "add", "--sizes", "10^3"], "argument --sizes: must be like 2^10:2^26"),
        (["run", "add", "--sizes", "2^3"], "from 2^10 to 2^26"),
        (["--devices", "tpu"], "devices are cpu and cuda; got 'tpu'"),
        (["--threads", "many"], "--threads takes whole numbers and 'all'; got 'many'"),
        (["--against", "jax"], "--against takes torch, torch.compile, numpy, cupy; got 'jax'"),
        (["--against", "cupy"], "--against cupy: it is not installed"),
        (["--gpu-results", "/nowhere.json"], "cannot read /nowhere.json: No such file or directory"),
        (["--resume", "/nowhere"], "cannot read /nowhere: No such file or directory"),
        (["report", "/nowhere"], "cannot read /nowhere"),
        (["compare", "/nowhere", "/nowhere"], "cannot read /nowhere"),
        (["compare", "a", "b", "--fail-over", "lots"], "must be like 5% or 0.05; got 'lots'"),
        (["user", "no_such_module:op"], "cannot import no_such_module"),
        (["user", "tilegrad"], "an op is named MODULE:OP; got 'tilegrad'"),
        (["user", "tilegrad:exp"], "tilegrad:exp is no op made by tilegrad's decorators"),
    ],
)  # fmt: skip
def test_what_is_refused(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = columns.importlib.util.find_spec
    monkeypatch.setattr(
        columns.importlib.util, "find_spec", lambda name: None if name == "cupy" else real(name)
    )
    try:
        status = main(given)
    except SystemExit as ended:
        status = ended.code  # type: ignore[assignment]
    err = capsys.readouterr().err
    assert status == 2 and said in err and err.count("\n") == 1


def test_a_missing_package_is_named_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = columns.importlib.util.find_spec
    monkeypatch.setattr(
        columns.importlib.util,
        "find_spec",
        lambda name: None if name == "vl_convert" else real(name),
    )
    assert main(words(tmp_path / "run")) == 2
    err = capsys.readouterr().err
    assert (
        err
        == "tilegrad bench run: error: vl-convert-python is not installed; pip install 'tilegrad[bench]'\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_job_that_fails_costs_itself_alone(
    quickly: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = measure.measure

    def failing(row: Any, *rest: Any) -> Any:
        if row.name == "sum, 2^10":
            raise RuntimeError("no memory")
        return real(row, *rest)

    monkeypatch.setattr("tilegrad.bench.measure.measure", failing)
    assert main(words(tmp_path / "run")) == 0
    found = store.load(tmp_path / "run")
    assert found["left_out"] == [{"what": "sum, 2^10", "why": "RuntimeError: no memory"}]
    assert len(found["rows"]) == 9 and found["finished"]


def test_float64_moves_twice_the_bytes() -> None:
    roof = {"cpu/1": {"copies": [{"nbytes": 8192.0, "gbps": 10.0}], "gflops": 50.0, "product": 64}}
    how = How(rounds=2, least=2, budget=0.01, sample=1e-4, settle=0.0, cache=0, dtype="float64")
    (found,) = measure.measure(sizes.OPS[0].row(10), [HERE], how, roof)
    assert found["nbytes"] == 24 * 1024 and found["dtype"] == "float64" and found["error"] == 0
    assert found["share"] == pytest.approx(24 * 1024 / 10e9 / found["min"])


def test_a_gpu_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    if not columns.gpu_missing():
        pytest.skip("a GPU is here")
    assert main(["--devices", "cpu,cuda"]) == 2
    assert columns.gpu_missing() in capsys.readouterr().err


def test_files_that_are_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = json.dumps(made.results())
    for name, text, said in (
        ("cut.json", good[: len(good) // 2], "was it cut off?"),
        ("list.json", "[1]", "it holds a list"),
        (
            "other.json",
            good.replace("tilegrad-bench/1", "tilegrad-bench/9"),
            "is of schema 'tilegrad-bench/9'",
        ),
        ("odd.json", '{"a": 1}', "is of schema 'unknown'"),
        (
            "wrong.json",
            good.replace('"rounds": 15', '"rounds": "many"'),
            "does not hold to tilegrad-bench/1: at rows/",
        ),
    ):
        (tmp_path / name).write_text(text)
        assert main(["report", str(tmp_path / name)]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
    assert (
        main(words(tmp_path)[:-1] + [str(tmp_path / "cut.json")]) == 2
    )  # a file where a folder should be
    (tmp_path / "results.json").write_text(good)
    assert main(words(tmp_path)) == 2
    assert "holds results already; --resume" in capsys.readouterr().err


# ------------------------------------------------------------------------------------ trainings


def test_a_training_is_the_same_in_both_libraries() -> None:
    found = trainings.measure(
        trainings.TRAININGS[0], [HERE, Column("torch", "cpu", 1), Column("numpy", "cpu", 1)]
    )
    ours, theirs = found
    assert ours["seconds"] > 0 and theirs["seconds"] > 0 and ours["value"] >= 0.95
    assert abs(ours["steps"] - theirs["steps"]) <= 20
    assert ours["speedup"] == {"torch/cpu/1": theirs["seconds"] / ours["seconds"]}
    jsonschema.validate(
        ours, {**store.schema()["$defs"]["training"], "$defs": store.schema()["$defs"]}
    )


# --------------------------------------------------------------------------------------- report


@pytest.mark.parametrize(
    "points, wins",
    [
        ([(1, 0.5), (2, 0.9), (4, 1.5), (8, 3.0)], 4),
        ([(1, 2.0), (2, 0.9), (4, 1.5)], 4),  # before a size that loses is no crossover
        ([(1, 2.0), (2, 3.0)], 1),
        ([(1, 2.0), (2, 0.5)], None),
    ],
)
def test_the_crossover_is_where_it_wins_for_good(
    points: list[tuple[int, float]], wins: int | None
) -> None:
    assert crossover(points) == wins


def test_a_gpus_committed_figures(tmp_path: Path) -> None:
    found = gpu_results.read(H200)
    assert found.name == "NVIDIA H200" and "42771a2" in found.title
    add = next(c for c in found.calls if c.op == "add")
    assert add.size == 1 << 26 and add.seconds == pytest.approx(12 * 2**26 / 4048.155562381336e9)
    assert found.steps["LeNet 28x28, batch 64"][1] == pytest.approx(2.28)
    assert ("gelu", 1 << 24, pytest.approx(121.437, abs=0.01)) in found.own
    store.save(tmp_path, made.results(gpu=True))
    ours = gpu_results.read(tmp_path)
    assert len([c for c in ours.calls if c.op == "add"]) == 9 and ours.roof == (4000.0, 16000.0)
    store.save(tmp_path, made.results())
    with pytest.raises(gpu_results.Failure, match="holds no figures of a GPU"):
        gpu_results.read(tmp_path)


def test_the_report_holds_everything() -> None:
    text = page.page(made.results(), H200)
    assert len(text.encode()) < page.MOST
    for name in ("speedup", "roofline", "against", "accuracy", "steps", "overhead", "history"):
        assert f'<section id="{name}"' in text
    assert "NVIDIA H200 (committed), over this machine: tilegrad, 1 thread" in text
    assert "To the GPU and back" not in text
    assert '<section id="transfers"' in page.page(made.results(gpu=True))
    assert "WITHOUT LIMITATION" not in text and "BSD-3-Clause" in text
    outside = [
        w for w in ('src="http', 'href="http', "@import", "url(") if w in text.split("<script>")[0]
    ]
    assert not outside
    assert "No GPU was measured" in text and "No GPU was measured" not in page.page(
        made.results(gpu=True)
    )


def test_the_report_of_a_run_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.save(tmp_path, made.results())
    picture = tmp_path / "first.svg"
    assert (
        main(["report", str(tmp_path), "--picture", str(picture), "--gpu-results", str(H200)]) == 0
    )
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    assert picture.read_text().startswith("<svg") and "currentColor" not in picture.read_text()


def test_a_busy_machine_is_said() -> None:
    results = made.results()
    assert not finish.busy(results) and "not to be relied on" not in page.page(results)
    results["machine"] = {**results["machine"], "load": {"before": [9.0], "others": 0.4}}
    assert "Other processes took 40% of the processors" in finish.busy(results)
    assert "not to be relied on" in page.page(results)


def test_an_op_of_a_users(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = [
        "user",
        "examples.kernels.swish:swish",
        "--shape",
        "100",
        "--rounds",
        "2",
        "--against",
        "torch",
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "(100,) forward" in out and "torch" in out
    assert main([*words[:2], "--shape", "ten"]) == 2
    assert "--shape takes whole numbers with commas; got ten" in capsys.readouterr().err


def test_the_measured_roofline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "QUICK", (64,))
    found = roofline.measure([HERE, Column("numpy", "cpu", 1)], [10, 12], quick=True)
    assert [c["nbytes"] for c in found["copies"]] == [8192, 32768]
    assert found["gflops"] > 0.1 and found["product"] == 64
    assert list(roofline.groups([HERE, Column("torch.compile", "cpu", 2)])) == ["cpu/1"]
    assert measure.bandwidth(found, 30_000) == found["copies"][1]["gbps"]


def test_what_there_is_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--rows"]) == 0
    out = capsys.readouterr().out
    assert all(repr(op.name) in out for op in sizes.OPS) and "digits, MLP" in out
    assert "softmax 64x128" in out


def test_the_clock_tells_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(jobs.time, "perf_counter", lambda: now[0])
    todo = [jobs.Job(str(k), 10.0, print) for k in range(4)]
    clock = jobs._Clock(todo)
    now[0] = 20.0
    clock.done(todo[0])
    assert clock.left() == "about 1:00 left"


def test_the_short_run_has_few_sizes() -> None:
    assert len(QUICK_SIZES) == 3 and set(sizes.QUICK) <= {op.name for op in sizes.OPS}
