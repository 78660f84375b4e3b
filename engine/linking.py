"""Machine code over this process's objects: written once, kept on disk, linked to the objects of each process.

What :mod:`tilegrad.engine.emitter` writes names the objects that it needs; their addresses are filled in when
the code is loaded. So a process that finds it on disk compiles nothing. A key holds whatever the code was
written by: the sources, the versions of Python and LLVM, and where objects have their fields.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tilegrad.engine.interpreter import slot_offset
from tilegrad.kernels import bundle, cache
from tilegrad.kernels.builtin import forever
from tilegrad.kernels.cpu.run import native
from tilegrad.kernels.forking import compiler

PREFIX = "tilegrad_object_"  # of the symbols of objects
CALLS = "calls_"  # begins the names of files: their code is this Python's, and no kernel
# what any code may name
_COMMON: dict[str, Any] = {
    "none": None, "true": True, "false": False, "zero": 0, "nothing": (), "tuple": tuple, "bool": bool,
    "float": float, "int": int,
}  # fmt: skip
_SOURCES = ("emitter", "inference", "interpreter", "linking", "native", "native_storage")
_SLOT_NEW = 65  # a number of the stable ABI


class Objects:
    """What a piece of code names.

    Args:
        objects: by name; cells: addresses that are no objects', by name.
    """

    def __init__(self, objects: Mapping[str, Any], cells: Mapping[str, int] | None = None):
        self.objects = {**_COMMON, **objects}
        self.cells = dict(cells or {})
        self._names: dict[int, str] = {}
        for name, value in self.objects.items():
            self._names.setdefault(id(value), name)

    def name_of(self, value: Any) -> str:
        """The symbol of an object.

        Raises:
            KeyError: the code may not name it: a process that finds the code on disk would not know it.
        """
        return PREFIX + self._names[id(value)]

    def addresses(self) -> dict[str, int]:
        """The symbols with their addresses in this process; what they are of is never freed."""
        found = {PREFIX + n: id(forever(v)) for n, v in self.objects.items()}
        return found | {PREFIX + n: address for n, address in self.cells.items()}

    def facts(self) -> str:
        """Which names are of one object, and where objects of our classes have their fields."""
        words = [f"{n}={self._names[id(v)]}" for n, v in self.objects.items()] + [*self.cells]
        for name, value in self.objects.items():
            if isinstance(value, type):
                fields = {
                    n: slot_offset(value, n)
                    for kind in value.__mro__
                    for n, d in kind.__dict__.items()
                    if type(d).__name__ == "member_descriptor"
                }
                words.append(f"{name}: {value.__basicsize__} {sorted(fields.items())}")
        return "\n".join(words)


def functions(
    name: str, write: Callable[[Any], None], exports: tuple[str, ...], names: Objects
) -> dict[str, int]:
    """Where the functions ``exports`` are, of the module that ``write`` fills.

    Args:
        name: of the code, for its file.
        write: given an empty module of LLVM IR (:func:`tilegrad.engine.emitter.new_module`).
        names: what the module may name.
    """
    with compiler:
        path = cache.cache_dir() / f"{CALLS}{name}-{_key(write, names)}.o"
        code = cache.read(path) or bundle.find(native.level() or "", path.name)
        cache.used.setdefault(path.name, code is not None)
        if code is None:
            code = compiled(write, names)
            cache.write(path, code)
        return _linked(code, exports, names)


def _key(write: Callable[[Any], None], names: Objects) -> str:
    from importlib.metadata import version

    parts = [sys.version, version("llvmlite"), _sources(write.__module__), names.facts()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


@lru_cache(maxsize=None)
def _sources(module: str) -> str:
    files = [Path(__file__).with_name(f"{stem}.py") for stem in _SOURCES]
    files.append(Path(str(sys.modules[module].__file__)))
    return "\0".join([file.read_text(encoding="utf-8") for file in files])


def compiled(write: Callable[[Any], None], names: Objects) -> bytes:
    """The object file of the module that ``write`` fills, for any x86-64 (or this architecture's oldest)."""
    import llvmlite.binding as llvm

    from tilegrad.engine.emitter import new_module

    module = new_module(names)
    write(module)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    made: bytes = _machine().emit_object(parsed)
    return made


def _machine() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        opt=2, reloc="pic", codemodel="small", jit=True
    )


def _linked(code: bytes, exports: tuple[str, ...], names: Objects) -> dict[str, int]:
    import llvmlite.binding as llvm

    get = ctypes.pythonapi.PyType_GetSlot
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_int)
    llvm.add_symbol("tilegrad_object_new", get(object, _SLOT_NEW))
    for symbol, address in names.addresses().items():
        llvm.add_symbol(symbol, address)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(), use_lmm=True)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    forever(engine)
    return {name: engine.get_function_address(name) for name in exports}
