"""`tilegrad bench compare`: noise is no change, ten percent is one."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from tests.bench import made
from tilegrad.bench import comparing, store
from tilegrad.bench.arguments import main


def verdicts(before: store.Results, after: store.Results) -> dict[str, set[str]]:
    """The ops that are slower, and faster."""
    found = comparing.compare(before, after)
    kinds: dict[str, set[str]] = {"slower": set(), "faster": set()}
    for change in found.changes:
        if verdict := change.verdict(0.05, found.deviations):
            kinds[verdict].add(change.name.split(",")[0])
    return kinds


@pytest.mark.parametrize("noise", [0.002, 0.01, 0.05])
def test_runs_of_the_same_commit_do_not_change(noise: float) -> None:
    """Twenty pairs, on a machine whose clock moves by a few percent between them."""
    runs = [made.results(noise=noise, seed=k, drift=1 + 0.03 * (k % 5)) for k in range(21)]
    for before, after in itertools.pairwise(runs):
        assert verdicts(before, after) == {"slower": set(), "faster": set()}


@pytest.mark.parametrize("drift", [1.0, 1.15])
def test_ten_percent_are_found(drift: float) -> None:
    """In one op; whatever the machine did."""
    before = made.results(noise=0.01, seed=1)
    after = made.results(noise=0.01, seed=2, slower="gelu", by=1.1, drift=drift)
    assert verdicts(before, after) == {"slower": {"gelu"}, "faster": set()}
    assert verdicts(after, before) == {"slower": set(), "faster": {"gelu"}}


def test_everything_slower_is_found_by_the_control() -> None:
    before, after = made.results(noise=0.01, seed=1), made.results(noise=0.01, seed=2)
    for record in after["rows"]:
        if record["library"] == "tilegrad":
            record["min"] *= 1.1
    found = verdicts(before, after)
    assert len(found["slower"]) > 15 and not found["faster"]


def test_a_row_that_was_disturbed_whole_is_no_change() -> None:
    """A neighbour on the processor slows both libraries for as long as one row is measured."""
    before, after = made.results(noise=0.01, seed=1), made.results(noise=0.01, seed=2)
    place = next((r["name"], r["threads"]) for r in after["rows"] if r["library"] == "torch")
    for record in after["rows"]:
        if (record["name"], record["threads"]) == place:
            record["min"] *= 1.3
    assert verdicts(before, after) == verdicts(after, before) == {"slower": set(), "faster": set()}


def test_noise_that_hides_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        rough = made.results(seed=seed)
        rng = random.Random(seed)
        for record in rough["rows"]:
            record["min"] *= rng.uniform(1, 1.1)
        store.save(tmp_path / name, rough)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "the noise hides changes of less than" in capsys.readouterr().out


def test_the_exit_status_and_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, by in (("a", 1.0), ("b", 1.2)):
        (tmp_path / name).mkdir()
        store.save(tmp_path / name, made.results(noise=0.005, slower="sort", by=by))
    runs = [str(tmp_path / name) for name in "ab"]
    assert main(["compare", *runs]) == 1
    out = capsys.readouterr().out
    assert "sort, 2^26" in out and "slower" in out and "gelu" not in out
    assert main(["compare", *runs, "--fail-over", "30%"]) == 0
    assert main(["compare", *reversed(runs)]) == 0
    assert "faster" in capsys.readouterr().out


def test_runs_with_nothing_in_common(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, kept in (("a", "sort"), ("b", "add")):
        (tmp_path / name).mkdir()
        some = made.results()
        some["rows"] = [r for r in some["rows"] if r["op"] == kept]
        store.save(tmp_path / name, some)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "no row of tilegrad's in common" in capsys.readouterr().err
