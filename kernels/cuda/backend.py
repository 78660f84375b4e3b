"""The one place that imports numba's CUDA target and NVIDIA's linker.

numba-cuda is in maintenance mode and its successor has another import path: moving is a change of
this file. A kernel becomes LTO-IR, which nvJitLink turns into a cubin for one architecture; neither
needs a GPU or its driver.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tilegrad.kernels.cuda.driver import Unavailable
from tilegrad.kernels.function import DeviceFunction, Intrinsic, TypedFunction

Arch = tuple[int, int]  # compute capability: (9, 0) for sm_90

# LTO-IR of this architecture links for all later ones; what an instruction needs, the linker checks
BASE: Arch = (7, 5)

lock = threading.RLock()


@dataclass(frozen=True)
class Usage:
    """What the assembler reported of a kernel."""

    entry: str  # mangled name
    registers: int
    stack: int  # bytes of local memory a thread has
    spills: int  # bytes stored and loaded for lack of registers
    shared: int  # static bytes
    warnings: tuple[str, ...]


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
        from numba.cuda import compiler
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

    _registered = compiler
    return compiler


def _for_numba(value: DeviceFunction | Intrinsic) -> Any:
    """What numba's CUDA target takes for ``value``."""
    if "cuda" not in value.compiled:
        if isinstance(value, Intrinsic):
            from numba.cuda.descriptor import cuda_target
            from numba.cuda.extending import intrinsic

            value.compiled["cuda"] = intrinsic(value.cuda_emitter or value.cpu)
            cuda_target.typing_context.refresh()  # numba looks for new intrinsics only here
        elif isinstance(value, TypedFunction):
            value.compiled["cuda"] = _Chooser(value)
        else:
            value.compiled["cuda"] = _inlined(value.function)
    return value.compiled["cuda"]


class _Chooser:
    """What numba takes for a dispatcher: hands each call on, by the type of its first argument."""

    is_compiling = False

    def __init__(self, function: TypedFunction):
        from numba.cuda import types

        self.function = function
        self._numba_type_ = types.Dispatcher(self)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        return _for_numba(self.function.case(args[0])).get_call_template(args, kws)

    def get_overload(self, args: Any) -> Any:
        return _for_numba(self.function.case(args[0])).get_overload(args)


_inlined_class: Any = None


def _inlined(function: Callable[..., Any]) -> Any:
    """A device function that is compiled without asking a driver, and inlined."""
    global _inlined_class
    if _inlined_class is None:
        from numba.cuda.dispatcher import CUDADispatcher

        class Inlined(CUDADispatcher):  # type: ignore[misc]
            def compile_device(self, args: Any, return_type: Any = None) -> Any:
                if args not in self.overloads:
                    result = _numba_cuda().compile_cuda(
                        self.py_func,
                        return_type,
                        args,
                        forceinline=True,
                        nvvm_options={"opt": 3},
                        cc=BASE,
                    )
                    self.overloads[args] = result
                    result.target_context.insert_user_function(
                        result.entry_point, result.fndesc, [result.library]
                    )
                return self.overloads[args]

        _inlined_class = Inlined
    return _inlined_class(function, {"device": True, "opt": True, "forceinline": True})


def compile_kernel(
    body: Callable[..., None],
    signature: str,
    threads: int,
    per_sm: int = 1,
    output: str = "ltoir",
) -> Any:
    """LTO-IR (bytes) or, with ``output="ptx"``, PTX text of a kernel.

    ``signature``: a letter per parameter, ``i`` for int64 and ``d`` for float64. ``threads`` of a
    block and blocks ``per_sm`` bound what the assembler may take in registers.
    """
    with lock:
        compiler = _numba_cuda()
        from numba.cuda import types

        letters = {"i": types.int64, "d": types.float64}
        code, _ = compiler.compile(
            body,
            types.void(*(letters[c] for c in signature)),
            device=False,
            abi="numba",
            output=output,
            cc=BASE,
            launch_bounds=(threads, per_sm),
        )
        return code if output == "ptx" else bytes(code)


def arch_name(arch: Arch) -> str:
    """``sm_90`` for (9, 0)."""
    return f"sm_{arch[0]}{arch[1]}"


def link(ltoir: bytes, arch: Arch) -> tuple[bytes, Usage]:
    """The cubin for ``arch`` and what the assembler says about it."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    options = LinkerOptions(
        arch=arch_name(arch),
        link_time_optimization=True,
        verbose=True,
        ptxas_options=["-v"],
    )
    with lock:
        linker = Linker(ObjectCode.from_ltoir(ltoir), options=options)
        cubin = bytes(linker.link("cubin").code)
        return cubin, _usage(linker.get_info_log())


def _usage(log: str) -> Usage:
    def number(pattern: str) -> int:
        found = re.search(pattern, log)
        return int(found[1]) if found else 0

    entry = re.search(r"Compiling entry function '(\S+?)'", log)
    if entry is None:
        raise RuntimeError(f"nvJitLink: no entry function in its report:\n{log}")
    warnings = [
        line.strip()
        for line in log.splitlines()
        if "warning" in line.lower() or "Potential Performance Loss" in line
    ]
    return Usage(
        entry=entry[1],
        registers=number(r"Used (\d+) registers"),
        stack=number(r"(\d+) bytes stack frame"),
        spills=number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        shared=number(r"(\d+) bytes smem"),
        warnings=tuple(warnings),
    )
