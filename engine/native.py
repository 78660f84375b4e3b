"""The steps that every op takes, as machine code: a block from the pool, a tensor over it, a launch.

In Python they cost more than the arithmetic of a small tensor. They are C built-ins over Python's
own objects, written here in LLVM IR through a builder; ``Object`` below reads like the C it stands
for. What they cannot do (no plan yet, an empty pool, an active mode) they answer with None, and
their caller goes the long way. References: *owned* ones are passed on or given up, *borrowed* ones
belong to somebody who outlives the use, as in the documentation of Python's C API.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from tilegrad.kernels.builtin import built_in

_WORD = 8
_REFERENCES, _TYPE = 0, 8  # of any object
_LIST_SIZE, _LIST_ITEMS = 16, 24
_TUPLE_ITEMS = 24
_SLOT_NEW, _SLOT_DEALLOC, _SLOT_MEMBERS = 65, 52, 72  # numbers of the stable ABI
_OBJECT, _INTEGER = 6, 17  # kinds of members

# the fields of a storage, see tilegrad.engine.memory.Storage
FIELDS = {"address": 16, "nbytes": 24, "pool": 32, "base": 40, "version": 48}
SIZE = 56


def slot_offset(kind: type, name: str) -> int:
    """Bytes from an object of class ``kind`` to its slot ``name``."""
    descriptor = next(c.__dict__[name] for c in kind.__mro__ if name in c.__dict__)
    if type(descriptor).__name__ != "member_descriptor":
        raise TypeError(f"slot_offset: {kind.__name__}.{name} is no slot; got {descriptor}")
    member = ctypes.c_void_p.from_address(id(descriptor) + 5 * _WORD).value
    assert member is not None
    return ctypes.c_ssize_t.from_address(member + 2 * _WORD).value


class Emitter:
    """A function being written: C's operations on objects, as LLVM IR."""

    def __init__(self, module: Any, name: str, parameters: int, returns: bool = True):
        from llvmlite import ir

        self.ir = ir
        self.module = module
        self.byte, self.word, self.half = (ir.IntType(n) for n in (8, 64, 32))
        self.pointer = ir.PointerType()
        result = self.pointer if returns else ir.VoidType()
        kind = ir.FunctionType(result, [self.pointer] * parameters)
        self.function = ir.Function(module, kind, name)
        self.build = ir.IRBuilder(self.function.append_basic_block("entry"))

    def object(self, value: Any) -> Any:
        """An object of this process, which is never freed."""
        _keepalive.append(value)
        return self.constant(id(value))

    def constant(self, address: int) -> Any:
        """An address."""
        return self.build.inttoptr(self.word(address), self.pointer)

    def call(self, name: str, *args: Any, returns: Any = None) -> Any:
        """Call a function of Python's C API; it returns a pointer unless said otherwise."""
        function = self.module.globals.get(name)
        if function is None:
            kind = self.ir.FunctionType(returns or self.pointer, [a.type for a in args])
            function = self.ir.Function(self.module, kind, name)
        return self.build.call(function, args)

    def at(self, base: Any, offset: Any) -> Any:
        """The address ``offset`` bytes behind ``base``."""
        return self.build.gep(
            base, [self.word(offset) if isinstance(offset, int) else offset],
            source_etype=self.byte,
        )  # fmt: skip

    def get(self, base: Any, offset: Any, kind: Any = None) -> Any:
        """The pointer (or value of ``kind``) ``offset`` bytes behind ``base``."""
        return self.build.load(self.at(base, offset), typ=kind or self.pointer)

    def put(self, base: Any, offset: int, value: Any) -> None:
        """Write ``value`` there."""
        self.build.store(value, self.at(base, offset))

    def take(self, reference: Any) -> Any:
        """One more reference."""
        self.call("Py_IncRef", reference, returns=self.ir.VoidType())
        return reference

    def drop(self, reference: Any) -> None:
        """One less; null is allowed."""
        self.call("Py_DecRef", reference, returns=self.ir.VoidType())

    def new(self, kind: type) -> Any:
        """A new instance of a class of this process, nothing in its slots; null: no memory."""
        return self.call(
            "tilegrad_object_new", self.object(kind), self.object(()), self.constant(0)
        )

    def differ(self, one: Any, other: Any) -> Any:
        """Whether two pointers differ."""
        return self.build.icmp_unsigned("!=", one, other)

    def is_null(self, value: Any) -> Any:
        """Whether a pointer is null."""
        return self.build.icmp_unsigned("==", value, self.ir.Constant(value.type, None))

    def give_up_if(self, condition: Any, *owned: Any) -> None:
        """Drop what is ``owned`` and return null, if ``condition`` holds."""
        with self.build.if_then(condition, likely=False):
            for reference in owned:
                self.drop(reference)
            self.build.ret(self.ir.Constant(self.pointer, None))

    def number(self, integer: Any) -> Any:
        """The value of a Python int that fits 64 bits."""
        return self.call("PyLong_AsLongLong", integer, returns=self.word)


_keepalive: list[Any] = []
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
    spec = _Spec(b"tilegrad.engine.memory.Storage", SIZE, 0, 0, ctypes.addressof(slots))
    _keepalive.extend([members, slots, spec])
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
        plain = e.build.icmp_unsigned("==", e.get(pool, _TYPE), e.object(free_list))
        counts = e.build.inttoptr(e.number(e.get(pool, cells)), e.pointer)
        left = e.build.sub(e.get(counts, 0, e.word), nbytes)
        e.put(counts, 0, left)
        with e.build.if_else(plain) as (fast, slow):
            with fast:
                e.call("PyList_Append", pool, fields["address"], returns=e.half)
            with slow:  # a list with an ``append`` of its own; an error on its way stays
                state = [e.build.alloca(e.pointer) for _ in range(3)]
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
    kind = e.get(self, _TYPE)
    e.call("PyObject_Free", self, returns=e.ir.VoidType())
    e.drop(kind)
    e.build.ret_void()


def _storage(module: Any, kind: Any) -> None:
    e = Emitter(module, "storage", 3)
    _, args, _ = e.function.args
    made = e.call("PyType_GenericAlloc", e.object(kind), e.word(0))
    e.give_up_if(e.is_null(made))
    for place, name in enumerate(("address", "nbytes", "pool", "base")):
        given = e.get(args, place * _WORD)
        absent = e.build.icmp_unsigned("==", given, e.object(None))
        with e.build.if_then(e.build.not_(absent)):
            e.put(made, FIELDS[name], e.take(given))
    e.build.ret(made)


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
        made = e.new(self.kind)
        e.give_up_if(e.is_null(made), storage)
        e.put(made, self.layout, e.take(layout))
        e.put(made, self.storage, storage)
        e.put(made, self.address, e.take(address))
        for offset, value in self.first.items():
            e.put(made, offset, e.take(e.object(value)))
        return made


def _tensor(module: Any, tensors: _Tensors) -> None:
    e = Emitter(module, "tensor", 3)
    _, args, _ = e.function.args
    layout, storage, address = (e.get(args, k * _WORD) for k in range(3))
    e.build.ret(tensors.make(e, layout, e.take(storage), address))


class _Plans:
    """Where a plan keeps what a launch needs."""

    def __init__(self, plan: type, op: type, free_list: type):
        self.free_list = free_list
        self.pool, self.size, self.out, self.outs, self.launch, self.scratch = (
            slot_offset(plan, n) for n in ("pool", "size", "out", "outs", "launch", "scratch")
        )
        self.plans = slot_offset(op, "plans")
        self.cells, self.gate = (slot_offset(free_list, n) for n in ("cells", "gate"))

    def fresh(self, e: Emitter, plan: Any, tensors: _Tensors, kind: Any, *owned: Any) -> Any:
        """(a tensor over a block of the plan's pool, its address), or null: the pool is empty."""
        pool = e.get(plan, self.pool)
        plain = e.build.icmp_unsigned("==", e.get(pool, _TYPE), e.object(self.free_list))
        e.give_up_if(e.build.not_(plain), *owned)
        gate = e.get(e.build.inttoptr(e.number(e.get(pool, self.gate)), e.pointer), 0, e.word)
        with e.build.if_then(e.build.icmp_signed("!=", gate, e.word(-1)), likely=False):
            thread = e.call("PyThread_get_thread_ident", returns=e.word)
            e.give_up_if(e.build.icmp_unsigned("!=", gate, thread), *owned)
        count = e.get(pool, _LIST_SIZE, e.word)
        e.give_up_if(e.build.icmp_signed("==", count, e.word(0)), *owned)
        storage = e.call("PyType_GenericAlloc", e.object(kind), e.word(0))
        e.give_up_if(e.is_null(storage), *owned)
        last = e.build.sub(count, e.word(1))
        address = e.get(e.get(pool, _LIST_ITEMS), e.build.mul(last, e.word(_WORD)))
        e.put(pool, _LIST_SIZE, last)  # the list's reference to the address is the storage's now
        e.put(storage, FIELDS["address"], address)
        size = e.get(plan, self.size)
        e.put(storage, FIELDS["nbytes"], e.take(size))
        e.put(storage, FIELDS["pool"], e.take(pool))
        self._count(e, pool, e.number(size))
        return tensors.make(e, e.get(plan, self.out), storage, address), address

    def _count(self, e: Emitter, pool: Any, nbytes: Any) -> None:
        counts = e.build.inttoptr(e.number(e.get(pool, self.cells)), e.pointer)
        now = e.build.add(e.get(counts, 0, e.word), nbytes)
        e.put(counts, 0, now)
        with e.build.if_then(e.build.icmp_signed(">", now, e.get(counts, _WORD, e.word))):
            e.put(counts, _WORD, now)


def answer_none(e: Emitter, inner: Any, args: list[Any]) -> None:
    """Return what ``inner`` gives, or None where that is null without an error."""
    found = e.build.call(inner, args)
    with e.build.if_then(e.is_null(found), likely=False):
        failed = e.build.not_(e.is_null(e.call("PyErr_Occurred")))
        with e.build.if_then(failed):
            e.build.ret(e.ir.Constant(e.pointer, None))
        e.build.ret(e.take(e.object(None)))
    e.build.ret(found)


def _fresh(module: Any, plans: _Plans, tensors: _Tensors, kind: Any) -> None:
    e = Emitter(module, "fresh_or_null", 1)
    (plan,) = e.function.args
    made, _ = plans.fresh(e, plan, tensors, kind)
    e.build.ret(made)
    outer = Emitter(module, "fresh", 3)
    _, args, _ = outer.function.args
    answer_none(outer, e.function, [outer.get(args, 0)])


MOST = 8  # tensors of an op that machine code takes


def loop(e: Emitter, count: Any, step: Callable[[Any], None]) -> None:
    """``step(i)`` for every ``i`` below ``count``."""
    place = e.build.alloca(e.word)
    e.build.store(e.word(0), place)
    head, body, done = (e.function.append_basic_block(n) for n in ("head", "body", "done"))
    e.build.branch(head)
    e.build.position_at_end(head)
    now = e.build.load(place, typ=e.word)
    e.build.cbranch(e.build.icmp_signed("<", now, count), body, done)
    e.build.position_at_end(body)
    step(now)
    e.build.store(e.build.add(now, e.word(1)), place)
    e.build.branch(head)
    e.build.position_at_end(done)


def _launch(module: Any, plans: _Plans, tensors: _Tensors, kind: Any, base: type) -> Any:
    """``launch(op, key, extra, tensors, count)``: run the plan of this key over the tensors, whose
    addresses come first, then the result's, then the items of the tuple ``extra``.
    """
    e = Emitter(module, "launch_or_null", 5)
    op, key, extra, given, number = e.function.args
    count = e.build.ptrtoint(number, e.word)
    more = e.get(extra, _LIST_SIZE, e.word)
    total = e.build.add(e.build.add(count, more), e.word(1))
    e.give_up_if(e.build.icmp_signed(">", total, e.word(2 * MOST)))
    args = e.build.alloca(e.pointer, 2 * MOST)

    def address_of(i: Any) -> None:
        step = e.build.mul(i, e.word(_WORD))
        tensor = e.get(given, step)
        kin = e.call("PyType_IsSubtype", e.get(tensor, _TYPE), e.object(base), returns=e.half)
        e.give_up_if(e.build.icmp_signed("==", kin, e.half(0)))
        e.build.store(e.get(tensor, tensors.address), e.at(args, step))

    def extra_of(i: Any) -> None:
        value = e.get(extra, e.build.add(e.build.mul(i, e.word(_WORD)), e.word(_TUPLE_ITEMS)))
        place = e.build.add(e.build.add(i, count), e.word(1))
        e.build.store(value, e.at(args, e.build.mul(place, e.word(_WORD))))

    loop(e, count, address_of)
    loop(e, more, extra_of)
    plan = e.call("PyDict_GetItemWithError", e.get(op, plans.plans), key)
    e.give_up_if(e.is_null(plan))
    scratch = e.number(e.get(plan, plans.scratch))
    e.give_up_if(e.build.icmp_signed("!=", scratch, e.word(0)))
    outs = e.get(e.get(plan, plans.outs), _LIST_SIZE, e.word)
    e.give_up_if(e.build.icmp_signed("!=", outs, e.word(1)))
    made, address = plans.fresh(e, plan, tensors, kind)
    e.give_up_if(e.is_null(made))
    e.build.store(address, e.at(args, e.build.mul(count, e.word(_WORD))))
    answer = e.call("PyObject_Vectorcall", e.get(plan, plans.launch), args, total, e.constant(0))
    e.give_up_if(e.is_null(answer), made)
    e.drop(answer)
    e.build.ret(made)
    return e.function


def _run(module: Any, launch: Any, tensors: _Tensors, base: type, modes: Any) -> None:
    """``run(op, *tensors)``: the key is the tuple of their layouts."""
    e = Emitter(module, "run_or_null", 2)
    args, number = e.function.args
    count = e.build.sub(e.build.ptrtoint(number, e.word), e.word(1))
    active = e.build.icmp_signed("!=", e.get(e.object(modes), _LIST_SIZE, e.word), e.word(0))
    e.give_up_if(active)
    e.give_up_if(e.build.icmp_signed(">", count, e.word(MOST)))
    key = e.call("PyTuple_New", count)
    e.give_up_if(e.is_null(key))

    def layout_of(i: Any) -> None:
        step = e.build.mul(i, e.word(_WORD))
        given = e.get(args, e.build.add(step, e.word(_WORD)))
        kin = e.call("PyType_IsSubtype", e.get(given, _TYPE), e.object(base), returns=e.half)
        e.give_up_if(e.build.icmp_signed("==", kin, e.half(0)), key)
        layout = e.take(e.get(given, tensors.layout))
        e.build.store(layout, e.at(key, e.build.add(step, e.word(_TUPLE_ITEMS))))

    loop(e, count, layout_of)
    size = e.build.inttoptr(count, e.pointer)
    made = e.build.call(
        launch, [e.get(args, 0), key, e.object(()), e.at(args, _WORD), size]
    )  # fmt: skip
    e.drop(key)
    e.build.ret(made)
    outer = Emitter(module, "run", 3)
    _, args, number = outer.function.args
    answer_none(outer, e.function, [args, number])


def _run_at(module: Any, launch: Any, modes: Any) -> None:
    """``run_at(op, key, extra, *tensors)``."""
    e = Emitter(module, "run_at_or_null", 2)
    args, number = e.function.args
    active = e.build.icmp_signed("!=", e.get(e.object(modes), _LIST_SIZE, e.word), e.word(0))
    e.give_up_if(active)
    count = e.build.sub(e.build.ptrtoint(number, e.word), e.word(3))
    size = e.build.inttoptr(count, e.pointer)
    op, key, extra = (e.get(args, k * _WORD) for k in range(3))
    e.build.ret(e.build.call(launch, [op, key, extra, e.at(args, 3 * _WORD), size]))
    outer = Emitter(module, "run_at", 3)
    _, args, number = outer.function.args
    answer_none(outer, e.function, [args, number])


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
    active = e.build.icmp_signed("!=", e.get(e.object(modes), _LIST_SIZE, e.word), e.word(0))
    e.give_up_if(active)
    given = e.get(args, _WORD)
    kind = e.object(next(c for c in tensors.kind.__mro__ if "_base" in c.__dict__))
    kin = e.call("PyType_IsSubtype", e.get(given, _TYPE), kind, returns=e.half)
    e.give_up_if(e.build.icmp_signed("==", kin, e.half(0)))
    own = e.get(given, base_at)
    apart = e.build.icmp_unsigned("!=", own, e.object(None))
    root = e.build.select(apart, own, given)
    epoch = e.get(root, epoch_at)  # a number that few have: their identity will do
    e.give_up_if(e.build.icmp_unsigned("!=", epoch, e.get(given, epoch_at)))
    count = e.build.sub(e.build.ptrtoint(number, e.word), e.word(1))
    key = e.call("PyTuple_New", count)
    e.give_up_if(e.is_null(key))
    e.put(key, _TUPLE_ITEMS, e.take(e.get(given, tensors.layout)))

    def value_of(i: Any) -> None:
        step = e.build.mul(i, e.word(_WORD))
        value = e.take(e.get(args, e.build.add(step, e.word(2 * _WORD))))
        e.build.store(value, e.at(key, e.build.add(step, e.word(_TUPLE_ITEMS + _WORD))))

    loop(e, e.build.sub(count, e.word(1)), value_of)
    found = e.call("PyDict_GetItemWithError", e.get(e.get(args, 0), made_at), key)
    e.drop(key)
    e.give_up_if(e.is_null(found))
    layout, step = (e.get(found, _TUPLE_ITEMS + k * _WORD) for k in range(2))
    address = e.call("PyNumber_Add", e.get(given, tensors.address), step)
    e.give_up_if(e.is_null(address))
    made = tensors.make(e, layout, e.take(e.get(given, tensors.storage)), address)
    e.drop(address)
    for offset, value in ((base_at, root), (epoch_at, epoch)):
        e.drop(e.get(made, offset))
        e.put(made, offset, e.take(value))
    e.build.ret(made)
    outer = Emitter(module, "show", 3)
    _, args, number = outer.function.args
    answer_none(outer, e.function, [args, number])


def compile_storage(free_list: type) -> tuple[Any, Callable[..., Any]]:
    """The type of storages, and the built-in that makes one."""
    global _storage_type
    module = new_module()
    _dealloc(module, free_list, slot_offset(free_list, "cells"))
    address = addresses(module, "storage_dealloc")["storage_dealloc"]
    _storage_type = _storage_class(address)
    module = new_module()
    _storage(module, _storage_type)
    return _storage_type, built_in(addresses(module, "storage")["storage"], "storage")


def compile_calls(
    tensor: type,
    base: type,
    first: dict[str, Any],
    plan: type,
    op: type,
    view: type,
    free_list: type,
    modes: list[Any],
) -> dict[str, Callable[..., Any]]:
    """The built-ins over tensors:

    - ``new(layout, storage, address)``: a tensor outside of any graph;
    - ``fresh(plan)``: one with new memory for the plan's output, or None;
    - ``run(op, *tensors)``: the op's result, or None;
    - ``run_at(op, key, extra, *tensors)``: the same by the plan of this key, ``extra`` behind the
      addresses;
    - ``show(view, tensor, *values)``: a view op's result, or None.

    Args:
        tensor: the class of what ops make; base: of what they take.
        first: what the slots beside layout, storage and address hold at first.
        modes: where anything is in this list, ``run`` answers None.
    """
    module = new_module()
    tensors, plans = _Tensors(tensor, first), _Plans(plan, op, free_list)
    _tensor(module, tensors)
    _fresh(module, plans, tensors, _storage_type)
    launch = _launch(module, plans, tensors, _storage_type, base)
    _run(module, launch, tensors, base, modes)
    _run_at(module, launch, modes)
    _show(module, tensors, view, modes)
    names = {"tensor": "new", **{n: n for n in ("fresh", "run", "run_at", "show")}}
    found = addresses(module, *names)
    return {public: built_in(found[name], public) for name, public in names.items()}


def new_module() -> Any:
    """An empty module of LLVM IR."""
    from llvmlite import ir

    return ir.Module()


def addresses(module: Any, *names: str) -> dict[str, int]:
    """Where the functions of a module are, once it is compiled."""
    import llvmlite.binding as llvm

    get = ctypes.pythonapi.PyType_GetSlot
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_int)
    llvm.add_symbol("tilegrad_object_new", get(object, _SLOT_NEW))
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    _keepalive.append(engine)
    return {name: engine.get_function_address(name) for name in names}
