"""What benchmarks, explanations and generated tests must know of an op of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tilegrad.kernels.function import DeviceFunction

if TYPE_CHECKING:
    from tilegrad.autograd.benching import Row

Shape = tuple[int, ...]
Shapes = int | Shape | tuple[Shape, ...]


@dataclass(frozen=True)
class Subject:
    """An op of the user's.

    Attributes:
        call: the function of tensors.
        operands: the names of its operands, in order.
        written: the function of tensors, or of one element, that it was made of, whose names may be given
            another library's meaning; None of a reduction.
        formulas: gives the scalar formula of each output, of an op that has such.
        checking: makes what ``.check()`` with these arguments runs: the checks, and what runs all.
        dtypes: of operands that are no floats, by name.
        more: what a call of it is given besides, by name.
    """

    call: Any
    operands: tuple[str, ...]
    written: Callable[..., object] | None
    checking: Callable[..., tuple[Any, Callable[[], object]]]
    formulas: Callable[[], tuple[DeviceFunction, ...]] = tuple
    dtypes: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.call.__name__)

    def shapes_of(self, given: Shapes) -> tuple[Shape, ...]:
        """A shape per operand: of one that is given for all, or of one for each.

        Raises:
            TypeError: it is neither.
        """
        if isinstance(given, int):
            given = (given,)
        if all(isinstance(n, int) for n in given):
            return (given,) * len(self.operands)  # type: ignore[return-value]
        every: Sequence[int | Shape] = given
        if len(every) != len(self.operands):
            raise TypeError(
                f"{self.name}: a shape is given for all operands, or one for each of "
                f"{', '.join(self.operands)}; got {given!r}"
            )
        return tuple([(s,) if isinstance(s, int) else tuple(s) for s in every])


class UserFunction(Protocol):
    """What every op of a user's has."""

    __name__: str

    def bench(
        self,
        *shapes: Shapes,
        dtype: str = "float32",
        domain: tuple[float, float] = (-1.0, 1.0),
        device: str = "cpu",
        libraries: Sequence[str] | None = None,
        rounds: int = 15,
        seed: int = 0,
        picture: str | None = None,
    ) -> list[Row]:
        """Time it, forward and backward, against what else can run its source; print a table.

        See :func:`tilegrad.autograd.benching.bench`.
        """

    def explain(
        self,
        *shapes: Shapes,
        arch: str = "sm_90",
        dtype: str = "float32",
        backward: bool = True,
        ptx: bool = False,
        sass: bool = False,
        asm: bool = False,
    ) -> None:
        """Print its formula and derivatives, and the kernels of both devices.

        See :func:`tilegrad.autograd.explaining.explain`.
        """


class FormulaFunction(UserFunction, Protocol):
    """What every op of a user's has that is one formula per output. Of a fused function, the attributes tell of
    the last signature that was traced.

    Attributes:
        formulas: one scalar formula per output, in the form that kernels compile.
        source: their source.
    """

    formulas: tuple[DeviceFunction, ...]
    source: str

    def __call__(self, *operands: object, out: object = None, **named: object) -> Any:
        """The function of tensors: operands broadcast and are promoted."""

    def derivative(self, name: str, output: int = 0) -> str:
        """The source of the derivative of an output with respect to an argument."""


def attach(subject: Subject) -> None:
    """Give the function of an op what :class:`UserFunction` says, and its ``subject``."""
    call = subject.call
    call.subject = subject
    call.bench, call.explain = partial(_bench, subject), partial(_explain, subject)


def _bench(subject: Subject, *shapes: Shapes, **how: Any) -> object:
    """See :func:`tilegrad.autograd.benching.bench`."""
    from tilegrad.autograd.benching import bench

    return bench(subject, *shapes, **how)


def _explain(subject: Subject, *shapes: Shapes, **how: Any) -> None:
    """See :func:`tilegrad.autograd.explaining.explain`."""
    from tilegrad.autograd.explaining import explain

    explain(subject, *shapes, **how)
