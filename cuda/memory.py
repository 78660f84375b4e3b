"""The memory of the GPU, in bytes: what tensors hold, and what their allocator took for them."""

from __future__ import annotations

from typing import Any

from tilegrad.cuda.device import own
from tilegrad.engine import cuda
from tilegrad.engine.device import device as as_device
from tilegrad.engine.memory import Counts, reset_peaks


def _counts(device: Any) -> Counts:
    index = own(device)
    counts: Counts = as_device(f"cuda:{index}").allocator.counts
    return counts


def memory_allocated(device: Any = None) -> int:
    """Bytes in live tensors."""
    return _counts(device).allocated


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that live tensors held at once."""
    return _counts(device).peak


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the driver, for live tensors and for later ones."""
    return _counts(device).reserved


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes that were taken from the driver at once."""
    return _counts(device).reserved_peak


def reset_peak_memory_stats(device: Any = None) -> None:
    """Start measuring the two peaks anew."""
    reset_peaks(_counts(device))


def memory_stats(device: Any = None) -> dict[str, int]:
    """What the allocator counts, by PyTorch's names."""
    counts = _counts(device)
    return {
        "allocated_bytes.all.current": counts.allocated,
        "allocated_bytes.all.peak": counts.peak,
        "reserved_bytes.all.current": counts.reserved,
        "reserved_bytes.all.peak": counts.reserved_peak,
        "segment.all.current": counts.segments,
        "num_alloc_retries": counts.retries,
    }


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, all) bytes of the GPU, as its driver sees them."""
    return cuda.driver().memory_info(own(device))


def empty_cache() -> None:
    """Give memory that no tensor holds back to the driver."""
    as_device("cuda").allocator.empty_cache()


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """A table of the allocator's counts; ``abbreviated`` is PyTorch's and changes nothing."""
    counts, (free, total) = _counts(device), mem_get_info(device)
    name = cuda.get_device_properties(own(device)).name
    rows = [
        ("", "now", "peak"),
        ("in live tensors", _size(counts.allocated), _size(counts.peak)),
        ("taken from the driver", _size(counts.reserved), _size(counts.reserved_peak)),
        ("of it unused", _size(counts.reserved - counts.allocated), ""),
        ("segments", str(counts.segments), ""),
        ("emptied for want of memory", str(counts.retries), ""),
        ("free on the GPU", _size(free), ""),
        ("memory of the GPU", _size(total), ""),
    ]
    lines = [f"{label:<28}{now:>12}{peak:>12}".rstrip() for label, now, peak in rows]
    return "\n".join([f"Memory of cuda:{own(device)}, {name}", *lines])


def _size(nbytes: int) -> str:
    amount, unit = float(nbytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(amount) < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{nbytes} B" if unit == "B" else f"{amount:.1f} {unit}"
