"""Compile, cache, load and call CPU kernels.

A *kernel factory* is a function decorated with :func:`kernel`. Called with its variant (dtype,
formula, access pattern, …) it returns the loop nest of one task, ``body(task, *args)`` over
addresses, sizes and scalars, and the signature of ``args``: letters, ``i`` for int64 and ``d`` for
float64, and NamedTuples of such (:mod:`tilegrad.kernels.params`).
``factory.build(*variant)`` gives the compiled function, a C built-in that Python calls in some
50 ns as ``function(*args, tasks, threads)``: it runs ``body`` for every ``task in range(tasks)``.

- Tasks write disjoint memory, and what a task does depends on its number and the arguments, never
  on the number of threads; so results do not depend on it either.
- :func:`bind` fixes the last arguments of a function once and for all, which makes it cheaper to call.
- ``threads`` is 0 for small work (runs here, keeps the interpreter lock), else the number of
  threads to use with the lock released; ``TEAM`` for :func:`get_num_threads` at the time of the
  call, so that it can be bound.

numba only translates (:mod:`tilegrad.kernels.cpu.run.translate`): its LLVM IR is optimised, linked with a
small C-API wrapper and emitted as an object file (:mod:`tilegrad.kernels.cpu.run.backend`), kept on disk
under a key made of every source that went into it, the versions and the processor. What is not there may
have come with the installation, compiled for a level of x86-64 (:mod:`tilegrad.kernels.bundle`). A process
that finds all its kernels loads them with llvmlite and never imports numba.

``TILEGRAD_TARGET`` names a level to compile for instead of this processor, for such bundles;
``TILEGRAD_COMPILE=never`` makes it an error to need a kernel that is nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tilegrad.kernels import bundle, cache
from tilegrad.kernels.builtin import bind
from tilegrad.kernels.cache import cache_dir, compile_log
from tilegrad.kernels.cpu.run import ahead
from tilegrad.kernels.cpu.run.ahead import backward_follows
from tilegrad.kernels.cpu.run.native import (
    foreign,
    host,
    level,
    level_target,
    load_object,
    new_machine,
    simd_bits,
    target,
    wrapper_ir,
)
from tilegrad.kernels.cpu.run.threads import TEAM, get_num_threads, processors, set_num_threads
from tilegrad.kernels.factory import Factory
from tilegrad.kernels.faults import MissingKernelError
from tilegrad.kernels.forking import compiler as _lock
from tilegrad.kernels.params import Signature, letters

__all__ = [
    "KernelFactory",
    "TEAM",
    "assembly",
    "backward_follows",
    "bind",
    "cache_dir",
    "compile_log",
    "get_num_threads",
    "kernel",
    "optimised_ir",
    "processors",
    "set_num_threads",
    "simd_bits",
    "target",
]


# what a factory returns: the body of a task, and what it takes after the task's number
Kernel = tuple[Callable[..., None], Signature]


class KernelFactory(Factory[Kernel]):
    """A family of compiled functions, one per variant. See :func:`kernel`."""

    def build(self, *variant: Any) -> Callable[..., None]:
        """The compiled kernel of this variant: from memory, else from disk, else compiled now."""
        function = self.built.get(variant)
        return self._load_or_compile(variant) if function is None else function

    def begin(self, *variant: Any) -> None:
        """This variant will be asked for: compile it in another thread, unless it is there."""
        if variant not in self.built and cache.may_compile():
            _, path = self._place(variant)
            if not path.is_file() and self._bundled(variant) is None:
                ahead.begin(path, lambda: self._translate(variant, path))

    def _load_or_compile(self, variant: tuple[Any, ...]) -> Callable[..., None]:
        start = time.perf_counter()
        name, path = self._place(variant)
        code = cache.read(path)
        cached = code is not None and path not in ahead.made
        if code is None:
            code = self._bundled(variant)
            cached = code is not None
        if code is None:
            if not cache.may_compile():
                raise MissingKernelError(
                    name,
                    f"kernel {name}: it is neither in {path.parent} nor among the installation's kernels, "
                    f"and TILEGRAD_COMPILE is 'never'",
                )
            code = ahead.compile_now(path, name, lambda: self._translate(variant, path))
        if foreign():
            code = self._for_this_processor(variant)
        with ahead.llvm:
            function = self.built.get(variant)
            if function is None:  # another thread may have been faster
                function = self.built[variant] = load_object(code, name)
                compile_log.append((name, time.perf_counter() - start, cached))
                cache.used.setdefault(path.name, cached)
        return function

    def _place(self, variant: tuple[Any, ...]) -> tuple[str, Path]:
        """Its name and the file it is kept in."""
        file = self.file(variant, "o", *target(), _versions())
        return self.symbol(variant), cache_dir() / file

    def _bundled(self, variant: tuple[Any, ...]) -> bytes | None:
        """The object that came with the installation, or with a file that was loaded, if any did."""
        fits = level()
        if fits is None or not bundle.any_for(fits):
            return None
        return bundle.find(fits, self.file(variant, "o", *level_target(fits), _versions()))

    def _translate(self, variant: tuple[Any, ...], path: Path) -> Callable[[], bytes]:
        """What makes and keeps the object; see :mod:`tilegrad.kernels.cpu.run.ahead`."""
        emit = _emitter(*self.factory(*variant))

        def step() -> bytes:
            code = emit()
            cache.write(path, code)
            return code

        return step

    def _for_this_processor(self, variant: tuple[Any, ...]) -> bytes:
        """The same loop nest, with vectors as wide as the target's, in instructions that run here."""
        with _lock:
            emit = _emitter(*self.factory(*variant), host())
        with ahead.llvm:
            return emit()


def kernel(factory: Callable[..., Kernel]) -> KernelFactory:
    """Decorate a factory ``(*variant) -> (body of a task, its signature)``."""
    return KernelFactory(factory)


# -------------------------------------------------------------------------------------- cache


def _versions() -> str:
    return " ".join(f"{name}={version}" for name, version in cache.compilers().items())


# ------------------------------------------------------------------------------------- compile


def _emitter(
    function: Callable[..., None], signature: Signature, processor: tuple[str, str] | None = None
) -> Callable[[], bytes]:
    """What gives the object code of a loop nest with the C-API wrapper around it."""
    from tilegrad.kernels.cpu.run import backend, translate

    wrapper = wrapper_ir(backend.BODY, letters(signature))
    return backend.emitter(translate.translate(function, signature), wrapper, processor)


def optimised_ir(function: Callable[..., None], signature: Signature) -> str:
    """The LLVM IR of a loop nest, optimised for the target (for tests)."""
    from tilegrad.kernels.cpu.run import backend, translate

    with _lock:
        loops = translate.translate(function, signature)
        return str(backend.optimised(loops, new_machine(arithmetic=loops.arithmetic)))


def assembly(function: Callable[..., None], signature: Signature) -> str:
    """The machine code of a loop nest as assembly text (for tests and ``inspect``)."""
    from tilegrad.kernels.cpu.run import backend, translate

    with _lock:
        return backend.assembly(translate.translate(function, signature))
