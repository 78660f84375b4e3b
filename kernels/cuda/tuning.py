"""The numbers of CUDA kernels that were chosen, not derived, with how each was chosen.

A table has rows by (architecture, dtype). A row holds from its architecture on, until there is one of a later
architecture; what a table lacks is refused. Kernels that move elements without a look at them have :data:`ANY` for
a dtype. Launchers look rows up, and what is compiled into a kernel is part of its variant.

The numbers of :data:`ORDER` decide the order of sums that is the same on every GPU, so all architectures have the
same ones. No number was measured against another on hardware, but where a row says so.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from tilegrad.kernels import dtypes
from tilegrad.kernels.cuda.device.shapes import AttentionTile, Bounds, Tile
from tilegrad.kernels.cuda.run import driver

Arch = tuple[int, int]  # compute capability: (9, 0) for sm_90
Found = TypeVar("Found")
Table = dict[tuple[Arch, str], Found]

FIRST: Arch = (7, 5)  # the oldest architecture that kernels are compiled for
ANY = "any"  # for kernels of every dtype
_ESTIMATE = "estimate, not measured on hardware"


def _for(row: Found, *names: str) -> Table[Found]:
    """The row for these dtypes, on all architectures."""
    return {(FIRST, name): row for name in names}


_ALL = tuple(dtypes.TABLE)
_STORED = (*_ALL, "uint16", "uint32", "uint64")  # where the width is all that matters
_INTEGERS = tuple(name for name in _ALL if not dtypes.is_float(name))

# ------------------------------------------------------------------------------ products, convolution


LARGE = Tile(128, 128, 8, 8, 8, 4, 8, 2)
MEDIUM = Tile(64, 64, 8, 8, 8, 4, 8, 6)
SMALL = Tile(32, 32, 16, 4, 4, 4, 8, 8)
SKINNY = Tile(4, 128, 16, 4, 4, 1, 32, 8)
DOUBLE = Tile(64, 64, 8, 4, 4, 4, 8, 2)


class Products(NamedTuple):
    """Matrix products, and convolutions as such (implicit GEMM).

    Attributes:
        large: tiles, largest first, with the rows of a convolution from which a tile is not mostly
            beyond the matrix; the first of which there are enough is taken.
        rest: where there are not.
        skinny: for products of few rows, if any.
        chunk: steps of k summed in registers before the sum goes to memory.
        full: tiles that keep a GPU busy: with fewer, smaller tiles are used.
        split: tiles below which chunks of k become blocks of their own.
        part, parts: steps of k in a part of a convolution weight's gradient, at least; blocks that it is
            cut into, at most.
        threads: of a block that adds chunks up.
        gemv: (K, threads of a row beyond it) of a matrix times a vector, longest first.
        gemv_threads: of a block there, at least.
        gemv_tall: rows from which on neighbouring threads take rows of a column-major matrix.
        chosen: how.
    """

    large: tuple[tuple[Tile, int], ...]
    rest: Tile
    skinny: Tile | None
    chunk: int
    full: int
    split: int
    part: int
    parts: int
    threads: int
    gemv: tuple[tuple[int, int], ...]
    gemv_threads: int
    gemv_tall: int
    chosen: str


_PRODUCTS = Products(
    large=((LARGE, 96), (MEDIUM, 32)), rest=SMALL, skinny=SKINNY, chunk=2048, full=96, split=64, part=256,
    parts=512, threads=256, gemv=((4096, 256), (32, 32), (0, 8)), gemv_threads=128, gemv_tall=8,
    chosen="tiles: as large as the registers of a thread allow, per_sm: as many blocks; chunk: accuracy; "
    f"the rest: {_ESTIMATE}",
)  # fmt: skip
PRODUCTS: Table[Products] = {
    **_for(_PRODUCTS, "float32"),
    # 64 sums of float64 would take two registers each
    **_for(_PRODUCTS._replace(large=((DOUBLE, 33),), skinny=None), "float64"),
    **_for(_PRODUCTS._replace(large=(), skinny=None), *_INTEGERS),
}


class Depthwise(NamedTuple):
    """Convolutions whose groups have one input channel.

    Attributes:
        threads: of a block.
        alone: pixels of a channel beyond which a block sums a weight's gradient, else a warp.
        pixels, parts: pixels that a block sums before the channel is cut; parts of a channel, at most.
        chosen: how.
    """

    threads: int
    alone: int
    pixels: int
    parts: int
    chosen: str


DEPTHWISE = _for(Depthwise(256, 2048, 4096, 64, _ESTIMATE), *dtypes.FLOATS)

# ---------------------------------------------------------------------------------------- attention


class Attention(NamedTuple):
    """Tiles by the features that they have room for, least first."""

    forward: tuple[AttentionTile, ...]
    backward: tuple[AttentionTile, ...]
    chosen: str


_SHARED = f"what 48 KB of shared memory hold; {_ESTIMATE}"


def _tiles(*rows: tuple[int, int, int, int, int, int]) -> tuple[AttentionTile, ...]:
    return tuple(AttentionTile(*row) for row in rows)


ATTENTION: Table[Attention] = {
    (FIRST, "float32"): Attention(
        _tiles((64, 32, 4, 4, 4, 32), (64, 32, 4, 4, 4, 64), (32, 32, 2, 4, 4, 128)),
        _tiles((64, 32, 4, 4, 3, 32), (32, 32, 4, 4, 4, 64), (16, 16, 2, 2, 4, 128)),
        _SHARED,
    ),
    (FIRST, "float64"): Attention(
        _tiles((32, 32, 2, 4, 3, 32), (32, 16, 2, 2, 3, 64), (16, 16, 1, 2, 3, 128)),
        _tiles((32, 16, 2, 2, 3, 32), (16, 16, 2, 2, 4, 64), (8, 8, 1, 1, 4, 128)),
        _SHARED,
    ),
}

# ---------------------------------------------------------------------------------------------- rows


class Rows(NamedTuple):
    """Rows that threads keep in registers: softmax, cross-entropy, norms.

    Attributes:
        threads: of a block, and of a row where a warp cannot keep it.
        least: elements of a thread before a row gets more threads.
        resident: threads that must fit on a multiprocessor, registers permitting; the most of a row.
        softmax, norm, two, moments: elements that a thread keeps: of a softmax's row; of a norm's; of each
            of two arrays; of a long row's tile.
        blocks: that share the samples of a loss, at most.
        chunk, chunks: rows that a block adds up at least for a weight's gradient; parts at most.
        chosen: how.
    """

    threads: int
    least: int
    resident: int
    softmax: int
    norm: int
    two: int
    moments: int
    blocks: int
    chunk: int
    chunks: int
    chosen: str


_ROWS = Rows(
    256, 4, 1024, softmax=32, norm=16, two=16, moments=16, blocks=1024, chunk=64, chunks=256,
    chosen=f"what a thread keeps: as 65536 registers for 1024 threads allow; the rest: {_ESTIMATE}",
)  # fmt: skip
ROWS: Table[Rows] = {
    (FIRST, "float32"): _ROWS,
    (FIRST, "float64"): _ROWS._replace(softmax=8, norm=8, two=4, moments=8),
}

# ------------------------------------------------------------------------- reductions, scans, searches


class Reduction(NamedTuple):
    """Reductions, and the search for where an extreme is.

    Attributes:
        bounds: of a block.
        units: groups of threads that should be at work at least, where sizes allow.
        items: elements a thread should have before an output is cut.
        alone, few: elements of an output beyond which a block takes it; the same where there are fewer
            outputs than units.
        narrow: fewer adjacent outputs than this are not worth the kernel for columns.
        search: elements a block searches at least, before a row is cut.
        chosen: how.
    """

    bounds: Bounds
    units: int
    items: int
    alone: int
    few: int
    narrow: int
    search: int
    chosen: str


REDUCTION = _for(Reduction(Bounds(256, 4), 1024, 16, 2048, 512, 8, 1 << 12, _ESTIMATE), *_ALL)


class Scan(NamedTuple):
    """Scans.

    Attributes:
        threads, columns: of a block for rows; for columns.
        per_sm: blocks for rows that must fit on a multiprocessor, by what a state takes in registers: of a
            number, an extreme, a logcumsumexp.
        units: blocks that should be at work, where sizes allow.
        least, deep: elements of a chunk of a row; of a column.
        worth: chunks from which on reading twice pays.
        narrow: fewer adjacent rows than this are not worth the kernel for columns.
        chosen: how.
    """

    threads: int
    columns: int
    per_sm: tuple[int, int, int]
    units: int
    least: int
    deep: int
    worth: int
    narrow: int
    chosen: str


_SCAN = Scan(
    256, 128, (4, 2, 4), 512, 1 << 12, 1 << 7, 4, 8,
    chosen=f"per_sm: without spills; for extremes of 4 bytes not 3: nvJitLink 13.0 spilled on sm_100; the "
    f"rest: {_ESTIMATE}",
)  # fmt: skip
SCAN: Table[Scan] = {
    **_for(_SCAN, *_ALL),
    **_for(_SCAN._replace(per_sm=(3, 3, 2)), *(n for n in _ALL if dtypes.row(n).nbytes == 8)),
}


class Sort(NamedTuple):
    """Sorting, and selecting without sorting.

    Attributes:
        short: elements of a row that is sorted in shared memory.
        threads: of a block there, at least; ``most`` of a row.
        resident: threads that must fit on a multiprocessor there.
        tile: bytes of the keys of a tile of the radix sort.
        counting, moving: blocks that must fit on a multiprocessor when digits are counted, when
            entries are moved.
        bits: of a digit in the search for a rank.
        entries: that a block can sort in shared memory; it keeps half as many of a row at most.
        gathered: entries that are few enough to be sorted, though fewer may be wanted.
        chunk: elements of a row's chunk, of which a block keeps the best.
        units: blocks that should be at work, where sizes allow.
        single: elements from which on a block is slow to pick one.
        run, runs: elements a block searches at least for the longest run of equal ones, before a row is
            cut; blocks that should be at work there.
        chosen: how.
    """

    short: int
    threads: int
    most: int
    resident: int
    tile: int
    counting: int
    moving: int
    bits: int
    entries: int
    gathered: int
    chunk: int
    units: int
    single: int
    run: int
    runs: int
    chosen: str


SORT = _for(
    Sort(
        1 << 11, 128, 512, 1024, 1 << 14, 6, 4, 11, 1 << 11, 256, 1 << 13, 256, 1 << 16, 1 << 13, 512,
        chosen=f"short, tile, entries: what 48 KB of shared memory hold; the rest: {_ESTIMATE}",
    ),
    *_ALL,
)  # fmt: skip


class Prefix(NamedTuple):
    """Sums before each chunk of an array, where results are packed.

    Attributes:
        threads: of a block.
        chunk, tasks: elements a block handles at least; chunks at most.
        items: neighbours that a thread takes where the sums of chunks are added up.
        chosen: how.
    """

    threads: int
    chunk: int
    tasks: int
    items: int
    chosen: str


PREFIX = _for(Prefix(256, 1 << 11, 1 << 10, 4, _ESTIMATE), ANY)


class Fourier(NamedTuple):
    """Discrete Fourier transforms.

    Attributes:
        capacity: complex numbers of a block, twice in shared memory; a power of 2.
        threads: of a block.
        chosen: how.
    """

    capacity: int
    threads: int
    chosen: str


FOURIER = {
    **_for(Fourier(1 << 11, 256, f"what 32 KB of shared memory hold; {_ESTIMATE}"), "float32"),
    **_for(Fourier(1 << 10, 256, f"what 32 KB of shared memory hold; {_ESTIMATE}"), "float64"),
}


BETWEEN = 1 << 28  # bytes of scratch between passes, where a batch may go in parts; an estimate
SWEEPS = 30  # of Jacobi's rotations, at most: convergence is quadratic


class Scatter(NamedTuple):
    """Writing through an index.

    Attributes:
        short: indices one after the other that are not worth grouping.
        many: positions that keep a GPU busy.
        slab: indices grouped at a time.
        piece_bits: 2^piece_bits sources of a place, at least, are combined one after the other.
        chosen: how.
    """

    short: int
    many: int
    slab: int
    piece_bits: int
    chosen: str


SCATTER = _for(Scatter(32, 1 << 14, 1 << 20, 8, f"slab: memory; the rest: {_ESTIMATE}"), *_STORED)

# ------------------------------------------------------------- elements that threads take in strides


class Grid(NamedTuple):
    """A loop in strides of the grid, or an element for each thread.

    Attributes:
        bounds: of a block.
        blocks: that a multiprocessor gets before threads take further elements in strides.
        deep: blocks that must fit where indices have four dimensions or more, which takes registers.
        chosen: how.
    """

    bounds: Bounds
    blocks: int
    deep: int
    chosen: str

    def of(self, dims: int) -> Bounds:
        """The bounds where indices have so many dimensions."""
        return self.bounds if dims < 4 else self.bounds._replace(per_sm=self.deep)


_GRID = Grid(Bounds(256), 16, 1, _ESTIMATE)
_WORDS = Grid(Bounds(256, 4), 16, 3, f"bounds: four words in flight; {_ESTIMATE}")
GRIDS: dict[str, Table[Grid]] = {
    "elementwise": _for(_GRID, *_ALL),
    "create": _for(_GRID, *_ALL),
    "random": _for(_GRID._replace(blocks=8), *_ALL),
    "index": _for(_GRID._replace(blocks=8), ANY),
    "gather": _for(_WORDS._replace(blocks=8), ANY),
    "put": _for(_GRID, *_STORED),
    "movement": _for(_WORDS, ANY),
    "masked": _for(_GRID, ANY),
    "triangle": _for(_GRID._replace(bounds=Bounds(256, 4)), ANY),
    "repeat": _for(_GRID, ANY),
    "fill": _for(_GRID._replace(blocks=8), ANY),
    "search": _for(_GRID._replace(bounds=Bounds(256, 4), blocks=8), *_ALL),
    "rank": _for(_GRID, *_ALL),
    "pool": _for(_GRID, *_ALL),
    "resample": _for(_GRID, ANY),
    "sample": _for(_GRID, ANY),
    "linalg": _for(_GRID, *dtypes.FLOATS, *dtypes.COMPLEX),
    **dict.fromkeys(("batch_norm", "ctc", "distance", "recurrent"), _for(_GRID, *dtypes.FLOATS)),
}
GROUPS_AHEAD = 2  # of an elementwise kernel: loads issued before the first is computed; an estimate
LONG = 16  # elements both dimensions of a copy that is transposed by tiles must have; an estimate


class Chunks(NamedTuple):
    """Many arrays in one launch: optimizers, clipping.

    Attributes:
        chunk, blocks: elements that a block takes at least; about as many blocks at most.
        bounds: of a block of an optimizer's step; of what takes sums or scales, ``clip``.
        scalars: parameters whose scalars a block moves on.
        chosen: how.
    """

    chunk: int
    blocks: int
    bounds: Bounds
    clip: Bounds
    scalars: int
    chosen: str


_CHUNKS = Chunks(
    2048, 1 << 14, Bounds(256, 4), Bounds(256, 4), 32,
    chosen=f"bounds: quotients of float64 take twice the registers; the rest: {_ESTIMATE}",
)  # fmt: skip
CHUNKS: Table[Chunks] = {
    (FIRST, "float32"): _CHUNKS,
    (FIRST, "float64"): _CHUNKS._replace(bounds=Bounds(256, 2)),
}
TABLES_KEPT = 4  # pointer tables of a stream whose copies stay on the device; an estimate

# ---------------------------------------------------------------------------------------- looking up

TABLES: dict[str, Table[Any]] = {
    "products": PRODUCTS, "depthwise": DEPTHWISE, "attention": ATTENTION, "rows": ROWS,
    "reduction": REDUCTION, "scan": SCAN, "sort": SORT, "prefix": PREFIX, "scatter": SCATTER,
    "chunks": CHUNKS, **GRIDS,
}  # fmt: skip

# the numbers that decide the order of sums; tiles do so in attention and in a convolution weight's gradient,
# whose last bits may differ between architectures
ORDER = {
    "products": ("chunk", "part", "parts", "gemv", "gemv_threads", "gemv_tall"),
    "depthwise": ("threads", "alone", "pixels", "parts"),
    "rows": Rows._fields[:-1],
    "reduction": ("bounds", "units", "items", "alone", "few", "narrow"),
    "scan": ("threads", "columns", "units", "least", "deep", "worth", "narrow"),
    "scatter": ("short", "many", "slab", "piece_bits"),
    "chunks": ("chunk", "blocks", "clip"),
}

_known: tuple[driver.Driver, int, Arch] | None = None


def architecture() -> Arch:
    """Of the current device."""
    global _known
    here = driver.get()
    if _known is None or _known[0] is not here or _known[1] != here.device:
        properties = here.properties(here.device)
        _known = here, here.device, (properties.major, properties.minor)
    return _known[2]


def find(table: Table[Found], dtype: str) -> Found | None:
    """The row for a dtype on the current device, if there is one."""
    arch = architecture()
    known = [key for key in table if key[1] == dtype and key[0] <= arch]
    return table[max(known)] if known else None


def row(table: Table[Found], dtype: str, what: str) -> Found:
    """The row for a dtype on the current device.

    Raises:
        DTypeError: ``what`` (for the message) has none.
    """
    found = find(table, dtype)
    if found is None:
        raise dtypes.DTypeError(dtype, what)
    return found


def grid(family: str, dtype: str = ANY) -> Grid:
    """The row of :data:`GRIDS` for a family."""
    return row(GRIDS[family], dtype, family)


def products(dtype: str) -> Products:
    """The row of products for a dtype."""
    return row(PRODUCTS, dtype, "matmul")
