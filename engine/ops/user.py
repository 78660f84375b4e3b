"""Ops of the user's own: a signature, a body per kind of device, and plans as those of all other ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from tilegrad.engine import cuda
from tilegrad.engine.array import Array, Layout
from tilegrad.engine.dispatch import Op, Plan, composed, kernel
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
)
from tilegrad.kernels.foreign import Foreign


class Call(NamedTuple):
    """A call's layouts, as a body's launch is planned for it."""

    signature: Signature
    layouts: tuple[Layout, ...]
    scalars: Mapping[str, Any]  # those that the plan knows
    bound: Bound

    @property
    def arrays(self) -> tuple[Layout, ...]:
        """Of operands and outputs."""
        return (*self.layouts, *self.bound.outs)

    @property
    def names(self) -> list[str]:
        """Of operands and outputs."""
        return [x.name for x in (*self.signature.operands, *self.signature.outputs)]

    def sizes(self) -> dict[str, Any]:
        """What launches are functions of: sizes, scalars, and bytes of an element of the first operand."""
        return {**self.bound.dims, **self.scalars, "itemsize": self.layouts[0].itemsize}


class Kind(Protocol):
    """How a body of one kind is launched.

    Attributes:
        reads: names of sizes and scalars that the launch is a function of.
        strided: names of the operands that the body takes as they lie.
    """

    reads: tuple[str, ...]
    strided: frozenset[str]

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


def arguments(call: Call, asks: tuple[str, ...], fixed: Mapping[str, Any], **how: Any) -> Any:
    """What a body that asks for these names is given in this call, and the values of ``known``.

    Args:
        fixed: constants of the body's own; how: other fields of :class:`Arguments`.
    """
    bound, sizes = call.bound, call.sizes()
    floats = [kind.dtype.name for kind in call.arrays if kind.dtype.is_floating_point]
    real = bound.types["f"].name if "f" in bound.types else floats[0] if floats else "float64"
    kinds = {int: "int64", bool: "bool", float: real}
    known = {n: v for n, v in call.scalars.items() if isinstance(v, (bool, float))}
    constant = {n: v for n, v in {**fixed, **known}.items() if n in asks}
    arrays = zip(call.names, call.arrays, strict=True)
    made = Arguments(
        asks,
        arrays=tuple([Given(name, kind.dtype.name, kind.ndim) for name, kind in arrays]),
        scalars=tuple([
            (s.name, kinds[s.type]) for s in call.signature.scalars if s.name not in call.scalars
        ]),
        sizes=tuple([n for n in sizes if n not in constant]),
        types=tuple([(n, kind.name) for n, kind in bound.types.items()]),
        constants=tuple(constant.items()),
        real=real,
        **how,
    )  # fmt: skip
    values = {n: v for n, v in sizes.items() if isinstance(v, int)}
    for name, kind in zip(call.names, call.arrays, strict=True):
        values[f"{name} elements"] = kind.numel
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
        args: what the parameters are, in order; by their own names where None.
        views: whether arrays are given as such, and not as pointers.
    """

    kind = ""
    reassociate = False

    def __init__(
        self, signature: Signature, function: Any, options: Mapping[str, Any], mine: tuple[str, ...],
        strided: bool, args: tuple[str, ...] | None = None, views: bool = False,
    ):  # fmt: skip
        self.title = f"{signature.name}: the .{self.kind} body"
        self.function, self.options, self.views = function, options, views
        python = not isinstance(function, Foreign)
        own = asked(function) if python else function.args
        self.asks = own if args is None else tuple(args)
        if len(self.asks) != len(own):
            raise BodyError(
                f"{self.title} has {len(own)} parameters, {', '.join(own)}; args= names {len(self.asks)}"
            )
        self.fixed = constants(function) if python and args is None else {}
        scratch = ("scratch",) if options["scratch"] is not None else ()
        refuse_unknown(self.title, self.asks, (*mine, *scratch, *askable(signature), *self.fixed))
        for what, value in options.items():
            for part in value if isinstance(value, tuple) else (value,):
                refuse_unknown(f"{signature.name}: {what}=", names_of(part), sizes_of(signature))
        self.reads = tuple({
            n: 0 for v in options.values() for part in (v if isinstance(v, tuple) else (v,))
            for n in names_of(part)
        })  # fmt: skip
        self.strided = strided_names(signature, self.asks, strided)
        self.body: Body | Foreign | None = None

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

    def launch(self, call: Call, checked: bool) -> tuple[Callable[..., None], int]:
        """``launch(*addresses, [scratch], *scalars)`` and the bytes of scratch memory."""
        family = kernel("user", call.layouts[0].device)
        self.body = self.body or family.bring(self.title, self.function, self.reassociate)
        with_scratch = self.options["scratch"] is not None
        given, known = arguments(
            call, self.asks, self.fixed, views=self.views,
            scratch=call.layouts[0].dtype.name if with_scratch else None,
            checked=checked and self.kind == "cpu",  # the GPU's debug builds are the guard's
        )  # fmt: skip
        shape = self.shape(call)
        launch, scratch = family.launch(self.title, self.body, given, known, shape)
        return launch, scratch if with_scratch else 0


class OnCpu(_Body):
    """A body that is the work of one task: ``tasks``, ``work``, ``scratch``."""

    kind = "cpu"

    def __init__(
        self, signature: Signature, function: Callable[..., Any], options: Mapping[str, Any],
        strided: bool, reassociate: bool,
    ):  # fmt: skip
        super().__init__(signature, function, options, ("task", "tasks"), strided)
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
    ):  # fmt: skip
        super().__init__(signature, function, options, ("shared",), strided, args, views)

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
        launch, scratch = kind.launch(
            Call(self.signature, layouts, scalars, bound), self.debug is None
        )
        writes, device = self.signature.written, layouts[0].device
        return Plan(bound.outs, launch, scratch, writes=writes, device=device)

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
