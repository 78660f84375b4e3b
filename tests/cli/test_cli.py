from __future__ import annotations

import gzip
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tilegrad
import tilegrad.onnx
from tests.conftest import ROOT
from tilegrad.__main__ import main
from tilegrad.autograd.rules import pointwise
from tilegrad.cli import operands, report, standing
from tilegrad.cli.idx import read_folder
from tilegrad.cli.model import Classifier, Shape, load_classifier
from tilegrad.data.serialization import load, save
from tilegrad.engine.linking import CALLS
from tilegrad.engine.ops.elementwise import OPS

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
         "t10k-labels-idx1-ubyte")  # fmt: skip


def idx(array):
    """The bytes of an IDX file."""
    header = (0x800 + array.ndim).to_bytes(4, "big")
    return header + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def squares(count, seed, size=8):
    """Images of one bright square in one of four corners, and which corner."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 90, (count, size, size)).astype(np.uint8)
    labels = rng.integers(0, 4, count).astype(np.uint8)
    half = size // 2
    for image, label in zip(images, labels, strict=True):
        image[label // 2 * half :][:half, label % 2 * half :][:, :half] += 150
    return images, labels


def write_data(folder, zipped=False, **changes):
    folder.mkdir(exist_ok=True)
    contents = [idx(a) for a in (*squares(150, 0), *squares(40, 1))]
    for name, content in zip(NAMES, contents, strict=True):
        content = changes.get(name.replace("-", "_"), content)
        if content is None:
            continue
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / "data")


@pytest.fixture(autouse=True)
def same_threads():
    before = tilegrad.get_num_threads()
    yield
    tilegrad.set_num_threads(before)


def train(*arguments):
    assert main(["train", *map(str, arguments)]) == 0


def results(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    numbers = [{k: v for k, v in r.items() if k != "seconds"} for r in metrics["history"]]
    states = load(folder / "checkpoint.safetensors")["states"]
    return metrics["test_accuracy"], numbers, (folder / "model.safetensors").read_bytes(), states


def equal(a, b):
    if isinstance(a, tilegrad.Tensor):
        return a.dtype is b.dtype and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def test_the_digits_are_learnt(tmp_path, capsys):
    train("--out", tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["test_count"] == 360
    assert metrics["test_accuracy"] >= 0.985
    assert metrics["test_accuracy"] == metrics["test_correct"] / 360
    assert [r["epoch"] for r in metrics["history"]] == list(range(1, 13))
    assert metrics["versions"]["tilegrad"] == tilegrad.__version__
    assert metrics["args"]["seed"] == 0
    with Image.open(tmp_path / "learning_curve.png") as picture:
        assert picture.size[0] > 1000
        assert len(np.unique(np.asarray(picture.convert("L")))) > 100
    assert f"{metrics['test_accuracy']:.2%}" in capsys.readouterr().out
    check_predictions(tmp_path, capsys)


def check_predictions(folder, capsys):
    from sklearn.datasets import load_digits

    paths = []
    for number, image in enumerate(load_digits().images[:10]):
        paths.append(folder / f"{number}.png")
        Image.fromarray((image / 16 * 255).round().astype(np.uint8)).save(paths[-1])
    assert main(["predict", str(folder / "model.safetensors"), *map(str, paths)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1].split()[0] for line in lines] == [str(n) for n in range(10)]
    for line in lines:
        chances = [float(p.split(":")[1].strip("%) ")) for p in line.split("(")[1].split("  ")]
        # each of ten is rounded to 0.01
        assert abs(sum(chances) - 100) < 0.06


def test_a_model_is_exported(data, tmp_path, capsys):
    train("--data", data, "--out", tmp_path, "--epochs", 1, "--workers", 0)
    model, file = tmp_path / "model.safetensors", tmp_path / "model.onnx"
    capsys.readouterr()
    assert main(["export", str(model), str(file)]) == 0
    assert capsys.readouterr().out.startswith(f"{file}: images (batch, 1, ")
    images = tilegrad.rand(5, 1, 8, 8)
    ours, theirs = load_classifier(str(model))(images), tilegrad.onnx.load(file)(images)
    assert tilegrad.allclose(ours, theirs, atol=1e-5)
    assert "No such file" in refused(capsys, "export", "nowhere.safetensors", file)
    assert "not a model" in refused(capsys, "export", tmp_path / "checkpoint.safetensors", file)
    assert "No such file" in refused(capsys, "export", model, tmp_path / "nowhere" / "model.onnx")


def test_resuming_is_as_if_never_stopped(data, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    common = ("--data", data, "--batch-size", 32, "--seed", 5, "--lr", 0.002)
    train(*common, "--out", whole, "--epochs", 4, "--workers", 1)
    train(*common, "--out", parts, "--epochs", 2, "--workers", 0)
    half = results(parts)
    train("--data", data, "--out", parts, "--epochs", 4, "--workers", 0, "--resume")
    one, two = results(whole), results(parts)
    assert one[0] == two[0]
    assert one[1] == two[1]
    assert one[2] == two[2]
    assert equal(one[3], two[3])
    assert half[1] == one[1][:2]
    assert half[2] != one[2]
    train("--data", data, "--out", parts, "--epochs", 4, "--resume")  # nothing left to do
    assert results(parts)[2] == one[2]


def test_threads_and_seeds(data, tmp_path):
    common = ("--data", data, "--epochs", 1, "--workers", 0)
    for name, more in {
        "one": ("--threads", 1), "two": ("--threads", 2), "other": ("--seed", 1),
    }.items():  # fmt: skip
        train(*common, "--out", tmp_path / name, *more)
    one, two, other = (results(tmp_path / name) for name in ("one", "two", "other"))
    assert one[1] == two[1]
    assert one[2] == two[2]
    assert one[2] != other[2]


def test_training_on_the_simulated_gpu(tmp_path):
    """A step on two images: the loss is the CPU's, and the model file goes on from there."""
    small = [idx(a) for a in (*squares(2, 0), *squares(1, 1))]
    names = [n.replace("-", "_") for n in NAMES]
    folder = write_data(tmp_path / "small", **dict(zip(names, small, strict=True)))
    found = {}
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        command = ["train", "--data", str(folder), "--out", str(out), "--epochs", "1"]
        command += ["--batch-size", "2", "--device", device, "--workers", "0"]
        assert main(command) == 0
        found[device] = json.loads((out / "metrics.json").read_text())
    cpu, cuda = (found[d]["history"][0] for d in ("cpu", "cuda"))
    assert cuda["train_loss"] == pytest.approx(cpu["train_loss"], rel=1e-4)
    assert cuda["test_loss"] == pytest.approx(cpu["test_loss"], rel=1e-3)
    model = load_classifier(tmp_path / "cuda" / "model.safetensors")
    assert all(p.device.type == "cpu" for p in model.parameters())


def test_idx_files(tmp_path):
    plain = read_folder(write_data(tmp_path / "plain"))
    zipped = read_folder(write_data(tmp_path / "zipped", zipped=True))
    for a, b, c in zip(plain, zipped, (*squares(150, 0), *squares(40, 1)), strict=True):
        assert a.dtype == np.uint8
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


IMAGES, LABELS = squares(5, 0)
BROKEN = {
    "missing": ({"train_labels_idx1_ubyte": None}, "no such file"),
    "magic": ({"train_images_idx3_ubyte": idx(LABELS)}, "wrong magic number 0x00000801"),
    "float": ({"train_images_idx3_ubyte": b"\0\0\x0d\x03" + bytes(20)}, "wrong magic number"),
    "empty": ({"train_images_idx3_ubyte": b""}, "truncated: 0 bytes"),
    "truncated": ({"t10k_images_idx3_ubyte": idx(IMAGES)[:-1]}, "truncated: 319 of 320"),
    "longer": ({"t10k_images_idx3_ubyte": idx(IMAGES) + b"x"}, "bytes after"),
    "labels": ({"train_labels_idx1_ubyte": idx(LABELS)}, "5 labels for the 150 images"),
    "size": (
        {"t10k_images_idx3_ubyte": idx(squares(40, 1, 10)[0])},
        "wrong image size: t10k has 10x10, train 8x8",
    ),
    "none": (
        {"train_images_idx3_ubyte": idx(IMAGES[:0]), "train_labels_idx1_ubyte": idx(LABELS[:0])},
        "no images",
    ),
    "label": ({"t10k_labels_idx1_ubyte": idx(np.full(40, 99, np.uint8))}, "label 99"),
    "huge": (
        {"train_images_idx3_ubyte": b"\0\0\x08\x03" + b"\xff" * 12},
        "too many",
    ),
    "tiny": (
        {"train_images_idx3_ubyte": idx(np.zeros((150, 1, 8), np.uint8))},
        "must be at least 2x2",
    ),
}


def refused(capsys, *arguments):
    """The one line that a wrong use gives."""
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("tilegrad")
    assert "error: " in captured.err
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("zipped", [False, True])
def test_wrong_data_is_one_line(name, zipped, tmp_path, capsys):
    changes, text = BROKEN[name]
    folder = write_data(tmp_path / "data", zipped=zipped, **changes)
    assert text in refused(capsys, "train", "--data", folder, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_gzip_is_one_line(tmp_path, capsys):
    folder = write_data(tmp_path / "data", zipped=True)
    path = folder / f"{NAMES[0]}.gz"
    content = path.read_bytes()
    for damaged in (b"no gzip", content[:-20], content[:40] + bytes(40) + content[80:]):
        path.write_bytes(damaged)
        line = refused(capsys, "train", "--data", folder, "--out", tmp_path / "out")
        assert str(path) in line


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--data", "/no/such"], "/no/such: no such folder"),
        (["--epochs", "ten"], "--epochs: must be a whole number; got 'ten'"),
        (["--epochs", "0"], "--epochs: must be from 1"),
        (["--batch-size", "1.5"], "--batch-size: must be a whole number"),
        (["--lr", "fast"], "--lr: must be a number"),
        (["--lr", "-1"], "--lr: must be positive"),
        (["--lr", "nan"], "--lr: must be positive"),
        (["--seed", "-3"], "--seed: must be from 0"),
        (["--threads", "0"], "--threads: must be from 1"),
        (["--workers", "-1"], "--workers: must be from 0"),
        (["--device", "tpu"], "--device: device: must be 'cpu', 'cuda'"),
        (["--device", "cuda:64"], "--device: device: this machine has"),
        (["--no-such-option"], "unrecognized arguments"),
        (["--out", "/dev/null/x"], "/dev/null/x"),
        (["--resume", "--out", "/tmp"], "cannot resume"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, text, capsys):
    assert text in refused(capsys, "train", *arguments)


def test_wrong_commands_are_one_line(capsys):
    assert "required" in refused(capsys)
    assert "invalid choice" in refused(capsys, "fly")
    assert "required" in refused(capsys, "predict", "model")


def test_resuming_with_other_options_is_refused(data, tmp_path, capsys):
    out = tmp_path / "out"
    common = ("--data", data, "--out", out, "--workers", 0)
    train(*common, "--epochs", 1, "--batch-size", 50)
    capsys.readouterr()
    line = refused(capsys, "train", *common, "--resume", "--batch-size", 64)
    assert "was made with --batch-size 50; got 64" in line
    assert "was made with --data" in refused(
        capsys, "train", "--data", write_data(tmp_path / "more"), "--out", out, "--resume"
    )
    path = out / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    assert "not a valid safetensors file" in refused(capsys, "train", *common, "--resume")
    save({"w": tilegrad.ones(1)}, path)
    assert "not a checkpoint" in refused(capsys, "train", *common, "--resume")


def test_wrong_models_and_images_are_one_line(tmp_path, capsys):
    model = Classifier(Shape(8, 8, 10))
    path, image = tmp_path / "model.safetensors", tmp_path / "image.png"
    save(model.state_dict(), path, metadata=model.metadata())
    Image.new("L", (8, 9)).save(image)
    for arguments, text in [
        ((path, image), "wrong image size 9x8, the model takes 8x8"),
        ((path, tmp_path / "none.png"), "No such file"),
        ((path, path), "not an image"),
        ((path, tmp_path), "Is a directory"),
        ((tmp_path / "none", image), "No such file"),
        ((image, image), "not a valid safetensors file"),
    ]:
        assert text in refused(capsys, "predict", *arguments)
    Image.new("L", (8, 8)).save(image)
    image.write_bytes(image.read_bytes()[:45])
    assert "image.png" in refused(capsys, "predict", path, image)
    save(model.state_dict(), path)
    assert "not a model written by" in refused(capsys, "predict", path, image)
    for text in ("{}", "[1]", "{", json.dumps({"height": 8, "width": -1, "classes": 3})):
        save(model.state_dict(), path, metadata={"tilegrad.classifier": text})
        assert "do not fit" in refused(capsys, "predict", path, image)
    other = Classifier(Shape(8, 8, 11))
    save(model.state_dict(), path, metadata=other.metadata())
    assert "do not fit" in refused(capsys, "predict", path, image)


def test_images_of_any_kind(tmp_path):
    from tilegrad.cli.predict import read_image

    values = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    grey = Image.fromarray(values)
    shape = Shape(8, 8, 10)
    for mode in ("L", "RGB", "RGBA"):
        grey.convert(mode).save(tmp_path / "x.png")
        np.testing.assert_allclose(
            read_image(str(tmp_path / "x.png"), shape), values / 255, atol=1e-6
        )
    Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / "x.png")
    np.testing.assert_allclose(read_image(str(tmp_path / "x.png"), shape), values / 255, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (5, 2), (28, 28), (17, 40)])
def test_a_model_is_made_again_from_its_file(size, tmp_path):
    model = Classifier(Shape(*size, 7, (4, 6))).eval()
    path = tmp_path / "model.safetensors"
    save(model.state_dict(), path, metadata=model.metadata())
    again = load_classifier(str(path))
    images = tilegrad.rand(3, 1, *size)
    with tilegrad.no_grad():
        first, second = model(images), again(images)
    assert tuple(first.shape) == (3, 7)
    assert first.tolist() == second.tolist()


def test_many_classes_can_be_drawn(tmp_path):
    history = [
        {"epoch": 1, "train_loss": 1.0, "test_loss": 2.0, "train_accuracy": 0.5, "test_accuracy": 0}
    ]
    report.draw(tmp_path, history, [[0] * 30 for _ in range(30)])
    assert os.listdir(tmp_path) == ["learning_curve.png"]


@pytest.mark.parametrize(
    "command, package, text",
    [
        (["train"], "sklearn", "needs scikit-learn"),
        (["train"], "matplotlib", "needs matplotlib"),
        (["predict", "MODEL", "IMAGE"], "PIL", "needs Pillow"),
    ],
)
def test_a_missing_package_is_one_line(command, package, text, tmp_path, capsys, monkeypatch):
    model = Classifier(Shape(8, 8, 10))
    path = tmp_path / "model.safetensors"
    save(model.state_dict(), path, metadata=model.metadata())
    for name in [n for n in sys.modules if n.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    given = [str(path) if a == "MODEL" else a for a in command]
    line = refused(capsys, *given)
    assert text in line
    assert "pip install 'tilegrad[train]'" in line


def test_info(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for word in ("tilegrad", "numba", "devices", "threads", "kernel cache", str(np.__version__)):
        assert word in out


def in_new_process(folder, source):
    """What ``source`` prints, with kernels kept in ``folder``."""
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        env={**os.environ, "TILEGRAD_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT / ".dev")},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


USES_OF_WARMED_OPS = """
import tilegrad
import tilegrad.onnx
from tilegrad import nn, optim
from tilegrad.kernels.cache import compile_log
x = nn.Parameter(tilegrad.rand(70, 33))
optimizer = optim.SGD([x], lr=0.1, momentum=0.9)
for _ in range(2):
    optimizer.zero_grad()
    (tilegrad.softmax(nn.functional.gelu(x) + tilegrad.rand(33), 1) + 1.0).sum().backward()
    optimizer.step()
print(len(compile_log), [name for name, _, cached in compile_log if not cached])
"""


def kernels_in(cache: Path) -> list[Path]:
    return [path for path in cache.glob("*.o") if not path.name.startswith(CALLS)]


def test_after_a_warmup_nothing_is_compiled(tmp_path):
    warm = (
        "from tilegrad.__main__ import main; import sys\n"
        "sys.exit(main(['warmup', 'gelu', 'softmax', 'add', 'sum', 'rand', 'SGD']))"
    )
    out = in_new_process(tmp_path, warm)
    count = int(out.split()[0])
    assert count == len(kernels_in(tmp_path)) > 5
    assert f" compiled, 0 found in {tmp_path}" in out
    assert in_new_process(tmp_path, warm).startswith(f"0 kernels compiled, {count} found")
    used, compiled = in_new_process(tmp_path, USES_OF_WARMED_OPS).split(maxsplit=1)
    assert int(used) > 5
    assert compiled.strip() == "[]"


def test_a_warmup_uses_all_processors(tmp_path):
    count = """if True:
        import os, subprocess, sys
        os.environ["TILEGRAD_NUM_THREADS"] = "3"
        import tilegrad
        from tilegrad.__main__ import main
        from tilegrad.kernels import cache
        before, made = subprocess.Popen, []
        class Counted(before):
            def __init__(self, *a, **k):
                super().__init__(*a, **k)
                made.append(self)
        subprocess.Popen = Counted
        status = main(['warmup', *sys.argv[1:]])
        print(status, len(made), [p.returncode == 0 for p in made], cache.used)
    """
    out = in_new_process(
        tmp_path, count.replace("*sys.argv[1:]", "'exp', 'sum', 'one_hot', 'rand'")
    )
    assert out.splitlines()[-1] == "0 3 [True, True, True] {}"
    assert int(out.split()[0]) == len(kernels_in(tmp_path)) > 4
    out = in_new_process(tmp_path, count.replace("*sys.argv[1:]", "'reshape', 'sum'"))
    assert out.startswith("2 2 ")  # what a process cannot do ends the command


def test_without_a_warmup_something_is(tmp_path):
    _, compiled = in_new_process(tmp_path, USES_OF_WARMED_OPS).split(maxsplit=1)
    assert "gelu" in compiled


def test_a_warmup_for_a_gpu(tmp_path):
    warm = "from tilegrad.__main__ import main; main(['warmup', 'silu', '--device', 'cuda', '--arch', 'sm_80'])"
    count = int(in_new_process(tmp_path, warm).split()[0])
    assert count == len(list(tmp_path.glob("*.cubin"))) >= 2  # forward and backward
    assert in_new_process(tmp_path, warm).startswith(f"0 kernels compiled, {count} found")


def test_every_op_of_the_standing_set_has_its_calls():
    for name in standing.STANDING:
        for example in standing.examples(name):
            call = operands.prepare(
                name, example.shapes, "float64", "cpu", dict(example.given), True
            )
            assert call.function is operands.find(name)


TWO = [n for n, op in sorted(OPS.items()) if op.formula.arity == 2 and hasattr(pointwise, n)]


@pytest.mark.parametrize("name", TWO)
def test_a_number_is_an_example_where_one_is_taken(name):
    """Examples are made by what annotations say of the second operand: it holds of calls."""
    for function in (getattr(pointwise, spelled, None) for spelled in (name, f"{name}_")):
        if function is None:
            continue
        annotation = str(inspect.signature(function).parameters["other"].annotation)
        x = tilegrad.ones(3, dtype=tilegrad.int64 if "bitwise" in name else tilegrad.float32)
        if "Scalar" in annotation:
            function(x, 2)
        else:
            with pytest.raises(TypeError, match="must be Tensor, not int"):
                function(x, 2)


def test_a_wrong_warmup_is_one_line(capsys):
    assert "no op is called 'gelo'; did you mean gelu" in refused(capsys, "warmup", "exp", "gelo")


def test_the_command_starts_light():
    source = (
        "import sys; from tilegrad.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numba', 'llvmlite', 'sklearn', 'matplotlib', 'PIL', 'tqdm', 'multiprocessing',"
        " 'tilegrad.nn', 'tilegrad.optim'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert "usage: tilegrad" in done.stdout
    assert done.stdout.rstrip().endswith("[]"), done.stdout
    module = [sys.executable, "-m", "tilegrad", "--version"]
    done = subprocess.run(module, capture_output=True, text=True)
    assert done.stdout == f"tilegrad {tilegrad.__version__}\n"


@pytest.mark.parametrize(
    "name, value",
    [
        ("TILEGRAD_TARGET", "x86-64-v9"),
        ("TILEGRAD_SIMD_BITS", "77"),
        ("TILEGRAD_SIMD_BITS", "wide"),
        ("TILEGRAD_NUM_THREADS", "0"),
        ("TILEGRAD_NUM_THREADS", "all"),
    ],
)
def test_a_setting_that_means_nothing_is_one_line(name: str, value: str) -> None:
    given = {**os.environ, "PYTHONPATH": str(ROOT / ".dev"), name: value}
    done = subprocess.run(
        [sys.executable, "-m", "tilegrad", "info"], capture_output=True, text=True, env=given
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith(f"tilegrad: error: {name}: ") and repr(value) in done.stderr
