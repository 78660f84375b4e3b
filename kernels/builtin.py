"""Machine code as C built-ins that Python calls: unboxing in LLVM IR, creation, binding.

A built-in here is METH_FASTCALL over integers and floats. Its last arguments may be fixed by
:func:`bind`: they then come, packed, in the built-in's ``self``.

Who keeps alive what machine code has the address of:

- *For ever*, by :func:`forever`: method definitions, code, and the objects and cells whose addresses
  are written into code. When the interpreter ends it clears the modules first, in an order that nobody
  promises, and drops tensors, plans and bound built-ins after them: Python then reads a built-in's
  definition and calls the code that frees a storage, so none of this may ever be freed.
- *As long as the bound built-in*, by ``keep`` of :func:`bind`: tables that its arguments point at. A
  launch that is a Python function holds them as a default of its own. A plan holds its launch, and the
  caller of a plan holds the plan while it runs.
- *As long as a storage*: its block. The storage holds its free list, the list holds its source (whose
  mappings hold the memory) and its counts (the cells that the code counts in).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any

KINDS = {"i": "i64", "d": "double"}
_READERS = {"i64": "PyLong_AsLongLong", "double": "PyFloat_AsDouble"}

_ENTRY = """
declare i64 @PyLong_AsLongLong(ptr)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyErr_Occurred()
declare i32 @PyErr_BadArgument()
declare i64 @PyBytes_Size(ptr)
declare ptr @PyBytes_AsString(ptr)
declare void @Py_IncRef(ptr)
@_Py_NoneStruct = external global i8

define ptr @tilegrad_entry(ptr %self, ptr %args, i64 %nargs) {{
entry:
{locals}
  %bound = icmp ne ptr %self, null
  br i1 %bound, label %tailed, label %whole
tailed:
  %bytes = call i64 @PyBytes_Size(ptr %self)
  %static = sdiv i64 %bytes, 8
  %start = call ptr @PyBytes_AsString(ptr %self)
  br label %whole
whole:
  %tail = phi ptr [ null, %entry ], [ %start, %tailed ]
  %kept = phi i64 [ 0, %entry ], [ %static, %tailed ]
  %total = add i64 %nargs, %kept
  %right = icmp eq i64 %total, {nargs}
  br i1 %right, label %unbox, label %wrong
wrong:
  %bad = call i32 @PyErr_BadArgument()
  ret ptr null
unbox:
{unbox}
  %error = call ptr @PyErr_Occurred()
  %clean = icmp eq ptr %error, null
  br i1 %clean, label %run, label %failed
failed:
  ret ptr null
run:
{run}
done:
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  ret ptr @_Py_NoneStruct
}}
"""


def entry_ir(kinds: Sequence[str], run: str, local: str = "") -> str:
    """The IR of ``PyObject *tilegrad_entry(self, args, nargs)``.

    Args:
        kinds: LLVM types of the arguments, ``i64`` or ``double``; they become ``%v0``, ``%v1``, …
        run: what to do with them, from the label ``run`` on. Ends with branches to ``done``, or to
            ``failed`` with a Python error set.
        local: stack allocations.
    """
    unbox = []
    for index, kind in enumerate(kinds):
        unbox += [
            f"  %given{index} = icmp sgt i64 %nargs, {index}",
            f"  br i1 %given{index}, label %object{index}, label %packed{index}",
            f"object{index}:",
            f"  %p{index} = getelementptr ptr, ptr %args, i64 {index}",
            f"  %o{index} = load ptr, ptr %p{index}",
            f"  %a{index} = call {kind} @{_READERS[kind]}(ptr %o{index})",
            f"  br label %next{index}",
            f"packed{index}:",
            f"  %t{index} = sub i64 {index}, %nargs",
            f"  %q{index} = getelementptr i64, ptr %tail, i64 %t{index}",
            f"  %b{index} = load {kind}, ptr %q{index}",
            f"  br label %next{index}",
            f"next{index}:",
            f"  %v{index} = phi {kind} [ %a{index}, %object{index} ], [ %b{index}, %packed{index} ]",
        ]
    return _ENTRY.format(nargs=len(kinds), unbox="\n".join(unbox), run=run, locals=local)


class _MethodDef(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


_METH_FASTCALL = 0x0080
_methods: dict[int, int] = {}  # id of a built-in, which is never freed -> address of its definition
_built_in: Any = ctypes.pythonapi.PyCFunction_NewEx
_built_in.restype = ctypes.py_object
_built_in.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_bind: Any = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.py_object
)(("PyCFunction_NewEx", ctypes.pythonapi))


def forever(value: Any) -> Any:
    """``value``, with one more reference that nobody gives up, not even when the interpreter ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
    return value


def cell(value: int = 0) -> ctypes.c_int64:
    """An int64 that machine code finds by its address, for ever."""
    return forever(ctypes.c_int64(value))  # type: ignore[no-any-return]


def built_in(address: int, name: str, keep: object = None) -> Callable[..., None]:
    """The built-in function ``name`` over the machine code at ``address``, kept for ever, and with it
    ``keep``, which owns the code.
    """
    forever(keep)
    method = forever(_MethodDef(name.encode(), address, _METH_FASTCALL, None))
    function: Callable[..., None] = forever(_built_in(ctypes.byref(method), None, None))
    _methods[id(function)] = ctypes.addressof(method)
    return function


def bind(function: Callable[..., None], *tail: float, keep: object = None) -> Callable[..., None]:
    """``function`` with its last arguments fixed, the fastest call there is. ``keep`` lives as
    long as the result: memory that an argument is the address of.
    """
    packed = b"".join(struct.pack("d" if isinstance(v, float) else "q", v) for v in tail)
    bound: Callable[..., None] = _bind(_methods[id(function)], packed, keep)
    return bound
