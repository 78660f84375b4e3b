"""Ops of the user's own: a signature, a body per kind of device, and plans as those of all other ops."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from tilegrad.engine import cuda
from tilegrad.engine.array import Array, Layout
from tilegrad.engine.autotune import Choice, Tune, Tuner, Values, size_class
from tilegrad.engine.device import Device
from tilegrad.engine.dispatch import Op, Plan, _launch, composed, kernel
from tilegrad.engine.ops.elementwise import contiguous, copy
from tilegrad.engine.signature import Bound, Signature
from tilegrad.kernels.arguments import Arguments, Given
from tilegrad.kernels.bodies import (
    Body,
    BodyError,
    ask,
    asked,
    constants,
    names_of,
    refuse_unknown,
    text_of,
    with_constants,
)
from tilegrad.kernels.foreign import Foreign


class Call(NamedTuple):
    """A call's layouts, as a body's launch is planned for it."""

    signature: Signature
    layouts: tuple[Layout, ...]
    scalars: Mapping[str, Any]  # those that the plan knows
    bound: Bound
    constants: Mapping[str, Any] = {}  # of the body: its own, and those that are tuned

    @property
    def arrays(self) -> tuple[Layout, ...]:
        """Of operands and outputs."""
        return (*self.layouts, *self.bound.outs)

    @property
    def names(self) -> list[str]:
        """Of operands and outputs."""
        return [x.name for x in (*self.signature.operands, *self.signature.outputs)]

    def sizes(self) -> dict[str, Any]:
        """What launches are functions of: sizes, scalars, the body's constants, and bytes of an element
        of the first operand.
        """
        known = {**self.bound.dims, **self.scalars, "itemsize": self.layouts[0].itemsize}
        return {**known, **self.constants}


class Kind(Protocol):
    """How a body of one kind is launched.

    Attributes:
        reads: names of sizes and scalars that the launch is a function of.
        strided: names of the operands that the body takes as they lie.
        tuner: chooses its constants; None where there are no candidates.
    """

    reads: tuple[str, ...]
    strided: frozenset[str]
    tuner: Tuner | None

    def choose(self, call: Call, checked: bool) -> Call | None:
        """The call with the body's constants; None where they are to be measured."""

    def measure(self, call: Call, arrays: tuple[Array, ...], params: tuple[Any, ...]) -> None:
        """Choose the constants for the call's class, by its own operands."""

    def launch(self, call: Call, checked: bool) -> tuple[Callable[..., None], int]:
        """``launch(*addresses, [scratch], *scalars)`` and the bytes of scratch memory."""


def askable(signature: Signature) -> tuple[str, ...]:
    """What every body may ask for."""
    arrays = [x.name for x in (*signature.operands, *signature.outputs)]
    more = [f"{name}_{what}" for name in arrays for what in ("shape", "strides")]
    scalars = [s.name for s in signature.scalars if s.type is not str]
    variables = [x.kind for x in signature.operands if x.kind in ("f", "i")]
    return (*arrays, *scalars, *signature.dims, *dict.fromkeys(variables), "itemsize", *more)


def sizes_of(signature: Signature) -> tuple[str, ...]:
    """What a launch may be a function of."""
    return (*signature.dims, *(s.name for s in signature.scalars), "itemsize")


def strided_names(signature: Signature, asks: tuple[str, ...], every: bool) -> frozenset[str]:
    """The operands that a body takes as they lie: all, or those whose strides it asks for."""
    names = [x.name for x in signature.operands]
    return frozenset(n for n in names if every or f"{n}_strides" in asks)


def arguments(call: Call, asks: tuple[str, ...], defaults: tuple[str, ...], **how: Any) -> Any:
    """What a body that asks for these names is given in this call, and the values of ``known``.

    Args:
        defaults: constants that are defaults of the body; how: other fields of :class:`Arguments`.
    """
    bound, sizes = call.bound, call.sizes()
    floats = [kind.dtype.name for kind in call.arrays if kind.dtype.is_floating_point]
    real = bound.types["f"].name if "f" in bound.types else floats[0] if floats else "float64"
    kinds = {int: "int64", bool: "bool", float: real}
    known = {n: v for n, v in call.scalars.items() if isinstance(v, (bool, float))}
    constant = {n: v for n, v in {**call.constants, **known}.items() if n in asks}
    arrays = zip(call.names, call.arrays, strict=True)
    made = Arguments(
        asks,
        arrays=tuple([Given(name, kind.dtype.name, kind.ndim) for name, kind in arrays]),
        scalars=tuple([
            (s.name, kinds[s.type]) for s in call.signature.scalars if s.name not in call.scalars
        ]),
        sizes=tuple([n for n in sizes if n not in constant]),
        types=tuple([(n, kind.name) for n, kind in bound.types.items()]),
        constants=tuple([(n, v) for n, v in constant.items() if n not in defaults]),
        defaults=defaults,
        real=real,
        **how,
    )  # fmt: skip
    values = {n: v for n, v in sizes.items() if isinstance(v, int)}
    for name, kind in zip(call.names, call.arrays, strict=True):
        reach = sum((n - 1) * s for n, s in zip(kind.shape, kind.strides, strict=True))
        values[f"{name} elements"] = 1 + reach if kind.numel else 0  # as it lies, with its gaps
        for what, numbers in (("shape", kind.shape), ("strides", kind.strides)):
            values.update({f"{name}_{what} {k}": n for k, n in enumerate(numbers)})
    return made, [values[name] for name in made.known]


class _Body:
    """A body of either kind; see :class:`Kind`.

    Args:
        function: in Python, or a :class:`Foreign`.
        options: what the launch is cut by: numbers, or functions of sizes.
        mine: what only bodies of this kind may ask for.
        strided: whether all operands are taken as they lie.
        tune: candidates of constants, that the body and its options may ask for; measure: whether to
            choose the fastest, or else the first.
        args: what the parameters are, in order; by their own names where None.
        views: whether arrays are given as such, and not as pointers.
    """

    kind = ""
    reassociate = False

    def __init__(
        self, signature: Signature, function: Any, options: Mapping[str, Any], mine: tuple[str, ...],
        strided: bool, tune: Tune | None, measure: bool,
        args: tuple[str, ...] | None = None, views: bool = False,
    ):  # fmt: skip
        self.name, self.title = signature.name, f"{signature.name}: the .{self.kind} body"
        self.function, self.options, self.views = function, options, views
        self.plain = isinstance(function, Foreign) or args is not None  # its parameters are args
        own = function.args if isinstance(function, Foreign) else asked(function)
        self.asks = own if args is None else tuple(args)
        if len(self.asks) != len(own):
            raise BodyError(
                f"{self.title} has {len(own)} parameters, {', '.join(own)}; args= names {len(self.asks)}"
            )
        self.fixed = {} if self.plain else constants(function)
        self.tuner = Tuner(self.title, tune, measure) if tune else None
        scratch = ("scratch",) if options["scratch"] is not None else ()
        self.refuse(signature, (*mine, *scratch, *askable(signature)), tuple(tune or ()))
        self.reads = tuple({
            n: 0 for v in options.values() for part in (v if isinstance(v, tuple) else (v,))
            for n in names_of(part)
        })  # fmt: skip
        self.strided = strided_names(signature, self.asks, strided)
        self.bodies: dict[str, Body | Foreign] = {}

    def refuse(self, signature: Signature, known: tuple[str, ...], tuned: tuple[str, ...]) -> None:
        """Raise where the body or its launch asks for what there is not, or a constant is something else."""
        for name in (*self.fixed, *tuned):
            if name in known:
                raise BodyError(
                    f"{self.title}: {name} is given by the call; a constant needs another name, and what the "
                    f"body asks for no default"
                )
        ready = (*self.fixed, *tuned)
        refuse_unknown(self.title, self.asks, (*known, *ready))
        used = list(self.asks)
        for what, value in self.options.items():
            for part in value if isinstance(value, tuple) else (value,):
                names = names_of(part)
                refuse_unknown(f"{signature.name}: {what}=", names, (*sizes_of(signature), *ready))
                used += names
        macros = isinstance(self.function, Foreign) and self.function.language == "c++"
        for name in () if macros else tuned:
            if name not in used:
                raise BodyError(
                    f"{self.title}: tune= has candidates for {name}, which neither the body nor its launch "
                    f"asks for"
                )

    def option(self, name: str, sizes: Mapping[str, Any], default: Any = 0) -> Any:
        """The value of an option in a call."""
        value = ask(self.options[name], sizes)
        return default if value is None else value

    def whole(self, name: str, sizes: Mapping[str, Any], default: int = 0) -> int:
        """The value of an option that is a whole number."""
        return whole(self.title, name, self.option(name, sizes, default))

    def shape(self, call: Call) -> tuple[Any, ...]:
        """How the launch is cut in this call: the device's ``Shape``."""
        raise NotImplementedError

    def brought(self, values: Mapping[str, object]) -> Body | Foreign:
        """The body for the device, with these constants."""
        key = repr(values)
        if key not in self.bodies:
            function: Any = self.function
            if isinstance(function, Foreign):
                macros = [f"-D{n}={v}" for n, v in values.items() if n not in self.asks]
                function = replace(function, options=(*function.options, *macros))
            elif not self.plain:
                mine = {n: v for n, v in values.items() if n in self.asks}
                function = with_constants(function, mine)
            family = kernel("user", Device(self.kind))
            self.bodies[key] = family.bring(self.title, function, self.reassociate)
        return self.bodies[key]

    def launch(self, call: Call, checked: bool) -> tuple[Callable[..., None], int]:
        """``launch(*addresses, [scratch], *scalars)`` and the bytes of scratch memory."""
        family = kernel("user", call.layouts[0].device)
        with_scratch = self.options["scratch"] is not None
        given, known = arguments(
            call, self.asks,
            () if self.plain else tuple([n for n in self.asks if n in call.constants]),
            views=self.views,
            scratch=call.layouts[0].dtype.name if with_scratch else None,
            checked=checked and self.kind == "cpu",  # the GPU's debug builds are the guard's
        )  # fmt: skip
        shape = self.shape(call)
        body = self.brought(call.constants)
        launch, scratch = family.launch(self.title, body, given, known, shape)
        return launch, scratch if with_scratch else 0

    # --------------------------------------------------------------------------------- tuning

    def choose(self, call: Call, checked: bool) -> Call | None:
        """The call with the body's constants; None where they are to be measured."""
        tuner = self.tuner
        if tuner is None:
            return call._replace(constants=self.fixed) if self.fixed else call
        found = tuner.forced
        if found is None:
            found = tuner.candidates[0]
            if tuner.measures() and self.device_name() and all(x.numel for x in call.arrays):
                known = tuner.known(self.choice(call))
                if known is None and not checked:
                    return None
                found = found if known is None else known.values
        return call._replace(constants={**self.fixed, **found})

    def device_name(self) -> str:
        """Of the device that is there; "" where it is simulated, or there is none."""
        return str(kernel("user", Device(self.kind)).device_name())

    def fingerprint(self) -> str:
        """A hash of the body, its launch and its candidates."""
        assert self.tuner is not None
        body = self.brought({**self.fixed, **self.tuner.candidates[0]})
        parts = [body.key, repr(self.tuner.candidates)]
        parts += [
            f"{n}={[text_of(p) for p in (v if isinstance(v, tuple) else (v,))]}"
            for n, v in self.options.items()
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]

    def choice(self, call: Call) -> Choice:
        """The class of the call's shapes, of which nothing is chosen yet."""
        sizes = {n: size_class(v) for n, v in call.bound.dims.items()}
        loose = [
            (x.name, kind) for x, kind in zip(call.signature.operands, call.layouts, strict=True)
            if x.dims is None
        ]  # fmt: skip
        sizes.update({x: size_class(kind.numel) for x, kind in loose})
        parts = [" ".join(dict.fromkeys(kind.dtype.name for kind in call.arrays))]
        parts += [f"{n} <= {v}" for n, v in sizes.items()]
        parts += [
            f"{n} <= {size_class(v)}" if v.__class__ is int else f"{n}={v!r}"
            for n, v in call.scalars.items()
        ]
        every = zip(call.signature.operands, call.layouts, strict=True)
        parts += [f"{x.name} in gaps" for x, kind in every if not kind.contiguous]
        return Choice(
            self.name, self.kind, self.device_name(), self.fingerprint(), ", ".join(parts), {}, []
        )

    def measure(self, call: Call, arrays: tuple[Array, ...], params: tuple[Any, ...]) -> None:
        """Choose the constants for the call's class, by its own operands; those that are written over are
        as they were before each run and in the end.
        """
        assert self.tuner is not None
        written = [(arrays[k], copy(arrays[k])) for k in call.signature.written]
        versions = [x.storage.version for x, _ in written]

        def restore() -> None:
            for x, before in written:
                copy(before, x)

        def launch(values: Values) -> Callable[[], None]:
            made = call._replace(constants={**self.fixed, **values})
            function, scratch = self.launch(made, False)
            plan = Plan(
                call.bound.outs, function, scratch, writes=call.signature.written,
                device=call.layouts[0].device,
            )  # fmt: skip

            def run() -> None:
                restore()
                _launch(plan, arrays, params)

            return run

        finish = cuda.synchronize if self.kind == "cuda" else lambda: None
        try:
            self.tuner.choose(self.choice(call), launch, finish)
        finally:
            restore()
            for (x, _), version in zip(written, versions, strict=True):
                x.storage.version = version


class OnCpu(_Body):
    """A body that is the work of one task: ``tasks``, ``work``, ``scratch``."""

    kind = "cpu"

    def __init__(
        self, signature: Signature, function: Callable[..., Any], options: Mapping[str, Any],
        strided: bool, reassociate: bool, views: bool = False, tune: Tune | None = None,
        measure: bool = True,
    ):  # fmt: skip
        mine = ("task", "tasks")
        super().__init__(signature, function, options, mine, strided, tune, measure, views=views)
        self.reassociate = reassociate

    def shape(self, call: Call) -> tuple[Any, ...]:
        """How the launch is cut in this call: the device's ``Shape``."""
        sizes = call.sizes()
        work = self.whole("work", sizes, sum(kind.numel for kind in call.arrays))
        return (self.whole("tasks", sizes), work, self.whole("scratch", sizes))


class OnCuda(_Body):
    """A body that every thread runs: ``grid``, ``block``, ``shared``, ``scratch``."""

    kind = "cuda"

    def __init__(
        self, signature: Signature, function: Any, options: Mapping[str, Any], strided: bool,
        args: tuple[str, ...] | None = None, views: bool = False,
        tune: Tune | None = None, measure: bool = True,
    ):  # fmt: skip
        super().__init__(
            signature, function, options, ("shared",), strided, tune, measure, args, views
        )

    def shape(self, call: Call) -> tuple[Any, ...]:
        """How the launch is cut in this call: the device's ``Shape``."""
        sizes = call.sizes()
        grid, block = (self.three(name, sizes) for name in ("grid", "block"))
        return (grid, block, self.whole("shared", sizes), self.whole("scratch", sizes))

    def three(self, name: str, sizes: Mapping[str, Any]) -> tuple[int, int, int]:
        """A number, or up to three of them, as three."""
        value = self.option(name, sizes)
        given = value if isinstance(value, tuple) else (value,)
        parts = [ask(part, sizes) for part in given]
        if not 1 <= len(parts) <= 3:
            raise BodyError(f"{self.title}: {name} has one to three numbers; got {value!r}")
        found = [whole(self.title, name, part) for part in parts]
        return (*found, *(1,) * (3 - len(found)))  # type: ignore[return-value]


def whole(title: str, what: str, value: Any) -> int:
    """``value``, a whole number that is not negative.

    Raises:
        BodyError: it is something else.
    """
    if not hasattr(value, "__index__") or value < 0:
        raise BodyError(f"{title}: {what} must be a whole number, 0 or more; got {value!r}")
    return int(value)


Reference = Callable[[tuple[Array, ...], tuple[Any, ...], Mapping[str, Any]], Any]


class UserOp(Op):
    """An op by its signature, whose bodies are added one by one.

    Args:
        reference: ``(operands, scalars of the call, metadata)`` to the outputs, where the device has
            no body.
    """

    __slots__ = ("bodies", "debug", "reference", "signature")

    def __init__(self, signature: Signature, reference: Reference, twin: bool = False):
        super().__init__(signature.name, self.plan)
        self.signature = signature
        self.reference = reference
        self.bodies: dict[str, Kind] = {}
        self.debug = None if twin else UserOp(signature, reference, True)  # the op of debug builds
        self.choose_names()

    def __call__(self, *arrays: Array, params: tuple[Any, ...] = (), **metadata: Any) -> Any:
        if cuda.debugging() and self.debug is not None:
            return self.debug(*arrays, params=params, **metadata)
        return super().__call__(*arrays, params=params, **metadata)

    def add(self, device: str, kind: Kind) -> None:
        """Take this body on a device; plans that know no better are forgotten."""
        self.bodies[device] = kind
        self.choose_names()
        self.plans.clear()
        if self.debug is not None:
            self.debug.add(device, kind)

    def choose_names(self) -> None:
        """The scalars that plans are kept under: those that shapes, launches or code depend on."""
        read = {*self.signature.sized, *(n for kind in self.bodies.values() for n in kind.reads)}
        self.names = tuple([
            s.name for s in self.signature.scalars if s.type in (bool, str) or s.name in read
        ])  # fmt: skip

    def plan(self, *layouts: Layout, **scalars: Any) -> Plan:
        """Check by the signature, copy what does not lie in rows, and launch the device's body."""
        bound = self.signature.bind(layouts, scalars)
        kind = self.bodies.get(layouts[0].device.type)
        if kind is None:
            return composed(lambda arrays, params: self.reference(arrays, params, scalars))
        wanted = [x.name not in kind.strided for x in self.signature.operands]
        if any(w and not x.contiguous for w, x in zip(wanted, layouts, strict=True)):
            return composed(lambda arrays, params: self._by_copies(wanted, arrays, params, scalars))
        call = Call(self.signature, layouts, scalars, bound)
        ready = kind.choose(call, self.debug is None)
        if ready is None:
            return composed(lambda arrays, params: self._tuned(kind, call, arrays, params))
        launch, scratch = kind.launch(ready, self.debug is None)
        writes, device = self.signature.written, layouts[0].device
        return Plan(bound.outs, launch, scratch, writes=writes, device=device)

    def _tuned(
        self, kind: Kind, call: Call, arrays: tuple[Array, ...], params: tuple[Any, ...]
    ) -> Any:
        """A call whose body's constants are measured first."""
        kind.measure(call, arrays, params)
        self.plans.clear()
        return self(*arrays, params=params, **call.scalars)

    @contextmanager
    def constants(self, device: str, values: Mapping[str, float]) -> Iterator[None]:
        """Let the body of a device have these constants inside the block."""
        tuner = self.bodies[device].tuner
        if tuner is None:
            yield
            return
        tuner.forced = dict(values)
        self.forget_plans()
        try:
            yield
        finally:
            tuner.forced = None
            self.forget_plans()

    def forget_plans(self) -> None:
        """Plan all calls anew."""
        self.plans.clear()
        if self.debug is not None:
            self.debug.plans.clear()

    def _by_copies(
        self, wanted: list[bool], arrays: tuple[Array, ...], params: tuple[Any, ...], scalars: Any
    ) -> Any:
        ready = tuple([contiguous(x) if w else x for w, x in zip(wanted, arrays, strict=True)])
        made = self(*ready, params=params, **scalars)
        written = self.signature.written
        for place in written:
            if ready[place] is not arrays[place]:
                copy(ready[place], arrays[place])
        return made if self.signature.outputs else arrays[written[0]]
