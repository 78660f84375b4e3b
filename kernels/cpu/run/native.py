"""Machine code: the target it is for, the C-API wrapper around it, loading it and calling it.

A loaded kernel is a C built-in (METH_FASTCALL): ``function(*args, tasks, threads)``. It unboxes its
arguments and calls the body for every task, here or on a team of threads.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import cache
from typing import Any

from tilegrad.kernels.builtin import KINDS, built_in, entry_ir
from tilegrad.kernels.cpu.run.threads import parallel_for_address, threads_address
from tilegrad.kernels.faults import SettingError

# What the levels of x86-64 that bundles are built for (:mod:`tilegrad.kernels.bundle`) have, as LLVM
# names it. Registers are as wide as kernels say, whatever LLVM would prefer for the level.
_V3 = [
    "64bit",
    "cmov",
    "cx8",
    "cx16",
    "fxsr",
    "mmx",
    "popcnt",
    "sahf",
    "sse",
    "sse2",
    "sse3",
    "ssse3",
    "sse4.1",
    "sse4.2",
    "crc32",
    "avx",
    "avx2",
    "bmi",
    "bmi2",
    "f16c",
    "fma",
    "lzcnt",
    "movbe",
    "xsave",
]
LEVELS = {
    "x86-64-v3": _V3,
    "x86-64-v4": [*_V3, *["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]],
}


def simd_bits() -> int:
    """Vector register width the kernels are built for: 128, 256 or 512 bits.

    The processor's own width, or a narrower one forced with ``TILEGRAD_SIMD_BITS``.

    Raises:
        SettingError: it is none of these.
    """
    most = _bits(_processor()[1])
    asked = os.environ.get("TILEGRAD_SIMD_BITS")
    if not asked:
        return most
    if asked not in ("128", "256", "512"):
        raise SettingError(f"TILEGRAD_SIMD_BITS: one of 128, 256, 512; got {asked!r}")
    return min(most, int(asked))


def _bits(features: str) -> int:
    has = features.split(",")
    return 512 if "+avx512f" in has else 256 if "+avx2" in has else 128


_target: tuple[str, str] | None = None
_host_target: tuple[str, str] | None = None


# For some processors with AVX-512 LLVM makes loops of half the width, in which those that load and store
# are 5 to 20 % faster (a Xeon with AVX-512 FP16), but those of arithmetic take 1.2 to 2.3 times as long.
_WIDE = "-prefer-256-bit"


def host() -> tuple[str, str]:
    """(name, feature string) of the processor that this process runs on."""
    global _host_target
    if _host_target is None:
        import llvmlite.binding as llvm

        _host_target = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    return _host_target


def _processor() -> tuple[str, str]:
    """The processor that kernels are made for: this one, or the level that ``TILEGRAD_TARGET`` names."""
    name = os.environ.get("TILEGRAD_TARGET")
    if not name:
        return host()
    if name not in LEVELS:
        raise SettingError(f"TILEGRAD_TARGET: one of {', '.join(LEVELS)}; got {name!r}")
    return level_target(name)


def level_target(level: str) -> tuple[str, str]:
    """(processor name, feature string) of a row of :data:`LEVELS`."""
    return level, ",".join([*(f"+{feature}" for feature in LEVELS[level]), _WIDE])


def level() -> str | None:
    """The level whose kernels run here as planned: this processor has all its features, and its
    vectors are as wide as those that are planned for. None where there is none.
    """
    has = set(host()[1].split(","))
    for name, features in LEVELS.items():
        wide = _bits(level_target(name)[1]) == simd_bits()
        if wide and has.issuperset(f"+{feature}" for feature in features):
            return name
    return None


def foreign() -> bool:
    """Whether this processor lacks what kernels are compiled for: they are then compiled for it, too."""
    if not os.environ.get("TILEGRAD_TARGET"):
        return False
    wanted = {feature for feature in _processor()[1].split(",") if feature.startswith("+")}
    return not wanted.issubset(host()[1].split(","))


def target() -> tuple[str, str]:
    """(processor name, feature string) the kernels are compiled for."""
    global _target
    if _target is None:
        name, features = _processor()
        bits = simd_bits()
        if bits < _bits(
            features
        ):  # a processor of its own: kernels of another width are not for it
            name = "x86-64-v3" if bits == 256 else "x86-64-v2"
            wide = ("avx512", "avx10") if bits == 256 else ("avx", "fma", "f16c", "vaes", "vpclm")
            kept = [f for f in features.split(",") if not f[1:].startswith(wide)]
            features = ",".join(kept)
        _target = (name, features)
    return _target


@cache
def machine() -> Any:
    """LLVM's target machine, made once."""
    return new_machine()


def new_machine(processor: tuple[str, str] | None = None, arithmetic: bool = False) -> Any:
    """A target machine, for one thread at a time: of :func:`target` unless another is given; of
    ``arithmetic``: its loops fill the registers of every processor.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = processor or target()
    if arithmetic:
        features = f"{features},{_WIDE}"
    # code finds its constants beside itself: no instruction and no register for their addresses
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=3, reloc="pic", codemodel="small", jit=True
    )


# ------------------------------------------------------------------------------------ wrapper


def wrapper_ir(symbol: str, signature: str) -> str:
    """The built-in ``(*args, tasks, threads)`` around a body: loops over the tasks."""
    kinds = [KINDS[letter] for letter in signature]
    count = len(kinds)
    pack = "{ " + ", ".join(kinds) + " }"
    fill, read, values = [], [], []
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
    tasks, threads = f"%v{count}", f"%v{count + 1}"
    read_all = "\n".join(read)
    loops = _LOOPS.format(symbol=symbol, kinds=", ".join(["i64", *kinds]), read=read_all, call=call)
    if _has_mxcsr():
        loops += _PLAIN_FLOATS + _in_plain_floats("one_task", ["ptr"] * 4)
        loops += _in_plain_floats("all_tasks", ["ptr", "i64", "i64"])
    else:
        loops = loops.replace("@one_task_here", "@one_task").replace(
            "@all_tasks_here", "@all_tasks"
        )
    run = _RUN.format(fill="\n".join(fill), tasks=tasks, threads=threads)
    return loops + entry_ir([*kinds, "i64", "i64"], run, f"  %pack = alloca {pack}")


def _has_mxcsr() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


# Other libraries change how a thread rounds, whether it takes subnormals for zero and what traps, some as they
# are loaded (-ffast-math), and threads inherit it: kernels would compute otherwise in this thread than in that one.
# The loops are functions of their own, which no arithmetic leaves.
_PLAIN_FLOATS = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
@plain_floats = internal constant i32 8064
"""
_IN_PLAIN_FLOATS = """
define internal void @{name}({parameters}) {{
  %own = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %own)
  %mode = load i32, ptr %own
  %control = and i32 %mode, 65472
  %plain = icmp eq i32 %control, 8064
  br i1 %plain, label %here, label %changed
here:
  call void @{name}_here({parameters})
  ret void
changed:
  call void @llvm.x86.sse.ldmxcsr(ptr @plain_floats)
  call void @{name}_here({parameters})
  call void @llvm.x86.sse.ldmxcsr(ptr %own)
  ret void
}}
"""


def _in_plain_floats(name: str, kinds: list[str]) -> str:
    """The function ``name``: what ``name_here`` does, with IEEE arithmetic and no traps (MXCSR's default)."""
    parameters = ", ".join([f"{kind} %p{k}" for k, kind in enumerate(kinds)])
    return _IN_PLAIN_FLOATS.format(name=name, parameters=parameters)


_LOOPS = """
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
@tilegrad_threads = external global i64
declare void @numba_parallel_for(ptr, ptr, ptr, ptr, ptr, i64, i64, i64)
declare i32 @"{symbol}"(ptr, ptr, {kinds})

define internal void @one_task_here(ptr %counter, ptr %dims, ptr %steps, ptr %pack) noinline {{
  %ret = alloca ptr
  %exc = alloca ptr
  %task = load i64, ptr %counter
{read}
  %status = {call}
  ret void
}}

define internal void @all_tasks_here(ptr %pack, i64 %tasks, i64 %given) noinline {{
entry:
  %allowed = load i64, ptr @tilegrad_threads
  %team_size = icmp slt i64 %given, 0
  %threads = select i1 %team_size, i64 %allowed, i64 %given
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
"""

_RUN = """
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
"""


# --------------------------------------------------------------------------- loading, calling

_team_ready = False


def _register_threads() -> None:
    """Make the symbols of the wrapper known to the linker, once."""
    global _team_ready
    if not _team_ready:
        import llvmlite.binding as llvm

        llvm.add_symbol("numba_parallel_for", parallel_for_address())
        llvm.add_symbol("tilegrad_threads", threads_address())
        _team_ready = True


def load_object(code: bytes, name: str) -> Callable[..., None]:
    """Machine code -> a callable built-in function named ``name``."""
    import llvmlite.binding as llvm

    _register_threads()
    module = llvm.ObjectFileRef.from_data(code)
    # every object defines the same entry symbol, so each gets an engine namespace of its own
    # and one piece of memory, code and constants within each other's reach
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine(), use_lmm=True)
    engine.add_object_file(module)
    engine.finalize_object()
    address = engine.get_function_address("tilegrad_entry")
    if not address:
        raise ImportError(f"kernel {name}: the object file has no entry point")
    return built_in(address, name, keep=engine)
