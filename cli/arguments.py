"""The arguments of the `tilegrad` command."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from typing import Any

from tilegrad.bench.arguments import Parser
from tilegrad.engine.device import device as as_device

_ARCHS = ("sm_75", "sm_80", "sm_90", "sm_100")


def _whole(least: int, most: int = 1 << 31) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number; got {text!r}") from None
        if not least <= value < most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most - 1}; got {text}")
        return value

    return read


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number; got {text!r}") from None
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"must be positive and finite; got {text}")
    return value


def _device(text: str) -> str:
    try:
        return str(as_device(text))
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments, with ``command`` and the function ``run`` that carries it out.

    Raises:
        SystemExit: after --help and --version (0), or one line about a wrong argument (2).
    """
    parser = Parser(prog="tilegrad", description="Train and use small image classifiers.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="command", parser_class=Parser
    )
    _add_train(commands)
    _add_predict(commands)
    _add_export(commands)
    _add_serve(commands)
    _add_inspect(commands)
    _add_warmup(commands)
    commands.add_parser("bench", help="measure: beside NumPy, PyTorch and CuPy, on CPU and GPU")
    commands.add_parser(
        "run", help="run a PyTorch script, unchanged: tilegrad run script.py [args]"
    )
    info = commands.add_parser("info", help="versions, threads, kernel cache and devices")
    info.set_defaults(run=_info)
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["bench"]:  # it has commands of its own, whose arguments load with them
        return argparse.Namespace(command="bench", words=words[1:], run=_bench)
    if words[:1] == ["run"]:  # the rest is the script's
        return argparse.Namespace(command="run", words=words[1:], run=_run)
    return parser.parse_args(words)


def _run(arguments: argparse.Namespace) -> int:
    from tilegrad.cli.run import run

    return run(arguments)


def _version() -> str:
    from tilegrad import _release

    return f"tilegrad {_release}"


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a convolutional network on handwritten digits",
        description="Train a convolutional network on scikit-learn's 1797 handwritten digits "
        "(360 of them held out), or on images in the format of MNIST, and write the model, "
        "a checkpoint, metrics.json and learning_curve.png.",
    )
    option = train.add_argument
    option("--data", metavar="DIR", help="IDX files named as MNIST's, plain or gzipped")
    option("--out", metavar="DIR", default="runs/digits", help="where results go (%(default)s)")
    option("--epochs", type=_whole(1), default=12, help="passes over the images (%(default)s)")
    # the following are None unless given, so that --resume can tell; see train.DEFAULTS
    option("--batch-size", type=_whole(1), help="images a step (64)")
    option("--lr", type=_positive, help="learning rate of the first epoch (0.003)")
    option("--seed", type=_whole(0, 1 << 63), help="of every random choice (0)")
    option("--device", type=_device, default="cpu", help="where to compute (%(default)s)")
    option("--threads", type=_whole(1, 1025), help="threads of a kernel (half of the cores)")
    option(
        "--workers", type=_whole(0, 257), default=2, help="processes that load images (%(default)s)"
    )
    option("--resume", action="store_true", help="go on from the checkpoint in --out")
    train.set_defaults(run=_train)


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser(
        "predict",
        help="classify images",
        description="Classify images (bright on dark, as in the training data) with a saved model.",
    )
    predict.add_argument("model", help="model.safetensors written by tilegrad train")
    predict.add_argument("image", nargs="+", help="image file of the model's size")
    predict.add_argument("--device", type=_device, default="cpu", help="where to compute")
    predict.set_defaults(run=_predict)


def _add_export(commands: Any) -> None:
    export = commands.add_parser(
        "export",
        help="write a model as an ONNX file",
        description="Write a saved model as an ONNX file, for any number of images at a time. It is run, and "
        "compared with the model at two batch sizes, before the command ends.",
    )
    export.add_argument("model", help="model.safetensors written by tilegrad train")
    export.add_argument("file", help="the ONNX file to write")
    export.set_defaults(run=_export)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"must be NAME=N,N with positive sizes; got {text!r}")
    return name, shape


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser(
        "serve",
        help="answer predictions over HTTP",
        description="Answer predictions over HTTP: POST /predict takes JSON, raw elements, PNG and JPEG; / is a page to "
        "draw on, /model says what the model takes, /health and /metrics are for who watches it.",
    )
    option = serve.add_argument
    option("model", help="model.safetensors written by tilegrad train, or an ONNX file")
    option("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 is all (%(default)s)")
    option("--port", type=_whole(0, 1 << 16), default=8000, help="0 takes a free one (%(default)s)")
    option("--device", type=_device, default="cpu", help="where to compute (%(default)s)")
    option("--threads", type=_whole(1, 1025), help="threads of a kernel (half of the cores)")
    option(
        "--softmax",
        action="store_true",
        help="an ONNX model's output is scores: answer probabilities",
    )
    option("--shape", type=_shape, action="append", default=[], metavar="NAME=N,N",
           help="an example of an ONNX model's input, where the file leaves sizes open")  # fmt: skip
    option(
        "--max-batch",
        type=_whole(1, 65537),
        default=64,
        help="examples that are computed at once (%(default)s)",
    )
    option(
        "--max-wait",
        type=_positive,
        default=2.0,
        metavar="MS",
        help="that an example waits for others (%(default)s)",
    )
    option(
        "--queue",
        type=_whole(1),
        default=1024,
        help="examples that wait; beyond is 429 (%(default)s)",
    )
    option(
        "--max-body", type=_positive, default=4.0, metavar="MIB", help="of a request (%(default)s)"
    )
    option(
        "--timeout", type=_positive, default=10.0, metavar="S", help="of a request (%(default)s)"
    )
    option(
        "--connections",
        type=_whole(1, 1 << 20),
        default=1000,
        help="open at once; beyond is 503 (%(default)s)",
    )
    serve.set_defaults(run=_serve)


def _add_inspect(commands: Any) -> None:
    shown = commands.add_parser(
        "inspect",
        help="show the kernels behind an op, with no GPU",
        description="Show the kernels that an op launches: Python source, grid, registers, shared "
        "memory, occupancy, bytes and operations; on request machine code. Nothing runs on a GPU.",
    )
    option = shown.add_argument
    option("op", help="a name of the library (exp, matmul, softmax, conv2d, …), or package.module:name of an op "
           "of your own")  # fmt: skip
    option("--device", choices=("cuda", "cpu"), default="cuda", help="whose kernels (%(default)s)")
    option("--arch", choices=_ARCHS, default="sm_90", help="architecture of the GPU (%(default)s)")
    option("--shape", nargs="+", default=[], metavar="N,N", help="of each tensor, 64,10:int64 with a "
           "dtype of its own (1024,1024)")  # fmt: skip
    option("--dtype", default="float32", help="of the tensors (%(default)s)")
    option("--arg", action="append", default=[], metavar="NAME=VALUE", help="another argument")
    option("--backward", action="store_true", help="the backward pass too")
    option("--ptx", action="store_true", help="print PTX")
    option("--sass", action="store_true", help="print the GPU's instructions")
    option("--asm", action="store_true", help="print the CPU's instructions")
    shown.set_defaults(run=_inspect)


def _add_warmup(commands: Any) -> None:
    warmed = commands.add_parser(
        "warmup",
        help="compile kernels ahead",
        description="Compile the kernels of ops, forward and backward, and keep them on disk, so that "
        "no later process waits for them. Operands are contiguous and of common shapes; an op on "
        "others may still compile a kernel when it first meets them.",
    )
    option = warmed.add_argument
    option("names", nargs="*", metavar="NAME", help="ops (exp, matmul, conv2d, …), optimizers (SGD, Adam, "
           "AdamW) or digits (what train and predict use); without any, those of everyday training")  # fmt: skip
    option("--device", choices=("cpu", "cuda"), default="cpu", help="whose kernels (%(default)s)")
    option("--arch", choices=_ARCHS, default="sm_90", help="architecture of the GPU (%(default)s)")
    option("--dtype", choices=("float32", "float64"), default="float32", help="(%(default)s)")
    option("--target", choices=("x86-64-v3", "x86-64-v4"), help="level of x86-64 to compile for, instead of "
           "this processor")  # fmt: skip
    option("--bundle", metavar="FILE", help="write the kernels to one file, as wheels carry them")
    option("--worker", action="store_true", help=argparse.SUPPRESS)
    warmed.set_defaults(run=_warmup)


def _warmup(arguments: argparse.Namespace) -> None:
    from tilegrad.cli.warmup import run

    run(arguments)


def _inspect(arguments: argparse.Namespace) -> None:
    from tilegrad.cli.inspect import run

    run(arguments)


def _train(arguments: argparse.Namespace) -> None:
    from tilegrad.cli.train import run

    run(arguments)


def _export(arguments: argparse.Namespace) -> None:
    from tilegrad.cli.export import run

    run(arguments)


def _predict(arguments: argparse.Namespace) -> None:
    from tilegrad.cli.predict import run

    run(arguments)


def _serve(arguments: argparse.Namespace) -> None:
    from tilegrad.cli.serve import run

    run(arguments)


def _bench(arguments: argparse.Namespace) -> int:
    from tilegrad.bench.arguments import main

    return main(arguments.words)


def _info(arguments: argparse.Namespace) -> None:
    from tilegrad.cli.info import run

    run(arguments)
