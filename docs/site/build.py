"""The documentation as a site: ``make docs``, or ``PYTHONPATH=.dev python docs/site/build.py [OUT]``.

Gathers the pages of docs/ and design/, writes one for every public function with links to its kernels
(kernels.json, by record.py) and one for every file of kernels, and has Sphinx build them, warnings as errors.
The result needs no network.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OUT = ROOT / "runs" / "site"
MADE = ("reference.md", "source.md")

# sections of the reference: title, module, and what it holds in one line
SECTIONS = (
    ("tilegrad", "tilegrad", "Functions of tensors; most are methods of `Tensor` too."),
    ("nn.functional", "tilegrad.nn.functional", "Layers and losses as functions."),
    ("fft", "tilegrad.fft", "Fourier transforms."),
    ("linalg", "tilegrad.linalg", "Decompositions, solvers, norms."),
    ("special", "tilegrad.special", "Special functions."),
    ("signal.windows", "tilegrad.signal.windows", "Window functions."),
    ("func", "tilegrad.func", "Functions of functions: gradients, vmap."),
    ("nn.init", "tilegrad.nn.init", "Initial values of parameters, written in place."),
    ("nn.utils", "tilegrad.nn.utils", "Clipping, parametrizations, vectors of parameters."),
)  # fmt: skip
CLASSES = (
    ("nn", "tilegrad.nn", "Modules."),
    ("optim", "tilegrad.optim", "Optimizers."),
    ("optim.lr_scheduler", "tilegrad.optim.lr_scheduler", "Schedulers of learning rates."),
    ("data", "tilegrad.data", "Datasets, samplers, the loader."),
    ("distributions", "tilegrad.distributions", "Probability distributions."),
)


# ----------------------------------------------------------------------------------------- pages


def section_of(path: str) -> str:
    """``source/kernels/cpu/softmax`` for ``kernels/cpu/softmax.py``."""
    return "source/" + path.removesuffix(".py")


def anchor_of(place: str) -> str:
    """The label of a function: ``kernels/cpu/softmax.py:softmax_rows``."""
    path, _, name = place.partition(":")
    kind = "class-" if name[:1].isupper() or name[:2].strip("_")[:1].isupper() else ""
    return re.sub(r"[^a-z0-9_]+", "-", f"{path}-{kind}{name}".lower()).strip("-")


@lru_cache(maxsize=None)
def functions_of(path: Path) -> list[ast.FunctionDef | ast.ClassDef]:
    """What stands at the top level of a module, in order."""
    body = ast.parse(path.read_text()).body
    return [node for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def source_page(path: str) -> str:
    """A file of kernels: its docstring, then each function under a heading of its own."""
    file = ROOT / path
    lines = file.read_text().splitlines()
    parts = functions_of(file)
    text = [f"# {path}\n"]

    def shown(first: int, last: int) -> None:
        code = "\n".join(lines[first - 1 : last]).strip("\n")
        if code.strip():
            fence = "`" * (4 if "```" in code else 3)
            text.append(
                f"{fence}{{code-block}} python\n:lineno-start: {first}\n\n{code}\n{fence}\n"
            )

    end, seen = 0, set()
    for node in parts:
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        shown(end + 1, first - 1)
        anchor = anchor_of(f"{path}:{node.name}")
        text.append(f"({anchor})=\n" * (anchor not in seen) + f"## {node.name}\n")
        seen.add(anchor)
        shown(first, node.end_lineno or first)
        end = node.end_lineno or first
    shown(end + 1, len(lines))
    return "\n".join(text)


def kernel_files() -> list[str]:
    """All modules of kernels."""
    found = sorted((ROOT / "kernels").rglob("*.py"))
    return [str(p.relative_to(ROOT)) for p in found if p.read_text().strip()]


def linked(places: list[str]) -> str:
    """Kernels as links to their source, formulas apart."""
    there = [f"[`{p.split(':')[1]}`](#{anchor_of(p)})" for p in places if known(p)]
    return ", ".join(dict.fromkeys(there)) or "none of its own"


def known(place: str) -> bool:
    """Whether the function stands in its file."""
    path, _, name = place.partition(":")
    file = ROOT / path
    return file.is_file() and any(node.name == name for node in functions_of(file))


def facts(row: dict[str, Any]) -> Iterator[str]:
    """What an op takes and promises, and its kernels on both devices."""
    if not row:
        return
    cpu, cuda = row["cpu"], row["cuda"]
    yield "\n## Facts\n"
    yield "| | |\n|---|---|"
    for name, text in (
        ("shapes tried", "; ".join(f"`{shape}`" for shape in cpu.get("shapes", []))),
        ("dtypes", dtypes(cpu.get("dtypes", {}))),
        ("devices", ", ".join(n for n, side in (("CPU", cpu), ("CUDA", cuda)) if side)),
        ("gradient", gradient(cpu)),
        ("determinism", determinism(cpu)),
        ("accuracy", accuracy(cpu)),
        ("tests", ", ".join(f"`{name}`" for name in cpu.get("tests", []))),
    ):
        if text:
            yield f"| {name} | {text} |"
    yield from kernels_of(row)


def dtypes(given: dict[str, str]) -> str:
    """Dtypes that stay what they are, then the others with what becomes of them."""
    kept = [kind for kind, made in given.items() if made == kind]
    other: dict[str, list[str]] = {}
    for kind, made in given.items():
        if made != kind:
            other.setdefault(made, []).append(kind)
    changed = [f"{', '.join(kinds)} → {made}" for made, kinds in other.items()]
    return "; ".join([", ".join(kept), *changed] if kept else changed)


def gradient(cpu: dict[str, Any]) -> str:
    """Of which operands, and the nodes."""
    places = cpu.get("gradients", [])
    if not places:
        return "none"
    nodes = ", ".join(f"`{n}`" for n in cpu["nodes"])
    which = "operand" if len(places) == 1 else "operands"
    return f"of {which} {', '.join(str(k + 1) for k in places)}, as {nodes}"


def determinism(cpu: dict[str, Any]) -> str:
    """Whether it draws, and whether threads change its bits."""
    found = []
    if cpu.get("draws"):
        found.append(
            "numbers follow from the generator's seed and offset, the same on every device"
        )
    if cpu.get("same_bits"):
        found.append("the same bits for one thread and for three")
    return "; ".join([*found, "[what is promised](/numerics.md)"]) if found else ""


def accuracy(cpu: dict[str, Any]) -> str:
    """How closely tests hold its values to PyTorch's."""
    held = escaped("; ".join(cpu.get("bounds", [])))
    return f"held to PyTorch's values: {held}; [how exact](/numerics.md#how-exact)" if held else ""


def kernels_of(row: dict[str, Any]) -> Iterator[str]:
    """Links to what is launched, forward and backward."""
    if not any(row[side].get("forward") for side in ("cpu", "cuda")):
        yield "\nIt launches no kernel: its result is a view, or is known from shapes alone."
        return
    yield "\n## Kernels\n"
    yield "| | CPU | CUDA |\n|---|---|---|"
    for way in ("forward", "backward"):
        cells = [
            linked([p for p in row[side].get(way, []) if "/formulas/" not in p])
            for side in ("cpu", "cuda")
        ]
        yield f"| {way} | {cells[0]} | {cells[1]} |"
    both = [p for side in ("cpu", "cuda") for p in row[side].get("forward", [])]
    formulas = [p for p in dict.fromkeys(both) if "/formulas/" in p]
    if formulas:
        yield f"\nFormulas, the same on both devices: {linked(formulas)}.\n"


class Records:
    """kernels.json, by the functions that pages are of: a row may stand under another of their names."""

    def __init__(self, rows: dict[str, Any]):
        self.rows = rows
        self.by_function: dict[Any, str] = {}
        for name in rows:
            module, _, last = f"tilegrad.{name}".rpartition(".")
            found = getattr(module_at(module), last, None)
            if found is not None:
                self.by_function.setdefault(found, name)

    def of(self, title: str, value: Any, name: str) -> dict[str, Any]:
        """The row of a function, or that of its twin that writes elsewhere; empty where there is none."""
        own = name if title == "tilegrad" else f"{title}.{name}"
        plain = name.rstrip("_")
        names = [own, self.by_function.get(value, "") if callable(value) else ""]
        names += [
            own.rstrip("_"),
            f"Tensor.{name}",
            f"nn.functional.{name}",
            f"nn.functional.{plain}",
        ]
        if title in ("nn.functional", "special", "linalg"):
            names += [plain]
        return next((self.rows[n] for n in names if n in self.rows), {})


def names_of(module: Any, classes: bool) -> list[str]:
    """Public functions, or classes, of a module."""
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    found = []
    for name in names:
        value = getattr(module, name)
        own = (getattr(value, "__module__", "") or "").startswith("tilegrad")
        if own and inspect.isclass(value) == classes and callable(value):
            found.append(name)
    return sorted(set(found))


def title_of(module: Any, name: str) -> str:
    """The first line of a docstring, for an index."""
    lines = (inspect.getdoc(getattr(module, name)) or "").strip().splitlines()
    return escaped(lines[0]) if lines else ""


def escaped(line: str) -> str:
    """A line of a docstring as Markdown of a table's cell."""
    parts = re.split(r"(``.+?``)", line)
    made = [
        f"`{p[2:-2]}`" if p.startswith("``") else re.sub(r"([*_<|\[\]])", r"\\\1", p) for p in parts
    ]
    return re.sub(r":(func|class|meth|mod):\\?`([^`]*)`", r"`\2`", "".join(made)).replace(
        "|", "\\|" if "\\|" not in line else "|"
    )


def module_at(path: str) -> Any:
    """The module, or None where there is none yet."""
    try:
        return importlib.import_module(path)
    except ImportError:
        return None


def write_reference(to: Path, kernels: Records, part: str) -> list[str]:
    """The pages of functions and classes with ``part`` in their name; names of the index pages."""
    pages = []
    for titles, classes in ((SECTIONS, False), (CLASSES, True)):
        for title, path, about in titles:
            module = module_at(path)
            names = [n for n in names_of(module, classes) if part in n] if module else []
            if not names:
                continue
            folder = to / "reference" / title
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                value = getattr(module, name)
                row = {} if classes else kernels.of(title, value, name)
                (folder / f"{name}.md").write_text(reference_page(path, name, classes, row))
            lines = [f"# {title}\n\n{about}\n\n| | |\n|---|---|"]
            lines += [f"| [`{n}`]({title}/{n}.md) | {title_of(module, n)} |" for n in names]
            listed = "\n".join(f"{title}/{n}" for n in names)
            lines.append(f"\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n")
            (to / "reference" / f"{title}.md").write_text("\n".join(lines))
            pages.append(f"reference/{title}")
    return pages


def reference_page(path: str, name: str, is_class: bool, row: dict[str, Any]) -> str:
    """One function or class."""
    kind = "autoclass" if is_class else "autofunction"
    more = "\n   :members:" if is_class and not path.endswith(".distributions") else ""
    lines = [f"# {name}\n", f"```{{eval-rst}}\n.. {kind}:: {path}.{name}{more}\n```"]
    return "\n".join([*lines, *facts(row)]) + "\n"


# ------------------------------------------------------------------------------------ what exists


def rewritten(text: str, folder: str, pages: set[str]) -> str:
    """Links to files of the repository lead to their page, or are plain text where there is none."""

    def link(match: re.Match[str]) -> str:
        label, target = match["label"], match["target"]
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            return match[0]
        file, _, fragment = target.partition("#")
        path = (ROOT / folder / file).resolve()
        if not path.is_relative_to(ROOT):
            return label
        inside = str(path.relative_to(ROOT))
        for prefix in ("docs/", ""):
            if inside.startswith(prefix) and inside.removeprefix(prefix) in pages:
                up = "/" + inside.removeprefix(prefix)
                return f"[{label}]({up}{'#' + fragment if fragment else ''})"
        if inside.endswith(".py") and inside.startswith("kernels/"):
            return f"[{label}](/{section_of(inside)}.md)"
        if inside.endswith((".svg", ".png")):
            return f"{match['image']}[{label}](/{Path(inside).name})"
        if inside == "docs/report.html":
            return f'<a href="report.html">{label}</a>'
        return label

    pattern = r"(?P<image>!?)\[(?P<label>[^\]]*)\]\((?P<target>[^)\s]+)\)"
    return re.sub(pattern, link, text)


def gather(to: Path, part: str) -> None:
    """The source of the site; ``part`` as in :func:`write_reference`."""
    texts: dict[str, tuple[str, str]] = {}
    for folder, files in (
        ("docs", "docs/*.md"),
        ("design", "design/*.md"),
        ("docs/site", "docs/site/index.md"),
    ):
        for file in sorted(ROOT.glob(files)):
            name = file.name if folder.startswith("docs") else f"design/{file.name}"
            texts[name] = (folder, file.read_text())
    for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"):
        if (ROOT / name).is_file():
            texts[name] = (".", (ROOT / name).read_text())
    placed = texts["index.md"][1]
    rest = [n for n in (Path(t).stem for t in texts if "/" not in t) if f"\n{n}\n" not in placed]
    rest = sorted(set(rest) - {"index"})
    texts["index.md"] = "docs", placed.replace("@rest@", "\n".join(rest))
    records = "\n".join(Path(n).stem for n in texts if re.match(r"design/\d", n))
    folder, text = texts["design/README.md"]
    texts["design/README.md"] = folder, f"{text}\n```{{toctree}}\n:hidden:\n\n{records}\n```\n"
    for name, (folder, text) in texts.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_text(rewritten(text, folder, {*texts, *MADE}))
    for picture in [*ROOT.glob("docs/*.svg"), *ROOT.glob("docs/*.png")]:
        shutil.copy(picture, to / picture.name)
    shutil.copy(ROOT / "docs" / "report.html", to / "report.html")
    for path in kernel_files():
        page = to / (section_of(path) + ".md")
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(source_page(path))
    kernels = Records(json.loads((HERE / "kernels.json").read_text()))
    pages = write_reference(to, kernels, part)
    sources = "\n".join(section_of(p) for p in kernel_files())
    (to / "source.md").write_text(
        f"# Source of the kernels\n\n```{{toctree}}\n:maxdepth: 1\n\n{sources}\n```\n"
    )
    listed = "\n".join([*pages, "source"])
    (to / "reference.md").write_text(
        f"# Reference\n\nEvery function has a page: what it computes, its errors, its kernels on both devices.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
    )


def main() -> int:
    """Sphinx's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("out", nargs="?", type=Path, default=OUT)
    parser.add_argument("--keep", type=Path, help="leave the pages' source in this folder")
    parser.add_argument("--check", action="store_true", help="look for warnings alone")
    parser.add_argument(
        "-k", dest="part", default="", help="pages of functions with this in their name"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = given.keep or Path(folder)
        source.mkdir(parents=True, exist_ok=True)
        gather(source, given.part)
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "dummy" if given.check else "html", "-c", str(HERE), "-d", f"{folder}/.trees", str(source), str(given.out)]  # fmt: skip
        done = subprocess.run(command, check=False)
    if done.returncode == 0 and not given.check:
        print(f"{given.out}/index.html")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
