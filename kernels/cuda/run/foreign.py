"""Cubins of kernels that come as CUDA C++ (by NVRTC) or as PTX (by nvJitLink); neither needs a GPU."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from tilegrad.kernels import cache
from tilegrad.kernels.bodies import BodyError
from tilegrad.kernels.cuda.run import backend, cubin
from tilegrad.kernels.cuda.run.backend import Arch, arch_name
from tilegrad.kernels.foreign import Foreign
from tilegrad.kernels.forking import compiler as lock

TYPES = {
    "float32": "float", "float64": "double", "int8": "signed char", "int16": "short", "int32": "int",
    "int64": "long long", "uint8": "unsigned char", "bool": "bool",
}  # fmt: skip


class Compiled(NamedTuple):
    """A kernel for one architecture: its name in the cubin, and the bytes of each parameter."""

    cubin: bytes
    entry: str
    params: tuple[int, ...]


def compiled(title: str, source: Foreign, scalar: str, arch: Arch) -> Compiled:
    """The kernel for ``arch``, from the disk or compiled now; ``scalar`` is the dtype that C++ calls
    ``scalar_t``.

    Raises:
        BodyError: the compiler refuses it; with what it says.
    """
    words = [source.key, scalar, arch_name(arch), backend.versions(), _nvrtc_version()]
    key = hashlib.sha256("\0".join(words).encode()).hexdigest()[:24]
    name = "".join(c if c.isalnum() else "_" for c in source.entry)[:60]
    path = cache.cache_dir() / f"foreign_{name}-{key}.cubin"
    kept = cache.read(path)
    if kept is None:
        code, entry = (_from_cpp if source.language == "c++" else _from_ptx)(
            title, source, scalar, arch
        )
        kept = entry.encode() + b"\n" + code
        cache.write(path, kept)
    head, _, code = kept.partition(b"\n")
    entry = head.decode()
    found = cubin.parameters(code, entry)
    if found is None:
        names = ", ".join(cubin.kernels(code))
        raise BodyError(f"{title}: there is no kernel {entry}; the source has {names or 'none'}")
    return Compiled(code, entry, found)


def _nvrtc_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("nvidia-cuda-nvrtc")
    except PackageNotFoundError:
        return "none"


def _checked(nvrtc: Any, result: Any) -> Any:
    status, *values = result
    if int(status):
        raise RuntimeError(f"NVRTC: {nvrtc.nvrtcGetErrorString(status)[1].decode()}")
    return values[0] if values else None


def _from_cpp(title: str, source: Foreign, scalar: str, arch: Arch) -> tuple[bytes, str]:
    """The cubin of C++ source, and the entry's name in it."""
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise BodyError(
            f"{title}: CUDA C++ needs NVRTC ({error}); install it with `pip install 'tilegrad[cuda]'`"
        ) from None
    options = [
        f"-arch={arch_name(arch)}",
        "-std=c++17",
        f"-Dscalar_t={TYPES[scalar]}",
        *source.options,
    ]
    wanted = source.entry.encode()
    with lock:
        program = _checked(
            nvrtc, nvrtc.nvrtcCreateProgram(source.text.encode(), b"kernel.cu", 0, [], [])
        )
        try:
            template = any(c in source.entry for c in "<:")
            if template:
                _checked(nvrtc, nvrtc.nvrtcAddNameExpression(program, wanted))
            encoded = [o.encode() for o in options]
            (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
            if int(status):
                log = b" " * _checked(nvrtc, nvrtc.nvrtcGetProgramLogSize(program))
                nvrtc.nvrtcGetProgramLog(program, log)
                text = log.decode(errors="replace").rstrip("\0 \n")
                raise BodyError(f"{title}: NVRTC cannot compile the source:\n{text}")
            code = b" " * _checked(nvrtc, nvrtc.nvrtcGetCUBINSize(program))
            _checked(nvrtc, nvrtc.nvrtcGetCUBIN(program, code))
            if template:
                wanted = _checked(nvrtc, nvrtc.nvrtcGetLoweredName(program, wanted))
        finally:
            nvrtc.nvrtcDestroyProgram(program)
    return code, wanted.decode()


def _from_ptx(title: str, source: Foreign, scalar: str, arch: Arch) -> tuple[bytes, str]:
    """The cubin of PTX, and the entry's name in it."""
    try:
        return backend.link_ptx(source.text.encode(), arch), source.entry
    except RuntimeError as error:
        raise BodyError(f"{title}: nvJitLink cannot compile the PTX: {error}") from None
