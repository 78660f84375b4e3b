"""LLVM IR to machine code: a kernel is linked, optimised and emitted once, as a whole.

The object depends on the IR's meaning alone, not on the process: everything but the entry is internal,
and functions are named by their place in the module, for numba's names count what a process translated
before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from tilegrad.kernels.cpu.run.native import new_machine

if TYPE_CHECKING:
    from tilegrad.kernels.cpu.run.translate import Translation

BODY = "tilegrad_body"  # the symbol of every loop nest


def emitter(
    kernel: Translation, wrapper: str, processor: tuple[str, str] | None = None
) -> Callable[[], bytes]:
    """Links a loop nest; the result, a function for any thread, gives the object file of it and of
    ``wrapper``, IR that calls :data:`BODY`, for ``processor`` or, without one, for the target.
    """
    import llvmlite.binding as llvm

    context = llvm.create_context()  # threads share none
    module, machine = _linked(kernel, context), new_machine(processor, kernel.arithmetic)

    def emit() -> bytes:
        _optimise(module, machine)
        module.link_in(_parsed(wrapper, context))
        return _object(module, machine)

    return emit


def assembly(kernel: Translation) -> str:
    """The machine code of a loop nest as assembly text."""
    machine = new_machine(arithmetic=kernel.arithmetic)
    return str(machine.emit_assembly(optimised(kernel, machine)))


def optimised(kernel: Translation, machine: Any) -> Any:
    """The module of a loop nest, optimised for the target machine ``machine``."""
    import llvmlite.binding as llvm

    module = _linked(kernel, llvm.create_context())
    _optimise(module, machine)
    return module


def _parsed(text: str, context: Any) -> Any:
    """A module that nobody but its context frees: where both are garbage, part of a cycle, the collector may end
    the context first, and a module that is freed then ends the process.
    """
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(text, context)
    module._owned = True
    return module


def _linked(kernel: Translation, context: Any) -> Any:
    module, *others = [_parsed(text, context) for text in kernel.texts]
    for other in others:
        module.link_in(other)
    _close(module, kernel.symbol)
    return module


def _optimise(module: Any, machine: Any) -> None:
    import llvmlite.binding as llvm

    tuning = llvm.create_pipeline_tuning_options()
    # 3 would add loop unswitching: attention's backward pass compiles twice as long and runs no faster
    tuning.speed_level = 2
    tuning.loop_vectorization = True
    tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, tuning)
    passes = builder.getModulePassManager()
    _unlocked().LLVMPY_RunNewModulePassManager(passes, module, builder)


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


def _object(module: Any, machine: Any) -> bytes:
    from llvmlite.binding import ffi

    wrong = ctypes.c_char_p(None)
    buffer = _unlocked().LLVMPY_TargetMachineEmitToMemory(machine, module, 1, ctypes.byref(wrong))
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
