"""Machine code: the target it is for, the C-API wrapper around it, loading it and calling it.

A loaded kernel is a C built-in (METH_FASTCALL): ``function(*args, tasks, threads)``. It unboxes its
arguments and calls the body for every task, here or on a team of threads.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from typing import Any

from tilegrad.kernels.cpu.threads import parallel_for_address

_keepalive: list[Any] = []


def simd_bits() -> int:
    """Vector register width the kernels are built for: 128, 256 or 512 bits.

    The host's own width, or a narrower one forced with ``TILEGRAD_SIMD_BITS``.
    """
    features = _host()[1].split(",")
    host = 512 if "+avx512f" in features else 256 if "+avx2" in features else 128
    return min(host, int(os.environ.get("TILEGRAD_SIMD_BITS", host)))


_target: tuple[str, str] | None = None
_host_target: tuple[str, str] | None = None


def _host() -> tuple[str, str]:
    global _host_target
    if _host_target is None:
        import llvmlite.binding as llvm

        _host_target = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    return _host_target


def target() -> tuple[str, str]:
    """(processor name, feature string) the kernels are compiled for."""
    global _target
    if _target is None:
        name, features = _host()
        bits = simd_bits()
        if bits < 512 and "+avx512f" in features:
            name = "x86-64-v3" if bits == 256 else "x86-64-v2"
            wide = ("avx512", "avx10") if bits == 256 else ("avx", "fma", "f16c", "vaes", "vpclm")
            kept = [f for f in features.split(",") if not f[1:].startswith(wide)]
            features = ",".join(kept)
        _target = (name, features)
    return _target


_machine: Any = None


def machine() -> Any:
    """LLVM's target machine, made once."""
    global _machine
    if _machine is None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        name, features = target()
        _machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=name, features=features, opt=3, reloc="default", codemodel="jitdefault", jit=True
        )
    return _machine


# ------------------------------------------------------------------------------------ wrapper


def wrapper_ir(symbol: str, signature: str) -> str:
    """``PyObject *tilegrad_entry(self, args, nargs)``, METH_FASTCALL: unbox, loop over the tasks."""
    kinds = [_KINDS[letter] for letter in signature]
    count = len(kinds)
    pack = "{ " + ", ".join(kinds) + " }"
    unbox, fill, read, values = [], [], [], []
    for index, kind in enumerate([*kinds, "i64", "i64"]):
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
    for index, kind in enumerate(kinds):
        fill += [
            f"  %f{index} = getelementptr {pack}, ptr %pack, i32 0, i32 {index}",
            f"  store {kind} %v{index}, ptr %f{index}",
        ]
        read += [
            f"  %f{index} = getelementptr {pack}, ptr %pack, i32 0, i32 {index}",
            f"  %v{index} = load {kind}, ptr %f{index}",
        ]
        values.append(f"{kind} %v{index}")
    call = f'call i32 @"{symbol}"(ptr %ret, ptr %exc, i64 %task, {", ".join(values)})'
    return _WRAPPER.format(
        symbol=symbol,
        kinds=", ".join(["i64", *kinds]),
        count=count,
        nargs=count + 2,
        threads=f"%v{count + 1}",
        tasks=f"%v{count}",
        pack=pack,
        unbox="\n".join(unbox),
        fill="\n".join(fill),
        read="\n".join(read),
        call=call,
    )


_KINDS = {"i": "i64", "d": "double"}
_READERS = {"i64": "PyLong_AsLongLong", "double": "PyFloat_AsDouble"}
_WRAPPER = """
declare i64 @PyLong_AsLongLong(ptr)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyErr_Occurred()
declare i32 @PyErr_BadArgument()
declare i64 @PyBytes_Size(ptr)
declare ptr @PyBytes_AsString(ptr)
declare void @Py_IncRef(ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @numba_parallel_for(ptr, ptr, ptr, ptr, ptr, i64, i64, i64)
declare i32 @"{symbol}"(ptr, ptr, {kinds})
@_Py_NoneStruct = external global i8

define internal void @one_task(ptr %counter, ptr %dims, ptr %steps, ptr %pack) {{
  %ret = alloca ptr
  %exc = alloca ptr
  %task = load i64, ptr %counter
{read}
  %status = {call}
  ret void
}}

define internal void @all_tasks(ptr %pack, i64 %tasks, i64 %threads) {{
entry:
  %ret = alloca ptr
  %exc = alloca ptr
  %zero = alloca i64
  %dims = alloca i64
  %steps = alloca i64
  %bases = alloca ptr
{read}
  %serial = icmp sle i64 %threads, 1
  %single = icmp sle i64 %tasks, 1
  %here = or i1 %serial, %single
  br i1 %here, label %head, label %team
head:
  %task = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %task, %tasks
  br i1 %more, label %body, label %done
body:
  %status = {call}
  %next = add i64 %task, 1
  br label %head
team:
  store i64 %tasks, ptr %dims
  store i64 1, ptr %steps
  store ptr null, ptr %bases
  call void @numba_parallel_for(ptr @one_task, ptr %bases, ptr %dims, ptr %steps, ptr %pack,
                                i64 1, i64 1, i64 %threads)
  br label %done
done:
  ret void
}}

define ptr @tilegrad_entry(ptr %self, ptr %args, i64 %nargs) {{
entry:
  %pack = alloca {pack}
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
{fill}
  %small = icmp eq i64 {threads}, 0
  br i1 %small, label %locked, label %unlocked
locked:
  call void @all_tasks(ptr %pack, i64 {tasks}, i64 0)
  br label %done
unlocked:
  %state = call ptr @PyEval_SaveThread()
  call void @all_tasks(ptr %pack, i64 {tasks}, i64 {threads})
  call void @PyEval_RestoreThread(ptr %state)
  br label %done
done:
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  ret ptr @_Py_NoneStruct
}}
"""


# --------------------------------------------------------------------------- loading, calling

_team_ready = False


def _register_threads() -> None:
    """Make the symbol ``numba_parallel_for`` known to the linker, once."""
    global _team_ready
    if not _team_ready:
        import llvmlite.binding as llvm

        llvm.add_symbol("numba_parallel_for", parallel_for_address())
        _team_ready = True


class _MethodDef(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


_METH_FASTCALL = 0x0080


def load_object(code: bytes, name: str) -> Callable[..., None]:
    """Machine code -> a callable built-in function named ``name``."""
    import llvmlite.binding as llvm

    _register_threads()
    module = llvm.ObjectFileRef.from_data(code)
    # every object defines the same entry symbol, so each gets an engine namespace of its own
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine())
    engine.add_object_file(module)
    engine.finalize_object()
    address = engine.get_function_address("tilegrad_entry")
    if not address:
        raise ImportError(f"kernel {name}: the object file has no entry point")
    method = _MethodDef(name.encode(), address, _METH_FASTCALL, None)
    _keepalive.extend((engine, method))
    function: Callable[..., None] = _built_in(ctypes.byref(method), None, None)
    _methods[id(function)] = (method, function)
    return function


_methods: dict[int, tuple[_MethodDef, Callable[..., None]]] = {}
_built_in: Any = ctypes.pythonapi.PyCFunction_NewEx
_built_in.restype = ctypes.py_object
_built_in.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_bind: Any = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.py_object
)(("PyCFunction_NewEx", ctypes.pythonapi))


def bind(function: Callable[..., None], *tail: float, keep: object = None) -> Callable[..., None]:
    """``function`` with its last arguments fixed, the fastest call there is. ``keep`` lives as
    long as the result: memory that an argument is the address of.
    """
    method, _ = _methods[id(function)]
    packed = b"".join(struct.pack("d" if isinstance(v, float) else "q", v) for v in tail)
    bound: Callable[..., None] = _bind(ctypes.addressof(method), packed, keep)
    return bound
