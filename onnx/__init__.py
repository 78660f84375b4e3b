"""Models to and from ONNX: ``export``, which needs ``tilegrad[onnx]``, and ``load``, by PyTorch's names."""

import os
import sys

if __name__ == "onnx":
    # The root of a source tree is on sys.path, where this folder hides ONNX's own package: give way to it. Of
    # two trees there, neither gives way to the other.
    from importlib.machinery import PathFinder

    _ours = os.path.join("onnx", "exporting.py")  # the package of that name has no such module
    _places = [p for p in sys.path if not os.path.exists(os.path.join(p, _ours))]
    _spec = PathFinder.find_spec("onnx", _places)
    if _spec is None or _spec.loader is None or _spec.origin is None:
        raise ImportError("import this package as tilegrad.onnx, not as a top-level 'onnx'")
    __spec__, __file__ = _spec, _spec.origin
    __path__ = list(_spec.submodule_search_locations or ())
    __doc__ = ""
    _spec.loader.exec_module(sys.modules["onnx"])
elif __name__ != "tilegrad.onnx":
    raise ImportError("import this package as tilegrad.onnx, not as a top-level 'onnx'")
else:
    from typing import TYPE_CHECKING

    from tilegrad.onnx.errors import (
        LoadError,
        MismatchError,
        OnnxExporterError,
        UnsupportedOperatorError,
    )
    from tilegrad.onnx.loading import OnnxModel, load
    from tilegrad.onnx.state import is_in_onnx_export

    if TYPE_CHECKING:
        from tilegrad.onnx.exporting import ONNXProgram, TrainingMode, export
    else:

        def __getattr__(name: str) -> object:
            """What writes files needs ONNX's package, and loads with it."""
            if name not in ("ONNXProgram", "TrainingMode", "export"):
                raise AttributeError(f"module 'tilegrad.onnx' has no attribute {name!r}")
            try:
                import onnx as _onnx  # noqa: F401  # so that what is missing is said once
            except ImportError as error:
                raise ImportError(
                    f"tilegrad.onnx.{name} needs the package onnx: pip install 'tilegrad[onnx]'"
                ) from error
            from tilegrad.onnx import exporting

            return getattr(exporting, name)

    __all__ = [
        "LoadError", "MismatchError", "OnnxModel", "ONNXProgram", "OnnxExporterError", "TrainingMode",
        "UnsupportedOperatorError", "export", "is_in_onnx_export", "load",
    ]  # fmt: skip
