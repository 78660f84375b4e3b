"""Reads signatures of ops: ``name(operand: DTYPE[dims], scalar: TYPE = default, …) -> outputs``."""

from __future__ import annotations

import ast
import re

from tilegrad.engine.signature import (
    CALLS,
    CLASSES,
    EXACT,
    OPERATORS,
    SCALARS,
    VARIABLES,
    Dim,
    Operand,
    Scalar,
    Signature,
    article,
    names_in,
)

# what a body may ask for besides the signature's names
RESERVED = frozenset((
    "f", "i", "itemsize", "scratch", "shared", "task", "tasks",
))  # fmt: skip


class SignatureError(ValueError):
    """The text of a signature is wrong; the message names the part."""


_TOKEN = re.compile(r"""\s*(->|//|[A-Za-z_]\w*|\d[\w.+]*|"[^"]*"|'[^']*'|\S)""")


def parse(text: str) -> Signature:
    """The signature in ``text``: ``name(operand: DTYPE[dims], scalar: TYPE = default, …) -> outputs``.

    DTYPE is ``f`` (a floating dtype, one for all ``f`` of a call), ``i`` (an integer one, likewise),
    ``b`` (bool), ``any``, or one dtype: ``f32``, ``f64``, ``i8`` … ``i64``, ``u8``. In the dims a name stands
    for a size, a number is one, ``_`` is any, ``*B`` any number of them; an expression of names is
    worked out. Without brackets any shape will do. ``inout`` before the dtype: the op writes over
    the operand. An output is ``y: DTYPE[dims]`` or ``y: like x``.

    Raises:
        SignatureError: it is something else.
    """
    return _Reader(text).signature()


class _Reader:
    """Reads a signature, token by token."""

    def __init__(self, text: str):
        if not isinstance(text, str):
            raise SignatureError(f"op: a signature is a text; got {type(text).__name__}")
        self.text = " ".join(text.split())
        self.tokens = _TOKEN.findall(self.text)
        self.place = 0
        self.title = "op"

    def error(self, what: str) -> SignatureError:
        return SignatureError(f"{self.title}: {what}; got the signature {self.text!r}")

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        token = self.peek()
        if wanted is not None and token != wanted:
            raise self.error(f"{wanted!r} expected before {token or 'its end'!r}")
        self.place += 1
        return token

    def word(self, what: str) -> str:
        token = self.take()
        if not token.isidentifier():
            raise self.error(f"{what} expected, a name, before {token or 'its end'!r}")
        return token

    def signature(self) -> Signature:
        self.title = self.word("the op")
        self.take("(")
        arguments = []
        while self.peek() != ")":
            arguments.append(self.argument())
            if self.peek() != ")":
                self.take(",")
        self.take(")")
        outputs = []
        if self.peek():
            self.take("->")
            outputs.append(self.output())
            while self.peek():
                self.take(",")
                outputs.append(self.output())
        made = Signature(self.text, self.title, tuple(arguments), tuple(outputs))
        self.judge(made)
        return made

    def argument(self) -> Operand | Scalar:
        name = self.word("an argument")
        self.take(":")
        kind = self.word(f"the type of {name}")
        if kind in SCALARS and not (kind == "bool" and self.peek() == "["):
            return self.scalar(name, SCALARS[kind])
        inout = kind == "inout"
        kind = self.word(f"the dtype of {name}") if inout else kind
        self.known(name, kind)
        return Operand(name, kind, self.dims(name), inout)

    def known(self, name: str, kind: str) -> None:
        if kind not in EXACT and kind not in CLASSES:
            words = ", ".join([*CLASSES, *(k for k in EXACT if len(k) < 4), *SCALARS])
            raise self.error(f"the type of {name} must be one of {words}; it is {kind!r}")

    def scalar(self, name: str, kind: type) -> Scalar:
        if self.peek() != "=":
            return Scalar(name, kind)
        self.take("=")
        start = self.place
        while self.peek() not in (",", ")", ""):
            self.place += 1
        text = "".join(self.tokens[start : self.place])
        try:
            value = float(text) if kind is float else ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = ...
        if value.__class__ is not kind:
            raise self.error(
                f"the default of {name} must be {article(kind.__name__)}; it is {text!r}"
            )
        return Scalar(name, kind, value)

    def output(self) -> Operand:
        name = self.word("an output")
        self.take(":")
        kind = self.word(f"the dtype of {name}")
        if kind == "like":
            return Operand(name, "like", None, False, self.word(f"what {name} is like"))
        self.known(name, kind)
        if kind == "any":
            raise self.error(f"{name} needs a dtype: f, i, one dtype, or like an operand")
        dims = self.dims(name)
        if dims is None:
            raise self.error(f"{name} needs its sizes: {name}: {kind}[…], or like an operand")
        return Operand(name, kind, dims)

    def dims(self, name: str) -> tuple[Dim, ...] | None:
        if self.peek() != "[":
            return None
        self.take("[")
        found: list[Dim] = []
        while self.peek() != "]":
            found.append(self.dim(name))
            if self.peek() != "]":
                self.take(",")
        self.take("]")
        return tuple(found)

    def dim(self, name: str) -> Dim:
        if self.peek() == "*":
            self.take()
            return "*" + self.word(f"the name of a run in {name}")
        start, depth = self.place, 0
        while self.peek() and (depth or self.peek() not in (",", "]")):
            depth += (self.peek() == "(") - (self.peek() == ")")
            self.place += 1
        text = " ".join(self.tokens[start : self.place])
        try:
            e = ast.parse(text, mode="eval").body
        except SyntaxError:
            raise self.error(f"{name}: {text!r} is no size") from None
        if isinstance(e, ast.Name):
            return e.id
        if isinstance(e, ast.Constant) and e.value.__class__ is int:
            return e.value
        self.expression(name, e)
        return e

    def expression(self, name: str, e: ast.expr) -> None:
        ok = isinstance(e, ast.Name) or (isinstance(e, ast.Constant) and e.value.__class__ is int)
        parts: list[ast.expr] = []
        if isinstance(e, ast.BinOp) and type(e.op) in OPERATORS:
            ok, parts = True, [e.left, e.right]
        elif isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.USub):
            ok, parts = True, [e.operand]
        elif isinstance(e, ast.Call) and isinstance(e.func, ast.Name) and e.func.id in CALLS:
            ok, parts = bool(e.args) and not e.keywords, e.args
        if not ok:
            raise self.error(
                f"{name}: a size is made of names, whole numbers, + - * // %, min and max; it is "
                f"{ast.unparse(e)!r}"
            )
        for part in parts:
            self.expression(name, part)

    def judge(self, made: Signature) -> None:
        """What no single part shows."""
        names = [a.name for a in (*made.arguments, *made.outputs)]
        for name in (*names, *made.dims):
            if [*names, *made.dims].count(name) > 1:
                raise self.error(f"two things are called {name}")
            if name in RESERVED:
                raise self.error(f"{name} means something else in a body; choose another name")
        if not made.operands:
            raise self.error("one argument at least must be a tensor")
        if not made.outputs and not made.written:
            raise self.error("it gives nothing: name an output behind ->, or an operand as inout")
        behind = None
        for a in made.arguments:
            optional = isinstance(a, Scalar) and a.default is not ...
            if behind and not optional:
                raise self.error(
                    f"{a.name} has no default, and stands behind {behind}, which has one"
                )
            behind = a.name if optional else behind
        known = {*made.dims, *(s.name for s in made.scalars if s.type is int)}
        for x in (*made.operands, *made.outputs):
            self.names(made, x, known)

    def names(self, made: Signature, x: Operand, known: set[str]) -> None:
        if sum(isinstance(d, str) and d[0] == "*" for d in x.dims or ()) > 1:
            raise self.error(
                f"{x.name} has two runs of sizes, one is the most that can be told apart"
            )
        if x.like is not None and x.like not in [o.name for o in made.operands]:
            raise self.error(f"{x.name} is like {x.like}, which is no operand")
        is_output = x in made.outputs
        for dim in x.dims or ():
            for name in names_in(dim) if is_output or isinstance(dim, ast.expr) else ():
                if name not in known:
                    raise self.error(f"{x.name}: no operand has a size {name}")
        runs = {
            d for o in made.operands for d in o.dims or () if isinstance(d, str) and d[0] == "*"
        }
        for dim in x.dims or ():
            if isinstance(dim, str) and (dim[0] == "*") != (f"*{dim.lstrip('*')}" in runs):
                raise self.error(f"{x.name}: {dim.lstrip('*')} is a run of sizes in one place only")
        if is_output and x.kind in VARIABLES and all(o.kind != x.kind for o in made.operands):
            raise self.error(f"{x.name}: no operand has the dtype {x.kind}")
