"""Benchmarks of an op of the user's: against the same source op by op, in NumPy and in PyTorch."""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.gradients import grad
from tilegrad.autograd.picture import bars
from tilegrad.autograd.porting import PortError, ported
from tilegrad.autograd.rules.creation import tensor
from tilegrad.autograd.subject import Shape, Shapes, Subject
from tilegrad.engine import cuda
from tilegrad.engine.timing import compare
from tilegrad.kernels.formulas.derive import backward
from tilegrad.kernels.formulas.formula import Formula
from tilegrad.kernels.formulas.operations import operations
from tilegrad.kernels.function import DeviceFunction

LIBRARIES = ("op by op", "numpy", "torch", "torch.compile")
PRODUCT = (
    768  # rows and columns of the matrices whose product shows how fast the processor computes
)
MOST = 1 << 26  # bytes of an array that is copied

Call = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """A measurement.

    Attributes:
        shapes: of the operands; what: ``forward`` or ``backward``.
        library: the op (``tilegrad``), or what it is compared with.
        median, best: seconds of a call.
        bandwidth: bytes of operands and results over the best time; None where they are not known.
        rate: floating operations, as counted in the formula, over the best time.
        share: the least time that the copy and the product of matrices of this run allow, over the best.
        error: the largest difference from float64, relative to the value plus the mean size; NaN of integers.
    """

    shapes: tuple[Shape, ...]
    what: str
    library: str
    median: float
    best: float
    bandwidth: float | None = None
    rate: float | None = None
    share: float | None = None
    error: float = math.nan


@dataclass(frozen=True)
class _Work:
    """Bytes that a call must move, and operations that it computes."""

    nbytes: int
    operations: int


def bench(
    subject: Subject,
    *shapes: Shapes,
    dtype: str = "float32",
    domain: tuple[float, float] = (-1.0, 1.0),
    device: str = "cpu",
    libraries: Sequence[str] | None = None,
    rounds: int = 15,
    seed: int = 0,
    picture: str | None = None,
) -> list[Row]:
    """Time an op, forward and backward, against what else can run its source; print a table.

    Args:
        shapes: a row each: one shape for all operands, or a tuple of one for each.
        dtype: of operands that are floats.
        domain: where operands are drawn from.
        device: where the op runs.
        libraries: of ``op by op``, ``numpy``, ``torch``, ``torch.compile``; by default those at hand.
        rounds: samples of each.
        seed: of the operands.
        picture: a file for a picture of the times (SVG).

    Raises:
        RuntimeError: the device is simulated, where no time means anything.
    """
    if device != "cpu" and cuda.driver().simulated:
        raise RuntimeError(
            f"{subject.name}: bench needs a GPU; the one of this process is simulated"
        )
    rows: list[Row] = []
    left_out: dict[str, str] = {}
    for given in shapes or ((1_000_000,),):
        run = _Run(subject, subject.shapes_of(given), dtype, domain, device, seed)
        chosen = LIBRARIES if libraries is None else tuple(libraries)
        rows += run.rows(chosen, rounds, left_out)
    print(table(subject.name, rows, left_out))
    if picture is not None:
        title = f"{subject.name}, {dtype}, {device}: microseconds"
        named = [(_words(r), r.library, r.best * 1e6) for r in rows]
        Path(picture).write_text(bars(title, named), encoding="utf-8")
    return rows


def _words(row: Row) -> str:
    shapes = row.shapes[:1] if len(set(row.shapes)) == 1 else row.shapes
    return f"{' '.join(str(s).replace(' ', '') for s in shapes)} {row.what}"


class _Run:
    """The measurements for one set of shapes."""

    def __init__(
        self, subject: Subject, shapes: tuple[Shape, ...], dtype: str,
        domain: tuple[float, float], device: str, seed: int,
    ):  # fmt: skip
        self.subject, self.shapes, self.dtype, self.device = subject, shapes, dtype, device
        rng = np.random.default_rng(seed)
        self.arrays = [
            self._typed(name, rng.uniform(*domain, shape))
            for name, shape in zip(subject.operands, shapes, strict=True)
        ]

    def _typed(self, name: str, array: np.ndarray) -> np.ndarray:
        kind = self.subject.dtypes.get(name)
        if kind == "bool":
            return np.asarray(array > array.mean())
        return array.astype(kind or self.dtype)

    def rows(self, libraries: Sequence[str], rounds: int, left_out: dict[str, str]) -> list[Row]:
        """Those of the forward pass, then of the backward pass, if there is one."""
        made: dict[str, tuple[Call, Call | None]] = {
            "tilegrad": self._ours(self.subject.call, self.arrays, self.device)
        }
        for library in libraries:
            reason = _missing(library)
            try:
                if not reason:
                    made[library] = self._theirs(library)
            except Exception as error:  # whatever another library says to the source
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
            if reason:
                left_out[library] = reason
        exact = self._exact()
        found = self._measured("forward", {n: f for n, (f, _) in made.items()}, rounds, exact[0])
        back = {n: b for n, (_, b) in made.items() if b is not None}
        if "tilegrad" in back:
            found += self._measured("backward", back, rounds, exact[1])
        return found

    def _measured(
        self, what: str, calls: dict[str, Call], rounds: int, exact: list[np.ndarray]
    ) -> list[Row]:
        errors = {n: _error(call(), exact) for n, call in calls.items()}
        work = self._work(what)
        timings = compare({n: self._finished(c) for n, c in calls.items()}, rounds)
        least = self._least(work, rounds) if work else None
        rows = []
        for name, timing in timings.items():
            best = timing.best
            row = Row(self.shapes, what, name, timing.median, best, error=errors[name])
            if work is not None and least is not None:
                row = replace(
                    row,
                    bandwidth=work.nbytes / best,
                    rate=work.operations / best,
                    share=least / best,
                )
            rows.append(row)
        return rows

    def _finished(self, call: Call) -> Call:
        """A call that has ended when it returns."""
        if self.device == "cpu":
            return call

        def whole() -> None:
            call()
            cuda.synchronize()

        return whole

    # ------------------------------------------------------------------------------ libraries

    def _ours(
        self, function: Callable[..., object], arrays: list[np.ndarray], device: str
    ) -> tuple[Call, Call | None]:
        tensors = [tensor(a).to(device) for a in arrays]
        return _both(lambda given: function(*given, **self.subject.more), tensors, grad, _ones)

    def _theirs(self, library: str) -> tuple[Call, Call | None]:
        if self.subject.written is None:
            raise PortError("it is made of functions of numbers, which say nothing of tensors")
        if library == "op by op":
            return self._ours(ported(self.subject.written, "tilegrad"), self.arrays, self.device)
        if library == "numpy":
            plain, given = ported(self.subject.written, "numpy"), self.arrays
            plain(*given, **self.subject.more)
            return lambda: plain(*given, **self.subject.more), None
        torch: Any = importlib.import_module("torch")
        where = self.device if torch.cuda.is_available() else "cpu"
        if where != self.device:
            raise RuntimeError("this PyTorch knows no GPU")
        function = ported(self.subject.written, "torch")
        if library == "torch.compile":
            function = torch.compile(function)
        tensors = [torch.from_numpy(a).to(where) for a in self.arrays]

        return _both(
            lambda given: function(*given, **self.subject.more), tensors, torch.autograd.grad,
            torch.ones_like,
        )  # fmt: skip

    def _exact(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Results and gradients in float64, by the source op by op, or the op itself."""
        arrays = [a.astype("float64") if a.dtype.kind == "f" else a for a in self.arrays]
        try:
            written: Any = self.subject.written  # None of a reduction
            forward, back = self._ours(ported(written, "tilegrad"), arrays, "cpu")
        except Exception:  # a branch on numbers, say
            forward, back = self._ours(self.subject.call, arrays, "cpu")
        return _arrays(forward()), _arrays(back()) if back else []

    # --------------------------------------------------------------------------------- limits

    def _work(self, what: str) -> _Work | None:
        """What the kernels of a pass move and compute; None of an op that is not elementwise."""
        formulas = self.subject.formulas()
        if not formulas or getattr(self.subject.call, "reduces", False):
            return None
        size = np.broadcast_shapes(*self.shapes)
        count, item = math.prod(size), np.dtype(self.dtype).itemsize
        sizes = dict(zip(self.subject.operands, [a.nbytes for a in self.arrays], strict=True))
        total = ops = 0
        for formula in formulas:
            for made, out in self._kernels(formula, what):
                names = Formula("?", made).names
                reads = [sizes.get(n, count * item if n in ("g", "out") else 0) for n in names]
                total += sum(reads) + sizes.get(out, count * item)
                ops += count * operations(made, self.dtype)
        return _Work(total, ops)

    def _kernels(self, formula: DeviceFunction, what: str) -> list[tuple[DeviceFunction, str]]:
        """The formulas that run, each with the operand whose gradient it is."""
        if what == "forward":
            return [(formula, "")]
        floats = [n for n in self.subject.operands if n not in self.subject.dtypes]
        known = Formula("?", formula).names
        return [(backward(formula, n), n) for n in floats if n in known]

    def _least(self, work: _Work, rounds: int) -> float:
        """Seconds below which neither memory nor arithmetic lets this work be done here."""
        half = max(1, min(work.nbytes // 2, MOST) // 4)
        source = tensor(np.ones(half, "float32")).to(self.device)
        square = tensor(np.ones((PRODUCT, PRODUCT), self.dtype)).to(self.device)
        calls = {"copy": source.clone, "product": lambda: square @ square}
        timings = compare({n: self._finished(c) for n, c in calls.items()}, min(rounds, 7))
        moving = work.nbytes / (8 * half / timings["copy"].best)
        computing = work.operations / (2 * PRODUCT**3 / timings["product"].best)
        return max(moving, computing)


def _ones(out: Tensor) -> Tensor:
    return tensor(np.ones(tuple(out.shape), out.dtype.name)).to(out.device)


def _both(
    run: Callable[[list[Any]], object],
    tensors: list[Any],
    gradient: Callable[..., object],
    ones: Callable[[Any], object],
) -> tuple[Call, Call | None]:
    """The forward pass without a graph, and the backward pass alone, if there is one."""

    def forward() -> object:
        return run(tensors)

    forward()  # compiled, or refused
    leaves = [t.detach() for t in tensors]
    inputs = [t.requires_grad_() for t in leaves if t.dtype.is_floating_point]
    outs = [o for o in _several(run(leaves)) if o.requires_grad]
    if not outs:
        return forward, None
    flowing = [ones(o) for o in outs]

    def back() -> object:
        return gradient(outs, inputs, flowing, retain_graph=True)

    back()
    return forward, back


def _several(made: Any) -> Sequence[Any]:
    return made if isinstance(made, tuple | list) else (made,)


def _arrays(made: object) -> list[np.ndarray]:
    """Results of any library."""
    found = [o.detach().cpu().numpy() if hasattr(o, "detach") else o for o in _several(made)]
    return [np.asarray(a) for a in found]


def _error(made: object, exact: list[np.ndarray]) -> float:
    """The largest difference of a floating result, over its size and the mean one."""
    worst = math.nan
    for have, want in zip(_arrays(made), exact, strict=True):
        if want.dtype.kind != "f" or not want.size:
            continue
        with np.errstate(all="ignore"):
            apart = np.abs(have - want) / (np.abs(want) + np.nanmean(np.abs(want)))
        found = float(np.nan_to_num(apart).max())
        worst = found if math.isnan(worst) else max(worst, found)
    return worst


def _missing(library: str) -> str:
    """Why a library cannot be measured here; empty if it can."""
    if library not in LIBRARIES:
        raise ValueError(f"bench: libraries are among {', '.join(LIBRARIES)}; got {library!r}")
    package = library.partition(".")[0]
    if package in ("numpy", "torch") and importlib.util.find_spec(package) is None:
        return "not installed"
    if library == "torch.compile" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return "no C++ compiler is here"
    return ""


# ----------------------------------------------------------------------------------------- table


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _cell(value: float | None, form: str, scale: float = 1.0) -> str:
    return "-" if value is None or math.isnan(value) else form.format(value * scale)


def table(name: str, rows: Sequence[Row], left_out: dict[str, str]) -> str:
    """The rows as text, and what was left out, why."""
    heads = ("shapes", "library", "median", "least", "GB/s", "GFLOP/s", "of the roof", "error")
    lines = [heads]
    for row in rows:
        lines.append((
            _words(row), row.library, _time(row.median), _time(row.best),
            _cell(row.bandwidth, "{:.3g}", 1e-9), _cell(row.rate, "{:.3g}", 1e-9),
            _cell(row.share, "{:.0%}"), _cell(row.error, "{:.1e}"),
        ))  # fmt: skip
    widths = [max(len(line[k]) for line in lines) for k in range(len(heads))]
    shown = [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    ends = [f"{library}: left out: {reason}" for library, reason in left_out.items()]
    return "\n".join([name, *shown, *ends])
