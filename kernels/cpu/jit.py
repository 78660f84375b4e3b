"""Compile, cache, load and call CPU kernels.

A *kernel factory* is a function decorated with :func:`kernel`. Called with its variant (dtype,
formula, access pattern, …) it returns the loop nest of one task, ``body(task, *args)`` over
addresses, sizes and scalars, and the letters of ``args``: ``i`` for int64, ``d`` for float64.
``factory.build(*variant)`` gives the compiled function, a C built-in that Python calls in some
50 ns as ``function(*args, tasks, threads)``: it runs ``body`` for every ``task in range(tasks)``.

- Tasks write disjoint memory, and what a task does depends on its number and the arguments, never
  on the number of threads; so results do not depend on it either.
- :func:`bind` fixes the last arguments of a function once and for all, which makes it cheaper to call.
- ``threads`` is 0 for small work (runs here, keeps the interpreter lock), else the number of
  threads to use with the lock released.

numba only translates: its optimised LLVM IR is linked with a small C-API wrapper and emitted as an
object file, kept on disk under a key made of every source that went into it, the versions and the
processor. A process that finds all its kernels there loads them with llvmlite and never imports
numba.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.machinery
import importlib.util
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tilegrad.kernels.function import DeviceFunction, Intrinsic, TypedFunction, source_digest

ABI = 2  # bump when the wrapper below changes shape

_lock = threading.RLock()
_keepalive: list[Any] = []
compile_log: list[tuple[str, float, bool]] = []  # (kernel, seconds, came from the disk cache)


class KernelFactory:
    """A family of compiled functions, one per variant. See :func:`kernel`."""

    def __init__(self, factory: Callable[..., tuple[Callable[..., None], str]]):
        self.factory = factory
        self.built: dict[tuple[Any, ...], Callable[..., None]] = {}
        self.__name__ = factory.__name__
        self.__doc__ = factory.__doc__
        self.__module__ = factory.__module__

    def build(self, *variant: Any) -> Callable[..., None]:
        """The compiled kernel of this variant: from memory, else from disk, else compiled now."""
        function = self.built.get(variant)
        if function is None:
            with _lock:
                function = self.built.get(variant)
                if function is None:
                    function = self.built[variant] = self._load_or_compile(variant)
        return function

    def name(self, variant: tuple[Any, ...]) -> str:
        words = [v.__name__ if isinstance(v, DeviceFunction) else str(v) for v in variant]
        return "_".join([self.__module__.rsplit(".", 1)[-1], self.__name__, *words])

    def _load_or_compile(self, variant: tuple[Any, ...]) -> Callable[..., None]:
        start = time.perf_counter()
        name = "".join(c if c.isalnum() else "_" for c in self.name(variant))
        path = cache_dir() / f"{name[:80]}-{self._key(variant)}.o"
        code = _read(path)
        cached = code is not None
        if code is None:
            code = compile_object(*self.factory(*variant))
            _write_atomically(path, code)
        function = load_object(code, name)
        compile_log.append((name, time.perf_counter() - start, cached))
        return function

    def _key(self, variant: tuple[Any, ...]) -> str:
        parts = [str(ABI), source_digest(self.__module__), self.__name__, *target(), _versions()]
        parts += [v.key if isinstance(v, DeviceFunction) else repr(v) for v in variant]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def kernel(factory: Callable[..., tuple[Callable[..., None], str]]) -> KernelFactory:
    """Decorate a factory ``(*variant) -> (body of a task, signature letters)``."""
    return KernelFactory(factory)


# ---------------------------------------------------------------------------------- the target


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


def _versions() -> str:
    from importlib.metadata import version

    global _version_string
    if not _version_string:
        names = ("numba", "llvmlite")
        _version_string = f"py{sys.version_info[0]}.{sys.version_info[1]} " + " ".join(
            f"{n}={version(n)}" for n in names
        )
    return _version_string


_version_string = ""


def cache_dir() -> Path:
    """Where object files are kept: ``TILEGRAD_CACHE_DIR``, else the user's cache folder."""
    root = os.environ.get("TILEGRAD_CACHE_DIR")
    if root is None:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        root = os.path.join(base, "tilegrad")
    return Path(root)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _write_atomically(path: Path, data: bytes) -> None:
    scratch = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(data)
        os.replace(scratch, path)
    except OSError:  # a read-only or full cache costs speed, not correctness
        scratch.unlink(missing_ok=True)


# --------------------------------------------------------------------------- compile with numba

_registered = False


def _register_with_numba() -> None:
    """Teach numba's type inference what our marks mean, once."""
    global _registered
    if _registered:
        return
    import numba.extending
    from numba.core import config

    config.CPU_NAME, config.CPU_FEATURES = target()

    from numba.core.registry import cpu_target

    @numba.extending.typeof_impl.register(DeviceFunction)
    @numba.extending.typeof_impl.register(Intrinsic)
    def _marked(value: DeviceFunction | Intrinsic, context: Any) -> Any:
        return cpu_target.typing_context.resolve_value_type(_for_numba(value))

    _registered = True


def _for_numba(value: DeviceFunction | Intrinsic) -> Any:
    if "cpu" not in value.compiled:
        if isinstance(value, Intrinsic):
            import numba.extending
            from numba.core.registry import cpu_target

            value.compiled["cpu"] = numba.extending.intrinsic(value.cpu)
            cpu_target.typing_context.refresh()  # numba looks for new intrinsics only here
        elif isinstance(value, TypedFunction):
            value.compiled["cpu"] = _Chooser(value)
        else:
            value.compiled["cpu"] = _dispatcher(value.function, forceinline=True)
    return value.compiled["cpu"]


class _Chooser:
    """What numba takes for a dispatcher: hands each call on, by the type of its first argument."""

    is_compiling = False

    def __init__(self, function: TypedFunction):
        from numba import types

        self.function = function
        self._numba_type_ = types.Dispatcher(self)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        return _for_numba(self.function.case(args[0])).get_call_template(args, kws)

    def get_overload(self, args: Any) -> Any:
        return _for_numba(self.function.case(args[0])).get_overload(args)


def _dispatcher(function: Callable[..., Any], forceinline: bool = False) -> Any:
    import numba

    return numba.njit(
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        boundscheck=False,
        error_model="numpy",
        forceinline=forceinline,
        _nrt=False,
    )(function)


def optimised_ir(function: Callable[..., None], signature: str) -> tuple[str, str]:
    """(LLVM IR text, native symbol) of a loop nest, optimised for the target."""
    _register_with_numba()
    from numba import types

    letters = {"i": types.int64, "d": types.float64}
    dispatcher = _dispatcher(function)
    dispatcher.compile(types.void(types.int64, *(letters[c] for c in signature)))
    (result,) = dispatcher.overloads.values()
    return result.library.get_llvm_str(), result.fndesc.llvm_func_name


def compile_object(function: Callable[..., None], signature: str) -> bytes:
    """Object code of a loop nest with the C-API wrapper ``tilegrad_entry`` around it."""
    import llvmlite.binding as llvm

    with _lock:
        ir, symbol = optimised_ir(function, signature)
        module = llvm.parse_assembly(ir)
        module.link_in(llvm.parse_assembly(_wrapper_ir(symbol, signature)))
        return bytes(_machine().emit_object(module))


def assembly(function: Callable[..., None], signature: str) -> str:
    """The machine code of a loop nest as assembly text (for tests and ``inspect``)."""
    import llvmlite.binding as llvm

    with _lock:
        ir, _ = optimised_ir(function, signature)
        return str(_machine().emit_assembly(llvm.parse_assembly(ir)))


def _wrapper_ir(symbol: str, signature: str) -> str:
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


# ------------------------------------------------------------------------- load with llvmlite

_machine_cache: Any = None


def _machine() -> Any:
    global _machine_cache
    if _machine_cache is None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        name, features = target()
        _machine_cache = llvm.Target.from_default_triple().create_target_machine(
            cpu=name, features=features, opt=3, reloc="default", codemodel="jitdefault", jit=True
        )
    return _machine_cache


_team_ready = False


def _register_threads() -> None:
    """Make the symbol ``numba_parallel_for`` known to the linker, once."""
    global _team_ready
    if not _team_ready:
        import llvmlite.binding as llvm

        llvm.add_symbol("numba_parallel_for", _parallel_for_address())
        _team_ready = True


def _parallel_for_address() -> int:
    """numba's OpenMP loop ``parallel_for``, from its extension module alone."""
    spec = importlib.util.find_spec("numba")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("tilegrad needs numba: pip install numba")
    folder = Path(spec.submodule_search_locations[0]) / "np" / "ufunc"
    for layer in ("omppool", "workqueue"):
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = folder / f"{layer}{suffix}"
            if path.is_file():
                try:
                    loader = importlib.machinery.ExtensionFileLoader(layer, str(path))
                    pool = importlib.util.module_from_spec(
                        importlib.util.spec_from_loader(layer, loader)  # type: ignore[arg-type]
                    )
                    loader.exec_module(pool)
                except ImportError:  # this layer's runtime (libgomp) is not installed
                    continue
                _keepalive.append(pool)
                launch = ctypes.CFUNCTYPE(None, ctypes.c_int)(pool.launch_threads)
                launch(os.cpu_count() or 1)
                return int(pool.parallel_for)
    raise ImportError(f"numba has no usable threading layer in {folder}")


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
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(module)
    engine.finalize_object()
    address = engine.get_function_address("tilegrad_entry")
    if not address:
        raise ImportError(f"kernel {name}: the object file has no entry point")
    method = _MethodDef(name.encode(), address, _METH_FASTCALL, None)
    _keepalive.extend((engine, method))
    function = _built_in(ctypes.byref(method), None, None)
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


# ----------------------------------------------------------------------------------- threading

_threads = 0
_forked = False


def get_num_threads() -> int:
    """Threads a large kernel may use."""
    return _threads or _default_threads()


def _default_threads() -> int:
    global _threads
    text = os.environ.get("TILEGRAD_NUM_THREADS", "")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    _threads = max(1, int(text)) if text.isdigit() else (available or 1)
    return _threads


def set_num_threads(count: int) -> None:
    """Use at most ``count`` threads from now on (1 in a forked child, where OpenMP would die)."""
    global _threads
    _threads = 1 if _forked else count


def _after_fork() -> None:
    global _forked, _threads
    _forked, _threads = True, 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
