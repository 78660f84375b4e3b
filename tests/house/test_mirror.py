"""Tests lie where their modules lie: a file per module, rooms for what crosses the tree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.conftest import ROOT
from tests.house.test_house import SOURCES

TESTS = ROOT / "tests"

# what is of no one module: nets over the whole tree, the devices' stand-ins, commands by hand
ROOMS = {
    "assembly", "cases", "conformance", "emulator", "exits", "fuzzing", "house", "large", "matrices", "parity", "programs",
    "promises",
    "simulator", "toolchains", "wrong_kinds",
}  # fmt: skip

# where modules of one name are one op, from the kernel to the public function
FAMILIES = ("kernels/cpu", "kernels/cuda", "engine/ops", "autograd/rules")

# modules that no test file is called after, or names: which tests run them, and why those
TESTED_BY = (
    ("autograd", "annotations base casts families gradients interop native_record shaping size", "autograd/test_graph.py",
     "what every tensor and every recorded node goes through"),
    ("autograd", "checking_reduction reduction_gradients reduction_parts",
     "autograd/test_custom_reduction.py", "what a user's reduction is made of"),
    ("autograd", "custom_call", "autograd/test_function.py", "as its public face"),
    ("autograd/rules", "assembly contraction copies distances draws numeric overwriting quantiles subscripts"
     " windows",
     "conformance/test_subset.py", "functions with rows in PyTorch's sample database"),
    ("autograd/rules", "assign bilinear counting define extrema moments product "
     "rearrange sampling scatter unary", "cases/test_cases.py", "functions with rows under their family's name"),
    ("autograd/rules", "fft spectrogram", "autograd/test_fft.py", "what the public functions record"),
    ("engine/ops", "fft", "autograd/test_fft.py", "as its rules"),
    ("autograd", "special_functions", "autograd/rules/test_special.py", "rows of one table"),
    ("bench", "__main__ blas compiling failure libraries machine markdown memory models paper results sampler "
     "scaling steps table", "bench/test_bench.py", "commands, as typed, and what they share"),
    ("bench", "charts drawing first history listing options report running user",
     "bench/test_headline.py", "what a run and its report are made of"),
    ("bench/rows", "*", "bench/test_bench.py", "tables that commands run"),
    ("cli", "checkpoint digits export info train warmup", "cli/test_cli.py", "commands, as typed"),
    ("cuda", "accelerator", "optim/test_grad_scaler.py", "beside mixed precision, which asks for it"),
    ("data", "background collate container fetch info pool sampler", "data/test_dataloader.py",
     "parts of one loader"),
    ("distributions", "*", "distributions/test_distribution.py", "families and their parts"),
    ("engine", "decorators emitter errors native_storage sharing", "engine/test_native.py", "parts of every call"),
    ("engine", "lapack", "autograd/rules/test_linalg.py", "what larger matrices are given to"),
    ("engine/ops", "clip create masked", "cases/test_cases.py", "as their rules"),
    ("engine/ops", "distance", "cases/test_cases.py", "as their rules"),
    ("kernels/cpu", "distance", "cases/test_cases.py", "as their rules"),
    ("kernels/cuda", "distance", "cases/test_cases.py", "as their rules"),
    ("engine/ops", "parts", "autograd/rules/test_planar.py", "complex operands, by their tensors"),
    ("kernels/formulas/planar", "*", "autograd/rules/test_planar.py", "formulas of complex numbers"),
    ("kernels", "accumulators distributions", "cases/test_cases.py", "tables that families read"),
    ("autograd", "user_calls", "autograd/test_user_op.py", "as its public face"),
    ("autograd", "user_jvp", "autograd/test_checking_op.py", "tangents are checked"),
    ("kernels", "arguments", "autograd/test_user_op.py", "what bodies of the user's are given"),
    ("kernels/cpu/simd", "views", "autograd/test_user_op.py", "arrays in bodies of the user's"),
    ("kernels/cpu", "user", "autograd/test_user_op.py", "launches of bodies of the user's"),
    ("kernels/cpu", "arg_reduce clip create masked topk", "cases/test_cases.py",
     "families with rows under another name"),
    ("kernels/cpu/fft", "*", "kernels/test_fourier.py", "passes and their parts, by the transforms made of them"),
    ("kernels/cpu/parts", "*", "kernels/cpu/test_matmul.py", "loops of the families"),
    ("kernels/cuda", "arg_reduce batch_norm create masked", "cases/test_cases.py", "as on the CPU"),
    ("kernels/cuda/fft", "*", "kernels/test_fourier.py", "as on the CPU"),
    ("kernels/cuda/device", "*", "emulator/test_emulator.py", "the language of kernels"),
    ("kernels/cuda/parts", "*", "emulator/test_blocks.py", "device code of every kernel"),
    ("kernels/cuda/topk", "search", "autograd/rules/test_sort.py", "modes and borders"),
    ("kernels/formulas", "*", "cases/test_gradient_points.py", "every formula, by its function"),
    ("kernels/formulas/symbolic", "*", "kernels/formulas/test_derive.py", "what derive is made of"),
    ("nn", "common_types", "parity/test_paths.py", "names that annotations use"),
    ("nn", "parameter state", "nn/modules/test_module.py", "parts of a module"),
    ("nn/modules", "activation adaptive attention batchnorm channelshuffle container conv distance dropout flatten fold instancenorm linear loss "
     "normalization padding pixelshuffle pooling ranking sparse upsampling", "nn/modules/test_modules.py", "every module is a row there"),
    ("nn/utils", "convert_parameters", "nn/utils/test_clip_grad.py", "their neighbours"),
    ("nn/utils", "fusion init memory_format", "nn/utils/test_stateless.py", "as it works on modules"),
    ("nn/utils", "spectral_norm", "nn/utils/test_parametrize.py", "both forms, against PyTorch"),
    ("autograd", "variable", "autograd/test_functional.py", "one class"),
    ("data", "distributed", "data/test_resuming.py", "beside the loaders that use it"),
    ("nn", "parallel", "parity/test_paths.py", "wrappers of one device"),
    ("onnx", "checking formulas formulas_of_sizes sizes state trials unify writing", "onnx/test_exporting.py",
     "parts of one export"),
    ("onnx", "definitions running", "onnx/test_loading.py", "files and graphs, as they are loaded"),
    ("onnx/tables", "*", "onnx/test_loading_nodes.py", "every operator, by ONNX's own tests"),
    ("onnx/rows", "*", "onnx/test_exporting.py", "every row, by a program that has the op"),
    ("serve", "inputs model", "serve/test_app.py", "what a request's body becomes, and what it is given to"),
    ("optim", "adadelta adafactor adagrad adam adamax adamw asgd averaging lbfgs line_search muon nadam options radam "
     "rmsprop rprop sgd", "optim/test_optimizer.py", "every optimizer is a row there"),
)  # fmt: skip


def _stems(folder: Path) -> set[str]:
    """The names that test files of a folder may begin with: modules, packages, the folder itself."""
    modules = {p.stem for p in folder.glob("*.py") if p.stem != "__init__"}
    packages = {p.parent.name for p in folder.glob("*/*.py")}
    return modules | packages | {folder.name}


def misplaced(tests: Path) -> list[str]:
    """Test files that neither a room holds nor a module of their folder's twin explains."""
    found = []
    for path in sorted(tests.rglob("test_*.py")):
        folder = path.parent.relative_to(tests)
        if folder.parts and folder.parts[0] in ROOMS:
            continue
        name = path.stem.removeprefix("test_")
        stems = _stems(ROOT / folder) if folder.parts else set()
        if not any(name == s or name.startswith(f"{s}_") for s in stems):
            found.append(f"tests/{path.relative_to(tests)}")
    return found


def _has_tests(folder: Path, name: str) -> bool:
    files = {p.stem for p in (TESTS / folder).glob("test_*.py")}
    return any(f == f"test_{name}" or f.startswith(f"test_{name}_") for f in files)


def _by_place(module: Path, rows: set[str]) -> bool:
    """A test file of its name, of its package's, or of its family's; or the family's rows."""
    names = [(module.parent, module.stem), (module.parent.parent, module.parent.name)]
    for root in FAMILIES:
        if module.is_relative_to(root):
            stem = module.relative_to(root).parts[0].removesuffix(".py")
            if stem in rows:
                return True
            names += [(Path(folder), stem) for folder in FAMILIES]
    return any(_has_tests(*name) for name in names)


def untested() -> list[Path]:
    """Modules that have no tests by their place and that no test names in an import."""
    rows = {p.stem for p in (TESTS / "cases").glob("*.py")}
    text = "\n".join(p.read_text() for p in sorted(TESTS.rglob("*.py")))
    imported = set(re.findall(r"\b(tilegrad(?:\.\w+)+)", text))
    for package, names in re.findall(r"from (tilegrad[\w.]*) import (\([^)]*\)|[^\n(]*)", text):
        imported |= {f"{package}.{name}" for name in re.findall(r"\b(?<!as )(\w+)", names)}
    found = []
    for path in SOURCES:
        module = path.relative_to(ROOT)
        dotted = ".".join(("tilegrad", *module.with_suffix("").parts))
        if module.stem != "__init__" and dotted not in imported and not _by_place(module, rows):
            found.append(module)
    return found


def test_every_test_file_lies_by_its_module(tmp_path: Path) -> None:
    assert misplaced(TESTS) == []
    (tmp_path / "engine").mkdir()
    for name in ("test_stray.py", "engine/test_dtype.py", "engine/test_dtype_odd.py"):
        (tmp_path / name).touch()
    (tmp_path / "engine/test_dtypes.py").touch()
    assert [Path(p).name for p in misplaced(tmp_path)] == ["test_dtypes.py", "test_stray.py"]


def test_every_module_has_tests_or_says_which_run_it() -> None:
    found = untested()
    excused = {f"{folder}/{name}.py" for folder, names, *_ in TESTED_BY for name in names.split()}
    whole = {path.removesuffix("/*.py") for path in excused if path.endswith("*.py")}
    silent = [m for m in found if str(m) not in excused and str(m.parent) not in whole]
    assert not silent, "a module needs a test file of its name, or a place in TESTED_BY"
    named = {path for path in excused if not path.endswith("*.py")}
    assert not sorted(named - set(map(str, found))), "places in TESTED_BY that nothing needs"
    assert all((TESTS / tests).is_file() for _, _, tests, _ in TESTED_BY)


def test_paths_that_are_named_exist() -> None:
    """``tests/…`` and ``tests.…`` wherever the tree's text speaks of them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    files = listed.stdout.split() or [str(p.relative_to(ROOT)) for p in SOURCES]
    missing = []
    for name in files:
        path = ROOT / name
        if path.suffix not in (".py", ".md", ".txt", ".cfg", ".toml", "") or not path.is_file():
            continue
        text = path.read_text()
        for found in re.findall(r"\btests/[\w/]+\.(?:py|txt)\b", text):
            missing += [] if (ROOT / found).is_file() else [f"{name}: {found}"]
        for found in re.findall(r"(?:from|import|-m\"?,? \"?|:mod:`)\s?(tests(?:\.\w+)+)", text):
            place = ROOT / found.replace(".", "/")
            whole = place.with_suffix(".py").is_file() or place.is_dir()
            missing += [] if whole else [f"{name}: {found}"]
    assert not missing
