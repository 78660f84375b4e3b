"""The page in a browser: a digit is drawn by mouse, finger and keyboard, and its probabilities come."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilegrad
from tests.bench.browser import Browser, program
from tests.bench.test_page import CONTRAST, OUTSIDE
from tests.serve.process import serving
from tilegrad import nn
from tilegrad.cli.model import Classifier, Shape
from tilegrad.data.serialization import save

PAPER = "document.querySelector('#paper').getBoundingClientRect()"
BEST = "document.querySelector('#best b')?.textContent || ''"


def write_learnt(path: Path) -> None:
    """A network that has seen scikit-learn's digits for a few seconds."""
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    images = tilegrad.from_numpy((digits.images[:, None] / 16).astype(np.float32))
    labels = tilegrad.from_numpy(digits.target.astype(np.int64))
    tilegrad.manual_seed(0)
    model = Classifier(Shape(8, 8, 10, (16, 32)))
    optimizer = tilegrad.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(4):
        for rows in tilegrad.randperm(len(labels)).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    save(model.state_dict(), path, metadata=model.metadata())


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if program() is None:
        pytest.skip("no Chromium is on this machine")
    path = tmp_path_factory.mktemp("learnt") / "digits.safetensors"
    write_learnt(path)
    with serving(path) as (_, port):
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile"), address) as found:
        yield found


ZERO = [
    (0.5 + 0.16 * math.sin(t), 0.5 - 0.28 * math.cos(t)) for t in np.linspace(0, 2 * math.pi, 24)
]
ONE = [(0.38, 0.36), (0.52, 0.2), (0.52, 0.8)]
SEVEN = [(0.3, 0.22), (0.7, 0.22), (0.45, 0.82)]


def draw(browser: Browser, points: list[tuple[float, float]], touch: bool = False) -> None:
    """A stroke over the paper, by mouse or finger."""
    box = browser.evaluate(f"(({{x, y, width, height}}) => ({{x, y, width, height}}))({PAPER})")
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    if touch:
        for kind, place in [
            ("touchStart", places[0]),
            *(("touchMove", p) for p in places[1:]),
            ("touchEnd", None),
        ]:
            at = [] if place is None else [{"x": place[0], "y": place[1]}]
            browser.ask("Input.dispatchTouchEvent", type=kind, touchPoints=at)
        return
    kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1)]
    for kind, (x, y) in [*zip(kinds, places, strict=True), ("mouseReleased", places[-1])]:
        browser.ask(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1
        )


def press(browser: Browser, key: str, times: int = 1) -> None:
    codes = {
        "ArrowLeft": 37,
        "ArrowUp": 38,
        "ArrowRight": 39,
        "ArrowDown": 40,
        " ": 32,
        "Backspace": 8,
        "Escape": 27,
        "Tab": 9,
    }
    for _ in range(times):
        for kind in ("rawKeyDown", "keyUp"):
            browser.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key]
            )


def wait_for(browser: Browser, code: str, value: object) -> None:
    until = time.monotonic() + 15
    while (found := browser.evaluate(code)) != value:
        assert time.monotonic() < until, (found, browser.said)
        time.sleep(0.05)


@pytest.mark.parametrize("width, dark", [(1200, False), (1200, True), (360, False), (360, True)])
def test_a_digit_is_drawn_and_read(
    browser: Browser, address: str, tmp_path: Path, width: int, dark: bool
) -> None:
    browser.said.clear()
    browser.show(address, width, dark)
    assert browser.evaluate(BEST) == ""
    for points, digit in ((ZERO, "0"), (SEVEN, "7"), (ONE, "1")):
        draw(browser, points, touch=width < 600)
        wait_for(browser, BEST, digit)
        if digit != "1":
            browser.evaluate("document.querySelector('#clear').click()")
            wait_for(browser, BEST, "")
    shares = browser.evaluate(
        "[...document.querySelectorAll('#bars .value')].map((v) => parseFloat(v.textContent))"
    )
    assert len(shares) == 10 and abs(sum(shares) - 100) < 1 and shares[1] == max(shares) > 50
    wait_for(browser, "document.querySelector('#best').textContent.includes('with')", True)
    assert browser.evaluate("document.querySelector('#trouble').textContent") == ""
    assert browser.evaluate(OUTSIDE) == []
    assert browser.evaluate(CONTRAST) >= 4.5
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert browser.said == []


def test_it_is_drawn_by_keyboard_alone(browser: Browser, address: str) -> None:
    browser.said.clear()
    browser.show(address, 1200)
    press(browser, "Tab")
    assert browser.evaluate("document.activeElement.id") == "paper"
    press(browser, "ArrowUp", 7)
    press(browser, " ")
    press(browser, "ArrowDown", 14)
    press(browser, " ")
    wait_for(browser, BEST, "1")
    press(browser, "Backspace")
    wait_for(browser, BEST, "")
    press(browser, "Tab", 1)  # nothing to undo or clear: on to the next
    assert browser.evaluate("document.activeElement.id") != "paper"
    assert browser.said == []


def test_it_says_that_the_server_is_gone(browser: Browser, address: str) -> None:
    browser.show(address, 1200)
    browser.evaluate("window.fetch = () => Promise.reject(new TypeError('gone'))")
    draw(browser, ONE)
    wait_for(
        browser,
        "document.querySelector('#trouble').textContent",
        "No answer from the server (gone).",
    )


def test_another_model_has_a_page_without_paper(browser: Browser, tmp_path: Path) -> None:
    tilegrad.onnx.export(
        nn.Linear(3, 2), (tilegrad.ones(1, 3),), str(tmp_path / "line.onnx"), input_names=["x"], dynamic_axes={"x": {0: "n"}}
    )  # fmt: skip
    with serving(tmp_path / "line.onnx") as (_, port):
        browser.said.clear()
        browser.host = f"http://127.0.0.1:{port}/"
        browser.show(browser.host, 360)
        assert browser.evaluate("document.querySelector('#draw').hidden")
        assert "line.onnx takes x: float32 (3)" in browser.evaluate("document.body.innerText")
        assert browser.evaluate(OUTSIDE) == [] and browser.said == []
