"""The steps that every op takes, as machine code: a block from the pool, a tensor over it, a launch.

In Python they cost more than the arithmetic of a small tensor. They are C built-ins over Python's
own objects, written with :mod:`tilegrad.engine.emitter`. What they cannot do (no plan yet, an empty
pool, an active mode) they answer with None, and their caller goes the long way.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from tilegrad.engine import inference
from tilegrad.engine.emitter import Emitter, addresses, loop, new_module, publish
from tilegrad.engine.interpreter import LIST_ITEMS, SIZE, TUPLE_ITEMS, TYPE, WORD, slot_offset
from tilegrad.kernels.builtin import built_in, forever

_SLOT_DEALLOC, _SLOT_MEMBERS = 52, 72  # numbers of the stable ABI
_OBJECT, _INTEGER = 6, 17  # kinds of members

# the fields of a storage, see tilegrad.engine.memory.Storage
FIELDS = {"address": 16, "nbytes": 24, "pool": 32, "base": 40, "version": 48}
BYTES = 56

_storage_type: Any = None


class _Member(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("kind", ctypes.c_int), ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int), ("doc", ctypes.c_char_p),
    ]  # fmt: skip


class _Slot(ctypes.Structure):
    _fields_ = [("number", ctypes.c_int), ("value", ctypes.c_void_p)]


class _Spec(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("size", ctypes.c_int), ("item", ctypes.c_int),
        ("flags", ctypes.c_uint), ("slots", ctypes.c_void_p),
    ]  # fmt: skip


def _storage_class(dealloc: int) -> Any:
    """The type of storages: five members, no garbage collection, freed by ``dealloc``."""
    members = (_Member * (len(FIELDS) + 1))()
    for member, (name, offset) in zip(members, FIELDS.items(), strict=False):
        member.name, member.offset = name.encode(), offset
        member.kind = _INTEGER if name == "version" else _OBJECT
    slots = (_Slot * 3)()
    slots[0].number, slots[0].value = _SLOT_DEALLOC, dealloc
    slots[1].number, slots[1].value = _SLOT_MEMBERS, ctypes.addressof(members)
    spec = _Spec(b"tilegrad.engine.memory.Storage", BYTES, 0, 0, ctypes.addressof(slots))
    for part in (members, slots, spec):
        forever(part)
    make = ctypes.pythonapi.PyType_FromSpec
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p,)
    return make(ctypes.addressof(spec))


def _dealloc(module: Any, free_list: type, cells: int) -> None:
    """``void storage_dealloc(storage)``: the block goes back to the list it came from."""
    e = Emitter(module, "storage_dealloc", 1, returns=False)
    (self,) = e.function.args
    fields = {n: e.get(self, o) for n, o in FIELDS.items() if n != "version"}
    with e.build.if_then(e.build.not_(e.is_null(fields["pool"]))):
        pool, nbytes = fields["pool"], e.number(fields["nbytes"])
        plain = e.build.icmp_unsigned("==", e.get(pool, TYPE), e.object(free_list))
        counts = e.build.inttoptr(e.number(e.get(pool, cells)), e.pointer)
        left = e.build.sub(e.get(counts, 0, e.word), nbytes)
        e.put(counts, 0, left)
        with e.build.if_else(plain) as (fast, slow):
            with fast:
                e.call("PyList_Append", pool, fields["address"], returns=e.half)
            with slow:  # a list with an ``append`` of its own; an error on its way stays
                state = [e.room() for _ in range(3)]
                e.call("PyErr_Fetch", *state, returns=e.ir.VoidType())
                name = e.object("append")
                none = e.ir.Constant(e.pointer, None)
                answer = e.call("PyObject_CallMethodObjArgs", pool, name, fields["address"], none)
                with e.build.if_then(e.is_null(answer)):
                    e.call("PyErr_WriteUnraisable", pool, returns=e.ir.VoidType())
                e.drop(answer)
                values = [e.build.load(s, typ=e.pointer) for s in state]
                e.call("PyErr_Restore", *values, returns=e.ir.VoidType())
    for reference in fields.values():
        e.drop(reference)
    kind = e.get(self, TYPE)
    e.call("PyObject_Free", self, returns=e.ir.VoidType())
    e.drop(kind)
    e.build.ret_void()


def _storage(module: Any, kind: Any) -> None:
    e = Emitter(module, "storage", 3)
    _, args, _ = e.function.args
    made = e.call("PyType_GenericAlloc", e.object(kind), e.word(0))
    e.give_up_if(e.is_null(made))
    for place, name in enumerate(("address", "nbytes", "pool", "base")):
        given = e.get(args, place * WORD)
        absent = e.build.icmp_unsigned("==", given, e.object(None))
        with e.build.if_then(e.build.not_(absent)):
            e.put(made, FIELDS[name], e.take(given))
    _mark_inference(e, made)
    e.build.ret(made)


def _mark_inference(e: Emitter, storage: Any) -> None:
    """A storage made in inference mode has a version below zero."""
    version = FIELDS["version"]
    here = e.get(e.constant(ctypes.addressof(inference.here)), 0, e.word)
    e.object(inference.here)  # never freed
    with e.build.if_then(e.differ(here, e.word(0)), likely=False):
        thread = e.call("PyThread_get_thread_ident", returns=e.word)
        with e.build.if_then(e.build.icmp_unsigned("==", here, thread)):
            e.put(storage, version, e.word(inference.MARK))
        with e.build.if_then(e.build.icmp_signed("==", here, e.word(inference.SEVERAL))):
            answer = e.call("PyObject_CallNoArgs", e.object(inference.question))
            e.give_up_if(e.is_null(answer), storage)
            e.drop(answer)
            with e.build.if_then(e.build.icmp_unsigned("==", answer, e.object(True))):
                e.put(storage, version, e.word(inference.MARK))


class _Tensors:
    """How tensors are laid out in memory, and what their slots hold at first."""

    def __init__(self, kind: type, first: dict[str, Any]):
        self.kind = kind
        self.layout, self.storage, self.address = (
            slot_offset(kind, n) for n in ("layout", "storage", "address")
        )
        self.first = {slot_offset(kind, n): value for n, value in first.items()}

    def make(self, e: Emitter, layout: Any, storage: Any, address: Any) -> Any:
        """A new tensor; takes over the reference to ``storage``. Null: no memory."""
        e.take(layout)  # first: the collector may run now, and drop the plan that holds it
        made = e.new(self.kind)
        e.give_up_if(e.is_null(made), storage, layout)
        e.put(made, self.layout, layout)
        e.put(made, self.storage, storage)
        e.put(made, self.address, e.take(address))
        for offset, value in self.first.items():
            e.put(made, offset, e.take(e.object(value)))
        return made


def _tensor(module: Any, tensors: _Tensors) -> None:
    e = Emitter(module, "new", 3)
    _, args, _ = e.function.args
    layout, storage, address = (e.get(args, k * WORD) for k in range(3))
    e.build.ret(tensors.make(e, layout, e.take(storage), address))


class _Plans:
    """Where a plan keeps what a launch needs, and a layout the pool of its blocks."""

    def __init__(self, plan: type, op: type, free_list: type, layout: type):
        self.free_list = free_list
        self.out, self.outs, self.launch, self.scratch, self.allocator = (
            slot_offset(plan, n) for n in ("out", "outs", "launch", "scratch", "allocator")
        )
        self.of_plan = tuple(slot_offset(plan, n) for n in ("pool", "size"))
        self.of_layout = tuple(slot_offset(layout, n) for n in ("pool", "size"))
        self.plans = slot_offset(op, "plans")
        self.cells, self.gate = (slot_offset(free_list, n) for n in ("cells", "gate"))

    def fresh(self, e: Emitter, plan: Any, tensors: _Tensors, kind: Any) -> Any:
        """(a tensor for the output of a plan, its address), or null: the pool is empty."""
        pool, size = (e.get(plan, place) for place in self.of_plan)
        return self._over(e, e.get(plan, self.out), pool, size, tensors, kind)

    def one_of(self, e: Emitter, layout: Any, tensors: _Tensors, kind: Any) -> Any:
        """The same for one of several outputs."""
        pool, size = (e.get(layout, place) for place in self.of_layout)
        e.give_up_if(e.is_null(pool))  # nothing of this layout was made so far
        return self._over(e, layout, pool, size, tensors, kind)

    def _over(
        self, e: Emitter, layout: Any, pool: Any, size: Any, tensors: _Tensors, kind: Any
    ) -> Any:
        plain = e.build.icmp_unsigned("==", e.get(pool, TYPE), e.object(self.free_list))
        e.give_up_if(e.build.not_(plain))
        gate = e.get(e.build.inttoptr(e.number(e.get(pool, self.gate)), e.pointer), 0, e.word)
        with e.build.if_then(e.build.icmp_signed("!=", gate, e.word(-1)), likely=False):
            thread = e.call("PyThread_get_thread_ident", returns=e.word)
            e.give_up_if(e.build.icmp_unsigned("!=", gate, thread))
        count = e.get(pool, SIZE, e.word)
        e.give_up_if(e.build.icmp_signed("==", count, e.word(0)))
        storage = e.call("PyType_GenericAlloc", e.object(kind), e.word(0))
        e.give_up_if(e.is_null(storage))
        last = e.build.sub(count, e.word(1))
        address = e.get(e.get(pool, LIST_ITEMS), e.build.mul(last, e.word(WORD)))
        e.put(pool, SIZE, last)  # the list's reference to the address is the storage's now
        e.put(storage, FIELDS["address"], address)
        e.put(storage, FIELDS["nbytes"], e.take(size))
        e.put(storage, FIELDS["pool"], e.take(pool))
        self._count(e, pool, e.number(size))
        _mark_inference(e, storage)
        return tensors.make(e, layout, storage, address), address

    def _count(self, e: Emitter, pool: Any, nbytes: Any) -> None:
        counts = e.build.inttoptr(e.number(e.get(pool, self.cells)), e.pointer)
        now = e.build.add(e.get(counts, 0, e.word), nbytes)
        e.put(counts, 0, now)
        with e.build.if_then(e.build.icmp_signed(">", now, e.get(counts, WORD, e.word))):
            e.put(counts, WORD, now)


def _fresh(module: Any, plans: _Plans, tensors: _Tensors, kind: Any) -> None:
    e = Emitter(module, "fresh_or_null", 2)
    args, _ = e.function.args
    made, _ = plans.fresh(e, e.get(args, 0), tensors, kind)
    e.build.ret(made)
    publish(e, "fresh")


MOST = 8  # tensors of an op that machine code takes


def _results(module: Any, plans: _Plans, tensors: _Tensors, kind: Any) -> Any:
    """``results(outs, places)``: a tuple of tensors of these layouts; their addresses to ``places``."""
    e = Emitter(module, "result_or_null", 1)
    made, _ = plans.one_of(e, e.function.args[0], tensors, kind)
    e.build.ret(made)
    one = e.function
    e = Emitter(module, "results_or_null", 2)
    outs, places = e.function.args
    count = e.get(outs, SIZE, e.word)
    made = e.call("PyTuple_New", count)
    e.give_up_if(e.is_null(made))

    def add(i: Any) -> None:
        step = e.build.mul(i, e.word(WORD))
        item = e.build.add(step, e.word(TUPLE_ITEMS))
        tensor = e.build.call(one, [e.get(outs, item)])
        e.give_up_if(e.is_null(tensor), made)
        e.build.store(tensor, e.at(made, item))
        e.build.store(e.get(tensor, tensors.address), e.at(places, step))

    loop(e, count, add)
    e.build.ret(made)
    return e.function


def _launch(module: Any, plans: _Plans, tensors: _Tensors, kind: Any, base: type) -> Any:
    """``launch(op, key, extra, tensors, count)``: :func:`_planned` with the plan of this key, held
    while it runs: the op may forget it meanwhile.
    """
    planned = _planned(module, plans, tensors, kind, base)
    e = Emitter(module, "launch_or_null", 5)
    op, key, *rest = e.function.args
    plan = e.call("PyDict_GetItemWithError", e.get(op, plans.plans), key)
    e.give_up_if(e.is_null(plan))
    made = e.build.call(planned, [e.take(plan), *rest])
    e.drop(plan)
    e.build.ret(made)
    return e.function


def _planned(module: Any, plans: _Plans, tensors: _Tensors, kind: Any, base: type) -> Any:
    """``planned(plan, extra, tensors, count)``: run the plan over the tensors, whose addresses come
    first, then those of the results, that of scratch memory if there is any, and the items of the
    tuple ``extra``. Several results are a tuple.
    """
    results = _results(module, plans, tensors, kind)
    e = Emitter(module, "planned_or_null", 4)
    plan, extra, given, number = e.function.args
    count, more = e.build.ptrtoint(number, e.word), e.get(extra, SIZE, e.word)
    outs, scratch = e.get(plan, plans.outs), e.get(plan, plans.scratch)
    made = e.get(outs, SIZE, e.word)
    e.give_up_if(e.build.icmp_signed("==", made, e.word(0)))
    total = e.build.add(e.build.add(count, made), e.build.add(more, e.word(1)))
    e.give_up_if(e.build.icmp_signed(">", total, e.word(3 * MOST)))
    args = e.room(3 * MOST)

    def address_of(i: Any) -> None:
        step = e.build.mul(i, e.word(WORD))
        tensor = e.get(given, step)
        e.give_up_unless(tensor, base)
        e.build.store(e.get(tensor, tensors.address), e.at(args, step))

    loop(e, count, address_of)
    behind = e.at(args, e.build.mul(count, e.word(WORD)))
    answer, block, used = e.room(), e.room(), e.build.alloca(e.word)
    with e.build.if_else(e.build.icmp_signed("==", made, e.word(1))) as (single, several):
        with single:
            result, address = plans.fresh(e, plan, tensors, kind)
            e.build.store(result, answer)
            e.build.store(address, behind)
        with several:
            e.build.store(e.build.call(results, [outs, behind]), answer)
    result = e.build.load(answer, typ=e.pointer)
    e.give_up_if(e.is_null(result))
    e.build.store(e.build.add(count, made), used)
    e.build.store(e.constant(0), block)

    def push(value: Any) -> None:
        place = e.build.load(used, typ=e.word)
        e.build.store(value, e.at(args, e.build.mul(place, e.word(WORD))))
        e.build.store(e.build.add(place, e.word(1)), used)

    with e.build.if_then(e.build.icmp_signed("!=", e.number(scratch), e.word(0))):
        allocate, end = e.object("allocate"), e.constant(0)
        held = e.call(
            "PyObject_CallMethodObjArgs", e.get(plan, plans.allocator), allocate, scratch, end
        )  # fmt: skip
        e.give_up_if(e.is_null(held), result)
        e.build.store(held, block)
        push(e.get(held, FIELDS["address"]))

    def push_extra(i: Any) -> None:
        push(e.get(extra, e.build.add(e.build.mul(i, e.word(WORD)), e.word(TUPLE_ITEMS))))

    loop(e, more, push_extra)
    done = e.call(
        "PyObject_Vectorcall", e.get(plan, plans.launch), args, e.build.load(used, typ=e.word),
        e.constant(0),
    )  # fmt: skip
    e.drop(e.build.load(block, typ=e.pointer))
    e.give_up_if(e.is_null(done), result)
    e.drop(done)
    e.build.ret(result)
    return e.function


def _run(module: Any, launch: Any, tensors: _Tensors, base: type, modes: Any) -> None:
    """``run(op, *tensors)``: the key is the tuple of their layouts."""
    e = Emitter(module, "run_or_null", 2)
    args, number = e.function.args
    count = e.build.sub(e.build.ptrtoint(number, e.word), e.word(1))
    e.give_up_unless_empty(modes)
    e.give_up_if(e.build.icmp_signed(">", count, e.word(MOST)))
    key = e.call("PyTuple_New", count)
    e.give_up_if(e.is_null(key))

    def layout_of(i: Any) -> None:
        step = e.build.mul(i, e.word(WORD))
        given = e.get(args, e.build.add(step, e.word(WORD)))
        e.give_up_unless(given, base, key)
        layout = e.take(e.get(given, tensors.layout))
        e.build.store(layout, e.at(key, e.build.add(step, e.word(TUPLE_ITEMS))))

    loop(e, count, layout_of)
    size = e.build.inttoptr(count, e.pointer)
    made = e.build.call(
        launch, [e.get(args, 0), key, e.object(()), e.at(args, WORD), size]
    )  # fmt: skip
    e.drop(key)
    e.build.ret(made)
    publish(e, "run")


def _run_at(module: Any, launch: Any, modes: Any) -> None:
    """``run_at(op, key, extra, *tensors)``."""
    e = Emitter(module, "run_at_or_null", 2)
    args, number = e.function.args
    e.give_up_unless_empty(modes)
    count = e.build.sub(e.build.ptrtoint(number, e.word), e.word(3))
    size = e.build.inttoptr(count, e.pointer)
    op, key, extra = (e.get(args, k * WORD) for k in range(3))
    e.build.ret(e.build.call(launch, [op, key, extra, e.at(args, 3 * WORD), size]))
    publish(e, "run_at")


def _show(module: Any, tensors: _Tensors, view: type, modes: Any) -> None:
    """``show(view, tensor, *values)``: the view that ``view.made`` has under (layout, *values), as
    part of the tensor or of what that is a view of.
    """
    made_at, base_at, epoch_at = (
        slot_offset(view, "made"),
        slot_offset(tensors.kind, "_base"),
        slot_offset(tensors.kind, "_epoch"),
    )
    e = Emitter(module, "show_or_null", 2)
    args, number = e.function.args
    e.give_up_unless_empty(modes)
    given = e.get(args, WORD)
    e.give_up_unless(given, next(c for c in tensors.kind.__mro__ if "_base" in c.__dict__))
    own = e.get(given, base_at)
    apart = e.build.icmp_unsigned("!=", own, e.object(None))
    root = e.build.select(apart, own, given)
    epoch = e.get(root, epoch_at)  # a number that few have: their identity will do
    e.give_up_if(e.build.icmp_unsigned("!=", epoch, e.get(given, epoch_at)))
    count = e.build.sub(e.build.ptrtoint(number, e.word), e.word(1))
    key = e.call("PyTuple_New", count)
    e.give_up_if(e.is_null(key))
    e.put(key, TUPLE_ITEMS, e.take(e.get(given, tensors.layout)))

    def value_of(i: Any) -> None:
        step = e.build.mul(i, e.word(WORD))
        value = e.get(args, e.build.add(step, e.word(2 * WORD)))
        for kind in (bool, float):  # equal to an int, and refused where one belongs
            odd = e.build.icmp_unsigned("==", e.get(value, TYPE), e.object(kind))
            e.give_up_if(odd, key)
        e.build.store(e.take(value), e.at(key, e.build.add(step, e.word(TUPLE_ITEMS + WORD))))

    loop(e, e.build.sub(count, e.word(1)), value_of)
    found = e.call("PyDict_GetItemWithError", e.get(e.get(args, 0), made_at), key)
    e.drop(key)
    e.give_up_if(e.is_null(found))
    layout, step = (e.get(found, TUPLE_ITEMS + k * WORD) for k in range(2))
    address = e.call("PyNumber_Add", e.get(given, tensors.address), step)
    e.give_up_if(e.is_null(address))
    made = tensors.make(e, layout, e.take(e.get(given, tensors.storage)), address)
    e.drop(address)
    for offset, value in ((base_at, root), (epoch_at, epoch)):
        e.drop(e.get(made, offset))
        e.put(made, offset, e.take(value))
    e.build.ret(made)
    publish(e, "show")


def _every(module: Any, tensors: _Tensors, layout: type) -> None:
    """``every(array, value)``: whether each word of an int64 array in host memory is ``value``."""
    e = Emitter(module, "every_or_null", 2)
    args, _ = e.function.args
    array, value = e.get(args, 0), e.number(e.get(args, WORD))
    nbytes = e.number(e.get(e.get(array, tensors.layout), slot_offset(layout, "nbytes")))
    words = e.build.inttoptr(e.number(e.get(array, tensors.address)), e.pointer)
    apart = e.build.alloca(e.word)
    e.build.store(e.word(0), apart)

    def one(i: Any) -> None:
        here = e.get(words, e.build.mul(i, e.word(WORD)), e.word)
        found = e.build.or_(e.build.load(apart, typ=e.word), e.build.xor(here, value))
        e.build.store(found, apart)

    loop(e, e.build.sdiv(nbytes, e.word(WORD)), one)
    same = e.build.icmp_signed("==", e.build.load(apart, typ=e.word), e.word(0))
    e.build.ret(e.take(e.build.select(same, e.object(True), e.object(False))))
    publish(e, "every")


def compile_storage(free_list: type) -> Callable[..., Any]:
    """The built-in ``storage(address, nbytes, pool, base)``; makes their type first."""
    global _storage_type
    module = new_module()
    _dealloc(module, free_list, slot_offset(free_list, "cells"))
    address = addresses(module, "storage_dealloc")["storage_dealloc"]
    _storage_type = _storage_class(address)
    module = new_module()
    _storage(module, _storage_type)
    return built_in(addresses(module, "storage")["storage"], "storage")


def compile_calls(
    tensor: type,
    base: type,
    first: dict[str, Any],
    plan: type,
    op: type,
    view: type,
    free_list: type,
    layout: type,
    modes: list[Any],
) -> dict[str, Callable[..., Any]]:
    """The built-ins over tensors:

    - ``new(layout, storage, address)``: a tensor outside of any graph;
    - ``fresh(plan)``: one with new memory for the plan's output, or None;
    - ``run(op, *tensors)``: the op's result, or None;
    - ``run_at(op, key, extra, *tensors)``: the same by the plan of this key, ``extra`` behind the
      addresses;
    - ``show(view, tensor, *values)``: a view op's result, or None;
    - ``every(tensor, value)``: whether its words are all this int64.

    Args:
        tensor: the class of what ops make; base: of what they take.
        first: what the slots beside layout, storage and address hold at first.
        modes: where anything is in this list, ``run`` answers None.
    """
    module = new_module()
    tensors, plans = _Tensors(tensor, first), _Plans(plan, op, free_list, layout)
    _tensor(module, tensors)
    _fresh(module, plans, tensors, _storage_type)
    launch = _launch(module, plans, tensors, _storage_type, base)
    _run(module, launch, tensors, base, modes)
    _run_at(module, launch, modes)
    _show(module, tensors, view, modes)
    _every(module, tensors, layout)
    found = addresses(module, "new", "fresh", "run", "run_at", "show", "every")
    return {name: built_in(address, name) for name, address in found.items()}
