"""The pages beside the code: their links, the files they name, the chapter that a script makes."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tilegrad.engine.interpreter import why_plain

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "design").glob("*.md")])
FOLDERS = (
    "autograd", "bench", "cli", "cuda", "data", "design", "distributions", "docs", "engine", "frozen", "kernels", "nn",
    "onnx", "optim", "serve", "tests",
)  # fmt: skip


def _anchor(heading: str) -> str:
    """What a heading is called in a link, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def broken(page: Path, text: str) -> list[str]:
    """Links to files and headings that are not there, and files named in code that are not."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if not there.exists():
            found.append(target)
        elif anchor and there.suffix == ".md":
            body = text if there == page else there.read_text()
            headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", body, flags=re.S), re.M)
            found += [] if anchor in {_anchor(h) for h in headings} else [target]
    for name in re.findall(r"`([\w/.]+)`", text):
        if name.split("/")[0] in FOLDERS and "/" in name and "." in name.split("/")[-1]:
            if (
                name.endswith((".py", ".md", ".txt", ".sh", ".json", ".cfg"))
                and not (ROOT / name).exists()
            ):
                found.append(name)
        elif "/" in name and name.split("/")[0] in FOLDERS and not (ROOT / name).exists():
            found.append(name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_files_are_there(page: Path) -> None:
    assert broken(page, page.read_text()) == []


def test_what_is_broken_is_found() -> None:
    text = "# A b\n[x](#a-b) [y](#c) [z](none.md) `engine/array.py` `engine/arrays.py` `docs/none`"
    wrong = broken(ROOT / "docs/cuda.md", text)
    assert wrong == ["#c", "none.md", "engine/arrays.py", "docs/none"]


def unfounded(text: str) -> list[str]:
    """Rows of the table of capabilities whose last cell neither leads to tests nor says what is not there, or
    which say of another library that it has something without a page that says so.
    """
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    found = []
    for name, *theirs, ours in rows:
        said = all(cell == "-" or "](https://" in cell for cell in theirs)
        held = ours == "not there" or "](../tests/" in ours
        found += [] if held and said and len(theirs) == 4 else [name]
    return found


def test_capabilities_lead_to_what_holds_them() -> None:
    text = (ROOT / "docs/capability.md").read_text().replace("| | PyTorch", "|| PyTorch")
    assert text.count("](../tests/") > 25 and unfounded(text) == []
    row = "| f | [a](https://a) | - | - | {} | {} |"
    bad = [("-", "yes"), ("yes", "not there"), ("-", "[y](../docs/x.md)")]
    assert all(unfounded(row.format(*cells)) == ["f"] for cells in bad)
    assert unfounded(row.format("-", "not there")) == []


FILE = re.compile(r"# (\S+\.(?:py|toml))\n")  # the first line of a block that is a file


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/deploying.md",
        "docs/from_pytorch.md",
        "docs/kernels.md",
        "docs/numerics.md",
        "docs/onnx.md",
        "docs/start.md",
        "docs/troubleshooting.md",
    ],
)
def test_a_pages_programs_run(page: str, tmp_path: Path) -> None:
    """One after the other, in one process; what a comment says a line prints, it prints."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
    code = "\n".join(b for b in blocks if not FILE.match(b))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^ *print\(.*\)  # (.*)$", code, re.M)
    assert said and all(line in done.stdout.splitlines() for line in said)


def test_the_package_of_the_tutorial_is_one(tmp_path: Path) -> None:
    """Its files as printed: the tests pass on both devices, and its entry points are found."""
    text = (ROOT / "docs/kernels.md").read_text()
    files = {}
    for block in re.findall(r"^```(?:python|toml)\n(.*?)^```", text, re.M | re.S):
        if found := FILE.match(block):
            files[found[1]] = block
    assert set(files) == {"mypackage/ops.py", "test_ops.py", "pyproject.toml"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    info = tmp_path / "mypackage-0.1.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(f"Name: {project['name']}\nVersion: 0.1\n")
    points = project["entry-points"]["tilegrad.kernels"]
    lines = ["[tilegrad.kernels]", *(f"{n} = {value}" for n, value in points.items())]
    info.joinpath("entry_points.txt").write_text("\n".join(lines))
    paths = os.pathsep.join([str(tmp_path), str(ROOT / ".dev")])
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_ENABLE_CUDASIM": "1"}
    shipped = "import tilegrad; assert tilegrad.ops.layer_norm is tilegrad.ops.mypackage.layer_norm"
    for command in (
        ("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_ops.py"),
        ("-c", shipped),
    ):
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=False, cwd=tmp_path,
            env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_the_picture_of_the_house_is_of_its_contracts() -> None:
    picture = runpy.run_path(str(ROOT / "docs/house.py"))["picture"]()
    assert (ROOT / "docs/house.svg").read_text() == picture, "python docs/house.py draws it anew"
    packages = [name for name in FOLDERS if (ROOT / name / "__init__.py").is_file()]
    assert len(packages) > 8 and all(f">{name}/<" in picture for name in packages)


@pytest.mark.skipif(bool(why_plain()), reason="calls in plain Python have other steps")
def test_the_life_of_an_op_is_as_it_is() -> None:
    """A process of its own: what is traced depends on what was called before."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs/life.py"), "--check"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def undefined(text: str) -> list[str]:
    """Lines of the worked example whose function is not in the file that they name."""
    (block,) = re.findall(r"^```\n(x\..*?)^```", text, re.M | re.S)
    found = []
    for line in block.splitlines():
        call, path, _ = re.split(r"\s{2,}", line.strip(), maxsplit=2)
        *owners, name = re.findall(r"[\w.]+", call)[0].split(".")
        source = (ROOT / path).read_text()
        defined = {n for names in re.findall(r"^ *(?:def|class)? ?([\w, ]+?)(?: = |\(|:)", source, re.M)
                   for n in names.split(", ")}  # fmt: skip
        named = [n for n in (*owners, name) if n not in ("x", "build")]
        found += [] if defined.issuperset(named) else [line.strip()]
    return found


def test_the_worked_example_is_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    assert undefined(text) == []
    assert (
        len(undefined(text.replace("x.exp()", "x.silu()").replace("Elementwise.plan", "plans")))
        == 2
    )


def test_the_readme_fits_two_screens() -> None:
    """80 lines of 80 columns. Its picture takes as many lines as it is high beside them; a fence takes none."""
    lines = (ROOT / "README.md").read_text().splitlines()
    assert max(map(len, lines)) <= 80
    (picture,) = [line for line in lines if line.startswith("![")]
    png = (ROOT / picture.split("(")[1].rstrip(")")).read_bytes()
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    fences = sum(line.startswith("```") for line in lines)
    assert len(lines) - fences + round(80 * height / width / 2) <= 80  # a line is two columns high


def test_versions_agree() -> None:
    """setup.cfg's is the library's; the changelog has it, or is on the way to it."""
    import tilegrad

    (version,) = re.findall(r"^version = (.*)$", (ROOT / "setup.cfg").read_text(), re.M)
    assert version == tilegrad.__version__
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == ("Unreleased" if ".dev" in version else version)
    numbers = [tuple(map(int, h.split("."))) for h in headings if h != "Unreleased"]
    assert numbers == sorted(numbers, reverse=True)
    assert tuple(map(int, version.split(".dev")[0].split("."))) >= numbers[0]


def test_design_records_have_their_parts() -> None:
    """Context, decision, alternatives and consequences, within a page; the index lists them all."""
    records = sorted((ROOT / "design").glob("0*.md"))
    index = (ROOT / "design/README.md").read_text()
    for number, path in enumerate(records, 1):
        text = path.read_text()
        assert path.name.startswith(f"{number:04}-") and f"]({path.name})" in index
        assert text.startswith(f"# {number:04}: ") and len(text.splitlines()) < 70
        parts = [p.split(",")[0] for p in re.findall(r"^## (.*)$", text, re.M)]
        assert parts == ["Context", "Decision", "Alternatives", "Consequences"], path.name


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_subjects_are_checked(tmp_path: Path) -> None:
    good = ("cpu/matmul: pack A where rows alias", "autograd, nn: refuse bools")
    bad = ("wip", "Pack A", "cpu: packed A where rows alias so that nothing is read twice by anyone ever",
           "docs: adds a page", "docs: add a page.")  # fmt: skip
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    for subject in ("docs: begin", *good, *bad):
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", subject], check=True)
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/subjects").write_text((ROOT / ".ci/subjects").read_text())
    command = ["bash", str(tmp_path / ".ci/subjects")]
    fine = subprocess.run([*command, f"HEAD~{len(bad)}"], capture_output=True, text=True)
    assert (fine.returncode, fine.stdout) == (0, "")
    found = subprocess.run([*command, f"HEAD~{len(bad)}..HEAD"], capture_output=True, text=True)
    assert found.returncode == 1 and len(found.stdout.splitlines()) == len(bad)
