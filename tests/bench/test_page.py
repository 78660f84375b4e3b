"""The report in a browser: it draws, nothing overflows, the console is silent, nothing is asked of a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import made
from tests.bench.browser import Browser, program
from tests.bench.test_headline import H200
from tilegrad.bench import page

OUTSIDE = """(() => {
  const found = [];
  const seen = (e) => e.getBoundingClientRect();
  const width = document.documentElement.clientWidth;  // a phone's innerWidth grows with what overflows
  if (document.documentElement.scrollWidth > width) found.push("the page is wider than its window");
  for (const e of document.querySelectorAll("main *"))
    if (!e.closest(".scroll") && !e.closest("svg") && seen(e).right > width + 1) found.push(e.tagName + "#" + e.id);
  for (const chart of document.querySelectorAll(".chart")) {
    const box = seen(chart);
    for (const text of chart.querySelectorAll("svg text")) {
      const at = seen(text);
      if (at.width && (at.right > box.right + 2 || at.left < box.left - 2)) found.push(chart.id + ": " + text.textContent);
    }
  }
  return found;
})()"""
# contrast of each colour of text with what lies behind it, the least of all
CONTRAST = """(() => {
  const light = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (!c.startsWith("rgba(0, 0, 0, 0")) return c;
  } return "rgb(255, 255, 255)"; };
  let least = 21;
  for (const e of document.querySelectorAll("h1,h2,p,li,a,summary,figcaption,label,.chart")) {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort();
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if program() is None:
        pytest.skip("no Chromium is on this machine")
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of a machine without a GPU, beside a committed one; of a machine with one; of a run that was stopped at once."""
    folder = tmp_path_factory.mktemp("reports")
    stopped = made.results()
    stopped |= {"rows": [], "trainings": [], "roofline": {}, "finished": False}
    pages = {
        "cpu": page.page(made.results(), H200),
        "gpu": page.page(made.results(gpu=True)),
        "stopped": page.page(stopped),
    }
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text)
    return {name: folder / f"{name}.html" for name in pages}


@pytest.mark.parametrize("which", ["cpu", "gpu", "stopped"])
@pytest.mark.parametrize("width, dark", [(1200, False), (1200, True), (360, False), (360, True)])
def test_in_a_browser(
    browser: Browser, reports: dict[str, Path], tmp_path: Path, which: str, width: int, dark: bool
) -> None:
    browser.said.clear()
    browser.show(reports[which], width, dark)
    assert browser.said == []
    assert browser.evaluate(OUTSIDE) == []
    assert browser.evaluate(CONTRAST) >= 4.5
    drawn = browser.evaluate("[...document.querySelectorAll('.chart svg')].length")
    assert (
        drawn
        == browser.evaluate("document.querySelectorAll('.chart').length")
        >= (1 if which == "stopped" else 6)
    )
    browser.picture(tmp_path / f"{which}.png")
    assert (tmp_path / f"{which}.png").stat().st_size > 10_000


def test_another_comparison_is_chosen_by_keyboard(
    browser: Browser, reports: dict[str, Path]
) -> None:
    browser.said.clear()
    browser.show(reports["gpu"], 1200)
    marks = "document.querySelector('#speedup-chart svg').innerHTML.length"
    before = browser.evaluate(marks)
    browser.evaluate("document.querySelector('#speedup-controls select').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.ask(
            "Input.dispatchKeyEvent",
            type=kind,
            key="ArrowDown",
            code="ArrowDown",
            windowsVirtualKeyCode=40,
        )
    for _ in range(50):
        if browser.evaluate(marks) != before:
            break
    assert browser.evaluate("document.querySelector('#speedup-controls select').selectedIndex") == 1
    assert browser.evaluate(marks) != before and browser.said == []


def test_in_print_the_tables_are_open(browser: Browser, reports: dict[str, Path]) -> None:
    browser.show(reports["cpu"], 1200)
    assert browser.evaluate(
        "[...document.querySelectorAll('section details')].every((d) => !d.open)"
    )
    printed = browser.ask("Page.printToPDF", preferCSSPageSize=True)
    assert len(printed["data"]) > 50_000
    assert browser.evaluate(
        "[...document.querySelectorAll('section details')].every((d) => d.open)"
    )
    assert browser.evaluate(
        "[...document.querySelectorAll('.chart')].every((c) => c.getAttribute('aria-label'))"
    )
    assert browser.evaluate(
        "[...document.querySelectorAll('.scroll')].every((s) => s.tabIndex === 0)"
    )
