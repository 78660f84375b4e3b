"""Calls of ops of the user's own: the straight one, all others, and their gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from tilegrad.autograd.annotations import Number, Tensor, Tensors
from tilegrad.autograd.base import TensorBase, refuse_overlap, refuse_view, tensor_of
from tilegrad.autograd.call_source import are_tensors, call_source, tuple_source
from tilegrad.autograd.checking_op import OpCheck
from tilegrad.autograd.gradients import grad as gradients_of
from tilegrad.autograd.graph import Node, SavedOutput, connect, new_node
from tilegrad.autograd.mode import _Switch, enable_grad, state
from tilegrad.autograd.rule import Rule, check_inplace, needs_graph, rebase
from tilegrad.autograd.rules.assign import clone
from tilegrad.autograd.rules.creation import tensor
from tilegrad.autograd.rules.elementwise import contiguous
from tilegrad.autograd.rules.view import view
from tilegrad.autograd.subject import Subject, attach
from tilegrad.autograd.user_jvp import forward
from tilegrad.engine import calls
from tilegrad.engine.array import Array, Layout
from tilegrad.engine.autotune import Tune, Tuning
from tilegrad.engine.dispatch import same_device
from tilegrad.engine.ops.elementwise import copy
from tilegrad.engine.ops.user import OnCpu, OnCuda, UserOp
from tilegrad.engine.signature import EXACT, Operand, Scalar, Signature
from tilegrad.kernels.bodies import BodyError, asked, refuse_unknown
from tilegrad.kernels.foreign import Foreign
from tilegrad.kernels.function import function_from_source

Function = Callable[..., Any]
Grads = tuple[Tensor | None, ...]  # of each operand


class Work:
    """What is behind one op."""

    def __init__(self, signature: Signature, reference: Function):
        self.signature, self.reference = signature, reference
        self.name = signature.name
        self.operands, self.outputs = signature.operands, signature.outputs
        self.results = (*[x for x in self.operands if x.inout], *self.outputs)
        self.op = UserOp(signature, self.instead)
        self.given_vjp: Function | None = None
        self.given_jvp: Function | None = None
        self.saved_names: tuple[str, ...] = tuple([_old(x) for x in self.operands])
        self.saves: tuple[int, ...] = tuple(range(len(self.operands)))
        self.rule = Rule(self.name, self.differentiate, self.saves)
        self.bound: dict[tuple[object, ...], tuple[Layout, ...]] = {}
        self.call: Any = self.made()
        self.call.__doc__ = inspect.getdoc(reference)
        self.call.__qualname__ = reference.__qualname__
        self.call.signature, self.call.reference, self.call.devices = signature, reference, ()
        self.call.results = tuple([y.name for y in self.results])
        attach(self.subject())
        self.call.check, self.call.jvp = self.check, self.jvp
        self.call.tuning = Tuning(self.name, self.op.bodies, self.op.forget_plans)
        self.call.cpu, self.call.cuda, self.call.vjp = self.cpu, self.cuda, self.vjp

    def subject(self) -> Subject:
        """What benchmarks and explanations know of the op."""
        kinds = {"i": "int64", **{k: d.name for k, d in EXACT.items()}}
        dtypes = {x.name: kinds[x.kind] for x in self.operands if x.kind in kinds}
        names = tuple([x.name for x in self.operands])
        given, origin = self.signature.arguments, self.reference
        defaults = [a.default for a in given if isinstance(a, Scalar) and a.default is not ...]
        written = FunctionType(
            origin.__code__, origin.__globals__, self.name, tuple(defaults), origin.__closure__
        )
        return Subject(self.call, names, written, self.checking, dtypes=dtypes)

    # ---------------------------------------------------------------------------------- doors

    def cpu(
        self, *, tasks: object, scratch: object = None, strided: bool = False, work: object = None,
        reassociate: bool = False, views: bool = False, tune: Tune | None = None, measure: bool = True,
    ) -> Callable[[Function], Function]:  # fmt: skip
        """See :meth:`OpFunction.cpu`."""

        def decorate(function: Function) -> Function:
            options = {"tasks": tasks, "work": work, "scratch": scratch}
            body = OnCpu(
                self.signature, function, options, strided, reassociate, views, tune, measure
            )
            self.add("cpu", body)
            return function

        return decorate

    def cuda(
        self, kernel: object = None, *, grid: object, block: object, shared: object = 0, scratch: object = None,
        strided: bool = False, views: bool = False, args: tuple[str, ...] | None = None,
        source: str | None = None, ptx: str | None = None, entry: str = "",
        options: tuple[str, ...] = (), tune: Tune | None = None, measure: bool = True,
    ) -> Any:  # fmt: skip
        """See :meth:`OpFunction.cuda`."""
        cut = {"grid": grid, "block": block, "shared": shared, "scratch": scratch}
        foreign = source is not None or ptx is not None
        if (kernel is not None or foreign) and (foreign + (kernel is not None) > 1 or args is None):
            raise BodyError(
                f"{self.name}: the .cuda body is one kernel, source= or ptx=, with args= that names what "
                f"its parameters are"
            )

        def take(function: object) -> None:
            body = OnCuda(self.signature, function, cut, strided, args, views, tune, measure)
            self.add("cuda", body)

        if foreign:
            if not entry or (source is not None and ptx is not None):
                raise BodyError(
                    f"{self.name}: source= or ptx= needs entry=, the kernel's name in it"
                )
            text, language = (ptx, "ptx") if source is None else (source, "c++")
            take(Foreign(language, str(text), entry, tuple(args or ()), tuple(options)))
            return None
        if kernel is not None:
            views = True  # its parameters are numba's arrays
            take(getattr(kernel, "py_func", None) or getattr(kernel, "fn", kernel))
            return None

        def decorate(function: Function) -> Function:
            take(function)
            return function

        return decorate

    def add(self, device: str, kind: OnCpu | OnCuda) -> None:
        """Take a body."""
        self.op.add(device, kind)
        self.call.devices = tuple(self.op.bodies)
        self.call.__code__ = self.made().__code__

    def vjp(self, function: Function) -> Function:
        """See :meth:`OpFunction.vjp`."""
        grads = [f"grad_{y.name}" for y in self.results]
        scalars = [s.name for s in self.signature.scalars]
        names = [*(x.name for x in self.operands), *(y.name for y in self.outputs)]
        olds = [_old(x) for x in self.operands if x.inout]
        refuse_unknown(f"{self.name}: .vjp", asked(function), (*names, *olds, *scalars, *grads))
        places = {x.name: k for k, x in enumerate(self.operands)}
        places.update({_old(x): k for k, x in enumerate(self.operands)})
        places.update({y.name: -1 - k for k, y in enumerate(self.results)})
        self.saved_names = tuple([n for n in asked(function) if n in places])
        self.saves = tuple([places[n] for n in self.saved_names])
        self.rule = Rule(self.name, self.differentiate, self.saves)
        self.given_vjp = function
        self.call.__code__ = self.made().__code__
        return function

    def jvp(self, *given: Any, **scalars: Any) -> Any:
        """See :meth:`OpFunction.jvp`."""
        if len(given) == 1 and callable(given[0]) and not scalars:
            function: Function = given[0]
            tangents = [f"tangent_{x.name}" for x in self.operands]
            names = [a.name for a in (*self.signature.arguments, *self.outputs)]
            olds = [_old(x) for x in self.operands if x.inout]
            refuse_unknown(f"{self.name}: .jvp", asked(function), (*names, *olds, *tangents))
            self.given_jvp = function
            return function
        primals, tangents = given
        return forward(self, tuple(primals), tuple(tangents), scalars)

    def checking(
        self, shapes: Mapping[str, object] | None = None, domain: tuple[float, float] = (-3.0, 3.0),
        seed: int = 0, tolerance: float = 1.0, **scalars: object,
    ) -> tuple[OpCheck, Function]:  # fmt: skip
        """The checks, and what runs them all."""

        def make(array: object, device: str) -> Tensor:
            return tensor(array).to(device)

        work = OpCheck(self.call, self.op, make, shapes or {}, scalars, domain, seed, tolerance)
        return work, work.run

    def check(self, *given: Any, **named: Any) -> None:
        """See :meth:`OpFunction.check`."""
        work, run = self.checking(*given, **named)
        run()
        print(f"{self.name}\n{work.table()}")

    # ---------------------------------------------------------------------------------- calls

    def made(self) -> Any:
        """The public function: the straight call, and all others."""
        operands = [x.name for x in self.operands]
        scalars = self.signature.scalars
        arguments = [
            a.name if isinstance(a, Operand) or a.default is ... else f"{a.name}={a.default!r}"
            for a in self.signature.arguments
        ]
        usual = are_tensors(operands)
        usual += [f"{s.name}.__class__ is {s.type.__name__}" for s in scalars]
        params = [s.name for s in scalars if s.name not in self.op.names]
        given = ", ".join(operands)
        if params:
            key = tuple_source([*(f"{x}.layout" for x in operands), *self.op.names])
            run = f"calls.run_at(op, {key}, {tuple_source(params)}, {given})"
        else:
            run = f"calls.run(op, {', '.join([*operands, *self.op.names])})"
        meta = tuple_source(s.name for s in scalars)
        body = [f"out = {run}", "if out is not None:", "    return out"]
        if self.signature.written:
            usual += self.free()
        else:
            asks = " or ".join(f"{x}._tracked or {x}._base is not None" for x in operands)
            recorded = f"work.record({tuple_source(operands)}, out, {meta})"
            body[2:2] = [f"    if state.grad and ({asks}):", f"        {recorded}"]
        other = f"work.other({tuple_source(operands)}, {meta})"
        text = call_source(self.name, arguments, other, (usual, body))
        scope = {
            "work": self, "op": self.op, "state": state, "Tensor": TensorBase, "calls": calls,
        }  # fmt: skip
        return function_from_source(text, self.name, scope, module=self.reference.__module__)

    def free(self) -> list[str]:
        """Conditions, in source, under which operands may be written over and nothing is recorded: those
        of :func:`check_inplace` and :func:`refuse_overlap` that no layout tells, for these have a plan.
        """
        names = [x.name for x in self.operands]
        found = [f"not {x}._tracked and {x}._base is None" for x in names]
        for place in self.signature.written:
            target = names[place]
            found.append(f"{target}.storage.version >= 0")
            found += [
                f"{target}.storage is not {x}.storage" for k, x in enumerate(names) if k != place
            ]
        return found

    def record(self, operands: tuple[Tensor, ...], out: Tensors, meta: tuple[Number, ...]) -> None:
        """Make what a call gave outputs of a node, if an operand is part of the graph."""
        if isinstance(out, tuple):
            if any(y.layout.dtype.is_floating_point for y in out):
                self.rule.record_all(operands, out, meta)
        elif out.layout.dtype.is_floating_point:
            self.rule.record(operands, out, meta)

    def other(self, operands: tuple[Any, ...], scalars: tuple[Number, ...]) -> Tensors:
        """A call that is not straight: its plan is not known, arguments need a look, or something is
        written over.
        """
        for x, value in zip(self.operands, operands, strict=True):
            if not isinstance(value, TensorBase):
                raise TypeError(
                    f"{self.name}: {x.name} must be a tensor; got {type(value).__name__}"
                )
        known = self.signature.scalars
        scalars = tuple([self.signature.scalar(s, v) for s, v in zip(known, scalars, strict=True)])
        if self.signature.written:
            return self.write(operands, scalars)
        if self.given_vjp is None and operands[0].layout.device.type not in self.op.bodies:
            same_device(self.name, [x.layout for x in operands])
            return self.referred(operands, scalars)
        out = self.run(operands, scalars)
        if state.grad:
            self.record(operands, out, scalars)
        return out

    def run(self, operands: tuple[Tensor, ...], scalars: tuple[Number, ...]) -> Tensors:
        """The engine's call."""
        by_name = {s.name: v for s, v in zip(self.signature.scalars, scalars, strict=True)}
        known = {n: by_name.pop(n) for n in self.op.names}
        out = self.op(*operands, params=tuple(by_name.values()), **known)
        return out if out.__class__ is tuple else tensor_of(out)

    def write(self, operands: tuple[Tensor, ...], scalars: tuple[Number, ...]) -> Tensors:
        """A call that writes over operands: the new values' history replaces the old."""
        written = self.signature.written
        for place in written:
            check_inplace(self.name, operands[place])
            others = (*operands[:place], *operands[place + 1 :])
            refuse_overlap(self.name, operands[place], others, False)
        recording = state.grad and needs_graph(operands)
        kept = list(operands)
        if recording:
            for place in written:
                if operands[place]._base is not None:
                    refuse_view(self.name, operands[place], "is being")
            asked_for = [s for s, n in zip(self.saves, self.saved_names, strict=True) if s >= 0]
            for place in written:
                if place in asked_for:
                    kept[place] = clone(operands[place])  # recorded, for gradients of gradients
            targets = [operands[place] for place in written]
            kinds = [t.layout for t in targets]
            node = new_node(self.name, self.differentiate, operands, tuple(kinds), scalars)
        out = self.run(operands, scalars)
        if recording:
            results = (
                *targets,
                *(out if out.__class__ is tuple else (out,) if self.outputs else ()),
            )
            node.outputs = tuple([y.layout for y in results])
            node.save(*[
                SavedOutput(results[-1 - s], -1 - s) if s < 0 else kept[s] for s in self.saves
            ])  # fmt: skip
            connect(node, results)
            for number, target in enumerate(targets):
                rebase(target, node, number)
        return out

    # ------------------------------------------------------------------------------ reference

    def results_of(
        self, operands: Sequence[Tensor], scalars: tuple[Number, ...]
    ) -> tuple[Tensor, ...]:
        """What the reference gives, as the signature says: new values, then outputs.

        Raises:
            RuntimeError: another shape or dtype.
        """
        by_name: dict[str, Any] = dict(
            zip([s.name for s in self.signature.scalars], scalars, strict=True)
        )
        by_name.update({x.name: v for x, v in zip(self.operands, operands, strict=True)})
        layouts = tuple([x.layout for x in operands])
        sized = tuple([by_name[n] for n in self.signature.sized])
        outs = self.bound.get((layouts, sized))
        if outs is None:
            if len(self.bound) > 4096:
                self.bound.clear()
            bound = self.signature.bind(layouts, by_name)
            outs = self.bound[layouts, sized] = bound.outs
        made = self.reference(*[by_name[a.name] for a in self.signature.arguments])
        found = tuple(made) if isinstance(made, (tuple, list)) else (made,)
        wanted = (*[layouts[k] for k in self.signature.written], *outs)
        if len(found) != len(wanted):
            raise RuntimeError(
                f"{self.name}: the reference must return {', '.join(y.name for y in self.results)}; got "
                f"{len(found)} values"
            )
        for y, kind, value in zip(self.results, wanted, found, strict=True):
            have = value.layout if isinstance(value, TensorBase) else None
            if have is None or have.shape != kind.shape or have.dtype is not kind.dtype:
                raise RuntimeError(
                    f"{self.name}: the reference must return {y.name} of {kind.describe()}; got "
                    f"{type(value).__name__ if have is None else have.describe()}"
                )
        storages = {id(x.storage) for x in operands}
        return tuple([clone(y) if id(y.storage) in storages else contiguous(y) for y in found])

    def referred(self, operands: tuple[Tensor, ...], scalars: tuple[Number, ...]) -> Tensors:
        """The call by way of the reference, recorded by its own ops."""
        found = self.results_of(operands, scalars)
        return found[0] if len(found) == 1 else found

    def instead(
        self, arrays: tuple[Array, ...], params: tuple[Number, ...], known: Mapping[str, Number]
    ) -> Array | tuple[Array, ...]:
        """What a device without a kernel does: see :class:`UserOp`."""
        rest = iter(params)
        scalars = [known[s.name] if s.name in known else next(rest) for s in self.signature.scalars]
        with _Switch(False):
            found = self.results_of(arrays, tuple(scalars))  # type: ignore[arg-type]
            written = self.signature.written
            for place, value in zip(written, found, strict=False):
                copy(value, arrays[place])
        outs = found[len(written) :]
        return arrays[written[0]] if not outs else outs[0] if len(outs) == 1 else outs

    # ------------------------------------------------------------------------------ gradients

    def differentiate(self, node: Node, *grads: Tensor) -> Grads:
        """The VJP of every call."""
        saved = node.unpack()
        if self.given_vjp is None:
            return self._through_reference(node, saved, grads)
        values: dict[str, object] = dict(zip(self.saved_names, saved, strict=True))
        scalars = self.signature.scalars
        values.update({s.name: v for s, v in zip(scalars, node.meta, strict=True)})
        values.update({f"grad_{y.name}": g for y, g in zip(self.results, grads, strict=True)})
        found = self.given_vjp(*[values[name] for name in asked(self.given_vjp)])
        return self._checked(node, found)

    def _checked(self, node: Node, found: object) -> Grads:
        """What the user's VJP gave, one per operand."""
        floats = [
            x.name for x, kind in zip(self.operands, node.inputs, strict=True)
            if kind.dtype.is_floating_point
        ]  # fmt: skip
        if isinstance(found, dict):
            refuse_unknown(f"{self.name}: .vjp returns a dict that", tuple(found), floats)
            by_name = found
        else:
            values = tuple(found) if isinstance(found, (tuple, list)) else (found,)
            if len(values) != len(floats):
                raise RuntimeError(
                    f"{self.name}: .vjp must return a gradient for each of {', '.join(floats)}; got "
                    f"{len(values)} values"
                )
            by_name = dict(zip(floats, values, strict=True))
        for x, kind in zip(self.operands, node.inputs, strict=True):
            value = by_name.get(x.name)
            if value is None:
                continue
            if not isinstance(value, TensorBase):
                raise TypeError(
                    f"{self.name}: .vjp must return tensors or None; got {type(value).__name__} for {x.name}"
                )
            if value.layout.shape != kind.shape:
                raise RuntimeError(
                    f"{self.name}: .vjp must return a gradient of {x.name} of shape "
                    f"{list(kind.shape)}; got {list(value.layout.shape)}"
                )
        return tuple([by_name.get(x.name) for x in self.operands])

    def _through_reference(
        self, node: Node, saved: Sequence[Tensor], grads: Sequence[Tensor]
    ) -> Grads:
        """The gradient of the reference, run again over the operands as they were."""
        again = state.grad  # whether the gradient is to be differentiated
        asks = [edge is not None for edge in node.edges]
        with enable_grad():
            inputs = [
                view(x, x.layout.shape) if again and a else x.detach().requires_grad_(a)
                for x, a in zip(saved, asks, strict=True)
            ]
            outs = self.results_of(inputs, node.meta)
        pairs = [
            (y, g) for y, g in zip(outs, grads, strict=True) if y.requires_grad and g is not None
        ]
        wanted = [x for x, a in zip(inputs, asks, strict=True) if a]
        if not pairs:
            return (None,) * len(asks)
        found = iter(gradients_of(
            [y for y, _ in pairs], wanted, [g for _, g in pairs], create_graph=again,
            allow_unused=True,
        ))  # fmt: skip
        return tuple([next(found) if a else None for a in asks])


def _old(x: Operand) -> str:
    """The name of an operand as it was before the call."""
    return f"old_{x.name}" if x.inout else x.name
