"""Saving and loading: safetensors files, never pickle.

A dict of tensors is stored under its own keys, as any safetensors library reads it; the metadata
tells the keys' order, and which tensors are the same, where a plain file could not. Any other
nesting of dicts, lists, tuples and plain values stores its tensors under their paths
(``"optimizer.state.0.exp_avg"``) and its structure as JSON in the file's metadata.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.tensor import Tensor
from tilegrad.data import container
from tilegrad.engine.device import device as as_device

STRUCTURE = "tilegrad.structure"  # metadata keys
VERSION = "tilegrad.version"
_DEPTH = 100  # of nesting; more is a cycle, or a file made to exhaust the stack

Target = str | os.PathLike[str] | IO[bytes]


def save(obj: Any, f: Target, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write ``obj`` to ``f`` as a safetensors file.

    A file is written beside its final place and moved there at the end: a reader sees the old one
    or the new one, never a part. Views are stored compactly, as tensors of their own. A tensor that
    occurs twice is one tensor again after loading. ``requires_grad`` is not stored.

    Args:
        obj: a dict of tensors (a ``state_dict()``), or tensors, numbers, strings, bools and None in
            any nesting of dicts, lists and tuples (an optimizer's ``state_dict()``).
        f: a path, or a file opened for writing bytes.
        metadata: further strings for the file's metadata.

    Raises:
        TypeError: ``obj`` holds something else.
        ValueError: it is nested in itself, or more than 100 levels deep, or its names take more
            than the 100 MB of a file's header.
        OSError: the file cannot be written.
    """
    kept = {str(k): str(v) for k, v in (metadata or {}).items()}
    for key in (STRUCTURE, VERSION):
        if key in kept:
            raise ValueError(f"save: metadata key {key!r} is reserved")
    encoder = _Encoder()
    if _is_flat(obj):
        tensors, structure = encoder.flat(obj)
    else:
        structure = _to_json(encoder.encode(obj, "", 0))
        tensors = encoder.tensors
    if structure:
        kept |= {STRUCTURE: structure, VERSION: "1"}
    if hasattr(f, "write"):
        container.write(f, tensors, kept)
        return
    with replacing(Path(f)) as file:
        container.write(file, tensors, kept)


def load(f: Target, map_location: Any = None) -> Any:
    """What :func:`save` wrote; a file of another safetensors writer gives a dict of tensors.

    Nothing in the file is executed, whatever it holds.

    Args:
        f: a path, or a file opened for reading bytes.
        map_location: the device of the tensors; default: the CPU.

    Raises:
        FileNotFoundError, OSError: the file cannot be read.
        RuntimeError: it is not a valid safetensors file, or its structure is damaged.
    """
    where = as_device(map_location)
    found, metadata = container.read(f)
    tensors = {key: tensor_of(array).to(where) for key, array in found.items()}
    text = metadata.get(STRUCTURE)
    if text is None:
        return tensors
    name = container.name_of(f)
    if metadata.get(VERSION) != "1":
        raise RuntimeError(
            f"load: {name}: this version reads structure version 1; got {metadata.get(VERSION)!r}"
        )
    return _decode(_from_json(text, name), tensors, name, 0)


def load_metadata(f: Target) -> dict[str, str]:
    """The strings that a safetensors file carries beside its tensors.

    Raises:
        FileNotFoundError, OSError, RuntimeError: as :func:`load`.
    """
    metadata = container.read_metadata(f)
    return {k: v for k, v in metadata.items() if k not in (STRUCTURE, VERSION)}


# ------------------------------------------------------------------------------------ structure


def _is_flat(obj: Any) -> bool:
    return isinstance(obj, Mapping) and all(
        isinstance(k, str) and k != container.METADATA and isinstance(v, Tensor)
        for k, v in obj.items()
    )


def _identity(t: Tensor) -> tuple[int, int]:
    return t.address, id(t.layout)


class _Encoder:
    """Turns nested values into JSON and collects their tensors by name."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.names: dict[tuple[int, int], str] = {}

    def flat(self, obj: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
        """Every tensor under its own key; a structure only for their order and which are the same."""
        first = {}
        for name, t in obj.items():
            first[name] = self.names.setdefault(_identity(t), name) if t.numel() else name
        if all(name == same for name, same in first.items()) and list(obj) == sorted(obj):
            return dict(obj), ""
        return dict(obj), _to_json({"dict": [[k, {"tensor": same}] for k, same in first.items()]})

    def encode(self, value: Any, path: str, depth: int) -> Any:
        if depth > _DEPTH:
            raise ValueError(f"save: nested more than {_DEPTH} levels deep, or in itself")
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if np.isfinite(value) else {"float": str(float(value))}
        if isinstance(value, Tensor):
            return {"tensor": self._name(value, path)}
        if isinstance(value, Mapping):
            return {"dict": [self._item(k, v, path, depth) for k, v in value.items()]}
        if type(value) is list or isinstance(value, tuple):
            kind = "list" if type(value) is list else "tuple"
            below = [self.encode(v, _join(path, i), depth + 1) for i, v in enumerate(value)]
            return {kind: below}
        raise TypeError(
            f"save: can store tensors, numbers, strings, bools, None, dicts, lists and tuples; "
            f"got {type(value).__qualname__} at {path or 'the top'}"
        )

    def _item(self, key: Any, value: Any, path: str, depth: int) -> list[Any]:
        if not (key is None or isinstance(key, (str, int, float))):
            raise TypeError(
                f"save: dict keys must be strings, numbers, bools or None; "
                f"got {type(key).__qualname__} at {path or 'the top'}"
            )
        name = _join(path, key)
        return [self.encode(key, name, depth), self.encode(value, name, depth + 1)]

    def _name(self, t: Tensor, path: str) -> str:
        known = self.names.get(_identity(t)) if t.numel() else None
        if known is not None:
            return known
        name = wanted = path or "tensor"
        number = 1
        while name in self.tensors or name == container.METADATA:
            number += 1
            name = f"{wanted}#{number}"
        self.tensors[name] = t
        self.names[_identity(t)] = name
        return name


def _to_json(node: Any) -> str:
    return json.dumps(node, separators=(",", ":"))


def _from_json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RuntimeError(f"load: {name}: structure is not JSON") from None


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _decode(node: Any, tensors: dict[str, Any], name: str, depth: int) -> Any:
    if depth > _DEPTH:
        raise RuntimeError(f"load: {name}: structure is nested too deeply")
    if not isinstance(node, dict):
        if isinstance(node, list):
            raise RuntimeError(f"load: {name}: structure is damaged")
        return node
    if len(node) != 1:
        raise RuntimeError(f"load: {name}: structure is damaged")
    ((kind, content),) = node.items()
    if kind == "tensor" and isinstance(content, str) and content in tensors:
        return tensors[content]
    if kind == "float" and content in ("nan", "inf", "-inf"):
        return float(content)
    if kind in ("list", "tuple") and isinstance(content, list):
        items = [_decode(item, tensors, name, depth + 1) for item in content]
        return items if kind == "list" else tuple(items)
    if kind == "dict" and isinstance(content, list):
        return dict([_decode_item(item, tensors, name, depth) for item in content])
    raise RuntimeError(f"load: {name}: structure is damaged at {kind!r}")


def _decode_item(item: Any, tensors: dict[str, Any], name: str, depth: int) -> tuple[Any, Any]:
    if not isinstance(item, list) or len(item) != 2:
        raise RuntimeError(f"load: {name}: structure is damaged")
    key = _decode(item[0], tensors, name, depth + 1)
    if not (key is None or isinstance(key, (str, int, float))):
        raise RuntimeError(f"load: {name}: structure is damaged: a dict key must be plain")
    return key, _decode(item[1], tensors, name, depth + 1)


# ---------------------------------------------------------------------------------------- files


@contextmanager
def replacing(path: Path) -> Any:
    """A new file that takes the place of ``path`` if the block ends well."""
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"save: {path} is a directory")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _mode(path))
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _mode(path: Path) -> int:
    """The permissions of the file to be replaced, or those that a new one gets."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
