"""What a user's reduction is made of: its functions as formulas, checked against each other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tilegrad.kernels.formulas.declared import parameters
from tilegrad.kernels.function import DeviceFunction, function_from_source

Function = Callable[..., object]

TAKEN = ("dim", "keepdim", "out")


@dataclass(frozen=True)
class Parts:
    """The functions of a reduction, brought into the form of formulas, and the names of a call."""

    name: str
    starts: tuple[float, ...]
    combines: tuple[DeviceFunction, ...]
    lifts: tuple[DeviceFunction, ...] | None
    finishes: tuple[DeviceFunction, ...] | None
    operands: tuple[str, ...]
    scalars: dict[str, float]
    kind: str
    truth: bool

    @staticmethod
    def of(
        name: str, combine: Function, identity: object, each: Function | None, last: Function | None
    ) -> Parts:
        """Reads and checks the functions.

        Raises:
            TypeError: they do not fit each other.
        """
        starts = identity if isinstance(identity, tuple) else (identity,)
        width = len(starts)
        if not width or any(s.__class__ not in (int, float) or s != s for s in starts):
            raise TypeError(f"{name}: identity must be a number per accumulator; got {identity!r}")
        combines, names, defaults, kind = _read(name, "the combination", combine)
        if len(names) != 2 * width or len(combines) != width or defaults:
            raise TypeError(
                f"{name}: a combination of {width} accumulator(s) takes {2 * width} numbers, one "
                f"partial result and then the other, and returns {width}; got "
                f"{len(names)} arguments and {len(combines)} results"
            )
        kinds, truth = [kind], False
        operands, scalars = ["x"], dict[str, float]()
        lifts = finishes = None
        if each is not None:
            lifts, operands, scalars, kind = _read(name, "each", each)
            kinds.append(kind)
            if len(lifts) != width or not operands:
                raise TypeError(
                    f"{name}: each takes an operand at least and returns a number per accumulator, "
                    f"{width}; got {len(operands)} operands and {len(lifts)} results"
                )
        elif width > 1:
            raise TypeError(
                f"{name}: each= must say what an element contributes to {width} accumulators; got None"
            )
        if last is not None:
            finishes, names, more, kind = _read(name, "last", last)
            kinds.append(kind)
            truth = kind == "compare" and len(finishes) == 1
            if len(names) != width:
                raise TypeError(
                    f"{name}: last takes the {width} accumulator(s), and scalars with a default; got "
                    f"{len(names)} arguments without one"
                )
            for scalar, value in more.items():
                if scalars.setdefault(scalar, value) != value:
                    raise TypeError(
                        f"{name}: each and last must agree on the default of {scalar}; got "
                        f"{scalars[scalar]!r} and {value!r}"
                    )
        for word in (*operands, *scalars):
            if word in TAKEN:
                raise TypeError(f"{name}: {word} is an argument of every reduction; got it twice")
        whole = all(s in (float("inf"), float("-inf")) or s == int(s) for s in starts)
        kind = "float" if "float" in kinds or not whole else "same"
        return Parts(
            name, tuple(float(s) for s in starts), combines, lifts, finishes, tuple(operands), scalars,
            kind, truth,
        )  # fmt: skip

    def with_scalars(self, formula: DeviceFunction, numbers: Sequence[str]) -> DeviceFunction:
        """A formula of ``numbers``, under its own names, and all scalars behind them."""
        order = [*numbers, *self.scalars]
        if parameters(formula) == order:
            return formula
        from tilegrad.kernels.formulas.derive import call_of
        from tilegrad.kernels.formulas.symbolic.source import write

        title = f"{formula.__name__}_{len(order)}"
        return write(replace(call_of(formula), name=title, parameters=order), formula.__name__)

    @cached_property
    def contributions(self) -> tuple[DeviceFunction, ...]:
        """Per accumulator, what elements contribute, of the operands and all scalars."""
        lifts = self.lifts or (itself("x"),)
        return tuple(self.with_scalars(f, self.operands) for f in lifts)

    @cached_property
    def results(self) -> tuple[DeviceFunction, ...]:
        """Per result, what the accumulators give, of all scalars too."""
        width = len(self.starts)
        if self.finishes is not None:
            return tuple(self.with_scalars(f, parameters(f)[:width]) for f in self.finishes)
        names = ["total"] if width == 1 else [f"total_{k}" for k in range(width)]
        return tuple(self.with_scalars(itself(n, names), names) for n in names)


def itself(name: str, names: Sequence[str] = ()) -> DeviceFunction:
    """The formula that gives one of its arguments."""
    given = ", ".join(names or (name,))
    source = f"def {name}_itself({given}):\n    return {name}\n"
    return DeviceFunction(function_from_source(source, f"{name}_itself", {}, __name__), source)


def _read(
    name: str, what: str, function: Function
) -> tuple[tuple[DeviceFunction, ...], list[str], dict[str, float], str]:
    """(formulas, names of the arguments without a default, values of the others, how dtypes go through)."""
    from tilegrad.kernels.formulas import user

    made = user.of_callable(function)
    if made is None:
        raise TypeError(f"{name}: {what} must be a function of numbers; got {function!r}")
    names, defaults = parameters(made[0]), dict[str, float]()
    if not inspect.isfunction(function) or hasattr(function, "formulas"):
        kind = "float"
    else:
        kind = user.kind_of(function)
    try:
        given = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):  # of a built-in function, such as math.sqrt
        given = []
    for parameter in given[: len(names)]:
        value = parameter.default
        if value is parameter.empty:
            continue
        if value.__class__ not in (int, float, bool):
            raise TypeError(
                f"{name}: the default of a scalar is a number; got {parameter.name}={value!r}"
            )
        defaults[parameter.name] = value
    return made, [n for n in names if n not in defaults], defaults, kind
