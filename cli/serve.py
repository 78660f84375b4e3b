"""`tilegrad serve`: predictions of a saved model over HTTP."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tilegrad.cli.failure import Failure
from tilegrad.cli.model import load_classifier
from tilegrad.kernels.cpu.run.threads import get_num_threads, set_num_threads


def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C, and answer what was taken before.

    Raises:
        Failure: a package is missing, the model cannot be read or run, or the address not be used.
    """
    try:
        from tilegrad import serve
        from tilegrad.serve.limits import one_line
    except ImportError as error:
        raise Failure(str(error)) from None
    set_num_threads(arguments.threads or max(1, get_num_threads() // 2))
    try:
        limits = serve.Limits(
            max_batch=arguments.max_batch, max_wait=arguments.max_wait / 1000, queue=arguments.queue,
            max_body=round(arguments.max_body * (1 << 20)), timeout=arguments.timeout,
            connections=arguments.connections,
        )  # fmt: skip
        bound = serve.listen(arguments.host, arguments.port)
    except ValueError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"{arguments.host}:{arguments.port}: {error.strerror or error}") from None
    with bound:
        model = read_model(arguments)
        try:
            app = serve.app(model, limits)
        except ValueError as error:
            raise Failure(f"{arguments.model}: {one_line(str(error))}") from None
        host, port = bound.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        said = f"{model.name} at {address}, until Ctrl-C"
        serve.run(app, bound, lambda: print(said, flush=True))
    print("stopped", file=sys.stderr)


def read_model(arguments: argparse.Namespace) -> Any:
    """The :class:`tilegrad.serve.Model` of a file: of `tilegrad train`, of ONNX, or frozen.

    Raises:
        Failure: it cannot be read, or its inputs are not as a server needs them.
    """
    if Path(arguments.model).suffix.lower() in (".onnx", ".frozen"):
        return _of_graph(arguments)
    from tilegrad.serve import Input, Model

    if arguments.shape:
        raise Failure("--shape is of graphs; this file has its sizes")
    found = load_classifier(arguments.model).to(arguments.device)
    sizes = (1, found.shape.height, found.shape.width)
    return Model(
        found, [Input("image", sizes)], name=Path(arguments.model).name, softmax=True,
        device=arguments.device,
    )  # fmt: skip


def _of_graph(arguments: argparse.Namespace) -> Any:
    from tilegrad.frozen import load_frozen
    from tilegrad.onnx import LoadError, load

    frozen = Path(arguments.model).suffix.lower() == ".frozen"
    try:
        # a server's batches are others than those that were frozen: their kernels may have to be compiled
        found = load_frozen(arguments.model, compile=True) if frozen else load(arguments.model)
        return _graph(found, arguments)
    except LoadError as error:
        raise Failure(f"{arguments.model}: {error}") from None


def _graph(found: Any, arguments: argparse.Namespace) -> Any:
    """The model of a graph, whose inputs have the batch in their first dimension."""
    from tilegrad.serve import Input, Model

    inputs, batches = [], set()
    given = dict(arguments.shape)
    for name, dtype, sizes in found.input_types():
        if dtype is None or not sizes:
            raise Failure(
                f"{arguments.model}: {name} is no tensor with a batch in its first dimension"
            )
        if sizes[0] is not None:
            batches.add(sizes[0])
        shape = _known(name, sizes[1:], given.pop(name if name in given else "", None))
        try:
            inputs.append(Input(name, shape, dtype))
        except ValueError as error:
            raise Failure(f"{arguments.model}: {name}: {error}") from None
    if given:
        raise Failure(
            f"--shape: the model's inputs are {', '.join(found.input_names)}; got {', '.join(given)}"
        )
    if len(batches) > 1:
        raise Failure(f"{arguments.model}: the inputs have different batches: {sorted(batches)}")
    return Model(
        found.to(arguments.device).eval(), inputs, name=Path(arguments.model).name,
        softmax=arguments.softmax, batch=batches.pop() if batches else None,
        outputs=found.output_names, device=arguments.device,
    )  # fmt: skip


def _known(
    name: str, sizes: tuple[int | None, ...], given: tuple[int, ...] | None
) -> tuple[int, ...]:
    """The sizes of an example, of which ``given`` are those that the file leaves open."""
    shown = ", ".join("?" if s is None else str(s) for s in sizes)
    if given is None:
        if None in sizes:
            raise Failure(f"{name} has open sizes ({shown}): give them by --shape {name}=…")
        return tuple(s for s in sizes if s is not None)
    if len(given) != len(sizes) or any(s not in (None, g) for s, g in zip(sizes, given)):
        raise Failure(f"--shape {name}: sizes must fit ({shown}); got {given}")
    return given
