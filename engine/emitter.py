"""Writing functions over Python's own objects as machine code: C's words, as LLVM IR.

References: *owned* ones are passed on or given up, *borrowed* ones belong to somebody who outlives
the use, as in the documentation of Python's C API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilegrad.engine.interpreter import SIZE, TYPE
from tilegrad.engine.linking import PREFIX, Objects


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
        """An object that the module may name."""
        return self._external(self.module.names.name_of(value))

    def cell(self, name: str) -> Any:
        """The address that the module knows by this name."""
        return self._external(PREFIX + name)

    def _external(self, symbol: str) -> Any:
        found = self.module.globals.get(symbol)
        if found is None:
            found = self.ir.GlobalVariable(self.module, self.byte, symbol)
        # by way of a number, as in room: to llvmlite the variable is a pointer to bytes, and no other
        return self.build.inttoptr(self.build.ptrtoint(found, self.word), self.pointer)

    def null(self) -> Any:
        """No address."""
        return self.ir.Constant(self.pointer, None)

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
        return self.call("tilegrad_object_new", self.object(kind), self.object(()), self.null())

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
            self.build.ret(self.null())

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
            e.build.ret(e.null())
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


def new_module(names: Objects) -> Any:
    """An empty module of LLVM IR, which may name these objects."""
    from llvmlite import ir

    module = ir.Module()
    module.names = names
    return module
