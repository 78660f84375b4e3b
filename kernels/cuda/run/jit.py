"""Compile, cache and load CUDA kernels.

A *kernel factory* is decorated with :func:`kernel`. Called with its variant it returns a
:class:`Source`: the body that every thread runs, over addresses, sizes and scalars, with the shape
of its blocks. ``factory.build(*variant)`` gives the launchable function
``function(*args, x, y, z)``; ``factory.assemble(variant, arch)`` the cubin and its report for any
architecture, with no GPU.

Cubins are kept on disk under a key over every source involved, versions and architecture; a process
that finds them there imports neither numba nor a compiler.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tilegrad.kernels import bundle, cache, progress
from tilegrad.kernels.cuda.device.simulator import machine
from tilegrad.kernels.cuda.run import backend, driver, launch
from tilegrad.kernels.cuda.run.backend import Arch, Usage
from tilegrad.kernels.cuda.run.launch import bind
from tilegrad.kernels.factory import Factory
from tilegrad.kernels.faults import MissingKernelError
from tilegrad.kernels.forking import compiler as _lock
from tilegrad.kernels.params import Signature, letters

__all__ = [
    "KernelFactory",
    "Launch",
    "Source",
    "bind",
    "blocks_for",
    "kernel",
    "kernels_built",
    "recording",
]

kernels_built: list[tuple[KernelFactory, tuple[Any, ...]]] = []  # every variant of this process


@dataclass(frozen=True)
class Source:
    """What a factory makes.

    Attributes:
        body: run by every thread.
        signature: what it takes (:mod:`tilegrad.kernels.params`).
        threads: of a block, a multiple of 32.
        per_sm: blocks that should fit on a multiprocessor: 65536 / (threads * per_sm) registers
            at most.
        shared: bytes of dynamic shared memory.
        shape: of a block, whose threads count it; None for a row of them.
    """

    body: Callable[..., None]
    signature: Signature
    threads: int = 256
    per_sm: int = 1
    shared: int = 0
    shape: tuple[int, int, int] | None = None

    @property
    def block(self) -> int:
        """The shape as one number; see :func:`tilegrad.kernels.cuda.run.launch.block_number`."""
        return launch.block_number(self.shape or (self.threads, 1, 1))


@dataclass(frozen=True)
class Assembly:
    """A kernel for one architecture."""

    source: Source
    arch: Arch
    cubin: bytes
    usage: Usage


@dataclass(frozen=True)
class Launch:
    """One launch on the simulated device: which kernel, how many blocks, with what parameters."""

    factory: KernelFactory
    variant: tuple[Any, ...]
    source: Source
    grid: tuple[int, int, int]
    args: tuple[Any, ...]


_launches: list[Launch] | None = None


@contextmanager
def recording() -> Iterator[list[Launch]]:
    """The launches of the block on the simulated device, in order."""
    global _launches
    before, _launches = _launches, []
    try:
        yield _launches
    finally:
        _launches = before


class KernelFactory(Factory[Source]):
    """A family of CUDA kernels, one per variant. See :func:`kernel`."""

    def build(self, *variant: Any) -> Callable[..., None]:
        """The launchable kernel of this variant on the current device."""
        function = self.built.get(variant)
        if function is None:
            with _lock:
                function = self.built.get(variant)
                if function is None:
                    function = self.built[variant] = self._load(variant)
                    kernels_built.append((self, variant))
        return function

    def _load(self, variant: tuple[Any, ...]) -> Callable[..., None]:
        name, here = self.name(variant), driver.get()
        if not isinstance(here, driver.CudaDriver):
            source = self.factory(*variant)

            def run(grid: tuple[int, int, int], args: tuple[Any, ...]) -> None:
                if _launches is not None:
                    _launches.append(Launch(self, variant, source, grid, args))
                machine.launch(
                    name, source.body, source.threads, grid, args, source.shared, source.shape
                )

            return launch.simulated(run, source.signature)
        start = time.perf_counter()
        properties = here.properties(here.device)
        kept, cached = self.keep(variant, (properties.major, properties.minor))
        head_text, cubin = kept.split(b"\n\n", 1)
        entry, signature, block, shared = head_text.decode().split("\n")
        function, owner = here.load(cubin, entry, int(shared))
        _loaded[function] = (self, variant)
        result = launch.load(name, function, signature, int(block), int(shared), here.symbols())
        _owners.append(owner)
        cache.compile_log.append((f"cuda {name}", time.perf_counter() - start, cached))
        return result

    def kept_as(self, variant: tuple[Any, ...], arch: Arch) -> str:
        """The name of the file that keeps a variant for ``arch``: other sources, another name."""
        return self.file(variant, "cubin", backend.arch_name(arch), backend.versions())

    def keep(self, variant: tuple[Any, ...], arch: Arch) -> tuple[bytes, bool]:
        """(what the disk or a bundle has of a variant for ``arch``, whether it was there already).

        Raises:
            MissingKernelError: it is nowhere, and nothing may be compiled.
        """
        path = cache.cache_dir() / self.kept_as(variant, arch)
        kept = cache.read(path) or bundle.find(backend.arch_name(arch), path.name)
        cache.used.setdefault(path.name, kept is not None)
        if kept is not None:
            return kept, True
        if not cache.may_compile():
            name = f"{self.name(variant)} for {backend.arch_name(arch)}"
            raise MissingKernelError(
                name,
                f"cuda: kernel {name} is not in {path.parent}, and TILEGRAD_COMPILE is 'never'",
            )
        with progress.compiling(f"cuda {self.name(variant)}"):
            made = self.assemble(variant, arch)
        source = made.source
        head = [made.usage.entry, letters(source.signature), source.block, source.shared]
        kept = "\n".join(map(str, head)).encode() + b"\n\n" + made.cubin
        cache.write(path, kept)
        return kept, False

    def assemble(self, variant: tuple[Any, ...], arch: Arch, guard: int = 0) -> Assembly:
        """The cubin of a variant for ``arch`` and the assembler's report; no GPU involved."""
        (made,) = self.assemble_all(variant, (arch,), guard)
        return made

    def assemble_all(
        self, variant: tuple[Any, ...], archs: tuple[Arch, ...], guard: int = 0
    ) -> list[Assembly]:
        """:meth:`assemble` for several architectures, translated once; with a ``guard`` the debug
        build (:mod:`tilegrad.kernels.cuda.device.checked`).
        """
        source = self.factory(*variant)
        ltoir = backend.compile_kernel(
            source.body, source.signature, source.threads, source.per_sm, guard=guard
        )
        return [Assembly(source, arch, *backend.link(ltoir, arch)) for arch in archs]

    def ptx(self, variant: tuple[Any, ...]) -> str:
        """The PTX of a variant, for reading."""
        source = self.factory(*variant)
        text: str = backend.compile_kernel(
            source.body, source.signature, source.threads, source.per_sm, output="ptx"
        )
        return text

    def text(self, variant: tuple[Any, ...]) -> str:
        """The Python source of a variant's body."""
        return inspect.getsource(self.factory(*variant).body)


_owners: list[Any] = []
_loaded: dict[int, tuple[KernelFactory, tuple[Any, ...]]] = {}


def kernel_of(function: int) -> tuple[KernelFactory, tuple[Any, ...]] | None:
    """The factory and variant behind a function handle of the driver; None for one that is not built
    from Python.
    """
    return _loaded.get(function)


def kernel(factory: Callable[..., Source]) -> KernelFactory:
    """Decorate a factory ``(*variant) -> Source``."""
    return KernelFactory(factory)


_processors: int | None = None


def processors() -> int:
    """Multiprocessors of the device."""
    global _processors
    if _processors is None:
        here = driver.get()
        _processors = here.properties(here.device).multi_processor_count
    return _processors


def forget() -> None:
    """The device is another one from here on."""
    global _processors
    _processors = None


def blocks_for(work: int, each: int, per_sm: int = 8) -> int:
    """Blocks that share ``work`` units, ``each`` at a time, in strides of the grid: no more than
    ``per_sm`` on every multiprocessor.
    """
    return max(1, min(-(-work // each), processors() * per_sm))
