"""The container of frozen models: every byte counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilegrad.frozen.container import MAGIC, Container, packed
from tilegrad.onnx import LoadError

SECTIONS = {"a": b"first", "b/c": b"", "d": bytes(range(200))}


def write(path: Path) -> bytes:
    data = b"".join(packed({"made": "here"}, SECTIONS))
    path.write_bytes(data)
    return data


def test_sections_come_back(tmp_path: Path) -> None:
    data = write(tmp_path / "x")
    file = Container(tmp_path / "x", None, 1 << 20)
    assert {n: file.section(n) for n in file.sections} == SECTIONS and file.about == {
        "made": "here"
    }
    assert data == write(tmp_path / "y")  # equal contents, equal bytes
    assert (
        Container(tmp_path / "y", file.fingerprint.upper(), 1 << 20).fingerprint == file.fingerprint
    )
    with pytest.raises(LoadError, match="it has no e"):
        file.section("e")


def everything(path: Path) -> None:
    file = Container(path, None, 1 << 20)
    for name in file.sections:
        file.section(name)


def test_any_changed_byte_is_found(tmp_path: Path) -> None:
    data = write(tmp_path / "x")
    for place in range(len(data)):
        bad = bytearray(data)
        bad[place] ^= 1
        (tmp_path / "x").write_bytes(bad)
        with pytest.raises(LoadError, match="^load_frozen: x is "):
            everything(tmp_path / "x")


@pytest.mark.parametrize("size", [0, 5, len(MAGIC), len(MAGIC) + 39, 100, -1])
def test_cut_off(tmp_path: Path, size: int) -> None:
    data = write(tmp_path / "x")
    (tmp_path / "x").write_bytes(data[:size])
    with pytest.raises(LoadError):
        Container(tmp_path / "x", None, 1 << 20)
    (tmp_path / "x").write_bytes(data + b"more")
    with pytest.raises(LoadError, match="bytes where its index asks for"):
        Container(tmp_path / "x", None, 1 << 20)


def test_versions_and_folders(tmp_path: Path) -> None:
    data = write(tmp_path / "x")
    (tmp_path / "x").write_bytes(data.replace(b"frozen 1", b"frozen 2", 1))
    with pytest.raises(LoadError, match="another version of the format"):
        Container(tmp_path / "x", None, 1 << 20)
    with pytest.raises(LoadError, match="is no regular file"):
        Container(tmp_path, None, 1 << 20)
