"""Frozen models as they are loaded: what fits this machine, and running without a compiler."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilegrad.autograd.mode import no_grad
from tilegrad.engine.device import Device, device as resolved
from tilegrad.frozen.container import Container
from tilegrad.kernels import bundle, cache
from tilegrad.kernels.cpu.run import native
from tilegrad.kernels.faults import MissingKernelError
from tilegrad.onnx.errors import LoadError
from tilegrad.onnx.loading import MOST_MEMORY, OnnxModel
from tilegrad.onnx.reading import MOST_BYTES, Weights, parse
from tilegrad.onnx.tables.call import constant

GRAPH = "model.onnx"  # sections
CPU = "cpu/"
CUDA = "cuda/"
ANEW = "load it with compile=True, and its kernels are compiled here, from its graph"


@dataclass(frozen=True)
class Frozen:
    """What a file says of itself.

    Attributes:
        path, size: of the file, in bytes.
        fingerprint: stands for all of its contents.
        versions: of the packages that its kernels were made with.
        levels: of x86-64 that it has kernels for.
        architectures: of GPUs that it has kernels for, ``sm_90`` and the like.
        gpu_versions: of the packages that made these.
        kernels: how many there are, by level and architecture.
        inputs, outputs: names of the graph's.
    """

    path: Path
    size: int
    fingerprint: str
    versions: dict[str, str]
    levels: tuple[str, ...]
    architectures: tuple[str, ...]
    gpu_versions: str
    kernels: dict[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class FrozenModel(OnnxModel):
    """A loaded model; called with its inputs in order or by name, as tensors of its device or NumPy arrays.

    Records no gradients.

    Attributes:
        info: what the file says of itself.
        device: that it runs on.
    """

    info: Frozen

    def __init__(
        self,
        graph: bytes,
        info: Frozen,
        device: Device,
        compiles: bool,
        most_bytes: int,
        most_memory: float,
    ):
        super().__init__(parse(graph, info.path.name), Weights(None, most_bytes), most_memory)
        self.requires_grad_(False)
        self.eval()
        self.to(device)
        self.info = info
        self.device = device
        self._compiles = compiles
        self._bytes = graph

    def forward(self, *args: Any, **inputs: Any) -> Any:
        """The outputs of the graph: one, or a tuple of them.

        Raises:
            TypeError: inputs are missing, or there are others.
            LoadError: a node cannot run on them, or a kernel that they ask for is not in the file.
        """
        if self.device.type != "cpu":
            args = tuple([self._there(x) for x in args])
            inputs = {name: self._there(x) for name, x in inputs.items()}
        with no_grad():
            if self._compiles:
                return super().forward(*args, **inputs)
            try:
                with cache.compiling_nothing():
                    return super().forward(*args, **inputs)
            except MissingKernelError as error:
                raise LoadError(
                    f"load_frozen: {self.info.path.name} has no kernel {error.kernel}, which inputs of these "
                    f"shapes ask for: freeze it with such sizes, or {ANEW}"
                ) from None

    def _there(self, value: Any) -> Any:
        """An array as a tensor of the model's device; a tensor as it is."""
        return constant(value).to(self.device) if isinstance(value, np.ndarray) else value

    def save_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the graph with its weights as an ONNX file, for any runtime."""
        Path(path).write_bytes(self._bytes)


def read_frozen(path: str | os.PathLike[str]) -> Frozen:
    """What a file says of itself; nothing of it is run.

    Raises:
        LoadError: it is no frozen model, or damaged.
    """
    return _info(Container(path, None, MOST_BYTES))


def load_frozen(
    path: str | os.PathLike[str],
    *,
    device: Device | str = "cpu",
    compile: bool = False,
    machine_code: bool = True,
    fingerprint: str | None = None,
    most_bytes: int = MOST_BYTES,
    most_memory: float = MOST_MEMORY,
) -> FrozenModel:
    """The model of a file that :func:`tilegrad.freeze` wrote, ready to run without a compiler.

    The file holds machine code, which runs in this process: load it only from whom you would install a program.
    Of anybody else's, ``machine_code=False`` reads the graph and the weights alone, which can do nothing but tensor
    operations.

    Args:
        path: of the file.
        device: that the model runs on: ``"cpu"``, or ``"cuda"`` where the file was frozen for its architecture.
        compile: what the file lacks is compiled here (or found in the user's cache): for another processor, other
            versions, other sizes. Without it such a file is refused.
        machine_code: False leaves the file's machine code out; ``compile`` is then implied.
        fingerprint: refuse the file unless it has this one, which :func:`tilegrad.freeze` gave.
        most_bytes: of the file.
        most_memory: bytes that a run may take beside the weights.

    Raises:
        LoadError: it is no frozen model, is damaged, or does not fit this machine; says what to do.
        DeviceError: there is no such device.
    """
    file = Container(path, fingerprint, most_bytes)
    info = _info(file)
    place = resolved(device)
    if machine_code:
        for section, problem in _sections(info, place):
            if problem and not compile:
                raise file.wrong(f"{problem}: {ANEW}")
            if not problem:
                _attach(file, section)
    try:
        compiles = compile or not machine_code
        return FrozenModel(file.section(GRAPH), info, place, compiles, most_bytes, most_memory)
    except LoadError as error:
        text = str(error).removeprefix("load: ").removeprefix("load_frozen: ")
        raise LoadError(f"load_frozen: {text}") from None


_attached: set[tuple[str, str]] = (
    set()
)  # files, by fingerprint, and sections whose kernels are found


def _attach(file: Container, section: str) -> None:
    """Let kernels be found in a section of the file, for as long as the process lives."""
    key = file.fingerprint, section
    if key in _attached:
        return
    try:
        bundle.attach(bundle.Bundle(file.path, file.section(section)))
    except ValueError as error:
        if isinstance(error, LoadError):
            raise
        raise file.wrong(f"is damaged: its {section} is no bundle of kernels") from None
    _attached.add(key)


def versions() -> dict[str, str]:
    """Of the packages that decide whether machine code fits."""
    from tilegrad import _release

    return {"tilegrad": _release} | cache.compilers()


def _sections(info: Frozen, device: Device) -> list[tuple[str, str | None]]:
    """The sections of kernels that a model asks for on a device, and why one does not fit this machine. On a GPU the
    processor's may be missing.
    """
    level = native.level()
    section, problem = CPU + str(level), _problem(info, level)
    if device.type != "cuda":
        return [(section, problem)]
    from tilegrad.kernels.cuda.run import backend, driver

    here = driver.get().properties(device.index or 0)
    name = backend.arch_name((here.major, here.minor))
    found = [(CUDA + name, _gpu_problem(info, name, backend.versions()))]
    return found if problem else [*found, (section, problem)]


def _gpu_problem(info: Frozen, name: str, versions: str) -> str | None:
    """Why the machine code of a file does not fit the GPU of this machine."""
    if name not in info.architectures:
        return f"has kernels for {' and '.join(info.architectures) or 'no GPU'}, and this one needs those for {name}"
    if info.gpu_versions != versions:
        return f"was frozen with {info.gpu_versions}, and this is {versions}"
    return None


def _problem(info: Frozen, level: str | None) -> str | None:
    """Why the machine code of a file does not fit this machine."""
    machine = platform.machine().lower()
    if machine not in ("x86_64", "amd64"):
        return f"has machine code for x86-64, and this machine is {machine}"
    here = versions()
    for name, made in info.versions.items():
        if here.get(name) != made:
            return f"was frozen with {name} {made}, and this is {name} {here.get(name)}"
    if level not in info.levels:
        what = f"kernels of {native.simd_bits()} bits" if level is None else level
        has = " and ".join(info.levels) or "no processor"
        return f"has kernels for {has}, and this processor needs those for {what}"
    return None


def _info(file: Container) -> Frozen:
    """What the index says, of the right kinds."""

    def texts(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise ValueError
        return tuple(value)

    about = file.about
    try:
        made = {str(k): str(v) for k, v in about["versions"].items()}
        kernels = {str(k): int(v) for k, v in about["kernels"].items()}
        names = texts(about["inputs"]), texts(about["outputs"])
        gpu = str(about["cuda"])
    except (KeyError, ValueError, TypeError, AttributeError):
        raise file.wrong("is damaged: its index is not sound") from None
    if set(made) != {"tilegrad", "numba", "llvmlite"}:
        raise file.wrong("is damaged: its index is not sound")
    levels, archs = (
        tuple(s.removeprefix(kind) for s in file.sections if s.startswith(kind))
        for kind in (CPU, CUDA)
    )
    size = sum(length for _, length, _ in file.sections.values())
    return Frozen(file.path, size, file.fingerprint, made, levels, archs, gpu, kernels, *names)
