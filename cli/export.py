"""`tilegrad export`: a saved model as an ONNX file, for other runtimes."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from tilegrad.autograd.rules.creation import zeros
from tilegrad.cli.failure import Failure
from tilegrad.cli.model import load_classifier


def run(arguments: argparse.Namespace) -> None:
    """Write the model, of any number of images at a time, and say what was compared.

    Raises:
        Failure: the model cannot be read, the file cannot be written, or a package is missing.
    """
    if find_spec("onnx") is None:
        raise Failure("tilegrad export needs onnx: pip install 'tilegrad[onnx]'")
    from tilegrad.onnx.exporting import export

    model = load_classifier(arguments.model)
    example = zeros(2, 1, model.shape.height, model.shape.width)
    try:
        export(
            model, (example,), arguments.file, input_names=["images"], output_names=["scores"],
            dynamic_axes={"images": {0: "batch"}},
        )  # fmt: skip
    except OSError as error:
        raise Failure(f"{arguments.file}: {error.strerror}") from None
    print(
        f"{arguments.file}: images (batch, {', '.join(map(str, example.shape[1:]))}) to scores (batch, "
        f"{model.shape.classes}); run, and equal to the model's, at two batch sizes"
    )
