"""What machine code knows of CPython's objects, and whether this interpreter's are so.

:mod:`tilegrad.engine.emitter` reads and writes objects by offsets. They are right for the versions in
``TESTED``, and are compared with objects of this process before anything is compiled. Everywhere else
the calls are plain Python (:mod:`tilegrad.engine.plain`), slower and to the same effect.
"""

from __future__ import annotations

import ctypes
import os
import sys
import sysconfig
from collections.abc import Callable
from typing import Any

TESTED = ((3, 11), (3, 13))  # the oldest and the newest version that the suite was run on

WORD = 8  # bytes of a pointer, and of an item of a list or tuple
TYPE = 8  # where an object has its type
SIZE = object.__basicsize__  # where lists and tuples have their length
LIST_ITEMS = SIZE + WORD  # where a list has the address of its items
TUPLE_ITEMS = tuple.__basicsize__  # where a tuple has its items


class _Probe:
    __slots__ = ("first", "second")

    first: object
    second: object


def slot_offset(kind: type, name: str) -> int:
    """Bytes from an object of class ``kind`` to its slot ``name``."""
    descriptor = next(c.__dict__[name] for c in kind.__mro__ if name in c.__dict__)
    if type(descriptor).__name__ != "member_descriptor":
        raise TypeError(f"slot_offset: {kind.__name__}.{name} is no slot; got {descriptor}")
    member = ctypes.c_void_p.from_address(id(descriptor) + 5 * WORD).value
    assert member is not None
    return ctypes.c_ssize_t.from_address(member + 2 * WORD).value


def why_plain() -> str | None:
    """Why the calls are plain Python in this process; None: they are machine code."""
    if os.environ.get("TILEGRAD_NATIVE", "") == "0":
        return "TILEGRAD_NATIVE=0"
    if sys.implementation.name != "cpython":
        return f"the interpreter is {sys.implementation.name}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "the interpreter has no global lock"
    version = sys.version_info[:2]
    if not TESTED[0] <= version <= TESTED[1]:
        return f"Python {version[0]}.{version[1]} was not tested"
    if ctypes.sizeof(ctypes.c_void_p) != WORD or sys.byteorder != "little":
        return "pointers are not of 64 bits, low byte first"
    wrong = _wrong_offset()
    return None if wrong is None else f"objects of this interpreter differ: {wrong}"


def chosen(machine: Callable[[], Any], plain: Callable[[], Any]) -> Any:
    """What ``machine()`` compiles, or ``plain()`` where :func:`why_plain` has a reason."""
    return machine() if why_plain() is None else plain()


def _wrong_offset() -> str | None:
    """Which of the offsets does not hold for objects made here."""
    items = [object(), object(), object()]
    several = tuple(items)
    if SIZE != 2 * WORD:
        return "the head of an object"
    if _word(items, TYPE) != id(list):
        return "the type of an object"
    if _word(items, SIZE) != 3 or _word(several, SIZE) != 3:
        return "the length of a list or tuple"
    if any(_word(several, TUPLE_ITEMS + k * WORD) != id(x) for k, x in enumerate(items)):
        return "the items of a tuple"
    start = _word(items, LIST_ITEMS)
    if start < 1 << 16 or start % WORD:  # a length is there, no address
        return "the items of a list"
    held = (ctypes.c_size_t * 3).from_address(start)
    if list(held) != [id(x) for x in items]:
        return "the items of a list"
    probe = _Probe()
    probe.first, probe.second = items[:2]
    for name, value in (("first", items[0]), ("second", items[1])):
        offset = slot_offset(_Probe, name)
        if not 0 < offset < _Probe.__basicsize__ or _word(probe, offset) != id(value):
            return "the slots of a class"
    return None


def _word(value: Any, offset: int) -> int:
    """The word ``offset`` bytes behind the start of an object."""
    return ctypes.c_size_t.from_address(id(value) + offset).value
