"""One row in all its columns: times, rates, shares of the roofline, errors and speedups, as a record each."""

from __future__ import annotations

import gc
import importlib.util
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad.bench import energy
from tilegrad.bench.agreement import difference
from tilegrad.bench.areas import Benchmark
from tilegrad.bench.columns import Column, prepare, runs, sampler, synchronize, use

Record = dict[str, Any]
OPENBLAS_SPINS = 0.15  # seconds that its threads stay in the way of whoever comes next
NORM = 0.02  # how far a norm may be off; a wrong gradient is off by more
ROTATED = 1024  # sets of operands at most, for a cold cache


@dataclass(frozen=True)
class How:
    """How long and how often.

    Attributes:
        rounds: samples of each column at most, ``least`` at least; budget: seconds of each column.
        sample: seconds of calls that a sample is made of; settle: seconds between two, in
            which threads of the library before stop spinning.
        cache: bytes of the last cache; 0: no times with a cold one.
        dtype: of operands that are floats; seed: of their values.
    """

    rounds: int = 15
    least: int = 3
    budget: float = 0.2
    sample: float = 0.003
    settle: float = 0.002
    cache: int = 32 << 20
    dtype: str = "float32"
    seed: int = 0


@dataclass
class _Entry:
    """A column while its row is measured."""

    column: Column
    call: Callable[[], Any]
    take: Callable[[Callable[[], Any], int], float]
    error: float
    count: int = 1
    cold: float | None = None
    joules: float | None = None

    def __post_init__(self) -> None:
        self.samples: list[float] = []


def oracle(row: Benchmark, arrays: list[np.ndarray]) -> tuple[str, list[np.ndarray]]:
    """What the results are in float64, and who says so: PyTorch, else NumPy, else tilegrad itself."""
    if row.exact is not None:
        return "the distribution's moments", [np.array(row.exact)]
    if row.transfer:
        return "the operand itself", arrays
    if importlib.util.find_spec("torch"):
        return "PyTorch, float64", row.prepare("torch", "float64", arrays=arrays).results()
    if row.numpy is not None and not row.backward:
        return "NumPy, float64", row.prepare("numpy", "float64", arrays=arrays).results()
    return "tilegrad, float64", row.prepare("tilegrad", "float64", arrays=arrays).results()


def measure(
    row: Benchmark,
    columns: Sequence[Column],
    how: How,
    roofs: dict[str, Any] | None = None,
    earlier: Sequence[Record] = (),
) -> list[Record]:
    """The records of a row, tilegrad's columns first; a column that cannot run it says why in ``fault``.

    Records of an ``earlier`` look at the row give it their samples.
    """
    arrays = row.arrays(how.seed)
    records, entries = [], []
    taken = [c for c in columns if runs(row, c)]
    # what the look before had from the pools of memory is in use now: where pages lie, caches differ by
    kept = [_spare(row, c, how.dtype, arrays) for c in taken] if earlier else []
    try:
        said, exact = oracle(row, arrays)
    except Exception as error:  # without an oracle nothing can be told
        return [{**_what(row, c, how.dtype), "fault": f"no oracle: {_words(error)}"} for c in taken]
    for column in taken:
        use(column)
        try:
            entries.append(_entry(row, column, arrays, exact, how.dtype))
        except Exception as error:  # another library's, or a kernel's: the other columns go on
            records.append({**_what(row, column, how.dtype), "fault": _words(error)})
    del exact
    known = {r["column"]: r for r in earlier if "min" in r}
    for entry in entries:
        if entry.column.key in known:
            entry.samples = list(known[entry.column.key]["samples"])
            entry.cold = known[entry.column.key]["cold"]
    gc.collect()
    gc.freeze()  # what is there already costs nobody a pass of the collector
    most = max((c.threads for c in columns), default=0)
    for group in _groups(entries):
        _interleave(group, how)
        for entry in group:
            asked = how.cache and entry.cold is None
            if asked and not row.backward and entry.column.threads in (0, most):
                entry.cold = _cold(row, entry, arrays, how)
    gc.unfreeze()
    del kept
    found = [_record(row, entry, said, roofs or {}, how.dtype) for entry in entries]
    speedups(found)
    return found + records


def _spare(row: Benchmark, column: Column, dtype: str, arrays: list[np.ndarray]) -> Any:
    """Operands and result of a call, in memory of their own."""
    use(column)
    made = prepare(row, column, dtype, arrays)
    return made, made.call()


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _what(row: Benchmark, column: Column, dtype: str) -> Record:
    return {
        "op": row.op or row.name, "area": row.area, "name": row.name, "size": row.size,
        "shapes": [list(o.shape) for o in row.operands], "dtype": dtype,
        "column": column.key, "library": column.library, "device": column.device,
        "threads": column.threads, "backward": row.backward,
    }  # fmt: skip


def _entry(
    row: Benchmark, column: Column, arrays: list[np.ndarray], exact: list[np.ndarray], dtype: str
) -> _Entry:
    made = prepare(row, column, dtype, arrays)
    results = made.results()
    if row.summary is not None:
        results = [row.summary(r) for r in results]
    error = norms(results, exact) if row.by_norm else _error(results, exact)
    return _Entry(column, made.call, sampler(column), error)


def _error(results: list[np.ndarray], exact: list[np.ndarray]) -> float:
    """The largest relative difference; a float64 oracle of integers or masks must match exactly."""
    return difference([np.asarray(r) for r in results], [np.asarray(e) for e in exact])


def norms(results: list[np.ndarray], exact: list[np.ndarray]) -> float:
    """The largest norm of a difference over the norm of what it should be."""
    if [r.shape for r in results] != [e.shape for e in exact]:
        return math.inf
    pairs = zip(results, exact, strict=True)
    found = [np.linalg.norm(r - e) / max(float(np.linalg.norm(e)), 1e-30) for r, e in pairs]
    return float(np.nan_to_num(max(found), nan=np.inf))


def _limit(row: Benchmark) -> float:
    return NORM if row.by_norm else row.tolerance


def _groups(entries: list[_Entry]) -> list[list[_Entry]]:
    """Columns that are interleaved: those of one device and number of threads; NumPy's threads disturb
    whoever comes next, and it comes last and alone.
    """
    keys = dict.fromkeys((e.column.device, e.column.threads) for e in entries)
    groups = [
        [
            e
            for e in entries
            if (e.column.device, e.column.threads) == k and e.column.library != "numpy"
        ]
        for k in keys
    ]
    return [g for g in groups if g] + [[e] for e in entries if e.column.library == "numpy"]


def _interleave(group: list[_Entry], how: How) -> None:
    for entry in group:
        use(entry.column)
        synchronize(entry.column)
        entry.count = _count(entry, how.sample)
    start, meters = time.perf_counter(), energy.meters(group[0].column.device)
    for done in range(how.rounds):
        if done >= how.least and time.perf_counter() - start > how.budget * len(group):
            break
        for entry in group:
            time.sleep(how.settle)
            if entry.count > 1:
                entry.call()  # wakes its own threads
                synchronize(entry.column)
            before = meters()
            entry.samples.append(entry.take(entry.call, entry.count))
            if before is not None and (after := meters()) is not None:
                spent = (after - before) / entry.count
                entry.joules = spent if entry.joules is None else min(entry.joules, spent)
    if group[0].column.library == "numpy":
        time.sleep(OPENBLAS_SPINS)


def _count(entry: _Entry, at_least: float) -> int:
    count = 1
    while True:
        spent = entry.take(entry.call, count) * count
        if spent >= at_least:
            return count
        count = max(2 * count, int(count * at_least / max(spent, 1e-9)))


def _cold(row: Benchmark, entry: _Entry, arrays: list[np.ndarray], how: How) -> float | None:
    """The median over operands that the last cache no longer has: as many sets as twice fill it, in turn.

    None where that takes more than ``ROTATED`` sets, or where one set is larger than the cache.
    """
    each = sum(a.nbytes for a in arrays)
    if not each or each * ROTATED < 2 * how.cache or each > how.cache:
        return None
    if entry.column.library == "torch.compile":
        return None
    sets = math.ceil(2 * how.cache / each) + 1
    calls = [
        prepare(row, entry.column, how.dtype, [a.copy() for a in arrays]).call for _ in range(sets)
    ]
    use(entry.column)

    def through() -> None:
        for call in calls:
            call()

    through()
    return statistics.median([entry.take(through, 1) / sets for _ in range(how.least)])


# ----------------------------------------------------------------------------------------- records


def _record(row: Benchmark, entry: _Entry, said: str, roofs: dict[str, Any], dtype: str) -> Record:
    times = sorted(entry.samples)
    best = times[0]
    nbytes = row.nbytes * (2 if dtype == "float64" else 1)
    found = {
        **_what(row, entry.column, dtype),
        "rounds": len(times),
        "calls": entry.count,
        "min": best,
        "median": statistics.median(times),
        "p95": times[min(len(times) - 1, math.ceil(0.95 * len(times)) - 1)],
        "samples": [float(f"{t:.4g}") for t in entry.samples],
        "cold": entry.cold,
        "gbps": nbytes / best / 1e9 if nbytes else None,
        "gflops": row.flops / best / 1e9 if row.flops else None,
        "nbytes": nbytes,
        "flops": row.flops,
        "error": entry.error if math.isfinite(entry.error) else None,
        "tolerance": _limit(row),
        "oracle": said,
        "agrees": bool(entry.error <= _limit(row)),
        "joules": entry.joules,
        "first_call": None,
    }
    found |= _share(nbytes, row.flops, best, roofs.get(_roof(entry.column)))
    return found


def _roof(column: Column) -> str:
    return f"{column.device}/{column.threads}" if column.threads else column.device


def _share(nbytes: float, flops: float, best: float, roof: dict[str, Any] | None) -> Record:
    """The least time that the copy and the product of this run allow, over the time taken."""
    if roof is None or not nbytes:
        return {"share": None, "bound": None}
    memory = nbytes / bandwidth(roof, nbytes) / 1e9
    arithmetic = flops / roof["gflops"] / 1e9
    least = max(memory, arithmetic)
    return {"share": least / best, "bound": "memory" if memory >= arithmetic else "arithmetic"}


def bandwidth(roof: dict[str, Any], nbytes: float) -> float:
    """GB/s of the copies of this run whose bytes, read and written, are nearest to so many."""
    return float(min(roof["copies"], key=lambda c: abs(math.log(c["nbytes"] / nbytes)))["gbps"])


def speedups(records: list[Record]) -> None:
    """Speedups of each column over every other; none where one of the two is off the oracle."""
    for record in records:
        record["speedup"] = {
            other["column"]: other["min"] / record["min"]
            for other in records
            if other is not record and other["agrees"] and record["agrees"]
        }
