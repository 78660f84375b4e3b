"""The one place that imports numba's CUDA target and NVIDIA's linker.

numba-cuda is in maintenance mode and its successor has another import path: moving is a change of
this file. A kernel becomes LTO-IR, which nvJitLink turns into a cubin for one architecture; neither
needs a GPU or its driver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tilegrad.kernels.cuda.device import checked
from tilegrad.kernels.cuda.device.facade import NumbaCuda
from tilegrad.kernels.cuda.device.ptx import pointer
from tilegrad.kernels.cuda.device.spans import span
from tilegrad.kernels.cuda.run.cubin import Resources, resources
from tilegrad.kernels.cuda.run.driver import Unavailable
from tilegrad.kernels.forking import compiler as lock
from tilegrad.kernels.function import Chooser, DeviceFunction, Intrinsic, TypedFunction
from tilegrad.kernels.params import Signature, kinds

Arch = tuple[int, int]  # compute capability: (9, 0) for sm_90

# LTO-IR of this architecture links for all later ones; what an instruction needs, the linker checks
BASE: Arch = (7, 5)


@dataclass(frozen=True)
class Usage(Resources):
    """What a kernel takes, by its cubin, and what the linker said meanwhile, if anything."""

    log: str = ""

    @property
    def spills(self) -> int:
        """Bytes stored and loaded for lack of registers, as logged; without a stack there are none."""
        return sum(map(int, re.findall(r"(\d+) bytes spill (?:stores|loads)", self.log)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Lines of the log that are warnings."""
        return tuple(
            line.strip()
            for line in self.log.splitlines()
            if ("warning" in line.lower() or "Potential Performance Loss" in line)
            and "minnctapersm will be ignored" not in line  # more than sm_75 holds: all it can
        )


def versions() -> str:
    """The packages whose versions decide what a cubin contains."""
    names = ("numba", "llvmlite", "numba-cuda", "cuda-core", "nvidia-nvvm", "nvidia-nvjitlink")
    found = []
    for name in names:
        try:
            found.append(f"{name}={version(name)}")
        except PackageNotFoundError:
            found.append(f"{name}=none")
    return " ".join(found)


_registered: Any = None


def _numba_cuda() -> Any:
    """numba's CUDA target, taught what our marks mean.

    Raises:
        Unavailable: the package is not installed, or numba was told to simulate.
    """
    global _registered
    if _registered is not None:
        return _registered
    try:
        from numba import cuda
        from numba.cuda import compiler, types
        from numba.cuda.descriptor import cuda_target
        from numba.cuda.typing.typeof import typeof_impl
    except ImportError as error:
        raise Unavailable(
            f"cuda: cannot compile kernels ({error}); install numba-cuda with "
            "`pip install 'tilegrad[cuda]'`"
        ) from None

    @typeof_impl.register(DeviceFunction)  # type: ignore[untyped-decorator]
    @typeof_impl.register(Intrinsic)  # type: ignore[untyped-decorator]
    def _marked(value: DeviceFunction | Intrinsic, context: Any) -> Any:
        return cuda_target.typing_context.resolve_value_type(_for_numba(value))

    @typeof_impl.register(NumbaCuda)  # type: ignore[untyped-decorator]
    def _module(value: NumbaCuda, context: Any) -> Any:
        return types.Module(cuda)

    _registered = compiler
    return compiler


def _for_numba(value: DeviceFunction | Intrinsic) -> Any:
    """What numba's CUDA target takes for ``value``."""
    key = "cuda"
    if checked.guard_of_build:  # functions are compiled anew for each guard
        builds = {id(pointer): checked.pointer_to, id(span): checked.span_to}
        build = builds.get(id(value))
        value = value if build is None else build(checked.guard_of_build)
        key = f"checked {checked.guard_of_build}"
    if key not in value.compiled:
        if isinstance(value, Intrinsic):
            from numba.cuda.descriptor import cuda_target
            from numba.cuda.extending import intrinsic

            value.compiled[key] = intrinsic(value.cuda_emitter or value.cpu)
            cuda_target.typing_context.refresh()  # numba looks for new intrinsics only here
        elif isinstance(value, TypedFunction):
            from numba.cuda.types import Dispatcher

            value.compiled[key] = Chooser(value, _for_numba, Dispatcher)
        else:
            value.compiled[key] = _inlined(value.function)
    return value.compiled[key]


def _inlined(function: Callable[..., Any]) -> Any:
    """A device function that is inlined wherever it is called."""
    from numba.cuda.dispatcher import CUDADispatcher

    return CUDADispatcher(function, {"device": True, "opt": True, "forceinline": True})


class _BaseDevice:
    """What numba asks for the current device's architecture, so that no driver is needed."""

    compute_capability = BASE


@contextmanager
def _without_driver() -> Iterator[None]:
    """numba compiles device functions for the current GPU: let it be of the :data:`BASE` kind."""
    from numba.cuda import dispatcher

    original = dispatcher.get_current_device
    dispatcher.get_current_device = _BaseDevice
    try:
        yield
    finally:
        dispatcher.get_current_device = original


def compile_kernel(
    body: Callable[..., None],
    signature: Signature,
    threads: int,
    per_sm: int = 1,
    output: str = "ltoir",
    guard: int = 0,
) -> Any:
    """LTO-IR (bytes) or, with ``output="ptx"``, PTX text of a kernel; with a ``guard`` its debug
    build (:mod:`tilegrad.kernels.cuda.device.checked`).

    ``signature``: what the body takes (:mod:`tilegrad.kernels.params`). ``threads`` of a
    block and blocks ``per_sm`` bound what the assembler may take in registers.
    """
    compiler = _numba_cuda()
    with lock, _without_driver():
        from numba.cuda import types

        scalars = {"i": types.int64, "d": types.float64}
        checked.guard_of_build = guard
        try:
            code, _ = compiler.compile(
                body,
                types.void(*kinds(signature, scalars, types.BaseTuple.from_types)),
                device=False,
                abi="numba",
                output=output,
                cc=BASE,
                launch_bounds=(threads, per_sm),
            )
        finally:
            checked.guard_of_build = 0
        return code if output == "ptx" else bytes(code)


def arch_name(arch: Arch) -> str:
    """``sm_90`` for (9, 0)."""
    return f"sm_{arch[0]}{arch[1]}"


def link(ltoir: bytes, arch: Arch) -> tuple[bytes, Usage]:
    """The cubin for ``arch`` and what it takes."""
    cubin, log = _linked(ltoir, arch)
    return cubin, Usage(**vars(resources(cubin, arch)), log=log)


def link_ptx(text: bytes, arch: Arch) -> bytes:
    """The cubin for ``arch`` of PTX."""
    return _linked(text, arch, "PTX", ())[0]


def _linked(
    code: bytes, arch: Arch, kind: str = "LTOIR", how: tuple[str, ...] = ("-lto", "-fma=0")
) -> tuple[bytes, str]:
    """(cubin, the linker's log)."""
    from cuda.bindings import nvjitlink

    # a product and the sum it goes into keep their own rounding, as on the CPU: where one is meant,
    # formulas say fma. The linker's cache is the driver's, on disk: kernels/cache.py has ours
    options = [f"-arch={arch_name(arch)}", *how, "-no-cache", "-verbose", "-Xptxas=-v"]
    with lock:
        handle = nvjitlink.create(len(options), options)
        try:
            given = getattr(nvjitlink.InputType, kind)
            nvjitlink.add_data(handle, given, code, len(code), "kernel")
            nvjitlink.complete(handle)
            cubin = bytearray(nvjitlink.get_linked_cubin_size(handle))
            nvjitlink.get_linked_cubin(handle, cubin)
            log = bytearray(nvjitlink.get_info_log_size(handle))
            nvjitlink.get_info_log(handle, log)
        except nvjitlink.nvJitLinkError as error:
            text = bytearray(nvjitlink.get_error_log_size(handle))
            nvjitlink.get_error_log(handle, text)
            raise RuntimeError(f"nvJitLink: {error}\n{text.decode(errors='replace')}") from None
        finally:
            nvjitlink.destroy(handle)
    return bytes(cubin), log.decode(errors="replace")
