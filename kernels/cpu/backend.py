"""LLVM IR to machine code: a kernel is linked, optimised and emitted once, as a whole.

The object depends on the IR's meaning alone, not on the process: everything but the entry is internal,
and functions are named by their place in the module, for numba's names count what a process translated
before.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

from tilegrad.kernels.cpu.native import machine, new_machine

if TYPE_CHECKING:
    from tilegrad.kernels.cpu.translate import Translation

BODY = "tilegrad_body"  # the symbol of every loop nest


def emit(kernel: Translation, wrapper: str) -> bytes:
    """The object file of a loop nest and of ``wrapper``, IR that calls :data:`BODY`. In any thread."""
    import llvmlite.binding as llvm

    own = new_machine()
    module = optimised(kernel, own)
    module.link_in(llvm.parse_assembly(wrapper, module._context))
    return _object(module, own)


def assembly(kernel: Translation) -> str:
    """The machine code of a loop nest as assembly text."""
    return str(machine().emit_assembly(optimised(kernel, machine())))


def optimised(kernel: Translation, own: Any) -> Any:
    """The module of a loop nest, linked and optimised for the target machine ``own``."""
    import llvmlite.binding as llvm

    context = llvm.create_context()  # threads share none
    module, *others = [llvm.parse_assembly(text, context) for text in kernel.texts]
    for other in others:
        module.link_in(other)
    _close(module, kernel.symbol)
    tuning = llvm.create_pipeline_tuning_options()
    # 3 would add loop unswitching: attention's backward pass compiles twice as long and runs no faster
    tuning.speed_level = 2
    tuning.loop_vectorization = True
    tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(own, tuning)
    passes = builder.getModulePassManager()
    _unlocked().LLVMPY_RunNewModulePassManager(passes, module, builder)
    return module


def _close(module: Any, symbol: str) -> None:
    """Leave the loop nest as the only symbol; what it does not use goes."""
    for number, function in enumerate(module.functions):
        if function.name == symbol:
            function.name = BODY
        elif not function.is_declaration:
            function.linkage = "internal"
            function.name = f"f{number}"
    for value in module.global_variables:
        if not value.is_declaration:
            value.linkage = "internal"


def _object(module: Any, own: Any) -> bytes:
    from llvmlite.binding import ffi

    wrong = ctypes.c_char_p(None)
    buffer = _unlocked().LLVMPY_TargetMachineEmitToMemory(own, module, 1, ctypes.byref(wrong))
    if not buffer:
        raise RuntimeError(f"LLVM emits no object: {wrong.value!r}")
    made = ctypes.cast(buffer, ffi.LLVMMemoryBufferRef)
    try:
        start, size = ffi.lib.LLVMPY_GetBufferStart(made), ffi.lib.LLVMPY_GetBufferSize(made)
        return ctypes.string_at(start, size)
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(made)


@cache
def _unlocked() -> Any:
    """LLVM's two long calls without llvmlite's lock, which would have threads take turns. It is theirs
    to own the context, the module and the target machine that they pass.
    """
    from llvmlite.binding import ffi

    library = ctypes.CDLL(ffi.lib._name)
    library.LLVMPY_RunNewModulePassManager.restype = None
    library.LLVMPY_TargetMachineEmitToMemory.restype = ctypes.c_void_p
    return library
