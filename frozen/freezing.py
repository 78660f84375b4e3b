"""Freezing: a model as a graph, with its weights and the kernels that its runs ask for, in one file."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tilegrad.autograd.tensor import Tensor
from tilegrad.data.serialization import replacing, save
from tilegrad.engine.linking import CALLS
from tilegrad.frozen.container import packed
from tilegrad.frozen.loading import CPU, CUDA, GRAPH, Frozen, read_frozen, versions
from tilegrad.kernels import bundle
from tilegrad.kernels.cpu.run.native import LEVELS
from tilegrad.kernels.cuda.run import backend
from tilegrad.kernels.cuda.tools.dry_run import ARCHS
from tilegrad.onnx.trials import Trial, resized

SIZES = (
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    32,
    33,
    64,
    100,
    128,
    256,
)  # that dynamic dimensions are tried with
MOST_ELEMENTS = 1 << 20  # of all inputs, where sizes are chosen here
_GRAPH_OPTIONS = (
    "kwargs", "input_names", "output_names", "opset_version", "dynamic_axes", "dynamic_shapes", "training",
    "verify", "tolerance",
)  # fmt: skip


def freeze(
    model: Callable[..., Any],
    example: Tensor | tuple[Any, ...],
    path: str | os.PathLike[str],
    *,
    cpu: Sequence[str] = tuple(LEVELS),
    cuda: Sequence[str] = (),
    sizes: Mapping[str, Sequence[int]] | None = None,
    **graph: Any,
) -> Frozen:
    """Write a model to one file that runs without its source and without a compiler.

    The file holds the graph that :func:`tilegrad.onnx.export` makes of it (and compares with it), its weights, and
    the machine code of every kernel that runs of the graph ask for: on the example, and on other sizes of each
    dynamic dimension. :func:`tilegrad.load_frozen` reads it.

    Args:
        model: a module, frozen in eval mode, or a function of tensors.
        example: its arguments, as for :func:`tilegrad.onnx.export`.
        path: of the file.
        cpu: the levels of x86-64 to compile for, of ``x86-64-v3`` (AVX2) and ``x86-64-v4`` (AVX-512); this processor
            need not have them.
        cuda: the architectures of GPUs to compile for, of ``sm_75``, ``sm_80``, ``sm_90`` and ``sm_100``; no GPU is
            needed here, the packages of ``tilegrad[cuda]`` are.
        sizes: by name of a dynamic dimension, the sizes to have kernels for; by default a choice up to 256.
        graph: arguments of :func:`tilegrad.onnx.export`: ``input_names``, ``output_names``, ``dynamic_axes``,
            ``dynamic_shapes``, ``opset_version``, ``kwargs``, ``training``, ``verify``, ``tolerance``.

    Returns:
        What the file says of itself: size, fingerprint, numbers of kernels.

    Raises:
        OnnxExporterError: the model cannot become a graph, or the graph gives other values.
        ValueError: a level, an architecture or a dimension is unknown.
        RuntimeError: a kernel cannot be compiled.
        OSError: the file cannot be written.
    """
    _refuse(model, cpu, cuda, graph)
    from tilegrad.onnx.exporting import export, tensors_in

    proto = export(model, example, None, **graph).model_proto
    given = (example if isinstance(example, tuple) else (example,), dict(graph.get("kwargs") or {}))
    trials = _trials(proto.graph, list(tensors_in(given)), sizes)
    about: dict[str, Any] = {
        "versions": versions(),
        "inputs": [i.name for i in proto.graph.input],
        "outputs": [o.name for o in proto.graph.output],
        "kernels": {},
        "cuda": backend.versions() if cuda else "",
        "producer": f"Python {sys.version.split()[0]}",
    }
    sections = {GRAPH: proto.SerializeToString()}
    sections |= _compiled(
        about, sections, trials, [CPU + n for n in cpu] + [CUDA + n for n in cuda]
    )
    with replacing(Path(path)) as file:
        for piece in packed(about, sections):
            file.write(piece)
    return read_frozen(path)


def _refuse(model: Any, cpu: Sequence[str], cuda: Sequence[str], graph: dict[str, Any]) -> None:
    """Wrong arguments of :func:`freeze`."""
    if not callable(model):
        raise TypeError(
            f"freeze: argument 'model' must be a module or function, not {type(model).__name__}"
        )
    for what, known, given in (("cpu", LEVELS, cpu), ("cuda", ARCHS, cuda)):
        for name in given:
            if name not in known:
                raise ValueError(f"freeze: {what} must be of {', '.join(known)}; got {name!r}")
    for name in graph:
        if name not in _GRAPH_OPTIONS:
            raise TypeError(f"freeze: got an unexpected argument {name!r}")


def _compiled(
    about: dict[str, Any],
    bare: dict[str, bytes],
    trials: list[tuple[Trial, bool]],
    targets: Sequence[str],
) -> dict[str, bytes]:
    """The sections ``targets`` of kernels; their numbers go to ``about``."""
    made = {}
    with tempfile.TemporaryDirectory(prefix="tilegrad-freeze-") as name:
        folder = Path(name)
        (folder / "bare").write_bytes(b"".join(packed(about, bare)))
        for number, (trial, must) in enumerate(trials):
            kept = {"inputs": [x.detach().contiguous() for x in trial], "must": must}
            save(kept, folder / f"{number}.safetensors")
        for section in targets:
            name = section.partition("/")[2]
            codes = _kernels(folder, section)
            about["kernels"][name] = len([n for n in codes if not n.startswith(CALLS)])
            made[section] = bundle.packed(name, codes)
    return made


def _trials(
    graph: Any, examples: list[Tensor], sizes: Mapping[str, Sequence[int]] | None
) -> list[tuple[Trial, bool]]:
    """(inputs, whether they must run): the example, then other sizes of each dynamic dimension and of all."""
    dims = [
        {k: d.dim_param for k, d in enumerate(i.type.tensor_type.shape.dim) if d.dim_param}
        for i in graph.input
    ]
    names = sorted({n for found in dims for n in found.values()})
    for name in sizes or {}:
        if name not in names:
            raise ValueError(f"freeze: sizes names {name!r}; dynamic dimensions are {names}")
    made = [(examples, True)]
    for chosen, must in _choices(names, sizes):
        moved = [{k: chosen[n] for k, n in d.items() if n in chosen} for d in dims]
        elements = 0
        for x, by in zip(examples, moved, strict=True):
            count = 1
            for k, size in enumerate(x.shape):
                count *= by.get(k, size)
            elements += count
        if must or elements <= MOST_ELEMENTS:
            made.append(([resized(x, by) for x, by in zip(examples, moved, strict=True)], must))
    return made


def _choices(
    names: list[str], sizes: Mapping[str, Sequence[int]] | None
) -> Iterator[tuple[dict[str, int], bool]]:
    if sizes is not None:
        for values in itertools.product(*sizes.values()):
            yield dict(zip(sizes, values, strict=True)), True
        return
    for size in SIZES if names else ():
        yield dict.fromkeys(names, size), False
        if len(names) > 1:
            for name in names:
                yield {name: size}, False


def _kernels(folder: Path, section: str) -> dict[str, bytes]:
    """The kernels of a level, by the names that the cache has for them: what a process of its
    own asks for, which has planned nothing yet.
    """
    kind, _, name = section.partition("/")
    environment = {
        **os.environ, "TILEGRAD_QUIET": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }  # fmt: skip
    environment.pop("TILEGRAD_COMPILE", None)
    environment.pop("TILEGRAD_SIMD_BITS", None)
    command = [sys.executable, "-m", "tilegrad.frozen.worker", str(folder)]
    if kind + "/" == CPU:
        environment["TILEGRAD_TARGET"] = name
    else:
        environment.pop("TILEGRAD_TARGET", None)
        command.append(name)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise RuntimeError(f"freeze: the kernels for {name} cannot be compiled: {last}")
    try:
        return bundle.collected(name, json.loads((folder / "used.json").read_text()))
    except FileNotFoundError as error:
        raise RuntimeError(f"freeze: {error}") from None
