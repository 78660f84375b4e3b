"""Batch normalisation: every channel has a mean and a variance over samples and positions.

Arrays are row-major (N, C, S). A channel that its threads can keep is one row of
:mod:`tilegrad.kernels.cuda.norm`, read once. Else tiles of all channels are measured side by side,
so that few channels keep the whole device busy, and the array is normalised element by element.
"""

from __future__ import annotations

from collections.abc import Callable

from tilegrad.kernels.cuda.device.ptx import block, pointer, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.elementwise import elementwise
from tilegrad.kernels.cuda.norm import GradRows, NormRows, backward, forward
from tilegrad.kernels.cuda.parts.block_reduce import stored
from tilegrad.kernels.cuda.parts.moments import long_moments, long_sums, normalised, normalised_grad
from tilegrad.kernels.cuda.parts.row_layout import RowGeometry, channels_of
from tilegrad.kernels.cuda.parts.strided import is_wide
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.tuning import ROWS, grid, row
from tilegrad.kernels.formulas.primitives import sqrt
from tilegrad.kernels.function import DeviceFunction
from tilegrad.kernels.plans import with_absent


@kernel
def running(dtype: str, bounds: Bounds) -> Source:
    """The running mean, and one over the root of the running variance, of every channel."""
    T = stored(dtype)
    one, threads = T(1), bounds.threads

    def body(rmean, rvar, mean, rstd, eps, C):
        c = block() * threads + thread()
        if c < C:
            pointer(mean, T)[c] = pointer(rmean, T)[c]
            pointer(rstd, T)[c] = one / sqrt(pointer(rvar, T)[c] + T(eps))

    return Source(body, "iiiidi", *bounds)


def _apply(
    formula: DeviceFunction, dtype: str, operands: str, sizes: tuple[int, int, int], params: int = 0
) -> Callable[..., None]:
    """``formula`` element by element; ``operands``: ``w`` for a whole array, ``c`` for a number per
    channel.
    """
    N, C, S = sizes
    shape = (N, C) if S == 1 else (N, C, S)
    kinds = {"w": (C, 1), "c": (0, 1)} if S == 1 else {"w": (C * S, S, 1), "c": (0, 1, 0)}
    strides = tuple(kinds[letter] for letter in operands)
    return elementwise(formula, (dtype,) * len(operands), shape, strides, params)


def batch_norm(
    dtype: str, given: tuple[bool, bool, bool], training: bool, N: int, C: int, S: int
) -> Callable[..., None]:
    """A launch ``(x, [weight], [bias], [means, variances], y, mean, rstd, eps, momentum)``.

    ``given``: whether there is a weight, a bias, and running statistics, which training updates.
    """
    if N * C * S == 0:
        return lambda *arguments: None
    chosen, wide = row(ROWS, dtype, "norm"), is_wide(N * C * S)
    form = channels_of(chosen, N, C, S, dtype, chosen.norm)
    if training and form.tiles == 1:
        run = _at_once(dtype, form, wide)
    else:
        run = _in_steps(dtype, given, training, form, (N, C, S), wide)

    weighted, biased, tracked = given
    return with_absent(run, (True, weighted, biased, tracked, tracked))


def _at_once(dtype: str, form: RowGeometry, wide: bool) -> Callable[..., None]:
    """A launch ``(x, weight, bias, rmean, rvar, y, mean, rstd, eps, momentum)`` in training."""
    function = forward.build(dtype, True, "row", form.layout, form.runs, wide)
    shape = NormRows(form.rows, form.n, form.groups, form.step, cycle=1, channels=0)
    tail = (*shape, *form.t, form.layout.blocks(form.rows), 1, 1)

    def launch(
        x: int, weight: int, bias: int, rmean: int, rvar: int, y: int, mean: int, rstd: int,
        eps: float, momentum: float,
    ) -> None:  # fmt: skip
        statistics = (mean, rstd, eps, rmean, rvar, momentum)
        function(x, weight, bias, y, *statistics, *tail)

    return launch


def _in_steps(
    dtype: str, given: tuple[bool, bool, bool], training: bool, form: RowGeometry,
    sizes: tuple[int, int, int], wide: bool,
) -> Callable[..., None]:  # fmt: skip
    """The same for channels of any length, and outside training."""
    operands = "wcc" + "c" * (given[0] + given[1]) + "w"
    apply = _apply(normalised(True, given[0], given[1]), dtype, operands, sizes)
    C = sizes[1]
    if training:
        measure = long_moments(dtype, True, form, wide)
    else:
        bounds = grid("batch_norm", dtype).bounds
        settled = bind(running.build(dtype, bounds), C, -(-C // bounds.threads), 1, 1)

    def launch(
        x: int, weight: int, bias: int, rmean: int, rvar: int, y: int, mean: int, rstd: int,
        eps: float, momentum: float,
    ) -> None:  # fmt: skip
        if training:
            measure(x, y, mean, rstd, eps, rmean, rvar, momentum)  # Statistics
        else:
            settled(rmean, rvar, mean, rstd, eps)
        apply(*[a for a in (x, mean, rstd, weight, bias, y) if a])

    return launch


def batch_norm_backward(
    dtype: str, weighted: bool, training: bool, N: int, C: int, S: int
) -> Callable[..., None]:
    """A launch ``(g, x, mean, rstd, [weight], out, weight_grad, bias_grad)``."""
    if N * C * S == 0:
        return lambda *addresses: None
    chosen, wide = row(ROWS, dtype, "norm_backward"), is_wide(N * C * S)
    form = channels_of(chosen, N, C, S, dtype, chosen.two)
    if form.tiles == 1:
        function = backward.build(dtype, True, "row", form.layout, form.runs, wide)
        shape = GradRows(int(training), form.rows, form.n, form.groups, form.step)
        tail = (*shape, *form.t, form.layout.blocks(form.rows), 1, 1)

        def at_once(g: int, x: int, mean: int, rstd: int, weight: int, *made: int) -> None:
            function(g, x, weight, mean, rstd, *made, *tail)

        return with_absent(at_once, (True, True, True, True, weighted))
    sums = long_sums(dtype, form, 1, wide)
    operands = ("wwcc" + "c" * weighted + "ccw") if training else ("wc" + "c" * weighted + "w")
    apply = _apply(normalised_grad(weighted, training), dtype, operands, (N, C, S), training)

    def in_steps(
        g: int, x: int, mean: int, rstd: int, weight: int, out: int, sums_g_xhat: int, sums_g: int
    ) -> None:
        sums(g, x, mean, rstd, out, sums_g_xhat, sums_g)
        scale = (weight,) if weighted else ()
        if training:
            apply(g, x, mean, rstd, *scale, sums_g_xhat, sums_g, out, 1.0 / (N * S))
        else:
            apply(g, rstd, *scale, out)

    return with_absent(in_steps, (True, True, True, True, weighted))
