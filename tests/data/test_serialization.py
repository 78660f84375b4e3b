from __future__ import annotations

import io
import json
import os
import pickle
import stat
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings, strategies as st

import tilegrad
from tilegrad import nn, optim
from tilegrad.data import serialization
from tilegrad.data.serialization import load, load_metadata, save
from tilegrad.engine.memory import memory_stats, reset_peak_memory_stats

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")


def state(rng):
    made = {
        f"layer.{name}": tilegrad.from_numpy((rng.standard_normal((3, 5)) * 50).astype(name))
        for name in DTYPES
    }
    made["zero-dim"] = tilegrad.tensor(2.5)
    made["empty"] = tilegrad.zeros(0, 3)
    made["ünïcödé\n"] = tilegrad.arange(7)
    return made


def same(a, b):
    if isinstance(a, tilegrad.Tensor):
        assert a.dtype is b.dtype
        assert tuple(a.shape) == tuple(b.shape)
        np.testing.assert_array_equal(a.detach().numpy(), b.numpy())
    elif isinstance(a, dict):
        assert list(a) == list(b)
        assert [type(k) for k in a] == [type(k) for k in b]
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert type(a) is type(b)
        assert a == b or (a != a and b != b)


def test_a_state_dict_round_trips_and_others_can_read_it(rng, tmp_path):
    path = tmp_path / "model.safetensors"
    original = state(rng)
    save(original, path)
    back = load(path)
    same(original, back)
    assert all(t.address % 64 == 0 for t in back.values())
    for reader in (safetensors.numpy, safetensors.torch):
        theirs = reader.load_file(path)
        assert set(theirs) == set(original)
        for name, value in theirs.items():
            np.testing.assert_array_equal(np.asarray(value), original[name].numpy())
            assert str(value.dtype).removeprefix("torch.") == original[name].dtype.name


def test_files_of_others_can_be_read(rng, tmp_path):
    path = tmp_path / "theirs.safetensors"
    arrays = {name: t.numpy() for name, t in state(rng).items()}
    safetensors.numpy.save_file(arrays, path, metadata={"format": "pt"})
    back = load(str(path))
    assert set(back) == set(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(back[name].numpy(), value)
    assert load_metadata(path) == {"format": "pt"}
    weights = {"w": torch.randn(4, 3), "n": torch.tensor(3)}
    safetensors.torch.save_file(weights, path)
    np.testing.assert_array_equal(load(path)["w"].numpy(), weights["w"].numpy())


def test_nested_values_round_trip(rng, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    value = {
        "model": state(rng),
        "optimizer": {
            "state": {0: {"step": tilegrad.tensor(3.0), "exp_avg": tilegrad.ones(2, 2)}, 1: {}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0, 1], "fused": None}],
        },
        "numbers": [0, -(1 << 70), 0.1, float("inf"), float("-inf"), float("nan"), True, False],
        "model.layer": {"bool": tilegrad.tensor([1])},  # the path of another tensor
        "": (),
        "keys": {None: 1, True: 2, 2: 3, 2.5: 4, "2": 5, float("inf"): 6},
        "__metadata__": tilegrad.tensor([4]),
    }
    save(value, path)
    same(value, load(path))
    for single in (tilegrad.ones(2), 5, "text", None, [], {}, {"__metadata__": tilegrad.ones(1)}):
        save(single, path)
        same(single, load(path))


def test_tensors_that_are_the_same_stay_so(tmp_path):
    path = tmp_path / "tied.safetensors"
    weight = tilegrad.arange(6, dtype=tilegrad.float32)
    save({"encoder": weight, "decoder": weight.detach(), "other": weight.clone()}, path)
    back = load(path)
    assert back["encoder"] is back["decoder"]
    assert back["encoder"] is not back["other"]
    assert set(safetensors.numpy.load_file(path)) == {"encoder", "decoder", "other"}
    save([weight, {"a": weight}], path)
    back = load(path)
    assert back[0] is back[1]["a"]
    assert len(safetensors.numpy.load_file(path)) == 1


def test_views_are_stored_compactly(tmp_path):
    path = tmp_path / "views.safetensors"
    base = tilegrad.arange(100_000).reshape(1000, 100)
    views = {"row": base[3], "column": base[:, 5], "t": base[:3, :4].t(), "one": base[7:8, 2:3]}
    save(views, path)
    same(views, load(path))
    assert path.stat().st_size < 10_000
    save({"expanded": tilegrad.ones(1).expand(50)}, path)
    assert load(path)["expanded"].tolist() == [1.0] * 50


def test_gradients_are_not_stored(tmp_path):
    path = tmp_path / "p.safetensors"
    save({"w": tilegrad.ones(2, requires_grad=True)}, path)
    assert not load(path)["w"].requires_grad


def test_file_objects_and_metadata(rng):
    file = io.BytesIO()
    original = state(rng)
    save(original, file, metadata={"kind": "test"})
    same(original, load(file))
    assert load_metadata(file) == {"kind": "test"}
    with pytest.raises(ValueError, match="reserved"):
        save({}, io.BytesIO(), metadata={serialization.VERSION: "9"})


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save({"w": tilegrad.ones(3)}, path)
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()
    path.chmod(0o640)

    def fails(*args):
        raise OSError("no space")

    monkeypatch.setattr(serialization.os, "fsync", fails)
    with pytest.raises(OSError, match="no space"):
        save({"w": tilegrad.zeros(3)}, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]
    link = tmp_path / "link"
    link.symlink_to(path)
    save({"w": tilegrad.zeros(3)}, link)
    assert link.is_symlink()
    assert load(path)["w"].tolist() == [0.0] * 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    "value, text",
    [
        ({"a": [np.ones(3)]}, "got ndarray at a.0"),
        ({"f": print}, "got builtin_function_or_method at f"),
        ({"a": {1, 2}}, "got set at a"),
        ({(1, 2): 3}, "keys must be"),
        ([b"bytes"], "got bytes at 0"),
    ],
)
def test_what_cannot_be_stored(value, text, tmp_path):
    path = tmp_path / "x"
    with pytest.raises(TypeError, match=text):
        save(value, path)
    assert not path.exists()


def test_cycles_and_missing_places(tmp_path):
    cycle: list = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="in itself"):
        save(cycle, tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        save({}, tmp_path / "none" / "x")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    with pytest.raises(IsADirectoryError):
        save({}, tmp_path)
    assert os.listdir(tmp_path) == []
    with pytest.raises(RuntimeError, match="cuda"):
        load(tmp_path / "none", map_location="cuda:99")


# ------------------------------------------------------------------------------- damaged files


def container(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


EIGHT = bytes(8)
STRUCTURE, VERSION = serialization.STRUCTURE, serialization.VERSION


def structured(text, version="1"):
    return container({"__metadata__": {STRUCTURE: text, VERSION: version}, "t": entry()}, EIGHT)


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("executed",))


DAMAGED = {
    "empty": b"",
    "short": b"\x01\x00",
    "no header": struct.pack("<Q", 0),
    "header beyond the end": container(b"{}", length=3),
    "huge header": container(b"{}", length=1 << 63),
    "pickle": pickle.dumps(Evil()),
    "zip": b"PK\x03\x04" + bytes(100),
    "text": b"hello, this is a text file",
    "not utf-8": container(b"{\xff\xfe}"),
    "not json": container(b"{'a': 1}"),
    "list": container(b"[]"),
    "number": container(b"12"),
    "trailing text": container(b"{} x"),
    "deep": container(b'{"a":' + b"[" * 100_000),
    "long number": container(b'{"a":' + b"9" * 10_000 + b"}"),
    "nan": container(b'{"a": NaN}'),
    "no fields": container({"a": {}}),
    "string entry": container({"a": "F32"}),
    "dtype": container({"a": entry("F31")}, EIGHT),
    "dtype list": container({"a": entry(["F32"])}, EIGHT),
    "negative shape": container({"a": entry(shape=(-2, -1))}, EIGHT),
    "float shape": container({"a": entry(shape=(2.0,))}, EIGHT),
    "bool shape": container({"a": entry(shape=(True, 2))}, EIGHT),
    "overflowing shape": container({"a": entry(shape=(1 << 62, 4, 1 << 62))}, EIGHT),
    "empty but overflowing": container({"a": entry(shape=(0, 1 << 62, 8), offsets=(0, 0))}),
    "many dimensions": container({"a": entry(shape=(1,) * 65 + (2,))}, EIGHT),
    "wrong size": container({"a": entry(shape=(3,))}, EIGHT),
    "reversed offsets": container({"a": entry(offsets=(8, 0))}, EIGHT),
    "three offsets": container({"a": entry(offsets=(0, 4, 8))}, EIGHT),
    "beyond the end": container({"a": entry(offsets=(8, 16))}, EIGHT),
    "truncated": container({"a": entry()}, EIGHT[:-1]),
    "extra data": container({"a": entry()}, EIGHT + b"\0"),
    "overlap": container({"a": entry(), "b": entry()}, EIGHT),
    "gap": container({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)),
    "huge tensor": container({"a": entry(shape=(1 << 40,), offsets=(0, 1 << 42))}, EIGHT),
    "metadata list": container({"__metadata__": [1]}),
    "metadata number": container({"__metadata__": {"a": 1}}),
    "bad bool": container({"a": entry("BOOL", (8,))}, b"\2" * 8),
    "structure no json": structured("{"),
    "structure list": structured("[1]"),
    "structure two keys": structured('{"list":[],"tuple":[]}'),
    "structure kind": structured('{"set":[]}'),
    "structure tensor": structured('{"tensor":"u"}'),
    "structure unhashable": structured('{"tensor":["t"]}'),
    "structure float": structured('{"float":"1e5"}'),
    "structure key": structured('{"dict":[[{"list":[]},1]]}'),
    "structure pair": structured('{"dict":[[1]]}'),
    "structure deep": structured('{"list":[' * 200 + "]}" * 200),
    "structure very deep": structured('{"list":[' * 50_000),
    "structure version": structured("1", version="2"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_a_clear_error(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file"
    path.write_bytes(DAMAGED[name])
    for source in (path, io.BytesIO(DAMAGED[name])):
        with pytest.raises(RuntimeError, match="^load: .*file") as caught:
            load(source)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert os.listdir(tmp_path) == ["file"]


def test_what_the_format_tolerates_is_read_as_its_library_does(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff name")
    first, last = json.dumps(entry()).encode(), json.dumps(entry(more=1)).encode()
    path.write_bytes(container(b'{"a":%s,"a":%s}' % (first, last), b"\0\0\x80\x3f" * 2))
    for source in (path, os.fsencode(path)):
        assert {k: t.tolist() for k, t in load(source).items()} == {"a": [1.0, 1.0]}


@pytest.mark.parametrize("name", ["pickle", "zip"])
def test_a_pickle_is_called_one(name):
    with pytest.raises(RuntimeError, match="it looks like a pickle, which is never loaded"):
        load(io.BytesIO(DAMAGED[name]))


UNSUPPORTED = {"BF16": 4, "F16": 4, "F8_E4M3": 8, "U16": 4, "U64": 1}


@pytest.mark.parametrize("code", UNSUPPORTED)
def test_an_unsupported_dtype_is_a_clear_error(code, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(container({"layer.w": entry(code, (UNSUPPORTED[code],))}, EIGHT))
    with pytest.raises(RuntimeError, match=f"^load: .*file.*'layer.w'.*F32.*got {code}$"):
        load(path)


def test_equal_contents_give_equal_files(rng):
    original, files = state(rng), set()
    metadata = {f"é\n{i}": '\x7f\x01"\\' for i in range(5)}
    for _ in range(5):
        file = io.BytesIO()
        save(original, file, metadata=metadata)
        files.add(file.getvalue())
    assert len(files) == 1
    assert load_metadata(file) == metadata
    same(original, load(file))
    length = int.from_bytes(file.getvalue()[:8], "little")
    assert length % 8 == 0  # so that the elements are aligned


def test_too_many_names_for_a_header(tmp_path):
    with pytest.raises(ValueError, match="^save: .*header"):
        save({}, tmp_path / "x", metadata={"a": "x" * 100_000_001})
    assert os.listdir(tmp_path) == []


def _samples():
    file = io.BytesIO()
    save({"a": tilegrad.arange(5), "b": tilegrad.tensor([True]), "c": tilegrad.ones(2, 3)}, file)
    yield file.getvalue()
    file = io.BytesIO()
    save({"s": {0: (tilegrad.ones(2), 1.5, None)}, "g": [{"lr": 0.1, "x": float("nan")}]}, file)
    yield file.getvalue()


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutated_files_never_do_harm(drawn):
    content = bytearray(drawn.draw(st.sampled_from(list(_samples()))))
    for _ in range(drawn.draw(st.integers(1, 4))):
        if not content:
            break
        at = drawn.draw(st.integers(0, len(content) - 1))
        match drawn.draw(st.sampled_from(["flip", "cut", "insert", "repeat"])):
            case "flip":
                content[at] ^= drawn.draw(st.integers(1, 255))
            case "cut":
                del content[at : at + drawn.draw(st.integers(1, 40))]
            case "insert":
                content[at:at] = drawn.draw(st.binary(min_size=1, max_size=16))
            case "repeat":
                content[at:at] = content[at : at + drawn.draw(st.integers(1, 40))]
    try:
        mine = load(io.BytesIO(bytes(content)))
    except RuntimeError:
        return
    # what we accept, the format's own library accepts too, with the same tensors
    theirs = safetensors.numpy.load(bytes(content))
    if isinstance(mine, dict) and all(isinstance(v, tilegrad.Tensor) for v in mine.values()):
        for name, value in theirs.items():
            if name in mine:
                np.testing.assert_array_equal(mine[name].numpy(), value)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_never_do_harm(content):
    with pytest.raises(RuntimeError):
        load(io.BytesIO(content))


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        PLAIN,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(inner, max_size=4).map(tuple)
            | st.dictionaries(st.none() | st.integers() | st.text(), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_any_structure_round_trips(value):
    file = io.BytesIO()
    save(value, file)
    same(value, load(file))


def test_devices_of_what_is_loaded() -> None:
    net = nn.Linear(3, 2).cuda()
    optimizer = optim.Adam(net.parameters())
    for p in net.parameters():
        p.grad = tilegrad.ones_like(p)
    optimizer.step()
    file = io.BytesIO()
    tilegrad.save({"net": net.state_dict(), "optim": optimizer.state_dict(), "at": 3}, file)
    for where in (None, "cpu", "cuda", tilegrad.device("cuda")):
        file.seek(0)
        found = tilegrad.load(file, map_location=where)
        expected = "cuda" if "cuda" in str(where) else "cpu"
        assert {t.device.type for t in found["net"].values()} == {expected}
        twin = nn.Linear(3, 2).cuda()
        twin.load_state_dict(found["net"])
        assert twin.weight.is_cuda and twin.weight.tolist() == net.weight.tolist()
        other = optim.Adam(twin.parameters())
        other.load_state_dict(found["optim"])
        state = other.state[twin.weight]
        assert all(t.is_cuda for t in state.values()) and state["step"].item() == 1
        assert state["exp_avg"].tolist() == optimizer.state[net.weight]["exp_avg"].tolist()


def peak_of(function: Callable[[], Any]) -> int:
    """Bytes of tensors that were there at once during the call, beyond those before it."""
    before = memory_stats()["allocated_bytes"]
    reset_peak_memory_stats()
    function()
    return memory_stats()["peak_allocated_bytes"] - before


def test_saving_copies_no_tensor_as_a_whole(tmp_path: Any) -> None:
    """Nor the file: of an expanded, a transposed and a plain tensor of 32 MB each."""
    tensors = {
        "expanded": tilegrad.arange(2.0).expand(4_000_000, 2),
        "wide": tilegrad.ones(1, 1).expand(2, 4_000_000),
        "turned": tilegrad.rand(2000, 4000).t(),
        "plain": tilegrad.rand(8_000_000),
    }
    tracemalloc.start()
    try:
        assert peak_of(lambda: tilegrad.save(tensors, tmp_path / "tensors")) < 1 << 16
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    for name, have in tilegrad.load(tmp_path / "tensors").items():
        assert tilegrad.equal(have, tensors[name]), name


def test_files_are_the_librarys(tmp_path: Any) -> None:
    """Byte for byte: order, header and padding, for every dtype, empty and 0-d tensors."""
    from safetensors.numpy import save

    names = ("int64", "float64", "float32", "int32", "int16", "int8", "uint8", "bool")
    kinds = {n: getattr(tilegrad, n) for n in names}
    tensors = {
        f'{n}.ü\n"\t{k}': tilegrad.ones(3, k, dtype=d) for k, (n, d) in enumerate(kinds.items())
    }
    tensors |= {f"z{n}": tilegrad.tensor(1, dtype=d) for n, d in kinds.items()}
    tensors["a"] = tilegrad.rand(3, 4).t()
    for metadata in (None, {"k": "é\x01/"}):
        tilegrad.save(dict(sorted(tensors.items())), tmp_path / "f", metadata=metadata)
        hosts = {n: np.ascontiguousarray(t.numpy()) for n, t in tensors.items()}
        hosts |= {n: h.reshape(tensors[n].shape) for n, h in hosts.items()}
        assert (tmp_path / "f").read_bytes() == save(hosts, metadata)
