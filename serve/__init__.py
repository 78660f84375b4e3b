"""Predictions over HTTP: ``Model`` says what a module takes, ``app`` is the ASGI application, ``run`` serves it;
needs ``tilegrad[serve]``.
"""

if __name__ != "tilegrad.serve":
    raise ImportError("import this package as tilegrad.serve, not as a top-level 'serve'")

try:
    import PIL as _PIL, prometheus_client as _prometheus, starlette as _starlette, uvicorn as _uvicorn  # noqa: E401, F401, I001  # so that what is missing is said once
except ImportError as _error:
    raise ImportError(
        f"tilegrad.serve needs the package {_error.name}: pip install 'tilegrad[serve]'"
    ) from _error

from tilegrad.serve.app import app
from tilegrad.serve.limits import Limits
from tilegrad.serve.model import Input, Model
from tilegrad.serve.server import listen, run

__all__ = ["Input", "Limits", "Model", "app", "listen", "run"]
