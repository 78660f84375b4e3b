"""Connectionist temporal classification: log-probabilities of all alignments of labels with steps.

A sequence of n labels has 2 n + 1 states: blank, label, blank, …, blank. A step goes on in a state, to the next
or, between two different labels, to the one after it. A task, that has one sequence, makes rows of states
step after step: forward from the first state, backward from the last ones.

Source: A. Graves et al., "Connectionist temporal classification", 2006.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, backward_follows, bind, kernel, simd_bits
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import offset, pointer, read, write
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.cpu.tuning import Ctc
from tilegrad.kernels.formulas.ctc import log_sum, pitch_of, posterior
from tilegrad.kernels.formulas.transcendental import exp
from tilegrad.kernels.function import DeviceFunction, arithmetic, inline

Launch = Callable[..., None]
WORD = 8  # bytes of a label


class Sequences(NamedTuple):
    """The parameters of a launch.

    Attributes:
        steps, N, C: of the log-probabilities (steps, N, C). blank: the class of no label.
        pitch: elements from row to row of states: two that nothing reaches, then the states.
    """

    steps: int
    N: int
    C: int
    blank: int
    pitch: int


def _rows(dtype: str) -> tuple[DeviceFunction, ...]:
    """Device functions on rows of ``count`` states of a sequence, or of ``wide``, those that fill vectors with
    states that nothing is seen in:

    - ``filled(count)``: ``wide``; what is left of a vector costs more than all of it, but for one state alone, and
      but for registers of 128 bits, for which LLVM makes no vectors of these loops;
    - ``jumps(row, target, count)``: 0 where a step may come from two states before, else -inf;
    - ``seen(row, x, target, count, blank)``: the log-probabilities of the states' classes at a step;
    - ``follow(out, past, way, jump, seen, wide)``: a step, from states of ``past`` that lie ``way`` (-1: before,
      1: behind) and twice as far; ``jump`` is of the state that is reached.
    """
    T = np.dtype(dtype).type
    never = T(-np.inf)
    V = lanes(dtype) if simd_bits() > 128 else 1

    @inline
    def filled(count):
        return count if count % V == 1 else (count + V - 1) // V * V

    @inline
    def jumps(row, target, count):
        for s in range(count):
            label = s // 2
            row[s] = never
            if s % 2 == 1 and s > 2 and target[label] != target[label - 1]:
                row[s] = T(0)

    @inline
    def seen(row, x, target, count, blank):
        none = x[blank]
        for k in range(count // 2):
            row[2 * k] = none
            row[2 * k + 1] = x[target[k]]
        row[count - 1] = none

    @inline
    def follow(out, past, way, jump, seen, wide):
        for s in range(wide):
            far = read(past, s + 2 * way) + read(jump, s)
            made = log_sum(read(past, s), read(past, s + way), far)
            write(out, s, made + read(seen, s))

    return filled, jumps, seen, follow


@kernel
def forward(dtype: str) -> Kernel:
    """Arguments: log-probabilities, labels of all sequences, a table (of each sequence its steps, of each its
    labels, of each its first label), the losses, the rows of states of all steps (N, steps, pitch), of each
    sequence (1 if a label is no class, that label), two rows of scratch for each.
    """
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize
    filled, jumps, seen, follow = _rows(dtype)
    never = T(-np.inf)

    @inline
    def first_row(row, found, wide):
        row[-2] = never
        row[-1] = never
        for s in range(wide):
            row[s] = found[s] if s < 2 else never

    def body(task, x_, labels, table_, losses_, states, status_, scratch, of):
        table, losses = pointer(table_, np.int64), pointer(losses_, T)
        steps, many = table[task], table[of.N + task]
        target = pointer(labels + WORD * table[2 * of.N + task], np.int64)
        status, bad, count = pointer(status_ + 2 * WORD * task, np.int64), 0, 2 * many + 1
        status[0] = 0
        status[1] = 0
        for k in range(many):
            if target[k] < 0 or target[k] >= of.C:
                bad = 1
                status[0] = 1
                status[1] = target[k]
        if bad != 0:
            losses[task] = T(np.nan)
        elif steps == 0:
            losses[task] = T(np.inf) if many > 0 else T(0)
        else:
            jump = pointer(scratch + size * 2 * task * of.pitch, T)
            found = offset(jump, of.pitch)
            row = offset(pointer(states, T), task * of.steps * of.pitch + 2)
            jumps(jump, target, count)
            wide = filled(count)
            for s in range(count, wide):
                jump[s] = never
                found[s] = never
            for t in range(steps):
                at = x_ + size * (t * of.N + task) * of.C
                seen(found, pointer(at, T), target, count, of.blank)
                if t == 0:
                    first_row(row, found, wide)
                else:
                    past = offset(row, -of.pitch)
                    row[-2] = never
                    row[-1] = never
                    follow(row, past, -1, jump, found, wide)
                row = offset(row, of.pitch)
            row = offset(row, -of.pitch)
            losses[task] = -log_sum(row[count - 1], row[count - 2], never)

    return arithmetic(body), ("iiiiiii", Sequences)


@kernel
def backward(dtype: str) -> Kernel:
    """The gradient of the log-probabilities, e^x minus the probability that a step is in a state of the class;
    of an infinite loss NaN, or 0 if ``zero``. Arguments: gradients of the losses, log-probabilities, labels,
    table, losses, rows of states, out, five rows of scratch for each sequence, zero.
    """
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize
    filled, jumps, seen, follow = _rows(dtype)
    never = T(-np.inf)

    @inline
    def last_row(row, found, count):
        for s in range(count):
            row[s] = found[s] if s > count - 3 else never

    @inline
    def shares(held, states, row, found, loss, factor, wide):
        for s in range(wide):
            made = posterior(read(states, s), read(row, s), read(found, s), loss)
            write(held, s, made * factor)

    @inline
    def spread(made, x, held, target, factor, count, blank, C):
        for c in range(C):
            write(made, c, exp(read(x, c)) * factor)
        none = held[count - 1]
        for k in range(count // 2):
            none += held[2 * k]
            made[target[k]] -= held[2 * k + 1]
        made[blank] -= none

    def body(task, grads, x_, labels, table_, losses, states, out, scratch, zero, of):
        table, loss, factor = (
            pointer(table_, np.int64),
            pointer(losses, T)[task],
            pointer(grads, T)[task],
        )
        steps, many = table[task], table[of.N + task]
        target, count = pointer(labels + WORD * table[2 * of.N + task], np.int64), 2 * many + 1
        jump = pointer(scratch + size * 5 * task * of.pitch, T)
        found, held = offset(jump, of.pitch), offset(jump, 2 * of.pitch)
        row, past = offset(jump, 3 * of.pitch), offset(jump, 4 * of.pitch)
        wide = filled(count)
        for k in range(count, of.pitch):  # what nothing reaches from
            row[k] = never
            past[k] = never
            jump[k] = never
            found[k] = never
        jumps(jump, target, count)
        for s in range(count):  # now of the state that is left
            jump[s] = jump[s + 2] if s + 2 < count else never
        for t in range(of.steps - 1, -1, -1):
            at = size * (t * of.N + task) * of.C
            made, x = pointer(out + at, T), pointer(x_ + at, T)
            if t >= steps or loss == T(np.inf):
                nothing = T(0) if t >= steps or zero != 0 else T(np.nan)
                for c in range(of.C):
                    write(made, c, nothing)
            else:
                seen(found, x, target, count, of.blank)
                if t == steps - 1:
                    last_row(row, found, count)
                else:
                    follow(row, past, 1, jump, found, wide)
                alpha = offset(pointer(states, T), (task * of.steps + t) * of.pitch + 2)
                shares(held, alpha, row, found, loss, factor, wide)
                spread(made, x, held, target, factor, count, of.blank, of.C)
                row, past = past, row

    return arithmetic(body), ("iiiiiiiii", Sequences)


def _tail(steps: int, N: int, C: int, blank: int, longest: int) -> tuple[int, ...]:
    """Parameters, tasks and threads."""
    of = Sequences(steps, N, C, blank, pitch_of(longest))
    small = splitting.serial(N * steps * (C + 16 * of.pitch), Ctc.serial)
    return *of, N, 0 if small else TEAM


def ctc(dtype: str, steps: int, N: int, C: int, blank: int, longest: int) -> tuple[Launch, int]:
    """Prepare ``launch(x, labels, table, losses, states, status, scratch)``, see :func:`forward`; gives
    ``(launch, scratch_bytes)``.
    """
    if backward_follows():
        backward.begin(dtype)
    run = bind(forward.build(dtype), *_tail(steps, N, C, blank, longest))
    return run, 2 * N * pitch_of(longest) * np.dtype(dtype).itemsize


def ctc_backward(
    dtype: str, steps: int, N: int, C: int, blank: int, longest: int
) -> tuple[Launch, int]:
    """Prepare ``launch(grads, x, labels, table, losses, states, out, scratch, zero)``, see :func:`backward`;
    gives ``(launch, scratch_bytes)``.
    """
    run = bind(backward.build(dtype), *_tail(steps, N, C, blank, longest))
    return run, 5 * N * pitch_of(longest) * np.dtype(dtype).itemsize
