"""Batches of sequences of different lengths: padded, or packed for recurrent layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tilegrad.autograd.rules.creation import arange, as_tensor, empty_like, from_numpy, full
from tilegrad.autograd.rules.index import index_copy, index_select
from tilegrad.autograd.rules.movement import cat
from tilegrad.autograd.rules.sort import sort
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine import dtype as dt

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence",
    "pad_packed_sequence", "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip


class PackedSequence_(NamedTuple):
    """The fields of :class:`PackedSequence`."""

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(PackedSequence_):
    """The steps of all sequences, one after the other, of each step the sequences that have it.

    Made by :func:`pack_padded_sequence` and :func:`pack_sequence`.

    Attributes:
        data: (rows, …). batch_sizes: how many sequences have each step (int64, on the CPU).
        sorted_indices: the order in which sequences were taken, None if as they came;
        unsorted_indices: its inverse.
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be "
                "created manually. They should be instantiated by functions like pack_sequence and "
                "pack_padded_sequences in nn.utils.rnn."
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The data moved or cast; indices follow them to their device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        first, second = (
            None if t is None else t.to(data.device)
            for t in (self.sorted_indices, self.unsorted_indices)
        )
        return type(self)(data, self.batch_sizes, first, second)

    def pin_memory(self) -> PackedSequence:
        """The data in pinned memory."""
        return type(self)(self.data.pin_memory(), *self[1:])

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On the GPU."""
        return self.to(*(args or ("cuda",)), **kwargs)

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On the CPU."""
        return self.to(*(args or ("cpu",)), **kwargs)

    def double(self) -> PackedSequence:
        """The data in float64."""
        return self.to(dtype=dt.float64)

    def float(self) -> PackedSequence:
        """The data in float32."""
        return self.to(dtype=dt.float32)

    def long(self) -> PackedSequence:
        """The data in int64."""
        return self.to(dtype=dt.int64)

    def int(self) -> PackedSequence:
        """The data in int32."""
        return self.to(dtype=dt.int32)

    def short(self) -> PackedSequence:
        """The data in int16."""
        return self.to(dtype=dt.int16)

    def char(self) -> PackedSequence:
        """The data in int8."""
        return self.to(dtype=dt.int8)

    def byte(self) -> PackedSequence:
        """The data in uint8."""
        return self.to(dtype=dt.uint8)

    @property
    def is_cuda(self) -> bool:
        """Whether the data are on a GPU."""
        return self.data.device.type == "cuda"

    def is_pinned(self) -> bool:
        """Whether the data are in pinned memory."""
        return bool(self.data.is_pinned())


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes ``permutation``."""
    if permutation is None:
        return None
    order = arange(permutation.numel(), device=permutation.device)
    return empty_like(permutation).scatter_(0, permutation, order)


def _places(lengths: Sequence[int], steps: int, batch_first: bool) -> tuple[list[int], np.ndarray]:
    """(sequences that have each step, the rows of a padded batch of ``steps`` in packed order)."""
    sizes = [sum(n > t for n in lengths) for t in range(max(lengths, default=0))]
    batch = len(lengths)
    rows = [
        b * steps + t if batch_first else t * batch + b
        for t, n in enumerate(sizes)
        for b in range(n)
    ]
    return sizes, np.array(rows, np.int64)


def pack_padded_sequence(
    input: Tensor,
    lengths: Tensor | list[int],
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """The first ``lengths[b]`` steps of every sequence b of a padded batch, packed.

    Args:
        input: (steps, batch, …), or with ``batch_first`` (batch, steps, …).
        enforce_sorted: lengths fall already; without, sequences are sorted by length.

    Raises:
        RuntimeError: lengths are not positive, do not fit the batch or are not sorted.
    """
    given = lengths if isinstance(lengths, Tensor) else as_tensor(lengths, device="cpu")
    counts = given.to(dtype=dt.int64)
    if counts.device.type != "cpu":
        raise RuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {counts.ndim}D "
            f"{counts.device} Long tensor"
        )
    order = None
    if not enforce_sorted:
        counts, order = sort(counts, descending=True)
        order = order.to(input.device)
        input = index_select(input, 0 if batch_first else 1, order)
    many = counts.tolist()
    batch, steps = (input.shape[:2]) if batch_first else (input.shape[1], input.shape[0])
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if len(many) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(many)} (batch_size={batch})"
        )
    if min(many) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that "
            "is <= 0"
        )
    if any(a < b for a, b in pairwise(many)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can "
            "pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this "
            "requirement if you do not need ONNX exportability."
        )
    if many[0] > steps:
        raise RuntimeError(f"Expected lengths of at most {steps} steps; got {many[0]}")
    sizes, rows = _places(many, steps, batch_first)
    flat = input.reshape(steps * batch, *input.shape[2:])
    data = index_select(flat, 0, from_numpy(rows).to(input.device))
    return PackedSequence(data, as_tensor(sizes, dtype=dt.int64), order, None)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(padded batch, lengths): what :func:`pack_padded_sequence` was given, in the order of then."""
    data, sizes = sequence.data, sequence.batch_sizes.tolist()
    steps = len(sizes)
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                f"Expected total_length to be at least the length of the longest sequence in input, "
                f"but got total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    batch = sizes[0]
    lengths = [sum(n > b for n in sizes) for b in range(batch)]
    _, rows = _places(lengths, steps, batch_first)
    rest = data.shape[1:]
    empty = full((steps * batch, *rest), padding_value, dtype=data.dtype, device=data.device)
    whole = index_copy(empty, 0, from_numpy(rows).to(data.device), data)
    out = whole.reshape(*((batch, steps) if batch_first else (steps, batch)), *rest)
    found = as_tensor(lengths, dtype=dt.int64)
    back = sequence.unsorted_indices
    if back is not None:
        return index_select(out, 0 if batch_first else 1, back), found[back.cpu()]
    return out, found


def pad_sequence(
    sequences: Tensor | Iterable[Tensor], batch_first: bool = False, padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:  # fmt: skip
    """Sequences (L_b, …), made as long as the longest and stacked."""
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    given = tuple(sequences)
    if not given:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    longest, rest = max(s.shape[0] for s in given), given[0].shape[1:]
    batch = len(given)
    rows: list[int] = []
    for b, s in enumerate(given):
        if s.shape[1:] != rest:
            raise RuntimeError(
                f"The size of tensors must match except in dimension 0; got {tuple(s.shape)} "
                f"and {tuple(given[0].shape)}"
            )
        begin = longest - s.shape[0] if padding_side == "left" else 0
        steps = range(begin, begin + s.shape[0])
        rows += [b * longest + t if batch_first else t * batch + b for t in steps]
    data = given[0].new_full((longest * batch, *rest), padding_value)
    place = from_numpy(np.array(rows, np.int64)).to(data.device)
    joined = given[0] if batch == 1 else cat(given)
    whole = index_copy(data, 0, place, joined)
    return whole.reshape(*((batch, longest) if batch_first else (longest, batch)), *rest)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The first ``lengths[b]`` steps of every sequence b of a padded batch."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    pairs = zip(padded_sequences.unbind(0), lengths.tolist(), strict=True)
    return [sequence[:length] for sequence, length in pairs]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (L_b, …), packed."""
    lengths = as_tensor([v.shape[0] for v in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """What :func:`pack_sequence` was given."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
