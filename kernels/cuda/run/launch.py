"""Launching: a compiled C built-in that hands its arguments to ``cuLaunchKernel``.

All parameters of a kernel are 8 bytes wide. The built-in ``function(*args, x, y, z)`` launches a
grid of ``x`` by ``y`` by ``z`` blocks on the current stream, some 0.1 us on top of the driver's own
cost; :func:`bind` fixes the last arguments, as on the CPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from tilegrad.kernels import builtin
from tilegrad.kernels.builtin import KINDS, cell, entry_ir, forever
from tilegrad.kernels.params import Signature, grouped, letters

# the current stream's handle; compiled launchers read it, tilegrad.engine.cuda writes it
current_stream = cell(0)

# the address of a Python function that is called in place of a launch, or 0; see ``intercept``
_diversion = cell(0)
_diverted_to: Callable[..., None] | None = None

_LAUNCHER = """
declare i32 @cuLaunchKernel(ptr, i32, i32, i32, i32, i32, i32, i32, ptr, ptr, ptr)
declare i32 @cuGetErrorString(i32, ptr)
declare ptr @PyErr_Format(ptr, ptr, ...)
declare ptr @PyObject_CallFunction(ptr, ptr, ...)
declare void @Py_DecRef(ptr)
@numbers = private constant [8 x i8] c"LLLLLLL\\00"
@message = private constant [38 x i8] c"%s: launch failed, CUDA error %d (%s)\\00"
"""

_RUN = """
{fill}
  %switch = inttoptr i64 {diversion} to ptr
  %other = load ptr, ptr %switch
  %straight = icmp eq ptr %other, null
  br i1 %straight, label %launch, label %diverted
diverted:
  %params = ptrtoint ptr %table to i64
  %answer = call ptr (ptr, ptr, ...) @PyObject_CallFunction(
      ptr %other, ptr @numbers, i64 {function}, i64 %params, i64 {x}, i64 {y}, i64 {z},
      i64 {block}, i64 {shared})
  %refused_it = icmp eq ptr %answer, null
  br i1 %refused_it, label %failed, label %took_it
took_it:
  call void @Py_DecRef(ptr %answer)
  br label %done
launch:
  %function = inttoptr i64 {function} to ptr
  %place = inttoptr i64 {cell} to ptr
  %handle = load ptr, ptr %place
  %x = trunc i64 {x} to i32
  %y = trunc i64 {y} to i32
  %z = trunc i64 {z} to i32
  %width = trunc i64 {block} to i16
  %t = zext i16 %width to i32
  %above = lshr i64 {block}, 16
  %rows = trunc i64 %above to i16
  %more_rows = zext i16 %rows to i32
  %height = add i32 %more_rows, 1
  %beyond = lshr i64 {block}, 32
  %more_sheets = trunc i64 %beyond to i32
  %depth = add i32 %more_sheets, 1
  %s = trunc i64 {shared} to i32
  %status = call i32 @cuLaunchKernel(ptr %function, i32 %x, i32 %y, i32 %z, i32 %t, i32 %height,
                                     i32 %depth, i32 %s, ptr %handle, ptr %table, ptr null)
  %good = icmp eq i32 %status, 0
  br i1 %good, label %done, label %refused
refused:
  %told = call i32 @cuGetErrorString(i32 %status, ptr %text)
  %why = load ptr, ptr %text
  %kind = inttoptr i64 {error} to ptr
  %name = inttoptr i64 {name} to ptr
  %raised = call ptr (ptr, ptr, ...) @PyErr_Format(ptr %kind, ptr @message, ptr %name,
                                                   i32 %status, ptr %why)
  br label %failed
"""


def block_number(shape: tuple[int, int, int]) -> int:
    """The shape of a block as one number: its width, then what height and depth are above 1, in 16
    bits each. A row of threads is their count.
    """
    width, height, depth = shape
    return width | (height - 1) << 16 | (depth - 1) << 32


def block_shape(number: int) -> tuple[int, int, int]:
    """The shape behind a :func:`block_number`."""
    return number & 0xFFFF, (number >> 16 & 0xFFFF) + 1, (number >> 32) + 1


def launcher_ir(signature: str) -> str:
    """The built-in ``(*args, x, y, z, block, shared, function, name)`` as LLVM IR."""
    kinds = [KINDS[letter] for letter in signature]
    count = len(kinds)
    pack = "{ " + ", ".join(kinds) + " }"
    fill = []
    for index, kind in enumerate(kinds):
        fill += [
            f"  %f{index} = getelementptr {pack}, ptr %pack, i32 0, i32 {index}",
            f"  store {kind} %v{index}, ptr %f{index}",
            f"  %e{index} = getelementptr ptr, ptr %table, i64 {index}",
            f"  store ptr %f{index}, ptr %e{index}",
        ]
    names = ("x", "y", "z", "block", "shared", "function", "name")
    values = {name: f"%v{count + k}" for k, name in enumerate(names)}
    cells = {"cell": current_stream, "diversion": _diversion}
    places = {name: ctypes.addressof(cell) for name, cell in cells.items()}
    # by address: numba gives the symbol of the exception another meaning than C
    run = _RUN.format(fill="\n".join(fill), error=id(RuntimeError), **places, **values)
    local = (
        f"  %pack = alloca {pack}\n  %table = alloca [{max(count, 1)} x ptr]\n  %text = alloca ptr"
    )
    return _LAUNCHER + entry_ir([*kinds, *["i64"] * len(names)], run, local)


_launchers: dict[str, Callable[..., None]] = {}


def launcher(signature: str, symbols: dict[str, int]) -> Callable[..., None]:
    """The compiled launcher of all kernels with these parameters.

    ``symbols``: addresses of ``cuLaunchKernel`` and ``cuGetErrorString``.
    """
    found = _launchers.get(signature)
    if found is None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        for name, address in symbols.items():
            llvm.add_symbol(name, address)
        machine = llvm.Target.from_default_triple().create_target_machine(opt=2, jit=True)
        module = llvm.parse_assembly(launcher_ir(signature))
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        address = engine.get_function_address("tilegrad_entry")
        found = builtin.built_in(address, f"launch_{signature}", keep=engine)
        _launchers[signature] = found
    return found


class Loaded:
    """A kernel ready to run; calling it is ``loaded(*args, x, y, z)``."""

    __slots__ = ("call", "static")

    def __init__(self, call: Callable[..., None], static: tuple[int, ...]):
        self.call = call
        self.static = static


def intercept(function: Callable[..., None] | None) -> None:
    """Call ``function(handle, parameters, x, y, z, block, shared)`` in place of every launch from
    now on, or nothing again. ``parameters`` is the address of the pointers to them. What it raises,
    the launch raises.
    """
    global _diverted_to
    _diverted_to = function  # keeps it alive
    _diversion.value = 0 if function is None else id(function)


_loaded: dict[int, Loaded] = {}


def load(
    name: str, function: int, signature: str, block: int, shared: int, symbols: dict[str, int]
) -> Callable[..., None]:
    """The built-in that launches a loaded function."""
    raw = launcher(signature, symbols)
    text = ctypes.create_string_buffer(name.encode())
    static = (block, shared, function, ctypes.addressof(text))
    bound = builtin.bind(raw, *static, keep=text)
    forever((bound, text))
    _loaded[id(bound)] = Loaded(raw, static)
    return bound


def simulated(
    run: Callable[[tuple[int, int, int], tuple[Any, ...]], None], signature: Signature
) -> Callable[..., None]:
    """The stand-in for :func:`load` on the simulated device, for a body of this signature."""
    count = len(letters(signature))

    def call(*args: Any) -> None:
        if len(args) != count + 3:
            raise TypeError(f"launch: {count} arguments and a grid expected; got {len(args)}")
        run(tuple(args[count:]), grouped(signature, args[:count]))

    return call


def bind(function: Callable[..., None], *tail: float, keep: object = None) -> Callable[..., None]:
    """``function`` with its last arguments fixed; ``keep`` lives as long as the result."""
    known = _loaded.get(id(function))
    if known is not None:
        return builtin.bind(known.call, *tail, *known.static, keep=keep)

    def bound(*args: Any, keep: object = keep) -> None:
        function(*args, *tail)

    return bound
