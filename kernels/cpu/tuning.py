"""The numbers of CPU kernels that were chosen, not derived, with how each was chosen.

:data:`MICRO_KERNELS` has a row per register width and dtype: the register tiles of matrix products,
convolutions and attention, and the blocks around them. Whoever changes a row changes all three. What
does not depend on the width stands below, a class a family; kernels read it when they are built and
planners when they plan.
"""

from __future__ import annotations

from typing import NamedTuple

from tilegrad.kernels import dtypes
from tilegrad.kernels.cpu.run.native import simd_bits

NR_VECTORS = 2  # NR in vectors; loops around a micro-kernel take the rest of a panel by one vector


class MicroKernel(NamedTuple):
    """Register tiles and cache blocks, of one register width and dtype. Tuples of rows are largest
    first and end with 1, so that any number of rows is a sum of them.

    Attributes:
        mr: MR of products and attention, and the smaller tiles for what is left.
        mr_min: rows of a tile that hide the latency of a multiply-add; work is cut in multiples.
        unroll: steps over K that are written out in a row.
        col_major_mr: tiles where ``b`` is column-major: its square blocks are transposed in registers.
        gemv_nr: NR in vectors where ``a`` is one row.
        gemv_col_nr: the same with a column-major ``b``.
        kc: products summed in registers at most: more would cost accuracy.
        mc_bytes: of a packed block of ``a``: it stays in the L2 cache.
        b_in_place: eighths of the L2 cache up to which ``kc`` rows of ``b`` are read where they lie.
        mc: rows of ``a`` that one panel of ``b`` serves, where ``a`` is not packed.
        conv_rest: after MR, the rows (output channels) of a convolution's tiles of ``NR_VECTORS``
            vectors of pixels.
        conv_few: the same of 4 vectors, up to the first of them.
        conv_one: vectors of pixels where there is one output channel.
        conv_weight: rows of the weight gradient's tiles with pixels in the lanes, of
            ``conv_weight_columns`` columns; powers of 2, as sums are folded in pairs.
        conv_weight_outputs: output channels done against all inputs in turn.
        conv_outer: columns of its tiles with output channels in the lanes, of 1 and of 2 vectors.
        chosen: how.
    """

    mr: tuple[int, ...]
    mr_min: int
    unroll: int
    col_major_mr: tuple[int, ...]
    gemv_nr: int
    gemv_col_nr: int
    kc: int
    mc_bytes: int
    b_in_place: int
    mc: int
    conv_rest: tuple[int, ...]
    conv_few: tuple[int, ...]
    conv_one: int
    conv_weight: tuple[int, ...]
    conv_weight_columns: int
    conv_weight_outputs: int
    conv_outer: tuple[tuple[int, ...], tuple[int, ...]]
    chosen: str


# 32 registers: 28 hold the sums, the others a row of b and an element of a
_AVX512 = MicroKernel(
    mr=(14, 8, 4, 2, 1), mr_min=4, unroll=1, col_major_mr=(8, 4, 2, 1), gemv_nr=8, gemv_col_nr=2,
    kc=256, mc_bytes=192 << 10, b_in_place=5, mc=256,
    conv_rest=(8, 4, 2, 1), conv_few=(6, 3, 2, 1), conv_one=8, conv_weight=(8, 4, 1),
    conv_weight_columns=3, conv_weight_outputs=8, conv_outer=((8, 4, 2, 1), (8, 4, 2, 1)),
    chosen="mr, kc, conv_rest: from the register file, a5fde10 (2026-11-23), not measured against others; "
    "unroll: `python -m bench against --area matmul`, b033904 (2026-11-27): unrolled by 4, sums of "
    "a tile went through memory; mc, mc_bytes: f186575 and badcaae, not measured; b_in_place: squares of 96 to "
    "1152 on one thread of a Zen 4 (2026-11-27): 2 to 3 % faster up to 640, slower from 1024",
)  # fmt: skip

# 16 registers: 12 hold the sums; what is not named here is as for AVX-512, and changes with it
_AVX = _AVX512._replace(
    mr=(6, 5, 4, 3, 2, 1), unroll=4, b_in_place=0, conv_rest=(4, 2, 1), conv_few=(3, 2, 1), conv_weight=(4, 1),
    conv_outer=((8, 4, 2, 1), (6, 4, 2, 1)),
    chosen="mr: every height to 6, f186575 (2026-11-25), `python -m bench table --area matmul`, gain not "
    "kept; conv_rest: 4 and not 5, as 8 rows are two tiles of 4, ca04ad6 (2026-11-25); unroll: a5fde10, not "
    "measured; b_in_place: copies won a third on a Zen 3, f186575; the rest as for AVX-512",
)  # fmt: skip

MICRO_KERNELS: dict[tuple[int, str], MicroKernel] = {
    (bits, dtype): _AVX512 if bits == 512 else _AVX for bits in (512, 256, 128) for dtype in dtypes.FLOATS
}  # fmt: skip


def micro_kernel(dtype: object) -> MicroKernel:
    """The row of ``dtype`` (its name, or numba's type) for the target's register width; of complex numbers
    that of their parts, whose tiles have half the rows: each takes two rows of sums.

    Raises:
        DTypeError: there is none.
    """
    name = dtypes.name_of(dtype)
    found = MICRO_KERNELS.get((simd_bits(), name))
    if found is not None:
        return found
    if name not in dtypes.COMPLEX:
        raise dtypes.DTypeError(name, "micro-kernel")
    row = micro_kernel(dtypes.part_of(name))
    mr = tuple(dict.fromkeys(max(1, rows // 2) for rows in row.mr))
    return row._replace(mr=mr, mr_min=row.mr_min // 2, gemv_nr=row.gemv_nr // 2)


class Sharing:
    """How a family's work is shared out to tasks. Where a family has ``columns``, they are whole vectors
    of every register width.

    Attributes:
        grain: work of a task at least, in elements unless it is said; less in all: no threads.
        tasks: at most; 0 for any number.
        chosen: how.
    """

    grain: int = 0
    tasks: int = 0
    chosen: str = ""


class Attention(Sharing):
    """The passes of attention."""

    units = 16  # of work wanted in a backward pass
    grain = 1 << 14  # elements that a task adds up over the groups
    serial = 1 << 20  # multiply-adds below which a second thread costs more than it gives
    queries = 96  # of a block, at most: whole panels of each register width
    keys = 112  # of a block: whole tiles of MR rows
    capacity = 1 << 14  # elements of a block of queries with their features
    features = 512  # of a query or value, at most: a block of queries is a panel at least
    chosen = (
        "queries, keys, capacity: blocks and scores in the L2 cache, ea5c4f0 (2026-11-25); "
        "units, grain: 4d7e51f (2026-11-25); not measured against others"
    )


class BatchNorm(Sharing):
    """Norms of channels."""

    grain = 1 << 13
    columns = 64  # channels that a column task takes together
    chosen = "189c837 (2026-11-23), not measured against others"


class Clip:
    """Norms of gradients."""

    block = 4096  # elements added up in the gradients' precision, in 4 vectors of partial sums
    chosen = "189c837 (2026-11-23), not measured against others"


class Conv(Sharing):
    """Convolution over a padded input, and what its gradients share with it."""

    serial = 1 << 19  # multiply-adds below which a second thread costs more than it gives
    pack_serial = 1 << 15  # weights, likewise
    rows = 64  # output channels done together: their sums stay in the L1 cache
    kc = 40  # products summed in registers at most: keeps rounding errors small
    padded_bytes = 3 << 17  # of a padded input: it stays in the L2 cache
    least_rows = 4  # pixel rows of a block, which pads its halo too
    least_outputs = 8  # output channels of a block, likewise
    uneven = 1.15  # how much longer than their share tasks may take rather than pad an input twice
    work = 1 << 21  # multiply-adds worth splitting
    copy_cost = 3  # vector operations that copying a vector costs
    chosen = (
        "rows, work: 42472de (2026-11-23); copy_cost: 986748b; uneven: b2000e8 (2026-11-25); "
        "not measured against others"
    )


class ConvBatchInnermost(Sharing):
    """Convolution of small images, the batch in the lanes."""

    grain = 1 << 14
    padded_bytes = 1 << 20  # the most that a padded input may take
    transpose_cost = 2  # vector operations that transposing an element costs, each way
    block = 16  # columns read together: each cache line is read once
    chosen = "a8d9146 (2026-11-23), not measured against others"


class ConvWeight(Sharing):
    """The gradient of a convolution's weights, pixels in the lanes."""

    tasks = 16  # wanted
    pixel_block_bytes = (
        3072  # of a channel in a block of pixels: 8 channels of y stay in the L1 cache
    )
    x_bytes = 1 << 18  # of x in a padded input: a part of the L2 cache
    part_elements = 1 << 22  # of all sums of all parts
    few_columns = 32  # up to which y is not copied
    alias = 1024  # bytes: rows a multiple of this apart compete for few cache sets
    chosen = "42472de (2026-11-23), few_columns 189c837; not measured against others"


class ConvOuter(Sharing):
    """The same with output channels in the lanes."""

    tasks = ConvWeight.tasks
    pixel_block_bytes = 1 << 14  # of a panel of y in a block of pixels: half of the L1 cache
    x_bytes = 1 << 18  # of x in a padded input: a part of the L2 cache
    kc = 64  # products summed in registers at most: keeps rounding errors small
    part_elements = 1 << 20  # of all sums of all parts
    chosen = (
        "bc93778 (2026-11-25): twice as fast as pixels in the lanes for every dense row; its "
        "numbers not measured against others"
    )


class Create(Sharing):
    """Ranges and triangles."""

    grain = 1 << 14
    tasks = 64
    chosen = "42472de (2026-11-23), not measured against others"


class CrossEntropy(Sharing):
    """Losses of samples."""

    grain = 1 << 13
    tasks = 64
    short = 32  # logits of a row that is taken together with others
    group = 64  # such rows: whole vectors
    chosen = "short, group: bb33878 (2026-11-25); not measured against others"


class Ctc(Sharing):
    """Connectionist temporal classification."""

    serial = 1 << 15  # numbers up to which a second thread costs more than it gives
    chosen = "an estimate of 4f02305 (2026-11-28), not measured against others"


class Distance(Sharing):
    """Distances of all rows to all rows."""

    grain = 1 << 15
    rows = 4  # of a tile that is held in registers, written out
    chunk = 64  # rows of y whose slopes are held before they are summed, where rows are short
    chosen = "estimates of 4f02305 (2026-11-28), not measured against others"


class Elementwise(Sharing):
    """Formulas."""

    serial = 1 << 15  # elements up to which a second thread costs more than it gives
    serial_long = 1 << 12  # the same of a long formula
    few = 8  # tasks, enough to share out evenly, of up to ``middle`` elements
    tasks = 64  # of more
    middle = 1 << 20
    long = 64  # steps of a long formula: one that has a polynomial in it
    interleave = 4  # vectors of a long formula that are computed at a time
    unit = 64  # elements: tasks, and loops of such vectors, are whole multiples of it
    chosen = (
        "interleave: 072d9a2 (2026-11-25), ns per element, one thread, float32: sigmoid 0.74 to "
        "0.55, exp 0.52 to 0.46, log 1.00 to 0.76, gelu 1.55 to 0.95; the rest not measured "
        "against others"
    )


class Fourier(Sharing):
    """Discrete Fourier transforms."""

    grain = 1 << 15  # elements of working memory
    tasks = 16  # each has working memory of its own
    split = 128  # length from which a single transform is cut into rows and columns
    whole = 1024  # length up to which transforms that fill the lanes are not
    fill = 0.5  # of the lanes, that is
    most_rows = 1 << 13
    near = 256  # length whose working memory is in the L1 cache
    between = 1 << 19  # bytes between two passes: half of the L2 cache
    chosen = "estimates of 520a012 (2026-11-27), not measured against others"


class Gemm(Sharing):
    """Matrix products; what depends on the register width is in :data:`MICRO_KERNELS`."""

    grain = 1 << 19  # multiply-adds
    tasks = 16  # enough to share out evenly
    large_grain = 1 << 26  # multiply-adds of a task where there are more
    serial = 1 << 20  # multiply-adds below which a second thread costs more than it gives
    col_major_b_rows = (
        32  # rows of x up to which the micro-kernel transposes a column-major y itself
    )
    pack_b_rows = 48  # rows of x from which panels of y are packed
    prepack_rows = 256  # rows of x from which all of y is packed first
    prepack_bytes = 1 << 20  # and bytes of y: it has left the L2 cache
    pack_pad = 16  # elements between packed rows of x, against conflicts in the cache
    # what an element costs, in multiply-adds: packed, or read where it is
    pack_a_cost = 6
    pack_col_major_b_cost = 5
    pack_row_major_b_cost = 2
    read_cost = 0.5
    chosen = (
        "packing: f186575 (2026-11-25), 512^3 on one thread 59 to 82 GFLOP/s, x transposed "
        "0.64x to 0.95x of MKL; costs: b2000e8 (2026-11-25); its numbers not measured against "
        "others"
    )


class Index(Sharing):
    """Gather and scatter."""

    grain = 1 << 14
    tasks = 64
    scattered = 1 << 12  # the grain where every element has an index of its own
    piece = 256  # indices that are checked at a time
    short_rows = (
        4,
        8,
        16,
    )  # elements of rows that get a loop of fixed length: overheads count there
    chosen = (
        "scattered: c880792, piece: 39a80d9 (2026-11-25), short_rows: 4a97345; not measured "
        "against others"
    )


class ArgReduce(Sharing):
    """Positions of extremes."""

    grain = 1 << 15
    columns = 128  # adjacent outputs of a unit, which sees all their rows
    chosen = (
        "columns: 54d8707 (2026-11-25), four times as fast by a vectorised minimum; not "
        "measured against other numbers"
    )


class Movement(Sharing):
    """Copies."""

    grain = 1 << 17  # bytes
    tasks = 64
    together = 4  # bands of tiles
    joined = 8  # operands that one kernel joins at most
    chosen = "together: fa65376, joined: c8c654b (2026-11-25); not measured against others"


class Norm(Sharing):
    """Norms of rows."""

    grain = 1 << 13
    tasks = 64
    chunk = 64  # rows whose weight gradients one task adds up
    together = 16  # rows that are taken step by step together: their latencies overlap
    held = 1 << 12  # elements of such rows at most: they stay in the L1 cache
    chosen = "together, held: 722da43 (2026-11-25); not measured against others"


class Optim(Sharing):
    """Optimizer steps."""

    grain = 1 << 14
    tasks = 64
    multiple = 16  # tasks begin at multiples of this many elements: vectors stay whole
    chosen = "189c837 (2026-11-23), not measured against others"


class Pool(Sharing):
    """Windows."""

    grain = 1 << 15  # elements of input and output
    chosen = "42472de (2026-11-23), not measured against others"


class Random(Sharing):
    """Random numbers."""

    grain = 1 << 11  # blocks of Philox
    variates = 1 << 9  # elements that rejection draws
    tasks = 64
    long = 512  # steps of a draw that computes more than Philox does before it
    chosen = "986748b, not measured against others; long: normal draws 0.45, uniform ones 1.03 on a Xeon, f99e91a"


class Reduce(Sharing):
    """Sums and their like."""

    grain = 1 << 15
    tasks = 128
    block = 4096  # pieces of a long row are multiples of this
    row_block = 32  # pieces of many rows are multiples of so many
    few_units = 16  # fewer rows or blocks of columns are cut into pieces
    pieces = 32  # wanted then
    columns = 1024  # totals a column task keeps
    fewest_columns = 64  # the same of several accumulators, at least
    flush = 64  # rows combined in the input's precision
    spread = 64  # accumulators beside each other that a row's elements go to, of any combination
    short = 16  # elements of a row that are better gathered with those of other rows
    short_columns = 64  # adjacent short rows from which that pays
    narrow = 8  # fewer adjacent outputs than this are not worth a column task
    chosen = (
        "columns, flush: 189c837 (2026-11-23), a column task's totals in the L1 cache; short: "
        "20648a7; not measured against others"
    )


class Scan(Sharing):
    """Running sums and their like."""

    grain = 1 << 12
    tasks = 64
    interleave = 4  # rows that are walked together: their latencies overlap
    columns = 256  # running totals a column task keeps
    chosen = "interleave: 0385fe3 (2026-11-25); not measured against others"


class Resample(Sharing):
    """Resampling of planes, and samples at given places."""

    grain = 1 << 13
    points = 128  # that are located at a time: their places and weights stay in the L1 cache
    chosen = "estimates of 8d45da2 (2026-11-27), not measured against others"


class Linalg(Sharing):
    """Factorisations of matrices, and solves with them."""

    grain = 1 << 14
    tasks = 64
    leaf = 64  # rows of a triangle that one task keeps in memory of its own
    columns = 32  # right-hand sides that a task keeps beside it
    panel = 32  # columns of a panel of LU and QR
    swapped = 512  # columns whose rows one task exchanges
    small = 8  # rows of matrices of which each lane of a register takes one
    jacobi = 32  # rows up to which eigenvalues and singular values are found by rotations
    sweeps = 30  # of rotations at most: they converge quadratically, in ten for hundreds of rows
    chosen = "estimates of 6b6ec28 (2026-11-27), not measured against others"


class Recurrent(Sharing):
    """Recurrent cells."""

    grain = 1 << 13  # elements of a weight from which threads pack it
    rows = 8  # members of a task at least
    few = 6  # members up to which panels are wider
    packs = 4  # steps times tiles of members from which the weight is packed
    chosen = (
        "few, rows: sums that hide the latency of a multiply-add, 216d4a4 (2026-11-27), not measured against "
        "others"
    )


class Softmax(Sharing):
    """Softmax and its like."""

    grain = 1 << 12
    tasks = 64
    columns = 128  # lines that a column task takes together
    together = 4  # vectors of lines whose maxima, or sums, are in registers at a time
    flush = 32  # rows that it sums in the input's precision
    chosen = (
        "together: 92bb418 (2026-11-27), softmax of dim 0, 1024x512, 239 to 181 us; of 2, 4 and 8 the "
        "fastest at 256 and 512 bits; columns, flush: 7d6d19b (2026-11-25), a column task's lines in "
        "the L1 cache; not measured against others"
    )


class Sort(Sharing):
    """Sorting rows."""

    grain = 1 << 12
    tasks = 16  # each has scratch memory of its own
    radix_from = 12  # elements in a row per byte of the key from which radix beats merge sort
    run = 8  # elements sorted by insertion before merging
    chosen = "42472de (2026-11-23), not measured against others"


class Tiles(Sharing):
    """Elementwise ops and copies with transposed operands."""

    grain = 1 << 15
    tasks = 64
    rows = 64  # of a tile: some cache lines of the operand
    columns = 64  # and some vectors of the output
    least = 8  # rows and columns of an output that is worth tiles
    chosen = "0cb5c26 (2026-11-25), not measured against others"


class User(Sharing):
    """Kernels around bodies that users write."""

    grain = 1 << 14  # elements that a piece reads and writes
    tasks = 64
    chosen = "c621170 (2026-11-27), as indexing; not measured against others"


class Topk:
    """Selection within rows; the rest as sorting."""

    block = 32  # elements whose best is found first, without a branch
    few = 16  # elements to keep up to which one pass is best
    many = 128  # and for long rows
    part = 64  # of a row, one part in so many at most
    chosen = "block: 54d8707 (2026-11-25); few, many: 9ee7c26; not measured against others"
