"""The scoreboard as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.conformance.ops import Outcome


def line(area: str, found: Outcome) -> str:
    """A row that does not agree in everything."""
    if found.missing:
        return f"{area}: {found.name}: no {found.missing}"
    why = "; ".join(found.failed)
    return f"{area}: {found.name}: {found.passed} of {found.samples}: {why}"


def total(area: str, rows: Sequence[Outcome]) -> str:
    """How many rows, and how many samples of them, agree."""
    whole = sum(r.whole for r in rows)
    passed, count = sum(r.passed for r in rows), sum(r.samples for r in rows)
    return f"{area}: {whole} of {len(rows)} rows whole; {passed} of {count} samples"


def page(outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """The page docs/conformance.md."""
    text = [
        "# Conformance with PyTorch",
        "",
        "Written by `python -m tests.conformance --report docs/conformance.md`: rows of PyTorch's own "
        "sample databases (2.13), run by both libraries. A row is whole where every sample agrees in "
        "values, shapes, dtypes, gradients, and as function, method, in-place method and with `out=`.",
        "",
    ]
    for area, rows in outcomes.items():
        text += [
            f"## {area}",
            "",
            total(area, rows) + ".",
            "",
            "| row | agrees | first difference |",
        ]
        text.append("|---|---|---|")
        for r in rows:
            why = (
                f"no `{r.missing}`" if r.missing else "; ".join(r.failed)[:300].replace("|", "\\|")
            )
            why = why.replace("\n", " ")
            text.append(f"| {r.name} | {r.passed} of {r.samples} | {why} |")
        text.append("")
    return "\n".join(text)
