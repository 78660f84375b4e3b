"""Bars as SVG, without a library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_COLOURS = ("#1f6fb4", "#8c8c8c", "#e0a030", "#c05040", "#7050a0")
_BAR, _GAP, _LEFT, _WIDTH, _RIGHT = 16, 14, 250, 460, 90


def bars(title: str, values: Sequence[tuple[str, str, float]]) -> str:
    """A picture of (group, name, value): the bars of a group stand together, each as long as its value is
    part of the group's largest, with the value beside it; a colour for each name.
    """
    names = list(dict.fromkeys(name for _, name, _ in values))
    groups: dict[str, list[tuple[str, float]]] = {}
    for group, name, value in values:
        groups.setdefault(group, []).append((name, value))
    lines, y = [], 34
    for group, found in groups.items():
        most = max(value for _, value in found)
        middle = y + _BAR * len(found) / 2 + 4
        lines.append(
            f'<text x="{_LEFT - 8}" y="{middle:g}" text-anchor="end">{escape(group)}</text>'
        )
        for name, value in found:
            width = max(1.0, _WIDTH * value / most) if most else 1.0
            colour = _COLOURS[names.index(name) % len(_COLOURS)]
            lines += [
                f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" fill="{colour}">'
                f"<title>{escape(name)}</title></rect>",
                f'<text x="{_LEFT + width + 5:.1f}" y="{y + 11}">{value:.3g} {escape(name)}</text>',
            ]
            y += _BAR
        y += _GAP
    whole = _LEFT + _WIDTH + _RIGHT + 60
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{y}" '
            f'viewBox="0 0 {whole} {y}" font-family="sans-serif" font-size="11">',
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="10" y="20" font-size="13">{escape(title)}</text>',
            *lines,
            "</svg>",
            "",
        ]
    )
