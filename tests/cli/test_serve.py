"""`tilegrad serve`: which models and options it takes, and what it says of others."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import tilegrad
from tests.serve.process import COMMAND, ENVIRONMENT, examples, serving, write_classifier
from tilegrad import nn
from tilegrad.__main__ import main
from tilegrad.cli import serve as command
from tilegrad.cli.arguments import parse
from tilegrad.cli.failure import Failure
from tilegrad.data.serialization import save
from tilegrad.serve.server import listen


@pytest.fixture(autouse=True)
def same_threads():
    before = tilegrad.get_num_threads()
    yield
    tilegrad.set_num_threads(before)


def network() -> nn.Module:
    tilegrad.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5)).eval()


def exported(path: Path, **options: object) -> str:
    names = {"input_names": ["picture"], "output_names": ["scores"]}
    image = tilegrad.from_numpy(examples(2))
    tilegrad.onnx.export(network(), (image,), str(path), **names, **options)
    return str(path)


def ask(port: int, inputs: object) -> dict[str, object]:
    body = json.dumps({"inputs": inputs}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return dict(json.load(answer))


def test_a_frozen_file_is_read(tmp_path: Path) -> None:
    path, images = tmp_path / "net.frozen", examples(3)
    axes = {"picture": {0: "n"}}
    tilegrad.freeze(
        network(),
        tilegrad.from_numpy(examples(2)),
        path,
        input_names=["picture"],
        dynamic_axes=axes,
    )
    model = command.read_model(parse(["serve", str(path), "--softmax"]))
    right = network()(tilegrad.from_numpy(images)).softmax(1).detach().numpy()
    np.testing.assert_allclose(model([images])["probabilities"], right, atol=1e-5)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Failure, match="net.frozen"):
        command.read_model(parse(["serve", str(path)]))


def test_an_onnx_file_is_served(tmp_path: Path) -> None:
    path = exported(tmp_path / "net.onnx", dynamic_axes={"picture": {0: "n"}, "scores": {0: "n"}})
    images = examples(3)
    scores = network()(tilegrad.from_numpy(images)).detach()
    with serving(Path(path)) as (_, port):
        found = ask(port, images.tolist())
    np.testing.assert_allclose(found["outputs"]["scores"], scores.numpy(), atol=1e-5)
    model = command.read_model(parse(["serve", path, "--softmax"]))
    np.testing.assert_allclose(
        model([images])["probabilities"], scores.softmax(1).numpy(), atol=1e-5
    )
    fixed = command.read_model(parse(["serve", exported(tmp_path / "fixed.onnx")]))
    assert fixed.batch == 2 and fixed.inputs[0].shape == (1, 8, 8)


def test_open_sizes_are_given_by_hand(tmp_path: Path) -> None:
    free = {"picture": {0: "n", 2: "h"}, "out": {0: "n"}}
    path = str(tmp_path / "free.onnx")
    tilegrad.onnx.export(
        nn.AdaptiveAvgPool2d(1), (tilegrad.ones(2, 1, 6, 8),), path, input_names=["picture"],
        output_names=["out"], dynamic_axes=free,
    )  # fmt: skip

    def read(*options: str) -> tuple[int, ...]:
        return tuple(command.read_model(parse(["serve", path, *options])).inputs[0].shape)

    assert read("--shape", "picture=1,6,8") == read("--shape", "1,6,8") == (1, 6, 8)
    for options, says in (
        ((), r"picture has open sizes \(1, \?, 8\): give them by --shape picture="),
        (("--shape", "1,6,9"), r"sizes must fit \(1, \?, 8\)"),
        (("--shape", "1,6"), "must fit"),
        (("--shape", "1,6,8", "--shape", "image=1"), "the model's inputs are picture; got image"),
    ):  # fmt: skip
        with pytest.raises(Failure, match=says):
            read(*options)


def test_errors_are_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    good = str(write_classifier(tmp_path))
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "text.safetensors").write_text("no model")
    other = tmp_path / "other.safetensors"
    save({"w": tilegrad.ones(2)}, other)
    with listen("127.0.0.1", 0) as bound:
        bound.listen()
        for words, says in (
            ((tmp_path / "none.safetensors",), "No such file"),
            ((tmp_path / "none.onnx",), "No such file"),
            ((tmp_path / "text.onnx",), "is no ONNX model"),
            ((tmp_path / "text.safetensors",), "text.safetensors"),
            ((other,), "not a model written by tilegrad train"),
            ((tmp_path,), "directory"),
            ((good, "--port", bound.getsockname()[1]), "already in use"),
            ((good, "--host", "no.such.host.invalid"), "no.such.host.invalid:8000"),
            ((good, "--host", "192.0.2.1", "--port", "0"), "192.0.2.1"),
            ((good, "--port", 0, "--max-wait", 20000), "max_wait less"),
            ((good, "--port", 0, "--shape", "1,8,8"), "--shape is of graphs"),
            ((good, "--port", 0, "--max-body", 1e-9), "max_body must be a positive"),
        ):  # fmt: skip
            port = () if "--port" in words or "--host" in words else ("--port", 0)
            assert main(["serve", *map(str, (*words, *port))]) == 2, words
            out, err = capsys.readouterr()
            assert out == "" and err.startswith("tilegrad serve: error: ") and err.count("\n") == 1
            assert says in err
    for words in (
        ("--port", "70000"),
        ("--queue", "0"),
        ("--max-wait", "x"),
        ("--timeout", "-1"),
        ("--shape", "a=0"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["serve", good, *words])
        assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    """In a process of its own, where starlette is none."""
    path = write_classifier(tmp_path)
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError(name='starlette')")
    places = f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}"
    done = subprocess.run(
        [*COMMAND, str(path)], env={**ENVIRONMENT, "PYTHONPATH": places}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    wanted = "tilegrad serve: error: tilegrad.serve needs the package starlette: pip install 'tilegrad[serve]'\n"
    assert (done.returncode, done.stderr) == (2, wanted)
