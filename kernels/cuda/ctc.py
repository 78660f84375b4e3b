"""Connectionist temporal classification: a block has a sequence, its threads the states of a step.

Rows of states follow each other step by step. The shares of the states of one class are added in their order, by
the thread of the first of them; see :mod:`tilegrad.kernels.cpu.ctc`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import barrier, block, pointer, thread
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.tuning import grid
from tilegrad.kernels.formulas.ctc import log_sum, pitch_of, posterior
from tilegrad.kernels.formulas.transcendental import exp
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.monoids import add

Launch = Callable[..., None]
WORD = 8  # bytes of a label


class Sequences(NamedTuple):
    """The parameters of a launch.

    Attributes:
        steps, N, C: of the log-probabilities (steps, N, C). blank: the class of no label.
        pitch: elements from row to row of states: two that nothing reaches, then the states.
        longest: the largest number of labels.
    """

    steps: int
    N: int
    C: int
    blank: int
    pitch: int
    longest: int


@inline
def label_of(target, s, blank):
    """The class of a state."""
    return target[s // 2] if s % 2 == 1 else blank


@inline
def jumps(target, s):
    """Whether a step may come to the state from two before."""
    found = False
    if (s % 2 == 1) & (s > 2):
        found = target[s // 2] != target[s // 2 - 1]
    return found


@kernel
def forward(dtype: str, threads: int) -> Source:
    """Parameters: log-probabilities, labels of all sequences, a table (of each sequence its steps, of each its
    labels, of each its first label), the losses, the rows of states of all steps (N, steps, pitch), of each
    sequence (1 if a label is no class, that label).
    """
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize
    never, worst = T(-np.inf), block_reduce(_larger, "int64", threads)

    def run(x_, labels, table_, losses, states, status_, of):
        sequence, table = block(), pointer(table_, np.int64)
        steps, many = table[sequence], table[of.N + sequence]
        target = pointer(labels + WORD * table[2 * of.N + sequence], np.int64)
        status, count, bad = pointer(status_, np.int64), 2 * many + 1, 0
        for k in range(thread(), many, threads):
            if (target[k] < 0) | (target[k] >= of.C):
                bad = k + 1
        bad = worst(bad)
        row = pointer(states + size * sequence * of.steps * of.pitch, T)
        usable = steps if bad == 0 else 0
        for t in range(usable):
            x = pointer(x_ + size * (t * of.N + sequence) * of.C, T)
            at, past = t * of.pitch + 2, (t - 1) * of.pitch + 2
            if thread() < 2:
                row[at - 2 + thread()] = never
            for s in range(thread(), count, threads):
                found = x[label_of(target, s, of.blank)]
                made = found if s < 2 else never
                if t > 0:
                    far = row[past + s - 2] if jumps(target, s) else never
                    made = found + log_sum(row[past + s], row[past + s - 1], far)
                row[at + s] = made
            barrier()
        if thread() == 0:
            last = (usable - 1) * of.pitch + 2 + count
            loss = T(np.inf) if many > 0 else T(0)
            if usable > 0:
                loss = -log_sum(row[last - 1], row[last - 2], never)
            pointer(losses, T)[sequence] = T(np.nan) if bad > 0 else loss
            status[2 * sequence] = 1 if bad > 0 else 0
            status[2 * sequence + 1] = target[bad - 1] if bad > 0 else 0

    return Source(run, ("i" * 6, Sequences), threads)


@inline
def _larger(a, b):
    return max(a, b)


def _chains(threads: int) -> DeviceFunction:
    """The device function ``link(chain, target, many)``: of each label the number of the next equal one or -1 in
    ``chain``, and behind these 1 if none before it is equal, else 0.
    """

    @inline
    def link(chain, target, many):
        for k in range(thread(), many, threads):
            after, first = k + 1, 1
            while after < many and target[after] != target[k]:
                after += 1
            for q in range(k):
                if target[q] == target[k]:
                    first = 0
            chain[k] = after if after < many else -1
            chain[many + k] = first

    return link


@kernel
def backward(dtype: str, threads: int) -> Source:
    """See :func:`tilegrad.kernels.cpu.ctc.backward`. Parameters: gradients of the losses, log-probabilities,
    labels, table, losses, rows of states, out, scratch (for each sequence two words for each of the longest's
    labels, three rows), zero.
    """
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize
    never, fold, link = T(-np.inf), block_reduce(add, dtype, threads), _chains(threads)

    @inline
    def step_back(row, past, x, target, count, last, blank):
        for s in range(thread(), count, threads):
            found = x[label_of(target, s, blank)]
            made = found if s > count - 3 else never
            if not last:
                near = past[s + 1] if s + 1 < count else never
                far = never
                if s + 2 < count:
                    far = past[s + 2] if jumps(target, s + 2) else never
                made = found + log_sum(past[s], near, far)
            row[s] = made

    @inline
    def share(held, alpha, row, x, target, count, loss, factor, blank):
        """Shares of the states; gives the sum of this thread's blank ones."""
        none = T(0)
        for s in range(thread(), count, threads):
            found = x[label_of(target, s, blank)]
            made = posterior(alpha[s], row[s], found, loss) * factor
            held[s] = made
            none += made if s % 2 == 0 else T(0)
        return none

    @inline
    def spread(made, held, chain, target, many, none, blank):
        """A class's shares by the thread of its first label; those of no label with the first thread."""
        for k in range(thread(), many, threads):
            if chain[many + k] == 1:
                total, q = T(0), k
                while q >= 0:
                    total += held[2 * q + 1]
                    q = chain[q]
                if target[k] == blank:
                    total += none
                made[target[k]] -= total

    def run(grads, x_, labels, table_, losses, states, out, scratch, zero, of):
        sequence, table = block(), pointer(table_, np.int64)
        loss, factor = pointer(losses, T)[sequence], pointer(grads, T)[sequence]
        steps, many = table[sequence], table[of.N + sequence]
        target = pointer(labels + WORD * table[2 * of.N + sequence], np.int64)
        count, words = 2 * many + 1, 2 * of.longest
        place = scratch + sequence * (WORD * words + -(-3 * of.pitch * size // WORD) * WORD)
        chain, rows = pointer(place, np.int64), place + WORD * words
        held, infinite = pointer(rows, T), loss == T(np.inf)
        link(chain, target, many)
        barrier()
        blank_label = 0
        for k in range(many):
            if target[k] == of.blank:
                blank_label = 1
        for back in range(of.steps):
            t = of.steps - 1 - back
            at = size * (t * of.N + sequence) * of.C
            made, x = pointer(out + at, T), pointer(x_ + at, T)
            if (t >= steps) | infinite:
                nothing = T(0) if (t >= steps) | (zero != 0) else T(np.nan)
                for c in range(thread(), of.C, threads):
                    made[c] = nothing
            else:
                row = pointer(rows + size * (1 + t % 2) * of.pitch, T)
                past = pointer(rows + size * (2 - t % 2) * of.pitch, T)
                step_back(row, past, x, target, count, t == steps - 1, of.blank)
                for c in range(thread(), of.C, threads):
                    made[c] = exp(x[c]) * factor
                alpha = pointer(states + size * ((sequence * of.steps + t) * of.pitch + 2), T)
                none = fold(share(held, alpha, row, x, target, count, loss, factor, of.blank))
                barrier()
                spread(made, held, chain, target, many, none, of.blank)
                if (thread() == 0) & (blank_label == 0):
                    made[of.blank] -= none
                barrier()

    return Source(run, ("i" * 9, Sequences), threads)


def ctc(dtype: str, steps: int, N: int, C: int, blank: int, longest: int) -> tuple[Launch, int]:
    """Prepare ``launch(x, labels, table, losses, states, status)``; see :func:`tilegrad.kernels.cpu.ctc.ctc`."""
    of = Sequences(steps, N, C, blank, pitch_of(longest), longest)
    return bind(forward.build(dtype, grid("ctc", dtype).bounds.threads), *of, N, 1, 1), 0


def ctc_backward(
    dtype: str, steps: int, N: int, C: int, blank: int, longest: int
) -> tuple[Launch, int]:
    """Prepare ``launch(grads, x, labels, table, losses, states, out, scratch, zero)``; see
    :func:`tilegrad.kernels.cpu.ctc.ctc_backward`.
    """
    of = Sequences(steps, N, C, blank, pitch_of(longest), longest)
    rows = -(-3 * of.pitch * np.dtype(dtype).itemsize // WORD) * WORD
    run = bind(backward.build(dtype, grid("ctc", dtype).bounds.threads), *of, N, 1, 1)
    return run, N * (2 * WORD * longest + rows)
