"""What exporting and loading raise: each message is one clear line."""

from __future__ import annotations


class OnnxExporterError(RuntimeError):
    """A program that cannot become a graph; PyTorch's name."""


class UnsupportedOperatorError(OnnxExporterError):
    """The program uses an op that ONNX cannot express; PyTorch's name."""


class MismatchError(OnnxExporterError):
    """The exported graph gives other values than the program."""


class LoadError(ValueError):
    """A file that is no model, is not to be trusted, or that needs what tilegrad lacks."""
