"""report.html of a run, anew; or, with --markdown, what --out of table, scaling, memory, compile and blas kept.

Several files of --markdown, of several machines, stand side by side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tilegrad.bench import store
from tilegrad.bench.failure import Failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench report``."""
    option = parser.add_argument
    option(
        "results", type=Path, nargs="+", metavar="RUN", help="a run's folder, or its results.json"
    )
    option(
        "--out", type=Path, metavar="HTML", help="the page's file (report.html in the run's folder)"
    )
    option(
        "--gpu-results",
        type=Path,
        metavar="FILE",
        help="figures of another machine's GPU to show beside it",
    )
    option("--picture", type=Path, metavar="SVG", help="also the first chart alone, as a picture")
    option("--markdown", action="store_true", help="print Markdown instead")
    option("--rows", action="store_true", help="with --markdown: every row, not areas alone")


def run(given: argparse.Namespace) -> int:
    """Write the page, or print."""
    if given.markdown:
        from tilegrad.bench import markdown

        print(markdown.rendered(given.results, given.rows))
        return 0
    if len(given.results) > 1:
        raise Failure("a report is of one run; several take --markdown")
    from tilegrad.bench import finish, page

    finish.check(given.gpu_results)

    results = store.load(given.results[0])
    path = given.out or store.path_of(given.results[0]).with_name("report.html")
    made = page.page(results, given.gpu_results)
    try:
        path.write_text(made, encoding="utf-8")
        if given.picture:
            given.picture.write_text(page.picture(results, given.gpu_results), encoding="utf-8")
    except OSError as error:
        raise Failure(f"cannot write {error.filename}: {error.strerror}") from None
    print(path)
    return 0
