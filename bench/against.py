"""Each row in this tree and in another revision's, interleaved: is anything slower?

The other tree is checked out under runs/against/, with a kernel cache of its own. Three processes take
samples in turn: this tree's, the revision's, and the revision's once more. A ratio is this tree's time
over the revision's: above 1, this tree is slower. What the revision's two processes differ by is the
row's noise. A row that is slower by more than its noise and 5 % is measured again in new processes; the
exit status is 1 if one of them stays slower.

The rows are this tree's; one that the revision cannot run is named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tilegrad.bench import machine
from tilegrad.bench.areas import MARKS, Benchmark, chosen
from tilegrad.bench.failure import Failure
from tilegrad.bench.figures import geometric_mean, seconds
from tilegrad.bench.harness import BUDGET, LEAST, SETTLE
from tilegrad.bench.results import add_out, write

ROOT = Path(__file__).resolve().parent.parent
HEAD = f"{'':36}{'this tree':>10}{'revision':>10}{'ratio':>8}{'noise':>8}"


class Figure(NamedTuple):
    """One row: seconds of the best samples, of this tree and of the revision's two processes."""

    here: float
    there: float
    again: float

    @property
    def ratio(self) -> float:
        """This tree's time over the revision's."""
        return self.here / min(self.there, self.again)

    @property
    def noise(self) -> float:
        """The revision against itself: 0 where both processes took the same time."""
        return abs(self.there - self.again) / min(self.there, self.again)

    def slower(self, by: float) -> bool:
        """Whether this tree is slower by more than ``by`` and the noise."""
        return self.ratio > 1 + by + self.noise


class Child:
    """A process of :mod:`tilegrad.bench.sampler` with the tilegrad of one tree."""

    def __init__(self, tree: Path, environment: dict[str, str], threads: int) -> None:
        path = os.pathsep.join([str(tree / ".dev"), str(ROOT)])
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("sampler.py")), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment, "PYTHONPATH": path},
        )

    def ask(self, *command: str) -> dict[str, Any]:
        """Its answer to one command.

        Raises:
            RuntimeError: it ended.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        text = self.process.stdout.readline()
        if not text:
            raise RuntimeError(f"bench against: a process ended with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def close(self) -> None:
        """Let it end."""
        with self.process:  # closes its pipes, waits
            pass


def checkout(revision: str) -> tuple[str, Path]:
    """The revision's commit and the folder that holds its tree, made if it is not there.

    Raises:
        ValueError: git knows no such commit.
    """
    found = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if found.returncode:
        raise ValueError(f"git knows no commit {revision!r}")
    commit = found.stdout.strip()
    folder = ROOT / "runs" / "against" / commit[:12]
    tree = folder / "tree"
    if not tree.is_dir():
        scratch = folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        archive = subprocess.run(
            ["git", "archive", commit], capture_output=True, cwd=ROOT, check=True
        )
        subprocess.run(["tar", "-x", "-C", str(scratch)], input=archive.stdout, check=True)
        scratch.rename(tree)
    return commit, tree


class Trees:
    """The three processes that a measurement needs."""

    def __init__(self, tree: Path, threads: int, environment: dict[str, str]) -> None:
        cached = {**environment, "TILEGRAD_CACHE_DIR": str(tree.parent / "kernels")}
        self.children = [
            Child(ROOT, environment, threads),
            Child(tree, cached, threads),
            Child(tree, cached, threads),
        ]

    def __enter__(self) -> Trees:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children:
            child.close()

    def measure(self, row: Benchmark, rounds: int) -> Figure | str:
        """Interleaved samples of one row, or why there are none."""
        for child in self.children:
            missing = child.ask("prepare", row.area, row.name).get("missing")
            if missing:
                whose = "this tree" if child is self.children[0] else "the revision"
                return f"not in {whose}: {missing}"
        best = [float("inf")] * 3
        start = time.perf_counter()
        for done in range(rounds):
            if done >= LEAST and time.perf_counter() - start > 3 * BUDGET:
                break
            for k in range(3):
                which = (k + done) % 3  # who comes first changes, as what is in the caches does
                time.sleep(SETTLE)
                best[which] = min(best[which], self.children[which].ask("sample")["seconds"])
        return Figure(*best)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench against``."""
    option = parser.add_argument
    option("revision", help="a commit, tag or branch")
    option("-k", dest="part", default="", metavar="TEXT", help="only rows with this in area/name")
    option("--area", nargs="+", choices=MARKS, default=[], help="only these areas")
    option("--rounds", type=int, default=15, help="samples of each process (%(default)s)")
    option("--threads", type=int, default=2, help="of each process (%(default)s)")
    option("--by", type=float, default=0.05, help="what counts as slower, beside the noise")
    machine.add_simd(parser)
    add_out(parser)


def line(name: str, figure: Figure, slower: bool) -> str:
    """One row as text."""
    text = f"{name:36}{seconds(figure.here):>10}{seconds(min(figure[1:])):>10}"
    return f"{text}{figure.ratio:>7.2f}x{figure.noise:>7.1%}  {'slower' * slower}".rstrip()


def rows_of(tree: Path, rows: list[Benchmark], options: argparse.Namespace) -> dict[str, Any]:
    """Measure ``rows``, then again those that seem slower; figures by ``area/name``."""
    environment = machine.simd_environment(options.simd)
    figures: dict[str, Figure] = {}
    seen = ""
    with Trees(tree, options.threads, environment) as trees:
        for row in rows:
            if row.area != seen:
                seen = row.area
                print(f"\n{row.area}\n{HEAD}")
            found = trees.measure(row, options.rounds)
            if isinstance(found, str):
                print(f"{row.name:36}{found[:60]}")
                continue
            figures[f"{row.area}/{row.name}"] = found
            print(line(row.name, found, found.slower(options.by)), flush=True)
    for turn in range(2):
        doubtful = [r for r in rows if _slower(figures, r, options.by)]
        if not doubtful:
            break
        print(f"\nonce more in new processes ({turn + 1} of 2)\n{HEAD}")
        with Trees(tree, options.threads, environment) as trees:
            for row in doubtful:
                found = trees.measure(row, 2 * options.rounds)
                assert isinstance(found, Figure)
                name = f"{row.area}/{row.name}"
                print(line(name, found, found.slower(options.by)), flush=True)
                if found.ratio < figures[name].ratio:
                    figures[name] = found
    return {
        name: {**f._asdict(), "ratio": f.ratio, "noise": f.noise, "slower": f.slower(options.by)}
        for name, f in figures.items()
    }


def _slower(figures: dict[str, Figure], row: Benchmark, by: float) -> bool:
    name = f"{row.area}/{row.name}"
    return name in figures and figures[name].slower(by)


def run(options: argparse.Namespace) -> int:
    """All rows; 1 if one of them is slower, 2 if there is no such revision."""
    try:
        commit, tree = checkout(options.revision)
    except ValueError as error:
        raise Failure(str(error)) from None
    facts = machine.facts(options.threads)
    print(*machine.lines(facts), sep="\n")
    width = f", registers of {options.simd} bits" if options.simd else ""
    print(f"this tree against {commit[:12]}{width}: ratio above 1 means this tree is slower")
    begin, others = time.perf_counter(), machine.Others()
    figures = rows_of(tree, chosen(options.area, options.part), options)
    if not figures:
        raise Failure("no row was measured")
    slower = [name for name, f in figures.items() if f["slower"]]
    mean = geometric_mean([f["ratio"] for f in figures.values()])
    facts["taken by other processes"] = f"{others.share():.1%} of the processors"
    print(
        f"\n{len(figures)} rows, geometric mean {mean:.3f}; slower: {', '.join(slower) or 'none'}"
    )
    print(
        f"{time.perf_counter() - begin:.0f} s; other processes took "
        f"{facts['taken by other processes']} meanwhile"
    )
    content = {"machine": facts, "revision": commit, "simd": options.simd, "rows": figures}
    write(options.out, "against", content)
    return int(bool(slower))
