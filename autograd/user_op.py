"""Ops of the user's own: a signature, a reference, and kernels and gradients as far as they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tilegrad.autograd.subject import UserFunction
from tilegrad.autograd.user_calls import Work
from tilegrad.engine.autotune import Tune, Tuning
from tilegrad.engine.signature import Signature
from tilegrad.engine.signature_parser import SignatureError, parse
from tilegrad.kernels.bodies import asked

Function = Callable[..., object]


class OpFunction(UserFunction, Protocol):
    """What :func:`op` makes: a function of tensors, and the doors for its kernels and gradients.

    Attributes:
        signature: what it takes and gives.
        reference: the function it was made of.
        devices: the kinds of device that have a kernel; on others the reference is run.
        tuning: what ``tune=`` chose, shown by printing it; its ``choices()``, ``export(path)``,
            ``load(path)`` and ``forget()``.
    """

    tuning: Tuning
    signature: Signature
    reference: Function
    devices: tuple[str, ...]

    def __call__(self, *arguments: object, **named: object) -> Any:
        """The outputs: a tensor, or a tuple of them; what was written where there are none."""

    def cpu(
        self,
        *,
        tasks: object,
        scratch: object = None,
        strided: bool = False,
        work: object = None,
        reassociate: bool = False,
        views: bool = False,
        tune: Tune | None = None,
        measure: bool = True,
    ) -> Callable[[Function], Function]:
        """Decorate the work of one task on the CPU.

        The body asks by name for what it reads: operands and outputs (pointers, ``x[i]``), sizes,
        scalars, ``task``, ``tasks``, ``scratch``, ``x_shape``, ``x_strides``, ``itemsize``, and ``f`` or
        ``i`` for the type behind that word of the signature. Tasks write disjoint memory, in any order.

        Args:
            tasks: how many there are; a number, or a function that asks for sizes by name.
            scratch: bytes of scratch memory of a task, likewise; a pointer to the first operand's dtype.
            strided: whether all operands are given as they lie; else those whose strides the body
                asks for are, and the others row-major.
            work: elements read and written in all, where that is not what the operands have: little
                work is done by one thread.
            reassociate: whether sums and extrema in loops may be taken in vectors, and so in another order:
                many times faster, the same bits in every run, but no place for compensated sums.
            views: operands and outputs are arrays, ``x[i, j]``, ``x.shape``, instead of pointers.
            tune: candidates of constants, by name, for which the body, ``tasks=`` and the others may ask: the
                first call of a class of shapes times all combinations, and the choice is kept on disk.
            measure: False takes the first candidates instead, as ``TILEGRAD_TUNE=0`` does.

        Raises:
            BodyError: something is asked for that there is not.
        """

    def cuda(
        self,
        kernel: object = None,
        *,
        grid: object,
        block: object,
        shared: object = 0,
        scratch: object = None,
        strided: bool = False,
        views: bool = False,
        args: tuple[str, ...] | None = None,
        source: str | None = None,
        ptx: str | None = None,
        entry: str = "",
        options: tuple[str, ...] = (),
        tune: Tune | None = None,
        measure: bool = True,
    ) -> Any:
        """Decorate what every thread runs on a GPU, in numba.cuda's Python (``from numba import cuda``) or
        in the device language of tilegrad's own kernels; or give a kernel as it is, with ``args``.

        A body asks by name as one of :meth:`cpu` does, but for ``task`` and ``tasks``; ``shared`` is a
        pointer to the dynamic shared memory, of the first operand's dtype.

        Args:
            kernel: a function of ``numba.cuda.jit``, as it is: operands come as arrays.
            grid: blocks, a number or up to three; block: threads of a block, likewise; shared: bytes of
                dynamic shared memory of a block; scratch: bytes of scratch memory of a block. Values, or
                functions that ask for sizes by name.
            strided: see :meth:`cpu`; views: operands are arrays, ``x[i, j]``, instead of pointers.
            args: what the kernel's parameters are, in order: names that a body may ask for.
            source: CUDA C++, in which ``scalar_t`` is the type of ``f``; ptx: PTX. Sizes are integers
                of any width, float scalars float or double, as the parameter is.
            entry: the kernel's name in the source; options: of NVRTC.
            tune: candidates of constants, as of :meth:`cpu`; in C++ those that ``args`` does not name are
                macros. A simulated GPU takes the first; measure: as of :meth:`cpu`.

        Raises:
            BodyError: something is asked for that there is not.
        """

    def vjp(self, function: Function) -> Function:
        """Decorate the gradient: asks by name for operands, outputs, scalars, and ``grad_y`` for each
        output ``y``, and returns a gradient (or None) per floating operand, or a dict of them by name. What it asks for is what a call saves. An
        operand that is written over goes by its name as it is after the call, and as ``old_x`` before it.
        """

    def jvp(self, *given: object, **scalars: object) -> Any:
        """Decorate the derivative along a direction, or work it out: ``op.jvp(operands, tangents)``.

        The function asks by name for operands, outputs, scalars, and ``tangent_x`` for each operand ``x``, and
        returns a tangent per result. Given operands and tangents (None: zeros), scalars by name, this is
        (results, their tangents); where none is declared, by way of the ``vjp``, differentiated once.
        """

    def check(
        self,
        shapes: Mapping[str, object] | None = None,
        domain: tuple[float, float] = (-3.0, 3.0),
        seed: int = 0,
        tolerance: float = 1.0,
        **scalars: object,
    ) -> None:
        """Compare the kernel of each device with the reference in float64: dtypes, sizes 0, 1 and primes,
        gaps and transposes, NaN and infinities, the bits of runs and of numbers of threads, accesses
        within bounds; and gradients with those of the reference and with differences. Print a table.

        Args:
            shapes: sizes of names, which are drawn else; of a run, a tuple.
            domain: where operands are drawn from; seed: of the numbers.
            tolerance: a factor on what results may differ by.
            scalars: values of scalars, which are the defaults else.

        Raises:
            CheckError: something differs; the message has the smallest operands found that show it.
        """


def op(signature: str) -> Callable[[Function], OpFunction]:
    """Make an op of the function below: ``@tilegrad.op("row_softmax(x: f[*B, N]) -> y: like x")``.

    The function is the reference, written in functions of tensors: what the op means. It is run
    where the device has no kernel, and differentiated where no ``vjp`` is given. An operand that the signature
    declares ``inout`` it does not write: it returns the new value, before the outputs.

    See :func:`tilegrad.engine.signature_parser.parse` for signatures.

    Raises:
        SignatureError: the signature is wrong, or names other arguments than the function.
    """
    made = parse(signature)
    return lambda function: _make(made, function)


def _make(signature: Signature, reference: Function) -> OpFunction:
    name = signature.name
    wanted = tuple([a.name for a in signature.arguments])
    if reference.__name__ != name:
        raise SignatureError(
            f"op: the function must be called {name}, as its signature says; got {reference.__name__}"
        )
    if asked(reference) != wanted:
        raise SignatureError(
            f"{name}: the function must take ({', '.join(wanted)}), as its signature says; got "
            f"({', '.join(asked(reference))})"
        )
    _refuse_second(name, reference)
    made: OpFunction = Work(signature, reference).call
    return made


_known: dict[tuple[str, str], tuple[int, int, str, int]] = {}  # where the op of a name was made


def _refuse_second(name: str, function: Function) -> None:
    """Raise where a module makes two ops of one name; a cell or a module that runs again may."""
    if "<locals>" in function.__qualname__:
        return
    code, scope = function.__code__, function.__globals__
    place = (id(scope), id(scope.get("__spec__")), code.co_filename, code.co_firstlineno)
    before = _known.setdefault((function.__module__, function.__qualname__), place)
    if before[:3] == place[:3] and before[3] != place[3] and code.co_filename[:1] != "<":
        raise ValueError(
            f"{name}: there is an op of this name already, of line {before[3]}; got another "
            f"of line {place[3]} of {code.co_filename}. Give it a name of its own"
        )
    _known[function.__module__, function.__qualname__] = place
