"""What the limits of an architecture make of a kernel's registers, shared memory and threads.

Source: CUDA C Programming Guide, Technical Specifications per Compute Capability; granularities as
in ``cuda_occupancy.h``, which comes with the toolkit.
"""

from __future__ import annotations

from dataclasses import dataclass

from tilegrad.kernels.cuda.run.backend import Arch

WARP = 32
REGISTERS = 65536  # of a multiprocessor, on every architecture here
UNIT = 256  # registers are given to warps in multiples of this
PARTS = 4  # of a multiprocessor; a warp's registers lie in one of them
STATIC = 48 << 10  # bytes of static shared memory that a block may have, on every architecture


@dataclass(frozen=True)
class Limits:
    """Of a multiprocessor. Sizes in bytes."""

    threads: int
    blocks: int
    shared: int  # of all its blocks
    shared_block: int  # of one block that has asked for more than 48 KB
    reserved: int  # of every block, for the system
    granule: int  # shared memory comes in multiples of this


LIMITS: dict[Arch, Limits] = {
    (7, 5): Limits(1024, 16, 64 << 10, 64 << 10, 0, 256),
    (8, 0): Limits(2048, 32, 164 << 10, 163 << 10, 1024, 128),
    (9, 0): Limits(2048, 32, 228 << 10, 227 << 10, 1024, 128),
    (10, 0): Limits(2048, 32, 228 << 10, 227 << 10, 1024, 128),
}


@dataclass(frozen=True)
class Chip:
    """A GPU on paper. ``bandwidth`` of its memory in bytes a second; ``rates``: floating operations
    a second by itemsize, fused multiply-adds counted as two, without tensor cores.
    """

    name: str
    arch: Arch
    processors: int
    memory: int
    bandwidth: float
    rates: dict[int, float]


# Source: the data sheets of T4, A100 SXM 80 GB and H200 SXM, and of HGX B200, an eighth of it
CHIPS: dict[Arch, Chip] = {
    chip.arch: chip
    for chip in (
        Chip("T4", (7, 5), 40, 16 << 30, 320e9, {4: 8.1e12, 8: 0.25e12}),
        Chip("A100 SXM 80 GB", (8, 0), 108, 80 << 30, 2039e9, {4: 19.5e12, 8: 9.7e12}),
        Chip("H200 SXM", (9, 0), 132, 141 << 30, 4800e9, {4: 66.9e12, 8: 33.5e12}),
        Chip("B200 SXM", (10, 0), 148, 180 << 30, 8000e9, {4: 75e12, 8: 37e12}),
    )
}


@dataclass(frozen=True)
class Occupancy:
    """Blocks of a kernel that fit on a multiprocessor, the threads they are, and what allows no
    more: ``registers``, ``shared memory``, ``threads`` or ``blocks``.
    """

    blocks: int
    threads: int
    share: float  # of the threads that a multiprocessor can hold
    limit: str


def occupancy(arch: Arch, registers: int, threads: int, shared: int = 0) -> Occupancy:
    """For ``registers`` of a thread, ``threads`` of a block, and its bytes of ``shared`` memory."""
    limits = LIMITS[arch]
    warps = -(-threads // WARP)
    a_warp = -(-max(registers, 1) * WARP // UNIT) * UNIT
    a_block = -(-(shared + limits.reserved) // limits.granule) * limits.granule
    fits = {
        "blocks": limits.blocks,
        "threads": limits.threads // (warps * WARP),
        "registers": REGISTERS // PARTS // a_warp * PARTS // warps,
        "shared memory": limits.shared // a_block if a_block else limits.blocks,
    }
    limit = min(fits, key=lambda name: fits[name])
    held = fits[limit] * warps * WARP
    return Occupancy(fits[limit], held, held / limits.threads, limit)
