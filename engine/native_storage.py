"""Storages as a type of their own, made and freed by machine code.

A storage is made with every result and freed with it; as a Python class it would cost more than the
arithmetic of a small tensor. See :mod:`tilegrad.engine.native` for the calls that make them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from tilegrad.engine import inference
from tilegrad.engine.emitter import Emitter
from tilegrad.engine.interpreter import TYPE, WORD, slot_offset
from tilegrad.engine.linking import Objects, functions
from tilegrad.kernels.builtin import built_in, forever

_SLOT_DEALLOC, _SLOT_MEMBERS = 52, 72  # numbers of the stable ABI
_OBJECT, _INTEGER = 6, 17  # kinds of members

# the fields of a storage, see tilegrad.engine.memory.Storage
FIELDS = {"address": 16, "nbytes": 24, "pool": 32, "base": 40, "version": 48}
BYTES = 56

INFERENCE = {"inference": ctypes.addressof(inference.here)}  # a cell, which is never freed

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


def _dealloc(module: Any, free_list: type, cells: int, size: int) -> None:
    """``void storage_dealloc(storage)``: the block goes back to the list it came from."""
    e = Emitter(module, "storage_dealloc", 1, returns=False)
    (self,) = e.function.args
    fields = {n: e.get(self, o) for n, o in FIELDS.items() if n != "version"}
    with e.build.if_then(e.build.not_(e.is_null(fields["pool"]))):
        pool = fields["pool"]
        plain = e.build.icmp_unsigned("==", e.get(pool, TYPE), e.object(free_list))
        counts = e.build.inttoptr(e.number(e.get(pool, cells)), e.pointer)
        left = e.build.sub(e.get(counts, 0, e.word), e.number(e.get(pool, size)))
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
    mark_inference(e, made)
    e.build.ret(made)


def mark_inference(e: Emitter, storage: Any) -> None:
    """A storage made in inference mode has a version below zero."""
    version = FIELDS["version"]
    here = e.get(e.cell("inference"), 0, e.word)
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


def no_lent(e: Emitter, one: Any, other: Any) -> None:
    """Give up where two storages are not one and have memory in common; see :func:`tilegrad.engine.memory.overlap`."""
    lent = [e.is_null(e.get(storage, FIELDS["pool"])) for storage in (one, other)]
    with e.build.if_then(e.build.and_(e.differ(one, other), e.build.or_(*lent)), likely=False):
        first, begin = (e.number(e.get(storage, FIELDS["address"])) for storage in (one, other))
        size, more = (e.number(e.get(storage, FIELDS["nbytes"])) for storage in (one, other))
        somewhere = e.build.icmp_signed("!=", first, e.word(0))
        before = e.build.icmp_unsigned("<", first, e.build.add(begin, more))
        behind = e.build.icmp_unsigned("<", begin, e.build.add(first, size))
        e.give_up_if(e.build.and_(somewhere, e.build.and_(before, behind)))


def storage_type() -> Any:
    """The type of storages; None before :func:`compile_storage`."""
    return _storage_type


def compile_storage(free_list: type) -> Callable[..., Any]:
    """The built-in ``storage(address, nbytes, pool, base)``; makes their type first."""
    global _storage_type
    cells, size = slot_offset(free_list, "cells"), slot_offset(free_list, "size")
    found = functions(
        "dealloc", lambda module: _dealloc(module, free_list, cells, size), ("storage_dealloc",),
        Objects({"free_list": free_list, "append": "append"}),
    )  # fmt: skip
    kind = _storage_type = _storage_class(found["storage_dealloc"])
    names = Objects({"storage": kind, "question": inference.question}, INFERENCE)
    found = functions("storage", lambda module: _storage(module, kind), ("storage",), names)
    return built_in(found["storage"], "storage")
