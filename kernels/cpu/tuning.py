"""The numbers of CPU kernels that were chosen, not derived, with how each was chosen.

:data:`MICRO_KERNELS` has a row per register width and dtype: the register tiles of matrix products,
convolutions and attention, and the blocks around them. Whoever changes a row changes all three.
"""

from __future__ import annotations

from typing import NamedTuple

from tilegrad.kernels import dtypes
from tilegrad.kernels.cpu.run.native import simd_bits

NR_VECTORS = (
    2  # NR in vectors; the loops around a micro-kernel take the rest of a panel by one vector
)


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
    kc=256, mc_bytes=192 << 10, mc=256,
    conv_rest=(8, 4, 2, 1), conv_few=(6, 3, 2, 1), conv_one=8, conv_weight=(8, 4, 1),
    conv_weight_columns=3, conv_weight_outputs=8, conv_outer=((8, 4, 2, 1), (8, 4, 2, 1)),
    chosen="mr, kc, conv_rest: from the register file, a5fde10 (2026-11-23), not measured against others; "
    "unroll: `python -m bench against --area matmul`, b033904 (2026-11-27): unrolled by 4, sums of "
    "a tile went through memory; mc, mc_bytes: f186575 and badcaae, not measured",
)  # fmt: skip

# 16 registers: 12 hold the sums
_AVX = _AVX512._replace(
    mr=(6, 5, 4, 3, 2, 1), unroll=4, conv_rest=(4, 2, 1), conv_few=(3, 2, 1), conv_weight=(4, 1),
    conv_outer=((8, 4, 2, 1), (6, 4, 2, 1)),
    chosen="mr: every height to 6, f186575 (2026-11-25), `python -m bench --area matmul`, gain not "
    "kept; conv_rest: 4 and not 5, as 8 rows are two tiles of 4, ca04ad6 (2026-11-25); unroll: a5fde10, not "
    "measured; the rest as for AVX-512",
)  # fmt: skip

MICRO_KERNELS: dict[tuple[int, str], MicroKernel] = {
    (512, "float32"): _AVX512,
    (512, "float64"): _AVX512,
    (256, "float32"): _AVX,
    (256, "float64"): _AVX,
    (128, "float32"): _AVX,
    (128, "float64"): _AVX,
}


def micro_kernel(dtype: object) -> MicroKernel:
    """The row of ``dtype`` (its name, or numba's type) for the target's register width.

    Raises:
        DTypeError: there is none.
    """
    found = MICRO_KERNELS.get((simd_bits(), dtypes.name_of(dtype)))
    if found is None:
        raise dtypes.DTypeError(dtypes.name_of(dtype), "micro-kernel")
    return found
