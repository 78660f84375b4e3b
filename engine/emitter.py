"""Writing functions over Python's own objects as machine code: C's words, as LLVM IR.

References: *owned* ones are passed on or given up, *borrowed* ones belong to somebody who outlives
the use, as in the documentation of Python's C API.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from tilegrad.engine.interpreter import SIZE, TYPE
from tilegrad.kernels.builtin import forever
from tilegrad.kernels.forking import compiler

_SLOT_NEW = 65  # a number of the stable ABI


class Emitter:
    """A function being written: C's operations on objects, as LLVM IR."""

    def __init__(self, module: Any, name: str, parameters: int, returns: bool = True):
        from llvmlite import ir

        self.ir = ir
        self.module = module
        self.byte, self.word, self.half = (ir.IntType(n) for n in (8, 64, 32))
        self.pointer = ir.PointerType()
        result = self.pointer if returns else ir.VoidType()
        kind = ir.FunctionType(result, [self.pointer] * parameters)
        self.function = ir.Function(module, kind, name)
        self.build = ir.IRBuilder(self.function.append_basic_block("entry"))

    def object(self, value: Any) -> Any:
        """An object of this process, which is never freed."""
        return self.constant(id(forever(value)))

    def constant(self, address: int) -> Any:
        """An address."""
        return self.build.inttoptr(self.word(address), self.pointer)

    def call(self, name: str, *args: Any, returns: Any = None) -> Any:
        """Call a function of Python's C API; it returns a pointer unless said otherwise."""
        function = self.module.globals.get(name)
        if function is None:
            kind = self.ir.FunctionType(returns or self.pointer, [a.type for a in args])
            function = self.ir.Function(self.module, kind, name)
        return self.build.call(function, args)

    def at(self, base: Any, offset: Any) -> Any:
        """The address ``offset`` bytes behind ``base``."""
        return self.build.gep(
            base, [self.word(offset) if isinstance(offset, int) else offset],
            source_etype=self.byte,
        )  # fmt: skip

    def get(self, base: Any, offset: Any, kind: Any = None) -> Any:
        """The pointer (or value of ``kind``) ``offset`` bytes behind ``base``."""
        return self.build.load(self.at(base, offset), typ=kind or self.pointer)

    def put(self, base: Any, offset: int, value: Any) -> None:
        """Write ``value`` there."""
        self.build.store(value, self.at(base, offset))

    def room(self, count: int = 1) -> Any:
        """Stack memory for ``count`` pointers. Where llvmlite spells pointers with what they point to, as
        0.45 does, it has no word for a pointer to a pointer.
        """
        place = self.build.ptrtoint(self.build.alloca(self.word, count), self.word)
        return self.build.inttoptr(place, self.pointer)

    def take(self, reference: Any) -> Any:
        """One more reference."""
        self.call("Py_IncRef", reference, returns=self.ir.VoidType())
        return reference

    def drop(self, reference: Any) -> None:
        """One less; null is allowed."""
        self.call("Py_DecRef", reference, returns=self.ir.VoidType())

    def new(self, kind: type) -> Any:
        """A new instance of a class of this process, nothing in its slots; null: no memory."""
        return self.call(
            "tilegrad_object_new", self.object(kind), self.object(()), self.constant(0)
        )

    def differ(self, one: Any, other: Any) -> Any:
        """Whether two pointers differ."""
        return self.build.icmp_unsigned("!=", one, other)

    def is_null(self, value: Any) -> Any:
        """Whether a pointer is null."""
        return self.build.icmp_unsigned("==", value, self.ir.Constant(value.type, None))

    def give_up_if(self, condition: Any, *owned: Any) -> None:
        """Drop what is ``owned`` and return null, if ``condition`` holds."""
        with self.build.if_then(condition, likely=False):
            for reference in owned:
                self.drop(reference)
            self.build.ret(self.ir.Constant(self.pointer, None))

    def is_a(self, value: Any, kind: type, usual: type) -> Any:
        """Whether the object ``value`` is an instance of the class ``kind``, as those of ``usual`` are."""
        with self.build.goto_entry_block():
            answer = self.build.alloca(self.half)
        have = self.get(value, TYPE)
        self.build.store(self.half(1), answer)
        with self.build.if_then(self.differ(have, self.object(usual)), likely=False):
            kin = self.call("PyType_IsSubtype", have, self.object(kind), returns=self.half)
            self.build.store(kin, answer)
        return self.differ(self.build.load(answer, typ=self.half), self.half(0))

    def give_up_unless(self, value: Any, kind: type, usual: type) -> None:
        """Return null, unless the object ``value`` is an instance of ``kind``; see :meth:`is_a`."""
        self.give_up_if(self.build.not_(self.is_a(value, kind, usual)))

    def give_up_unless_empty(self, held: list[Any]) -> None:
        """Return null, if anything is in this list when the function runs."""
        length = self.get(self.object(held), SIZE, self.word)
        self.give_up_if(self.build.icmp_signed("!=", length, self.word(0)))

    def number(self, integer: Any) -> Any:
        """The value of a Python int that fits 64 bits."""
        return self.call("PyLong_AsLongLong", integer, returns=self.word)


def answer_none(e: Emitter, inner: Any, args: list[Any]) -> None:
    """Return what ``inner`` gives, or None where that is null without an error."""
    found = e.build.call(inner, args)
    with e.build.if_then(e.is_null(found), likely=False):
        failed = e.build.not_(e.is_null(e.call("PyErr_Occurred")))
        with e.build.if_then(failed):
            e.build.ret(e.ir.Constant(e.pointer, None))
        e.build.ret(e.take(e.object(None)))
    e.build.ret(found)


def publish(e: Emitter, name: str) -> None:
    """The built-in ``name`` around ``e(arguments, their number)``; see :func:`answer_none`."""
    outer = Emitter(e.module, name, 3)
    _, args, number = outer.function.args
    answer_none(outer, e.function, [args, number])


def loop(e: Emitter, count: Any, step: Callable[[Any], None]) -> None:
    """``step(i)`` for every ``i`` below ``count``."""
    place = e.build.alloca(e.word)
    e.build.store(e.word(0), place)
    head, body, done = (e.function.append_basic_block(n) for n in ("head", "body", "done"))
    e.build.branch(head)
    e.build.position_at_end(head)
    now = e.build.load(place, typ=e.word)
    e.build.cbranch(e.build.icmp_signed("<", now, count), body, done)
    e.build.position_at_end(body)
    step(now)
    e.build.store(e.build.add(now, e.word(1)), place)
    e.build.branch(head)
    e.build.position_at_end(done)


def new_module() -> Any:
    """An empty module of LLVM IR."""
    from llvmlite import ir

    return ir.Module()


def addresses(module: Any, *names: str) -> dict[str, int]:
    """Where the functions of a module are, once it is compiled."""
    with compiler:
        return _compiled(module, names)


def _compiled(module: Any, names: tuple[str, ...]) -> dict[str, int]:
    import llvmlite.binding as llvm

    get = ctypes.pythonapi.PyType_GetSlot
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_int)
    llvm.add_symbol("tilegrad_object_new", get(object, _SLOT_NEW))
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    forever(engine)
    return {name: engine.get_function_address(name) for name in names}
