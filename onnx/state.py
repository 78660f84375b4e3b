"""Whether a program is being exported, which models may ask at any time."""

from __future__ import annotations

exporting = [0]  # exports under way


def is_in_onnx_export() -> bool:
    """Whether :func:`tilegrad.onnx.export` is running the program."""
    return exporting[0] > 0
