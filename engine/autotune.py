"""Constants of kernels that are chosen by measuring: ``tune={"rows": (1, 2, 4, 8)}``.

The first call of a class of shapes (each size up to the next power of two) on a real device times every
candidate on the call's own operands, and the fastest is kept on disk under the device's name: from
then on that kernel runs, in every process and to the same bits, whatever the number of threads. Simulated
devices, debug builds and empty operands take the first candidate, and so do all where ``TILEGRAD_TUNE=0``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tilegrad.kernels import cache
from tilegrad.kernels.bodies import BodyError
from tilegrad.kernels.forking import TUNER, fork_lock

SAMPLE = 0.002  # seconds of calls that one sample is made of
ROUNDS = 7
BUDGET = 1.0  # seconds after which slow candidates get no more rounds than LEAST
LEAST = 3
HOPELESS = 3.0  # candidates so many times slower than the best, in two rounds, get no further ones
ALIKE = 0.02  # of the best time: within it, the candidate that stands first is taken

Values = dict[str, float]
Tune = Mapping[str, Sequence[float]]  # candidates of constants, by name

_measuring = fork_lock(TUNER)  # of every tuner: two that measure at once would slow each other


class Choice(NamedTuple):
    """What was measured for a class of shapes.

    Attributes:
        op, kind: of the body; device: its name; body: a hash of the body, its launch and its candidates.
        shapes: the class, in words.
        values: those that were chosen; times: of every candidate, seconds, or why it cannot be launched.
    """

    op: str
    kind: str
    device: str
    body: str
    shapes: str
    values: Values
    times: list[list[Any]]

    @property
    def file(self) -> str:
        """Its name in the cache."""
        parts = (self.op, self.kind, self.device, self.body, self.shapes)
        return f"tuned_{self.op}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}.json"


class Tuner:
    """The candidates of one body, and what was chosen among them.

    Args:
        title: of the body, for errors; tune: the candidates of each constant; measure: whether to.

    Raises:
        BodyError: a constant has no candidates, or one is no number.
    """

    def __init__(self, title: str, tune: Tune, measure: bool):
        for name, given in tune.items():
            right = isinstance(given, (tuple, list)) and given
            if not right or not all(isinstance(v, (bool, int, float)) for v in given):
                raise BodyError(
                    f"{title}: tune= gives each constant a tuple of numbers, as in tune={{'rows': (1, 2)}}; "
                    f"got {name}={given!r}"
                )
        every = itertools.product(*tune.values())
        self.candidates: list[Values] = [dict(zip(tune, values, strict=True)) for values in every]
        self.measure = measure
        self.forced: Values | None = None
        self.choices: dict[str, Choice] = {}  # by their files

    def measures(self) -> bool:
        """Whether what is not known is measured, and what is known used."""
        return self.measure and os.environ.get("TILEGRAD_TUNE", "1") != "0"

    def known(self, choice: Choice) -> Choice | None:
        """What was chosen before for this class, here or in another process."""
        file = choice.file
        found = self.choices.get(file)
        if found is None:
            found = self.read(cache.cache_dir() / file)
            if found is not None:
                self.choices[file] = found
        return found

    def read(self, path: Path) -> Choice | None:
        """A choice from the disk; None where there is none among the candidates."""
        kept = cache.read(path)
        try:
            found = None if kept is None else Choice(**json.loads(kept))
        except (ValueError, TypeError):
            return None
        return found if found is not None and found.values in self.candidates else None

    def keep(self, choice: Choice) -> None:
        """Keep it, unless another process was faster: then that one's."""
        path = cache.cache_dir() / choice.file
        there = self.read(path)
        if there is None:
            cache.write(path, json.dumps(choice._asdict()).encode())
        self.choices[choice.file] = there or choice

    def choose(
        self, choice: Choice, launch: Callable[[Values], Callable[[], None]], finish: Callable[[], None]
    ) -> None:  # fmt: skip
        """Measure all candidates, of ``launch(values)`` each a call, and keep the best as ``choice``.

        Raises:
            BodyError: none can be launched.
        """
        with _measuring:
            if self.known(choice) is not None:
                return
            runs: list[Callable[[], None]] = []
            places: list[int] = []
            times: list[list[Any]] = []
            refused: list[BodyError] = []
            for place, values in enumerate(self.candidates):
                try:
                    run = launch(values)
                    run()
                    finish()
                except BodyError as error:
                    times.append([values, str(error)])
                    refused.append(error)
                    continue
                runs.append(run)
                places.append(place)
                times.append([values, math.inf])
            if not runs:
                raise refused[0]
            for place, seconds in zip(places, measured(runs, finish), strict=True):
                times[place][1] = seconds
            best = min(times[place][1] for place in places)
            first = next(p for p in places if times[p][1] <= best * (1 + ALIKE))
            self.keep(choice._replace(values=self.candidates[first], times=times))


def measured(runs: Sequence[Callable[[], None]], finish: Callable[[], None]) -> list[float]:
    """Seconds of a call of each: the least of interleaved rounds, after ``finish()``."""
    begin = time.perf_counter()
    counts = [_count(run, finish) for run in runs]
    best = [math.inf] * len(runs)
    for done in range(ROUNDS):
        if done >= LEAST and time.perf_counter() - begin > BUDGET:
            break
        limit = HOPELESS * min(best)
        for place, run in enumerate(runs):
            if done < 2 or best[place] <= limit:
                best[place] = min(best[place], _spent(run, counts[place], finish))
    return best


def _count(run: Callable[[], None], finish: Callable[[], None]) -> int:
    count = 1
    while True:
        spent = _spent(run, count, finish) * count
        if spent >= SAMPLE:
            return count
        count = max(2 * count, int(count * SAMPLE / max(spent, 1e-9)))


def _spent(run: Callable[[], None], count: int, finish: Callable[[], None]) -> float:
    start = time.perf_counter()
    for _ in range(count):
        run()
    finish()
    return (time.perf_counter() - start) / count


def size_class(size: int) -> int:
    """The next power of two: sizes of one class have one choice."""
    return 1 << (size - 1).bit_length() if size > 0 else 0


def _spelt(spent: str | float) -> str:
    """Seconds, or why there are none."""
    if isinstance(spent, str):
        return spent
    return f"{spent * 1e3:.3g} ms" if spent >= 1e-3 else f"{spent * 1e6:.3g} us"


def words(values: Mapping[str, object]) -> str:
    """``rows=4, threads=128``"""
    return ", ".join(f"{name}={value}" for name, value in values.items())


class Tuning:
    """``op.tuning``: what was chosen for an op, as a table where it is printed.

    Args:
        name: of the op; bodies: by kind; changed: called when calls have to be planned anew.
    """

    def __init__(self, name: str, bodies: Mapping[str, Any], changed: Callable[[], None]):
        self.name, self.bodies, self.changed = name, bodies, changed

    def _tuned(self) -> list[tuple[Any, Tuner]]:
        return [(b, b.tuner) for b in self.bodies.values() if b.tuner is not None]

    def choices(self) -> list[Choice]:
        """All that is kept, of this process and on the disk, for the bodies as they are."""
        found: dict[str, Choice] = {}
        for body, tuner in self._tuned():
            mark = body.fingerprint()
            for path in sorted(cache.cache_dir().glob(f"tuned_{self.name}-*.json")):
                one = tuner.read(path)
                if one is not None and (one.kind, one.body) == (body.kind, mark):
                    found[one.file] = one
            found.update(tuner.choices)
        return list(found.values())

    def export(self, path: str | os.PathLike[str]) -> int:
        """Write all choices to a file, as JSON, and return how many there are."""
        every = [one._asdict() for one in self.choices()]
        Path(path).write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")
        return len(every)

    def load(self, path: str | os.PathLike[str]) -> int:
        """Take choices that were exported, in place of those that are kept; return how many are of this op
        with its bodies as they are. Those of another device wait until it is there.

        Raises:
            ValueError: the file is none that was exported.
        """
        try:
            rows = [Choice(**row) for row in json.loads(Path(path).read_text(encoding="utf-8"))]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.name}: {path} is no exported tuning: {error}") from None
        taken = 0
        for body, tuner in self._tuned():
            mark = body.fingerprint()
            for one in rows:
                mine = (one.op, one.kind, one.body) == (self.name, body.kind, mark)
                if mine and one.values in tuner.candidates:
                    cache.write(cache.cache_dir() / one.file, json.dumps(one._asdict()).encode())
                    tuner.choices[one.file] = one
                    taken += 1
        self.changed()
        return taken

    def forget(self) -> None:
        """Drop all choices, so that the next calls measure."""
        for one in self.choices():
            (cache.cache_dir() / one.file).unlink(missing_ok=True)
        for _, tuner in self._tuned():
            tuner.choices.clear()
        self.changed()

    def __bool__(self) -> bool:
        """Whether there is a body with candidates."""
        return bool(self._tuned())

    def __str__(self) -> str:
        lines = []
        every = self.choices()
        for body, tuner in self._tuned():
            mine = [one for one in every if one.kind == body.kind]
            first = f"{self.name}, {body.kind}: {words(tuner.candidates[0])}, the first of "
            first += f"{len(tuner.candidates)} candidates"
            if not tuner.measures():
                lines.append(f"{first}: measuring is switched off")
            elif not body.device_name():
                lines.append(f"{first}: no device is here to measure on (a simulated one is not)")
            elif not mine:
                lines.append(f"{first}: nothing was measured yet")
            for one in mine:
                lines.append(
                    f"{self.name}, {one.kind}, {one.device}; {one.shapes}: {words(one.values)}"
                )
                for values, spent in one.times:
                    lines.append(f"    {words(values)}: {_spelt(spent)}")
        return "\n".join(lines) or f"{self.name}: no body has tune="

    __repr__ = __str__
