"""Checks of an op of the user's own: each device's kernel against the reference, and the gradients."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from tilegrad.autograd.annotations import Tensor, Tensors
from tilegrad.autograd.checking import CheckError, repeatable, simulated, table
from tilegrad.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from tilegrad.autograd.gradients import grad as gradients_of
from tilegrad.autograd.mode import no_grad
from tilegrad.engine import cuda
from tilegrad.engine.debug import debug
from tilegrad.engine.ops.user import UserOp
from tilegrad.engine.signature import EXACT, Operand, Signature, sizes_in
from tilegrad.kernels.faults import KernelFault

Sizes = dict[str, Any]  # a number for each name, a tuple for each run
PRIMES = (5, 7, 3, 11, 13, 2)
LONG = 211
VARIANTS = {"f": ("float64", "float32"), "i": ("int64", "int32"), "any": ("float32", "int64")}
# what a result may differ from the reference in float64, relative to the larger of it and 1
BOUNDS = {"float64": 1e-11, "float32": 5e-5}
SPECIAL = (np.nan, np.inf, -np.inf)
DRAWN = {int: 2, float: 0.5, bool: True, str: ""}  # of scalars without a default


class Case(NamedTuple):
    """Operands to run with.

    Attributes:
        what: in words; sizes: of the names; kind: the dtypes of ``f``, ``i`` and ``any``.
        scalars: all of them; how: the operands lie as "rows", "transposed" or "gaps"; special: NaN and infinities are among them.
        constants: those of the body that are tuned.
    """

    what: str
    sizes: Sizes
    kind: Mapping[str, str]
    scalars: Mapping[str, Any]
    how: str = "rows"
    special: bool = False
    constants: Mapping[str, float] = {}


class OpCheck:
    """Runs the checks of one op and keeps what they said.

    Args:
        call: the public function; op: what runs it; make: a tensor of an array, on a device.
        shapes: sizes that are not drawn; scalars: values of scalars.
        domain: where numbers are drawn from; tolerance: a factor on the bounds.
    """

    # checks that can be run one by one
    STEPS = ("compared", "repeated", "bounds", "gradients", "differences")

    def __init__(
        self, call: Any, op: UserOp, make: Callable[[np.ndarray, str], Tensor],
        shapes: Mapping[str, object], scalars: Mapping[str, object], domain: tuple[float, float], seed: int,
        tolerance: float,
    ):  # fmt: skip
        self.op = op
        self.call, self.make, self.domain, self.seed = call, make, domain, seed
        self.signature: Signature = call.signature
        self.name = self.signature.name
        self.tolerance = tolerance
        unknown = [n for n in shapes if n not in self.signature.dims]
        if unknown:
            raise TypeError(
                f"{self.name}: check: shapes= are of {', '.join(self.signature.dims)}; got {unknown[0]}"
            )
        self.fixed = dict(shapes)
        given = {
            s.name: DRAWN[s.type] if s.default is ... else s.default for s in self.signature.scalars
        }
        self.scalars = {**given, **scalars}
        self.rows: list[tuple[str, ...]] = []
        self.runs = {
            d[1:] for x in self.signature.operands for d in x.dims or () if str(d)[0] == "*"
        }

    def run(self) -> None:
        """All checks, on each device that is there."""
        devices = ["cpu", *(["cuda"] if cuda.is_available() else [])]
        for device in devices:
            if device not in self.call.devices:
                self.rows.append(("no kernel: the reference", device, "", ""))
                continue
            every = self.candidates(device)
            if len(every) > 1:
                self.rows.append(
                    (f"{len(every)} candidates of tune=", device, "", "each, as follows")
                )
            for constants in every:
                for case in self.cases(device):
                    self.compared(case._replace(constants=constants), device)
            self.repeated(device)
            self.bounds(device)
        if self.differentiable():
            for device in devices:
                self.gradients(device)
            self.differences()

    # -------------------------------------------------------------------------------- operands

    def sizes(self, **more: object) -> Sizes:
        """A size for each name: given, else ``more``, else a prime."""
        primes = iter(PRIMES * 9)
        drawn = {n: (2, 3) if n in self.runs else next(primes) for n in self.signature.dims}
        return {**drawn, **more, **self.fixed}

    def kinds(self) -> list[dict[str, str]]:
        """The dtypes to run with."""
        used = dict.fromkeys(x.kind for x in self.signature.operands if x.kind in VARIANTS)
        chosen = [[(k, name) for name in VARIANTS[k]] for k in used]
        return [dict(pairs) for pairs in itertools.product(*chosen)]

    def candidates(self, device: str) -> list[dict[str, float]]:
        """The constants that the device's body is tuned over, all of which have to be right."""
        tuner = self.op.bodies[device].tuner
        return [{}] if tuner is None else tuner.candidates

    def cases(self, device: str) -> Iterator[Case]:
        """Sizes 0, 1 and primes, gaps and transposes, NaN and infinities, either truth of scalars."""
        flags = [s.name for s in self.signature.scalars if s.type is bool]
        for kind in self.kinds():
            yield Case("primes", self.sizes(), kind, self.scalars)
            for flag in flags:
                other = {**self.scalars, flag: not self.scalars[flag]}
                yield Case(f"{flag}={other[flag]}", self.sizes(), kind, other)
            ones = {n: () if n in self.runs else 1 for n in self.signature.dims}
            yield Case("size 1", self.sizes(**ones), kind, self.scalars)
            for n in self.signature.dims:
                if n not in self.fixed:
                    none = {n: (0,) if n in self.runs else 0}
                    yield Case(f"{n} = 0", self.sizes(**none), kind, self.scalars)
            yield Case("transposed", self.sizes(), kind, self.scalars, "transposed")
            yield Case("with gaps", self.sizes(), kind, self.scalars, "gaps")
            yield Case("NaN and infinities", self.sizes(), kind, self.scalars, special=True)
            for n in () if simulated(device) else self.signature.dims:
                if n not in self.runs and n not in self.fixed:
                    yield Case(f"{n} = {LONG}", self.sizes(**{n: LONG}), kind, self.scalars)

    def arrays(self, case: Case) -> list[np.ndarray]:
        """The operands of a case, in float64 where they are floating point."""
        rng = np.random.default_rng(self.seed)
        return [self.array(x, case, rng) for x in self.signature.operands]

    def array(self, x: Operand, case: Case, rng: np.random.Generator) -> np.ndarray:
        shape = sizes_in(x, case.sizes, case.scalars)
        kind = EXACT[x.kind].name if x.kind in EXACT else case.kind[x.kind]
        if kind == "bool":
            return rng.random(shape) < 0.5
        low, high = self.domain
        if not kind.startswith("float"):
            low = max(low, 0) if kind[0] == "u" else low
            return rng.integers(int(low), int(high) + 1, shape).astype(kind)
        made = rng.uniform(low, high, shape).astype(kind)
        if case.special and made.size:
            made.flat[rng.integers(0, made.size, max(1, made.size // 7))] = rng.choice(SPECIAL)
        return made

    def laid(self, array: np.ndarray, how: str) -> np.ndarray:
        """The same numbers, in memory of another order."""
        if how == "transposed" and array.ndim > 1:
            return np.ascontiguousarray(array.T).T
        if how == "gaps" and array.ndim:
            wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            wide[..., ::2] = array
            return wide[..., ::2]
        return array

    # ----------------------------------------------------------------------------------- values

    def results(self, arrays: Sequence[np.ndarray], case: Case, device: str) -> list[np.ndarray]:
        """What is written over, then the outputs, of the op."""
        ready = [self.make(self.laid(a, case.how), device) for a in arrays]
        if case.how != "rows":
            ready = [
                self.as_laid(t, self.laid(a, case.how)) for t, a in zip(ready, arrays, strict=True)
            ]
        self.spoil(ready, case, device)
        with no_grad(), self.op.constants(device, case.constants):
            made = self.call(*ready, **case.scalars)
        outs = made if isinstance(made, tuple) else (made,)
        written = [ready[k] for k in self.signature.written]
        found = [*written, *(outs if self.signature.outputs else ())]
        return [t.detach().cpu().numpy() for t in found]

    def spoil(self, operands: Sequence[Tensor], case: Case, device: str) -> None:
        """Leave NaN and great numbers in the memory that the outputs are about to get: what was computed
        before may lie there, and what the kernel does not write would be right.
        """
        bound = self.signature.bind([t.layout for t in operands], case.scalars)
        kinds = [(kind.shape, kind.dtype.numpy) for kind in bound.outs]
        spoiled = [
            self.make(np.full(shape, np.nan if dtype.kind == "f" else 113).astype(dtype), device)
            for shape, dtype in kinds * 2
        ]
        del spoiled

    def as_laid(self, tensor: Tensor, array: np.ndarray) -> Tensor:
        """``tensor`` in the strides of ``array``."""
        steps = [s // array.itemsize for s in array.strides]
        room = 1 + sum((n - 1) * s for n, s in zip(array.shape, steps, strict=True) if n)
        base = self.make(np.zeros(max(room, 1), array.dtype), str(tensor.device))
        return base.as_strided(array.shape, steps).copy_(tensor)

    def right(self, arrays: Sequence[np.ndarray], case: Case) -> list[np.ndarray] | None:
        """What the reference gives in float64; None where it refuses."""
        wide = [a.astype("float64") if a.dtype.kind == "f" else a for a in arrays]
        ready = [self.make(a, "cpu") for a in wide]
        by_name = {x.name: t for x, t in zip(self.signature.operands, ready, strict=True)}
        by_name.update(case.scalars)
        try:
            with no_grad():
                made = self.call.reference(*[by_name[a.name] for a in self.signature.arguments])
        except (RuntimeError, IndexError, ValueError):
            return None
        return [t.numpy() for t in (made if isinstance(made, (tuple, list)) else (made,))]

    def fault(self, case: Case, device: str) -> str | None:
        """What is wrong with the kernel in a case, in words; None where nothing is."""
        arrays = self.arrays(case)
        want = self.right(arrays, case)
        if want is None:
            return None
        for y, one, two in zip(
            self.call.results, self.results(arrays, case, device), want, strict=True
        ):
            if one.shape != two.shape:
                return f"{y} has shape {list(one.shape)}; its reference {list(two.shape)}"
            bound = BOUNDS.get(str(one.dtype), 0.0) * self.tolerance
            for index in np.ndindex(one.shape):
                if not _close(one[index], two[index], bound):
                    return f"{y}{list(index)} is {one[index]!r}; its reference {two[index]!r}"
        return None

    def compared(self, case: Case, device: str) -> None:
        """The kernel against the reference; the smallest sizes that fail are told."""
        kind = ",".join(case.kind.values())
        if self.right(self.arrays(case), case) is None:
            self.rows.append((case.what, device, kind, "the reference refuses"))
            return
        if self.fault(case, device) is None:
            self.rows.append((case.what, device, kind, "right"))
            return
        least = self.smallest(case, lambda smaller: self.fault(smaller, device) is not None)
        raise CheckError(
            f"{self.name}: {case.what}, {device}, {kind}: {self.fault(least, device)}\n{self.told(least)}"
        )

    def smallest(self, case: Case, fails: Callable[[Case], bool]) -> Case:
        """The case with sizes as small as they still fail."""
        for name in self.signature.dims:
            if name in self.fixed:
                continue
            have = case.sizes[name]
            tries = [(), (1,), (2,)] if name in self.runs else range(1, min(have, 16))
            for size in tries:
                smaller = case._replace(sizes={**case.sizes, name: size})
                if self.right(self.arrays(smaller), smaller) is not None and fails(smaller):
                    case = smaller
                    break
        return case

    def told(self, case: Case) -> str:
        """The operands of a case, in words."""
        every = {**case.sizes, **case.scalars, **case.constants}
        sizes = ", ".join(f"{n}={v}" for n, v in every.items())
        lines = [
            f"{x.name} = {np.array2string(a, threshold=40, separator=', ')}"
            for x, a in zip(self.signature.operands, self.arrays(case), strict=True)
        ]
        return "\n".join([f"with {sizes}:", *lines])

    # ------------------------------------------------------------------------ bits and bounds

    def repeated(self, device: str) -> None:
        """The same bits in a second run, and with another number of threads."""
        long = {
            n: 5 if simulated(device) else LONG for n in self.signature.dims if n not in self.runs
        }
        plain = Case("", self.sizes(**long), self.kinds()[-1], self.scalars)
        if self.right(self.arrays(plain), plain) is None:
            return
        for case in [plain._replace(constants=c) for c in self.candidates(device)]:

            def bits(case: Case = case) -> list[bytes]:
                return [a.tobytes() for a in self.results(self.arrays(case), case, device)]

            if not repeatable(bits):
                raise CheckError(
                    f"{self.name}: other bits in another run, {device}\n{self.told(case)}"
                )
        self.rows.append(("the same bits again", device, "", "right"))

    def bounds(self, device: str) -> None:
        """No access falls outside of its array."""
        for what in ("primes", "size 1"):
            ones = {n: () if n in self.runs else 1 for n in self.signature.dims}
            sizes = self.sizes() if what == "primes" else self.sizes(**ones)
            plain = Case(what, sizes, self.kinds()[-1], self.scalars)
            if self.right(self.arrays(plain), plain) is None:
                continue
            for case in [plain._replace(constants=c) for c in self.candidates(device)]:
                try:
                    with debug():
                        self.results(self.arrays(case), case, device)
                except KernelFault as fault:
                    raise CheckError(f"{fault}\n{self.told(case)}") from None
        self.rows.append(("accesses within bounds", device, "", "right"))

    # -------------------------------------------------------------------------------- gradients

    def differentiable(self) -> bool:
        """Whether an operand and a result are floating point."""
        kinds = [x.kind for x in self.signature.operands]
        exact = [EXACT[k] for k in kinds if k in EXACT]
        real = "f" in kinds or any(k.is_floating_point for k in exact)
        return real and not any(k.is_floating_point and k.itemsize < 8 for k in exact)

    def first(self, device: str) -> AbstractContextManager[None]:
        """The first candidates, so that nothing is measured."""
        if device not in self.op.bodies:
            return nullcontext()
        return self.op.constants(device, self.candidates(device)[0])

    def graded(self, device: str, sizes: Sizes) -> tuple[Case, list[Tensor]]:
        """A case in float64, and its operands, which ask for gradients."""
        kind = {k: names[0] for k, names in VARIANTS.items()} | {"any": "float64"}
        case = Case("gradients", sizes, kind, self.scalars)
        ready = [self.make(a, device) for a in self.arrays(case)]
        return case, [t.requires_grad_() if t.dtype.is_floating_point else t for t in ready]

    def outputs(
        self, function: Callable[..., Tensors], given: Sequence[Tensor], case: Case
    ) -> list[Tensor]:
        """The floating-point results of the op, or of the reference."""
        by_name: dict[str, Any] = {
            x.name: t for x, t in zip(self.signature.operands, given, strict=True)
        }
        if function is self.call:
            for k in self.signature.written:
                by_name[self.signature.operands[k].name] = given[k] * 1
        by_name.update(case.scalars)
        made = function(*[by_name[a.name] for a in self.signature.arguments])
        outs = list(made) if isinstance(made, (tuple, list)) else [made]
        if function is self.call:
            written = [by_name[self.signature.operands[k].name] for k in self.signature.written]
            outs = [*written, *(outs if self.signature.outputs else ())]
        return [y for y in outs if y.dtype.is_floating_point]

    def gradients(self, device: str) -> None:
        """The op's gradients against those of the reference."""
        with self.first(device):
            self.as_the_reference(device)

    def as_the_reference(self, device: str) -> None:
        """See :meth:`gradients`."""
        case, given = self.graded(device, self.sizes())
        floats = [t for t in given if t.requires_grad]
        found = []
        for function in (self.call, self.call.reference):
            outs = self.outputs(function, given, case)
            rng = np.random.default_rng(self.seed)
            starts = [self.make(rng.standard_normal(tuple(y.shape)), device) for y in outs]
            pairs = [(y, g) for y, g in zip(outs, starts, strict=True) if y.requires_grad]
            ends, flow = [y for y, _ in pairs], [g for _, g in pairs]
            made = gradients_of(ends, floats, flow, materialize_grads=True) if pairs else ()
            found.append(made)
        names = [
            x.name for x, t in zip(self.signature.operands, given, strict=True) if t.requires_grad
        ]
        if not all(found):
            return
        for name, one, two in zip(names, *found, strict=True):
            assert one is not None and two is not None
            have, want = one.detach().cpu().numpy(), two.detach().cpu().numpy()
            for index in np.ndindex(have.shape):
                if not _close(have[index], want[index], 1e-9 * self.tolerance):
                    raise CheckError(
                        f"{self.name}: the gradient of {name}{list(index)} is {have[index]!r}; that of the "
                        f"reference {want[index]!r} ({device})\n{self.told(case)}"
                    )
        self.rows.append(("gradients of the reference", device, "float64", "right"))

    def differences(self) -> None:
        """First and second order against differences."""
        with self.first("cpu"):
            self.as_differences()

    def as_differences(self) -> None:
        """See :meth:`differences`."""
        small = {n: (2,) if n in self.runs else 3 for n in self.signature.dims}
        case, given = self.graded("cpu", self.sizes(**small))
        for what, check in (("first", gradcheck), ("second", gradgradcheck)):
            try:
                check(lambda *xs: tuple(self.outputs(self.call, xs, case)), given)
            except GradcheckError as error:
                raise CheckError(f"{self.name}: gradients of {what} order; {error}") from None
            self.rows.append((f"gradients of {what} order", "cpu", "float64", "right"))

        self.tangents(case, [t.detach() for t in given])

    def tangents(self, case: Case, given: list[Tensor]) -> None:
        """The derivative along a direction, against differences."""
        rng = np.random.default_rng(self.seed)
        floats = [t.dtype.is_floating_point for t in given]
        along = [
            self.make(rng.standard_normal(tuple(t.shape)), "cpu") if f else None
            for t, f in zip(given, floats, strict=True)
        ]
        _, made = self.call.jvp(given, along, **case.scalars)
        ends = []
        for step in (1e-6, -1e-6):
            moved = [t if d is None else t + step * d for t, d in zip(given, along, strict=True)]
            with no_grad():
                ends.append(self.outputs(self.call, moved, case))
        have = [
            t for t in (made if isinstance(made, tuple) else (made,)) if t.dtype.is_floating_point
        ]
        for one, two, tangent in zip(*ends, have, strict=True):
            want = (one - two) / 2e-6
            worst = (tangent - want).abs().max().item() if want.numel() else 0.0
            if not worst <= 1e-4 * self.tolerance * max(1.0, want.abs().max().item()):
                raise CheckError(
                    f"{self.name}: the tangent differs from differences by up to {worst:g}\n"
                    f"{self.told(case)}"
                )
        self.rows.append(("tangents", "cpu", "float64", "right"))

    def table(self) -> str:
        """What was checked, a line each; of equal ones the dtypes side by side."""
        merged: dict[tuple[str, ...], list[str]] = {}
        for what, device, kind, verdict in self.rows:
            merged.setdefault((what, device, verdict), []).append(kind)
        return table([
            (w, d, " ".join(dict.fromkeys(kinds)), v) for (w, d, v), kinds in merged.items()
        ])  # fmt: skip


def _close(have: np.ndarray, want: np.ndarray, bound: float) -> bool:
    one, two = float(have), float(want)
    if not math.isfinite(two):
        return one == two or (math.isnan(one) and math.isnan(two))
    return abs(one - two) <= bound * max(1.0, abs(two))
