"""Recording an op as machine code: one node, with what it saves, in one call.

As :mod:`tilegrad.engine.native`: built-ins over Python's own objects, which answer None where the
long way must be taken (a stale view, a second output, anomaly mode).
"""

from __future__ import annotations

from collections.abc import Callable

from tilegrad.engine.emitter import Emitter, loop, publish
from tilegrad.engine.interpreter import SIZE, TUPLE_ITEMS, WORD, slot_offset
from tilegrad.engine.linking import Objects, functions
from tilegrad.engine.native import MOST
from tilegrad.engine.native_storage import FIELDS
from tilegrad.kernels.builtin import built_in


class _Nodes:
    """How nodes are laid out; the cell ``sequence`` numbers them."""

    def __init__(self, node: type):
        self.kind = node
        self.at = {
            name: slot_offset(node, name)
            for name in (
                "op", "vjp", "edges", "inputs", "outputs", "meta", "saved", "versions",
                "sequence", "extras",
            )
        }  # fmt: skip

    def make(self, e: Emitter, **owned: object) -> object:
        """A numbered node that takes over the references ``owned``; null: no memory."""
        made = e.new(self.kind)
        e.give_up_if(e.is_null(made), *owned.values())
        for name, reference in owned.items():
            e.put(made, self.at[name], reference)
        for name in ("saved", "versions"):
            if name not in owned:
                e.put(made, self.at[name], e.take(e.object(())))
        e.put(made, self.at["extras"], e.take(e.object(None)))
        cell = e.cell("sequence")
        number = e.build.add(e.get(cell, 0, e.word), e.word(1))
        e.put(cell, 0, number)
        e.put(made, self.at["sequence"], e.call("PyLong_FromLongLong", number))
        return made


def _node(module: object, nodes: _Nodes) -> None:
    """``node(name, vjp, edges, inputs, outputs, meta)``: saves nothing yet."""
    e = Emitter(module, "node", 3)
    _, args, _ = e.function.args
    names = ("op", "vjp", "edges", "inputs", "outputs", "meta")
    given = {name: e.take(e.get(args, k * WORD)) for k, name in enumerate(names)}
    e.build.ret(nodes.make(e, **given))


class _Slots:
    """Where tensors and arrays keep what a node needs to know of them."""

    def __init__(self, base: type, saved: type):
        self.base, self.saved = base, saved
        names = ("layout", "storage", "address", "_tracked", "_node", "_index", "_base")
        self.tensor = {n: slot_offset(base, n) for n in names}
        self.output = {n: slot_offset(saved, n) for n in ("layout", "storage", "address", "index")}


def _edges(e: Emitter, slots: _Slots, args: object, count: object) -> tuple[object, object, object]:
    """(tuple of edges, tuple of layouts, bits of the tensors that are tracked)."""
    edges, layouts = e.call("PyTuple_New", count), e.call("PyTuple_New", count)
    e.give_up_if(e.build.or_(e.is_null(edges), e.is_null(layouts)), edges, layouts)
    bits = e.build.alloca(e.word)
    e.build.store(e.word(0), bits)
    at = slots.tensor

    def one(i: object) -> None:
        step = e.build.mul(i, e.word(WORD))
        item = e.build.add(step, e.word(TUPLE_ITEMS))
        tensor = e.get(args, step)
        e.give_up_if(e.differ(e.get(tensor, at["_base"]), e.object(None)), edges, layouts)
        e.build.store(e.take(e.get(tensor, at["layout"])), e.at(layouts, item))
        tracked = e.differ(e.get(tensor, at["_tracked"]), e.object(False))
        node = e.get(tensor, at["_node"])
        behind = e.differ(node, e.object(None))
        other = e.build.and_(behind, e.differ(e.get(tensor, at["_index"]), e.object(0)))
        e.give_up_if(e.build.and_(tracked, other), edges, layouts)
        edge = e.build.select(behind, node, tensor)
        edge = e.build.select(tracked, edge, e.object(None))
        e.build.store(e.take(edge), e.at(edges, item))
        bit = e.build.shl(e.build.zext(tracked, e.word), i)
        e.build.store(e.build.or_(e.build.load(bits, typ=e.word), bit), bits)

    loop(e, count, one)
    return edges, layouts, e.build.load(bits, typ=e.word)


def _saves(
    e: Emitter, slots: _Slots, args: object, out: object, places: object, *owned: object
) -> tuple[object, object]:
    """(what is saved, its versions), for the tuple ``places``: inputs, -1 for ``out``, or None. What the
    caller has ``owned`` so far is dropped where this gives up.
    """
    count = e.get(places, SIZE, e.word)
    saved, versions = e.call("PyTuple_New", count), e.call("PyTuple_New", count)
    owned = (*owned, saved, versions)
    e.give_up_if(e.build.or_(e.is_null(saved), e.is_null(versions)), *owned)

    def one(i: object) -> None:
        item = e.build.add(e.build.mul(i, e.word(WORD)), e.word(TUPLE_ITEMS))
        found = e.get(places, item)
        with e.build.if_else(e.differ(found, e.object(None))) as (some, none):
            with some:
                kept(item, e.number(found))
            with none:
                e.build.store(e.take(found), e.at(saved, item))
                e.build.store(e.call("PyLong_FromLongLong", e.word(-1)), e.at(versions, item))

    def kept(item: object, place: object) -> None:
        value = e.room()
        with e.build.if_else(e.build.icmp_signed("<", place, e.word(0))) as (output, given):
            with output:
                made = e.new(slots.saved)
                e.give_up_if(e.is_null(made), *owned)
                for name in ("layout", "storage", "address"):
                    e.put(made, slots.output[name], e.take(e.get(out, slots.tensor[name])))
                e.put(made, slots.output["index"], e.take(e.object(0)))
                e.build.store(made, value)
            with given:
                tensor = e.get(args, e.build.mul(place, e.word(WORD)))
                e.build.store(e.take(tensor), value)
        held = e.build.load(value, typ=e.pointer)
        e.build.store(held, e.at(saved, item))
        storage = e.get(held, slots.tensor["storage"])
        version = e.get(storage, FIELDS["version"], e.word)
        e.give_up_if(e.build.icmp_signed("<", version, e.word(0)), *owned)
        e.build.store(e.call("PyLong_FromLongLong", version), e.at(versions, item))

    loop(e, count, one)
    return saved, versions


def _trace(module: object, nodes: _Nodes, slots: _Slots, anomalies: list[None]) -> None:
    """``record_by_template(templates, out, *tensors)``: make ``out`` the output of a node over ``tensors``.

    ``templates`` has, for the bits of the tensors that are tracked, the node's
    ``(name, vjp, what it saves, meta)``. Answers True, or None: the long way.
    """
    e = Emitter(module, "trace_or_null", 2)
    args, number = e.function.args
    count = e.build.sub(e.build.ptrtoint(number, e.word), e.word(2))
    e.give_up_if(e.build.icmp_signed(">", count, e.word(MOST)))
    e.give_up_unless_empty(anomalies)
    templates, out, tensors = e.get(args, 0), e.get(args, WORD), e.at(args, 2 * WORD)
    edges, layouts, bits = _edges(e, slots, tensors, count)
    needed = e.call("PyLong_FromLongLong", bits)
    template = e.call("PyDict_GetItemWithError", templates, needed)
    e.drop(needed)
    e.give_up_if(e.is_null(template), edges, layouts)
    name, vjp, places, meta = (e.get(template, TUPLE_ITEMS + k * WORD) for k in range(4))
    saved, versions = _saves(e, slots, tensors, out, places, edges, layouts)
    outputs = e.call("PyTuple_New", e.word(1))
    e.put(outputs, TUPLE_ITEMS, e.take(e.get(out, slots.tensor["layout"])))
    node = nodes.make(
        e, op=e.take(name), vjp=e.take(vjp), edges=edges, inputs=layouts, outputs=outputs,
        meta=e.take(meta), saved=saved, versions=versions,
    )  # fmt: skip
    for slot, value in (("_tracked", e.take(e.object(True))), ("_node", node)):
        before = e.get(out, slots.tensor[slot])
        e.put(out, slots.tensor[slot], value)
        e.drop(before)  # last: what it frees may look at the tensor
    e.build.ret(e.take(e.object(True)))
    publish(e, "record_by_template")


def compile_recording(
    node: type, base: type, saved: type, anomalies: list[None], cell: int
) -> tuple[Callable[..., object], Callable[..., object]]:
    """The built-ins ``node`` and ``record_by_template``.

    Args:
        node: the class of nodes; base: of tensors; saved: of outputs that a node keeps.
        anomalies: where anything is in this list, ``record_by_template`` answers None.
        cell: the address of an int64, the number of the last node.
    """
    nodes, slots = _Nodes(node), _Slots(base, saved)

    def write(module: object) -> None:
        _node(module, nodes)
        _trace(module, nodes, slots, anomalies)

    objects = {"node": node, "base": base, "saved": saved, "anomalies": anomalies}
    names = Objects(objects, {"sequence": cell})
    found = functions("record", write, ("node", "record_by_template"), names)
    return built_in(found["node"], "node"), built_in(
        found["record_by_template"], "record_by_template"
    )
