"""The steps that every op takes, as machine code: a block from the pool, a tensor over it, a launch.

In Python they cost more than the arithmetic of a small tensor. They are C built-ins over Python's
own objects, written with :mod:`tilegrad.engine.emitter`. What they cannot do (no plan yet, an empty
pool, an active mode) they answer with None, and their caller goes the long way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilegrad.engine import inference
from tilegrad.engine.emitter import Emitter, loop, publish
from tilegrad.engine.interpreter import LIST_ITEMS, SIZE, TUPLE_ITEMS, TYPE, WORD, slot_offset
from tilegrad.engine.linking import Objects, functions
from tilegrad.engine.native_storage import FIELDS, INFERENCE, mark_inference, no_lent, storage_type
from tilegrad.kernels.builtin import built_in


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
        self.tail, self.writes, self.apart, self.pointwise, self.view = (
            slot_offset(plan, n) for n in ("tail", "writes", "apart", "pointwise", "view")
        )
        self.of_plan = tuple(slot_offset(plan, n) for n in ("pool", "nbytes"))
        self.of_layout = tuple(slot_offset(layout, n) for n in ("pool", "nbytes"))
        self.plans = slot_offset(op, "plans")
        self.cells, self.gate = (slot_offset(free_list, n) for n in ("cells", "gate"))
        self.size = slot_offset(free_list, "size")

    def fresh(self, e: Emitter, plan: Any, tensors: _Tensors, kind: Any) -> Any:
        """(a tensor for the output of a plan, its address), or null: the pool is empty."""
        pool, nbytes = (e.get(plan, place) for place in self.of_plan)
        return self._over(e, e.get(plan, self.out), pool, nbytes, tensors, kind)

    def one_of(self, e: Emitter, layout: Any, tensors: _Tensors, kind: Any) -> Any:
        """The same for one of several outputs."""
        pool, nbytes = (e.get(layout, place) for place in self.of_layout)
        e.give_up_if(e.is_null(pool))  # nothing of this layout was made so far
        return self._over(e, layout, pool, nbytes, tensors, kind)

    def _over(
        self, e: Emitter, layout: Any, pool: Any, nbytes: Any, tensors: _Tensors, kind: Any
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
        e.put(storage, FIELDS["nbytes"], e.take(nbytes))
        e.put(storage, FIELDS["pool"], e.take(pool))
        self._count(e, pool)
        mark_inference(e, storage)
        return tensors.make(e, layout, storage, address), address

    def _count(self, e: Emitter, pool: Any) -> None:
        counts = e.build.inttoptr(e.number(e.get(pool, self.cells)), e.pointer)
        now = e.build.add(e.get(counts, 0, e.word), e.number(e.get(pool, self.size)))
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
    with e.build.if_then(e.is_null(plan), likely=False):
        e.call("PyErr_Clear", returns=e.ir.VoidType())  # of a value without a hash: no plan has it
        e.build.ret(plan)
    made = e.build.call(planned, [e.take(plan), *rest])
    e.drop(plan)
    e.build.ret(made)
    return e.function


def _written(
    e: Emitter, plans: _Plans, tensors: _Tensors, plan: Any, given: Any, count: Any
) -> Any:
    """The first operand that a plan without outputs writes over; null where there is none, or where
    another operand may lie in its memory and must be copied first.
    """
    writes = e.get(plan, plans.writes)
    e.give_up_if(e.build.icmp_signed("==", e.get(writes, SIZE, e.word), e.word(0)))
    place = e.number(e.get(writes, TUPLE_ITEMS))
    target = e.get(given, e.build.mul(place, e.word(WORD)))
    storage = e.get(target, tensors.storage)
    strict = e.differ(e.get(plan, plans.pointwise), e.object(True))
    with e.build.if_then(e.differ(e.get(plan, plans.apart), e.object(None))):

        def check(i: Any) -> None:
            tensor = e.get(given, e.build.mul(i, e.word(WORD)))
            shared = e.build.icmp_unsigned("==", e.get(tensor, tensors.storage), storage)
            no_lent(e, e.get(tensor, tensors.storage), storage)
            other = e.build.icmp_signed("!=", i, place)
            refused = e.build.or_(strict, e.differ(tensor, target))
            e.give_up_if(e.build.and_(e.build.and_(shared, other), refused))

        loop(e, count, check)
    return target


def _count_writes(e: Emitter, plans: _Plans, tensors: _Tensors, plan: Any, given: Any) -> None:
    """The storages of the operands that a plan writes over get their next version."""
    writes, version = e.get(plan, plans.writes), FIELDS["version"]

    def one(i: Any) -> None:
        item = e.build.add(e.build.mul(i, e.word(WORD)), e.word(TUPLE_ITEMS))
        step = e.build.mul(e.number(e.get(writes, item)), e.word(WORD))
        storage = e.get(e.get(given, step), tensors.storage)
        e.put(storage, version, e.build.add(e.get(storage, version, e.word), e.word(1)))

    loop(e, e.get(writes, SIZE, e.word), one)


def _result(
    e: Emitter, plans: _Plans, tensors: _Tensors, kind: Any, results: Any, plan: Any, given: Any,
    count: Any, behind: Any,
) -> Any:  # fmt: skip
    """What the plan makes, its addresses stored from ``behind`` on, or what it writes."""
    outs, answer = e.get(plan, plans.outs), e.room()
    made = e.get(outs, SIZE, e.word)
    with e.build.if_else(e.build.icmp_signed("==", made, e.word(1))) as (single, others):
        with single:
            result, address = plans.fresh(e, plan, tensors, kind)
            e.build.store(result, answer)
            e.build.store(address, behind)
        with others, e.build.if_else(e.build.icmp_signed("==", made, e.word(0))) as (none, several):
            with none:
                target = _written(e, plans, tensors, plan, given, count)
                e.build.store(e.take(target), answer)
            with several:
                e.build.store(e.build.call(results, [outs, behind]), answer)
    result = e.build.load(answer, typ=e.pointer)
    e.give_up_if(e.is_null(result))
    return result


def _planned(module: Any, plans: _Plans, tensors: _Tensors, kind: Any, base: type) -> Any:
    """``planned(plan, extra, tensors, count)``: run the plan over the tensors, whose addresses come
    first, then those of the results, that of scratch memory if there is any, the items of the tuple
    ``extra`` and those of the plan's tail. Several results are a tuple; without any, what is written
    is the result.
    """
    results = _results(module, plans, tensors, kind)
    e = Emitter(module, "planned_or_null", 4)
    plan, extra, given, number = e.function.args
    count, more = e.build.ptrtoint(number, e.word), e.get(extra, SIZE, e.word)
    outs, scratch, tail = (e.get(plan, s) for s in (plans.outs, plans.scratch, plans.tail))
    made, last = e.get(outs, SIZE, e.word), e.get(tail, SIZE, e.word)
    total = e.build.add(e.build.add(count, made), e.build.add(e.build.add(more, last), e.word(1)))
    e.give_up_if(e.build.icmp_signed(">", total, e.word(3 * MOST)))
    args = e.room(3 * MOST)

    def address_of(i: Any) -> None:
        step = e.build.mul(i, e.word(WORD))
        tensor = e.get(given, step)
        e.give_up_unless(tensor, base, tensors.kind)
        e.build.store(e.get(tensor, tensors.address), e.at(args, step))

    loop(e, count, address_of)
    behind = e.at(args, e.build.mul(count, e.word(WORD)))
    result = _result(e, plans, tensors, kind, results, plan, given, count, behind)
    block, used = e.room(), e.build.alloca(e.word)
    e.build.store(e.build.add(count, made), used)
    e.build.store(e.null(), block)

    def push(value: Any) -> None:
        place = e.build.load(used, typ=e.word)
        e.build.store(value, e.at(args, e.build.mul(place, e.word(WORD))))
        e.build.store(e.build.add(place, e.word(1)), used)

    with e.build.if_then(e.build.icmp_signed("!=", e.number(scratch), e.word(0))):
        allocate, end = e.object("allocate"), e.null()
        held = e.call(
            "PyObject_CallMethodObjArgs", e.get(plan, plans.allocator), allocate, scratch, end
        )  # fmt: skip
        e.give_up_if(e.is_null(held), result)
        e.build.store(held, block)
        push(e.get(held, FIELDS["address"]))

    for values, size in ((extra, more), (tail, last)):

        def push_item(i: Any, values: Any = values) -> None:
            push(e.get(values, e.build.add(e.build.mul(i, e.word(WORD)), e.word(TUPLE_ITEMS))))

        loop(e, size, push_item)
    done = e.call(
        "PyObject_Vectorcall", e.get(plan, plans.launch), args, e.build.load(used, typ=e.word),
        e.null(),
    )  # fmt: skip
    e.drop(e.build.load(block, typ=e.pointer))
    e.give_up_if(e.is_null(done), result)
    e.drop(done)
    _count_writes(e, plans, tensors, plan, given)
    e.build.ret(result)
    return e.function


def _items(e: Emitter, value: Any, step: Callable[[Any], None]) -> None:
    """``step(item)`` for every item of ``value``, if it is a tuple."""
    is_tuple = e.build.icmp_unsigned("==", e.get(value, TYPE), e.object(tuple))
    with e.build.if_then(is_tuple):

        def one(i: Any) -> None:
            step(e.get(value, e.build.add(e.build.mul(i, e.word(WORD)), e.word(TUPLE_ITEMS))))

        loop(e, e.get(value, SIZE, e.word), one)


def _exact(module: Any, base: type, layout: type) -> Any:
    """``exact(value)``: null for a tuple that holds a bool or a float. They equal ints, so that a key
    with them finds the plan of the ints; whatever is refused or read as it is, is by the planner. Null for
    a tensor too: it stays equal to itself while its value changes.
    """
    e = Emitter(module, "exact_or_null", 1)
    (value,) = e.function.args

    def refuse_tensor(item: Any) -> None:
        kind = e.get(item, TYPE)
        unusual = e.build.and_(e.differ(kind, e.object(int)), e.differ(kind, e.object(layout)))
        with e.build.if_then(unusual, likely=False):
            kin = e.call("PyType_IsSubtype", kind, e.object(base), returns=e.half)
            e.give_up_if(e.differ(kin, e.half(0)))

    def check(item: Any) -> None:
        for kind in (bool, float):
            e.give_up_if(e.build.icmp_unsigned("==", e.get(item, TYPE), e.object(kind)))
        refuse_tensor(item)

    refuse_tensor(value)
    _items(e, value, check)
    e.build.ret(value)
    inner = e.function
    e = Emitter(module, "all_exact_or_null", 2)
    args, number = e.function.args

    def one(i: Any) -> None:
        value = e.get(args, e.build.mul(i, e.word(WORD)))
        e.give_up_if(e.is_null(e.build.call(inner, [value])))

    loop(e, e.build.ptrtoint(number, e.word), one)
    e.build.ret(e.take(e.object(True)))
    publish(e, "exact")
    return inner


def _run(module: Any, launch: Any, exact: Any, tensors: _Tensors, base: type, modes: Any) -> None:
    """``run(op, *tensors, *values)``: the key is the tuple of their layouts, and of the values."""
    e = Emitter(module, "run_or_null", 2)
    args, number = e.function.args
    count = e.build.sub(e.build.ptrtoint(number, e.word), e.word(1))
    e.give_up_unless_empty(modes)
    e.give_up_if(e.build.icmp_signed(">", count, e.word(2 * MOST)))
    key = e.call("PyTuple_New", count)
    e.give_up_if(e.is_null(key))
    operands = e.build.alloca(e.word)
    e.build.store(e.word(0), operands)

    def part_of_key(i: Any) -> None:
        step = e.build.mul(i, e.word(WORD))
        item = e.at(key, e.build.add(step, e.word(TUPLE_ITEMS)))
        given = e.get(args, e.build.add(step, e.word(WORD)))
        with e.build.if_else(e.is_a(given, base, tensors.kind)) as (tensor, value):
            with tensor:
                e.build.store(e.take(e.get(given, tensors.layout)), item)
                known = e.build.load(operands, typ=e.word)
                e.build.store(e.build.add(known, e.word(1)), operands)
            with value:
                e.build.store(e.take(given), item)
                e.give_up_if(e.is_null(e.build.call(exact, [given])), key)

    loop(e, count, part_of_key)
    size = e.build.inttoptr(e.build.load(operands, typ=e.word), e.pointer)
    made = e.build.call(
        launch, [e.get(args, 0), key, e.object(()), e.at(args, WORD), size]
    )  # fmt: skip
    e.drop(key)
    e.build.ret(made)
    publish(e, "run")


def _run_at(module: Any, launch: Any, exact: Any, modes: Any) -> None:
    """``run_at(op, key, extra, *tensors)``; the key is that of ``run``, or (layouts, ((name, value), …))."""
    e = Emitter(module, "run_at_or_null", 2)
    args, number = e.function.args
    e.give_up_unless_empty(modes)
    count = e.build.sub(e.build.ptrtoint(number, e.word), e.word(3))
    size = e.build.inttoptr(count, e.pointer)
    op, key, extra = (e.get(args, k * WORD) for k in range(3))

    def check(part: Any) -> None:
        e.give_up_if(e.is_null(e.build.call(exact, [part])))
        _items(e, part, lambda pair: _items(e, pair, check_value))

    def check_value(value: Any) -> None:
        e.give_up_if(e.is_null(e.build.call(exact, [value])))

    _items(e, key, check)
    e.build.ret(e.build.call(launch, [op, key, extra, e.at(args, 3 * WORD), size]))
    publish(e, "run_at")


def _show(module: Any, plans: _Plans, exact: Any, tensors: _Tensors, modes: Any) -> None:
    """``show(op, tensor, *values)``: the view that is planned under (layout, *values), as part of the
    tensor or of what that is a view of.
    """
    base_at, epoch_at = (slot_offset(tensors.kind, n) for n in ("_base", "_epoch"))
    e = Emitter(module, "show_or_null", 2)
    args, number = e.function.args
    e.give_up_unless_empty(modes)
    given = e.get(args, WORD)
    e.give_up_unless(
        given, next(c for c in tensors.kind.__mro__ if "_base" in c.__dict__), tensors.kind
    )
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
        e.give_up_if(e.is_null(e.build.call(exact, [value])), key)
        e.build.store(e.take(value), e.at(key, e.build.add(step, e.word(TUPLE_ITEMS + WORD))))

    loop(e, e.build.sub(count, e.word(1)), value_of)
    found = e.call("PyDict_GetItemWithError", e.get(e.get(args, 0), plans.plans), key)
    e.drop(key)
    e.give_up_if(e.is_null(found))
    view = e.get(found, plans.view)
    e.give_up_if(e.build.icmp_unsigned("==", view, e.object(None)))
    layout, step = (e.get(view, TUPLE_ITEMS + k * WORD) for k in range(2))
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
    """``all_equal(array, value)``: whether each word of an int64 array in host memory is ``value``."""
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
    publish(e, "all_equal")


def compile_calls(
    tensor: type,
    base: type,
    first: dict[str, Any],
    plan: type,
    op: type,
    free_list: type,
    layout: type,
    modes: list[Any],
) -> dict[str, Callable[..., Any]]:
    """The built-ins over tensors, as :mod:`tilegrad.engine.calls` has them; None where that takes the long way.

    Args:
        tensor: the class of what ops make; base: of what they take.
        first: what the slots beside layout, storage and address hold at first.
        modes: where anything is in this list, ``run`` answers None.
    """
    tensors, plans = _Tensors(tensor, first), _Plans(plan, op, free_list, layout)

    def write(module: Any) -> None:
        _tensor(module, tensors)
        _fresh(module, plans, tensors, storage_type())
        launch = _launch(module, plans, tensors, storage_type(), base)
        exact = _exact(module, base, layout)
        _run(module, launch, exact, tensors, base, modes)
        _run_at(module, launch, exact, modes)
        _show(module, plans, exact, tensors, modes)
        _every(module, tensors, layout)

    objects = {
        "tensor": tensor, "base": base, "plan": plan, "op": op, "free_list": free_list, "layout": layout,
        "modes": modes, "storage": storage_type(), "question": inference.question, "allocate": "allocate",
        "root": next(c for c in tensor.__mro__ if "_base" in c.__dict__),
        **{f"first_{name}": value for name, value in first.items()},
    }  # fmt: skip
    names = ("new", "fresh", "run", "run_at", "show", "exact", "all_equal")
    found = functions("ops", write, names, Objects(objects, INFERENCE))
    return {name: built_in(address, name) for name, address in found.items()}
