"""Stages of a transform whose batch lies across the lanes of vectors.

The working memory has a row of two vectors for each element, its real and its imaginary parts in
``lanes`` transforms. A stage of Stockham's algorithm takes rows ``q + s (p + m k)`` to
``q + s (radix p + j)``: every access is to whole vectors and the result is in order. The inverse transform is
the same with the two vectors of a row exchanged, which ``re`` and ``im``, their places in it, say.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tilegrad.kernels import codelets
from tilegrad.kernels.cpu.simd.emit import (
    emit_loop,
    fma_value,
    llvm_vector,
    load_value,
    splat_value,
    store_value,
)
from tilegrad.kernels.cpu.simd.memory import local
from tilegrad.kernels.cpu.simd.vector import broadcast, fma, full_vector, lanes, load, splat, store
from tilegrad.kernels.function import DeviceFunction, Intrinsic, inline, intrinsic
from tilegrad.kernels.roots import LARGEST_PRIME


@cache
def stage(radix: int) -> Intrinsic:
    """The intrinsic ``stage(x, y, roots, m, s, re, im)`` of one radix that has a codelet."""
    program = codelets.codelet(radix)

    def emitter(typing, x, y, roots, m, s, re, im):
        from numba import types

        vector, n = full_vector(x.dtype), types.intp

        def codegen(context, builder, sig, args):
            _Stage(builder, program, llvm_vector(vector), args).write()
            return context.get_dummy_value()

        return types.void(x, y, roots, n, n, n, n), codegen

    emitter.__name__ = f"stage_{radix}"
    return intrinsic(emitter)


class _Stage:
    """Writes the loops of a stage."""

    def __init__(self, builder: Any, program: codelets.Codelet, kind: Any, args: list[Any]):
        self.builder, self.program, self.kind = builder, program, kind
        self.x, self.y, self.roots, self.m, self.s, self.re, self.im = args
        self.word = self.m.type

    def write(self) -> None:
        """First ``p = 0``, where all roots are 1, then the others."""
        builder, word = self.builder, self.word

        def others(carried: list[Any]) -> list[Any]:
            p = carried[0]
            self.line(p, self.roots_of(p))
            return [builder.add(p, word(1))]

        self.line(word(0), [])
        emit_loop(
            builder, [word(1)], lambda v: builder.icmp_signed("<", v[0], self.m), others, True
        )

    def roots_of(self, p: Any) -> list[tuple[Any, Any]]:
        builder, word, count = self.builder, self.word, self.program.radix - 1
        first = builder.mul(p, word(2 * count))
        found = []
        for j in range(count):
            parts = [
                builder.load(builder.gep(self.roots, [builder.add(first, word(2 * j + c))]))
                for c in (0, 1)
            ]
            found.append(tuple(splat_value(builder, v, self.kind.count) for v in parts))
        return found  # type: ignore[return-value]

    def line(self, p: Any, roots: list[tuple[Any, Any]]) -> None:
        """All ``q`` of one ``p``."""
        builder, word, radix = self.builder, self.word, self.program.radix
        row = word(2 * self.kind.count)
        step = builder.mul(row, self.s)  # between outputs of a butterfly
        far = builder.mul(step, self.m)  # between its inputs
        source = builder.mul(step, p)
        target = builder.mul(source, word(radix))
        last = builder.add(source, step)

        def butterfly(carried: list[Any]) -> list[Any]:
            at, to = carried
            self.butterfly(at, far, to, step, roots)
            return [builder.add(at, row), builder.add(to, row)]

        more = lambda v: builder.icmp_signed("<", v[0], last)  # noqa: E731
        emit_loop(builder, [source, target], more, butterfly, True)

    def butterfly(
        self, at: Any, far: Any, to: Any, step: Any, roots: list[tuple[Any, Any]]
    ) -> None:
        builder, kind = self.builder, self.kind
        inputs = []
        for _ in range(self.program.radix):
            for place in (self.re, self.im):
                inputs.append(
                    load_value(builder, builder.gep(self.x, [builder.add(at, place)]), kind)
                )
            at = builder.add(at, far)
        made = self.transformed(inputs)
        for j in range(self.program.radix):
            pair = made[2 * j], made[2 * j + 1]
            if roots and j:
                pair = self.times(*pair, *roots[j - 1])
            for value, place in zip(pair, (self.re, self.im)):
                store_value(builder, value, builder.gep(self.y, [builder.add(to, place)]))
            to = builder.add(to, step)

    def transformed(self, inputs: list[Any]) -> list[Any]:
        from llvmlite import ir

        builder, kind = self.builder, self.kind
        return codelets.run(
            self.program,
            inputs,
            lambda c: ir.Constant(kind, [kind.element(c)] * kind.count),
            lambda c, a, b: fma_value(builder, c, a, b),
            {"add": builder.fadd, "sub": builder.fsub, "mul": builder.fmul, "neg": builder.fneg},
        )

    def times(self, re: Any, im: Any, c: Any, s: Any) -> tuple[Any, Any]:
        """(re + i im) (c + i s)"""
        builder = self.builder
        low = builder.fneg(builder.fmul(im, s))
        return fma_value(builder, re, c, low), fma_value(builder, re, s, builder.fmul(im, c))


def any_prime(dtype: str) -> DeviceFunction:
    """``stage(x, y, roots, m, s, re, im, radix, turns)`` of an odd prime without a codelet; ``turns`` are
    its own roots of unity. The sums and differences of ``x_k`` and ``x_(radix-k)`` come first.
    """
    W, half, zero = lanes(dtype), LARGEST_PRIME // 2, np.dtype(dtype).type(0)
    held = local(dtype, 4 * (half + 1) * W)

    @inline
    def prime_stage(x, y, roots, m, s, re, im, radix, turns):
        terms = held()
        count = radix // 2
        for p in range(m):
            for q in range(s):
                at = (q + s * p) * 2 * W
                first_re, first_im = load(x, at + re), load(x, at + im)
                sum_re, sum_im = first_re, first_im
                for k in range(1, count + 1):
                    low, high = at + k * s * m * 2 * W, at + (radix - k) * s * m * 2 * W
                    a, b = load(x, low + re), load(x, high + re)
                    c, d = load(x, low + im), load(x, high + im)
                    store(terms, 4 * k * W, a + b)
                    store(terms, (4 * k + 1) * W, c + d)
                    store(terms, (4 * k + 2) * W, a - b)
                    store(terms, (4 * k + 3) * W, c - d)
                    sum_re = sum_re + (a + b)
                    sum_im = sum_im + (c + d)
                to = (q + s * radix * p) * 2 * W
                store(y, to + re, sum_re)
                store(y, to + im, sum_im)
                for j in range(1, count + 1):
                    even_re, even_im = first_re, first_im
                    odd_re = load(terms, 0) - load(terms, 0)
                    odd_re, odd_im = splat(zero), splat(zero)
                    place = 0
                    for k in range(1, count + 1):
                        place += j
                        if place >= radix:
                            place -= radix
                        cosine, sine = broadcast(turns, 2 * place), -broadcast(turns, 2 * place + 1)
                        even_re = fma(cosine, load(terms, 4 * k * W), even_re)
                        even_im = fma(cosine, load(terms, (4 * k + 1) * W), even_im)
                        odd_re = fma(sine, load(terms, (4 * k + 2) * W), odd_re)
                        odd_im = fma(sine, load(terms, (4 * k + 3) * W), odd_im)
                    near, mirror = to + j * s * 2 * W, to + (radix - j) * s * 2 * W
                    a, b = even_re + odd_im, even_im - odd_re
                    c, d = even_re - odd_im, even_im + odd_re
                    w = 2 * (p * (radix - 1) + j - 1)
                    store(y, near + re, a * broadcast(roots, w) - b * broadcast(roots, w + 1))
                    store(y, near + im, a * broadcast(roots, w + 1) + b * broadcast(roots, w))
                    w = 2 * (p * (radix - 1) + radix - j - 1)
                    store(y, mirror + re, c * broadcast(roots, w) - d * broadcast(roots, w + 1))
                    store(y, mirror + im, c * broadcast(roots, w + 1) + d * broadcast(roots, w))

    return prime_stage
