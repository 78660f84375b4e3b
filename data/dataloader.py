"""The loader: batches of a dataset, in this process or from workers in the background.

Source: PyTorch's ``torch.utils.data.DataLoader`` (names, arguments, semantics).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any

from tilegrad.data.collate import default_collate, default_convert
from tilegrad.data.dataset import IterableDataset
from tilegrad.data.fetch import make_fetcher
from tilegrad.data.pin_memory import Pinned
from tilegrad.data.resuming import Progress, Resumed
from tilegrad.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from tilegrad.data.seeding import draw_seed, generators_kept
from tilegrad.engine import cuda
from tilegrad.engine.device import Device

_NOT_PINNED = (
    "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory "
    "won't be used."
)


# what says how batches are made, which pass and workers have been told already
_FIXED = ("batch_sampler", "batch_size", "dataset", "drop_last", "persistent_workers", "sampler")


class DataLoader:
    """Iterates over ``dataset`` in batches.

    Each pass draws one seed from ``generator``. Before sample number ``n`` of the pass is loaded,
    the global generators of Python, NumPy and tilegrad are seeded from that seed and ``n``: random
    augmentation is the same for any number of workers, none included. The main process's generators
    are left as they were.

    Worker processes load batches ahead and in order, and hand them over in shared memory, without a
    copy in the main process. The memory of a batch is used again once nothing holds its tensors.

    :meth:`state_dict` says where the pass is; a loader made alike that is given it goes on with the
    very next batch, whatever its workers.

    Args:
        dataset: has ``__getitem__`` and ``__len__``, or is an :class:`IterableDataset`.
        batch_size: samples a batch; None: samples come one by one, unbatched.
        shuffle: take samples in a new random order each pass.
        sampler: gives the order instead; any iterable of indices.
        batch_sampler: gives lists of indices; replaces the four options above and ``drop_last``.
        num_workers: worker processes; 0 loads in this process.
        collate_fn: makes a batch from a list of samples.
        pin_memory: batches in page-locked memory, so that ``batch.to("cuda", non_blocking=True)``
            overlaps with computation. With workers a thread pins the batch after the one in use.
            Needs a GPU; without one a warning and no effect.
        drop_last: leave out a last batch that is shorter.
        timeout: seconds to wait for a batch of the workers; 0: for ever.
        worker_init_fn: called in each worker with its number, once it is set up.
        multiprocessing_context: "forkserver" (default), "spawn" or such a context; never "fork".
        generator: where seeds and order come from; default: the global one.
        prefetch_factor: batches that each worker loads ahead; default 2.
        persistent_workers: keep the workers for the next pass.
        pin_memory_device: "" or "cuda", where pinned memory is for.
        in_order: batches come in order; if not, those of workers as they are ready, and a slow one holds up
            none but its own.

    Raises:
        ValueError: options that exclude each other, or a number out of range.
        TypeError: with workers, something that cannot be pickled (when iteration starts).
        RuntimeError: a worker died or timed out (during iteration). An exception in a worker comes
            as its own type, with the worker's traceback in the message.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        if pin_memory_device and Device(pin_memory_device).type != "cuda":
            raise ValueError(
                f"DataLoader: pin_memory_device must be '' or 'cuda'; got {pin_memory_device!r}"
            )
        self.pin_memory_device, self.in_order = pin_memory_device, in_order
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self.pin_memory = pin_memory
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.persistent_workers = persistent_workers
        self._context = _context(num_workers, multiprocessing_context)
        self._streams = isinstance(dataset, IterableDataset)
        self._choose_order(batch_size, shuffle, sampler, batch_sampler, drop_last)
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self._pool: Any = None  # the workers kept for the next pass
        self._resumed = Resumed(generator)
        self._pins = pin_memory and cuda.is_available()
        if pin_memory and not self._pins:
            warnings.warn(_NOT_PINNED, stacklevel=2)
        self._counted: int | None = None  # what the length of a stream was said to be
        self._settled = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and getattr(self, "_settled", False):
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    def _choose_order(
        self, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
    ) -> None:
        """Settle on a sampler and a batch sampler; see the class for the options."""
        if self._streams:
            _check_stream(shuffle, sampler, batch_sampler)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                    "and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
            )
        if sampler is None and not self._streams:
            if shuffle:
                sampler = RandomSampler(self.dataset, generator=self.generator)
            else:
                sampler = SequentialSampler(self.dataset)
        if batch_size is not None:
            _check_batch_size(batch_size)
            if batch_sampler is None and sampler is not None:
                batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size, self.drop_last = batch_size, drop_last
        self.sampler, self.batch_sampler = sampler, batch_sampler

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None or (self._streams and self.batch_size is not None)

    def __iter__(self) -> Iterator[Any]:
        found: Iterator[Any] = self._resumed.open(self._begin)
        return found

    def _begin(self, progress: Progress, skip: int) -> Iterator[Any]:
        batches = self._batches(progress, skip)
        if self._counted is not None:
            batches = _watched(batches, self, self._counted)
        return Pinned(batches, self.num_workers > 0, progress) if self._pins else batches

    def _batches(self, progress: Progress, skip: int) -> Iterator[Any]:
        if self.num_workers == 0:
            if self.timeout:
                raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
            return _InProcess(self, progress, skip)
        from tilegrad.data.background import FromWorkers

        return FromWorkers(self, progress, skip)

    def state_dict(self) -> dict[str, Any]:
        """Where the newest pass is, in plain values: ``{"pass": None}`` before the first.

        Of the random numbers that the program draws elsewhere, ``get_rng_state`` knows.
        """
        self._refuse_unordered("state_dict")
        return {"pass": self._resumed.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next pass go on where the one of :meth:`state_dict` was.

        Samples that were handed over are not loaded again; streams are, for there is no other way
        past them. Samplers must give the same order from the same generator.
        """
        self._refuse_unordered("load_state_dict")
        self._resumed.take(state_dict["pass"])

    def _refuse_unordered(self, method: str) -> None:
        if self.num_workers and not self.in_order:
            raise NotImplementedError(
                f"DataLoader.{method}: batches of workers have no place in the pass with in_order=False"
            )

    def __len__(self) -> int:
        """Batches in one pass.

        Raises:
            TypeError: the dataset or sampler has no length.
        """
        if self._streams:
            size = self.batch_size or 1
            count: int = len(self.dataset)
            self._counted = count
            return count // size if self.drop_last else -(-count // size)
        source: Any = self.sampler if self.batch_sampler is None else self.batch_sampler
        batches: int = len(source)
        return batches

    def _requests(self, skip: int) -> Iterator[tuple[Any, int]]:
        """What to load, batch by batch, after ``skip``: indices, and the place of the first."""
        if self._streams:
            return iter(lambda: (None, 0), None)
        source = self.sampler if self.batch_sampler is None else self.batch_sampler
        assert source is not None
        return islice(_placed(iter(source), self.batch_sampler is not None), skip, None)


def _watched(batches: Iterator[Any], loader: DataLoader, said: int) -> Iterator[Any]:
    """``batches`` of a stream, with a warning for each beyond the length that it was said to have."""
    for place, batch in enumerate(batches, 1):
        if place > said:
            text = (
                f"Length of IterableDataset {loader.dataset} was reported to be {said}(when accessing "
                f"len(dataloader)), but {place} samples have been fetched. "
            )
            if loader.num_workers:
                text += (
                    "For multiprocessing data-loading, this could be caused by not properly configuring the "
                    "IterableDataset replica at each worker. Please see "
                    "https://pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset for examples."
                )
            warnings.warn(text, stacklevel=2)
        yield batch


def _placed(source: Iterator[Any], batched: bool) -> Iterator[tuple[Any, int]]:
    place = 0
    for indices in source:
        if batched and not isinstance(indices, list):
            indices = list(indices)
        yield indices, place
        place += len(indices) if batched else 1


class _InProcess:
    """One pass without workers."""

    def __init__(self, loader: DataLoader, progress: Progress, skip: int):
        seed = draw_seed(loader.generator)
        self._requests = loader._requests(skip)
        self._progress = progress
        with generators_kept():
            self._fetcher = make_fetcher(
                loader.dataset,
                loader.collate_fn,
                loader.batch_size,
                loader.drop_last,
                loader._auto_collation,
                seed,
                0,
            )
        self._seeds = not getattr(self._fetcher, "plain", False)
        if loader._streams:
            for _ in range(skip):
                next(self)

    def __iter__(self) -> _InProcess:
        return self

    def __next__(self) -> Any:
        try:
            indices, start = next(self._requests)
            with generators_kept() if self._seeds else nullcontext():
                batch = self._fetcher.fetch(indices, start)
        except StopIteration:
            self._progress.ended = True
            raise
        self._progress.given += 1
        return batch


# ------------------------------------------------------------------------------------- arguments


def _context(num_workers: int, chosen: Any) -> Any:
    if num_workers == 0:
        if chosen is not None:
            raise ValueError(
                f"multiprocessing_context can only be used with multi-process loading "
                f"(num_workers > 0), but got num_workers={num_workers}"
            )
        return None
    from tilegrad.data.pool import worker_context

    return worker_context(chosen)


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. "
            "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 1:
        word = "positive" if prefetch_factor == 0 else "non-negative"
        raise ValueError(f"prefetch_factor option should be {word}")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_batch_size(batch_size: Any) -> None:
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise ValueError(
            f"batch_size should be a positive integer value, but got batch_size={batch_size}"
        )


def _check_stream(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, "
                f"but got {name}={value}"
            )
