"""The comparison's own logic: what counts as equal, how ratios are summed up."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tilegrad.bench import against, agreement, areas, arguments, figures
from tilegrad.bench.arguments import COMMANDS, main as bench_main
from tilegrad.bench.harness import compare
from tilegrad.bench.rows import kernels
from tilegrad.bench.rows.row import Row, floats


def test_rows_have_names_of_their_own() -> None:
    names = [(r.area, r.name) for r in areas.ROWS]
    assert len(set(names)) == len(names)
    assert {r.area for r in areas.ROWS} == set(areas.MARKS)
    assert areas.chosen(["matmul"], "attention")
    assert all(r.area == "matmul" for r in areas.chosen(["matmul"]))


def test_an_installed_package_has_no_examples(tmp_path: Path, monkeypatch, capsys) -> None:
    everything = len(areas.chosen())
    monkeypatch.setattr(kernels, "EXAMPLES", tmp_path / "examples")
    assert len(areas.chosen()) == everything - len(kernels.ROWS)
    assert bench_main(["run", "kernels", "--out", str(tmp_path / "run")]) == 2
    assert "area 'kernels': its ops are a clone's examples" in capsys.readouterr().err
    assert bench_main(["list"]) == 0
    assert "no installed package holds" in capsys.readouterr().out


@pytest.mark.parametrize(
    "ours, theirs, least, most",
    [
        ([1.0, 2.0], [1.0, 2.0], 0, 0),
        ([1.0, 2.0], [1.0, 2.2], 0.04, 0.06),  # 0.2 / (2.2 + 1.6)
        ([1e-9, 2.0], [0.0, 2.0], 0, 1e-8),  # near zero the array's scale counts
        ([np.nan, 2.0], [1.0, 2.0], np.inf, np.inf),
        ([np.inf, np.nan, 2.0], [np.inf, np.nan, 2.0], 0, 0),
        ([np.inf, 2.0], [np.inf, 3.0], 0.16, 0.17),
        ([np.inf, 2.0], [1.0, 2.0], np.inf, np.inf),
        ([1, 2], [1, 3], np.inf, np.inf),
        ([1.0, 2.0], [1, 2], np.inf, np.inf),
        ([1.0], [1.0, 1.0], np.inf, np.inf),
    ],
)
def test_difference(ours, theirs, least, most) -> None:
    found = agreement.difference([np.array(ours)], [np.array(theirs)])
    assert least <= found <= most


def test_a_row_that_differs_is_wrong() -> None:
    import torch

    def call(t, x):
        return x * 1.001 if t is torch else x

    row = Row("elementwise", "odd", call, (floats(3),), backward=True)
    same, distance = agreement.agree(row)
    assert not same and 1e-4 < distance < 1e-3
    result = {"area": row.area, "name": row.name, "agrees": False, "difference": distance,
              "seconds": {"tilegrad": 1.0, "torch": 2.0}, "spread": {}}  # fmt: skip
    assert "WRONG" in figures.line(result)


def test_errors_against_float64() -> None:
    row = Row(
        "matmul", "x @ x", lambda t, x: x @ x, (floats(40, 40),), backward=True, accuracy="rms"
    )
    found = agreement.errors(row, ["tilegrad", "torch"])
    assert all(1e-9 < error < 1e-6 for error in found.values())


def test_areas_against_their_marks() -> None:
    def row(area, ratio, **more):
        return {"area": area, "name": f"{area} {ratio}", "agrees": True, "ratio": ratio, **more}

    rows = [row("matmul", 1.0), row("matmul", 4.0), row("overhead", 0.5)]
    rows.append({"area": "overhead", "name": "bad", "agrees": False})
    found = figures.summary(rows)
    assert list(found) == ["matmul", "overhead", "all"]
    assert found["matmul"]["mean"] == pytest.approx(2.0)
    assert found["matmul"]["reached"] and not found["overhead"]["reached"]
    assert found["overhead"]["under"] == ["overhead 0.5"]
    assert found["overhead"]["wrong"] == ["bad"]
    assert found["all"]["mean"] == pytest.approx(2.0 ** (1 / 3))


def test_rounds_are_interleaved() -> None:
    order: list[str] = []
    found = compare({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert set(found) == {"a", "b"}
    assert all(0 < t.best and t.spread >= 1 for t in found.values())
    turns = [x for x, before in zip(order[1:], order) if x != before]
    assert turns[-6:] == ["a", "b"] * 3


@pytest.mark.parametrize(
    "figure, slower",
    [
        (against.Figure(1.04, 1.0, 1.0), False),
        (against.Figure(1.06, 1.0, 1.0), True),
        (against.Figure(1.06, 1.0, 1.02), False),  # within the revision's own noise
        (against.Figure(1.06, 1.02, 1.0), False),
        (against.Figure(1.2, 1.0, 1.02), True),
        (against.Figure(0.5, 1.0, 1.0), False),
    ],
)
def test_slower_is_beyond_noise(figure: against.Figure, slower: bool) -> None:
    assert figure.slower(0.05) is slower


def revision(folder: Path, add: str) -> Path:
    """A tree whose tilegrad is this one with another ``exp``."""
    package = folder / ".dev" / "tilegrad"
    package.mkdir(parents=True)
    source = f"""
import importlib.util, sys, time
from pathlib import Path
root = {str(against.ROOT)!r}
spec = importlib.util.spec_from_file_location(
    "tilegrad", root + "/__init__.py", submodule_search_locations=[root])
module = sys.modules["tilegrad"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
def exp(x, inner=module.Tensor.exp):
    {add}
    return inner(x)
module.exp = module.Tensor.exp = exp
"""
    (package / "__init__.py").write_text(source)
    return folder


def test_against_finds_what_is_slower(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A revision whose exp returns at once, one that cannot run it, and one that waits."""
    rows = areas.chosen(["overhead"], "exp")[:1]
    options = argparse.Namespace(simd=None, threads=1, rounds=5, by=0.05)
    fast = against.rows_of(revision(tmp_path / "fast", "return x"), rows, options)
    (figure,) = fast.values()
    assert figure["slower"] and figure["ratio"] > 1.5
    assert "slower" in capsys.readouterr().out
    slow = against.rows_of(revision(tmp_path / "slow", "time.sleep(1e-3)"), rows, options)
    (figure,) = slow.values()
    assert not figure["slower"] and figure["ratio"] < 0.5
    assert not against.rows_of(revision(tmp_path / "none", "raise OSError('x')"), rows, options)
    assert "not in the revision: OSError: x" in capsys.readouterr().out


def test_against_an_unknown_revision(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_main(["against", "no-such-revision"]) == 2
    assert "git knows no commit 'no-such-revision'" in capsys.readouterr().err


def test_results_of_machines_stand_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, ratio in (("one", 2.0), ("two", 3.0)):
        rows = [{"area": "matmul", "name": "x @ y", "ratio": ratio, "seconds": {}, "spread": {}}]
        table = {
            "machine": {"processor": f"{name}'s"},
            "rows": rows,
            "areas": figures.summary(rows),
        }
        (tmp_path / f"{name}.json").write_text(json.dumps({"table": table}))
    files = [str(tmp_path / f"{name}.json") for name in ("one", "two")]
    assert bench_main(["report", "--markdown", *files, "--rows"]) == 0
    out = capsys.readouterr().out
    assert "| machine | one | two |" in out and "| processor | one's | two's |" in out
    assert "| matmul | 2.00x | 3.00x |" in out and "| matmul: x @ y | 2.00x | 3.00x |" in out


def test_one_parser_for_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench_main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)
    assert bench_main(["nope"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("tilegrad bench: error: no command 'nope'") and err.count("\n") == 1
    with pytest.raises(SystemExit) as ended:
        bench_main(["table", "--rounds", "x"])
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.count("\n") == 1 and "--rounds" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_arguments(command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench_main([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: tilegrad bench {command}")


def test_a_missing_package_is_named(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    def importing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'rich.table'", name="rich.table")

    monkeypatch.setattr(arguments.importlib, "import_module", importing)
    assert bench_main(["blas"]) == 2
    err = capsys.readouterr().err
    assert (
        err == "tilegrad bench blas: error: rich is not installed; pip install 'tilegrad[bench]'\n"
    )


def test_a_clone_runs_the_same_program() -> None:
    for words in (["-m", "bench"], ["-m", "tilegrad.bench"], ["-m", "tilegrad", "bench"]):
        done = subprocess.run(
            [sys.executable, *words, "nope"], cwd=against.ROOT, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(against.ROOT / ".dev")}, check=False,
        )  # fmt: skip
        assert done.returncode == 2 and "no command 'nope'" in done.stderr
