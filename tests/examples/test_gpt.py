"""The small GPT: what it may see, that it learns, and that it writes what it was given to read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import tilegrad as tg
from examples import gpt as example

SMALL = example.Sizes(context=16, width=32, heads=2, blocks=2)


def test_it_learns_a_text_and_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "text.txt"
    file.write_text("the quick brown fox jumps over the lazy dog. " * 80)
    made = example.main([
        "--text", str(file), "--steps", "300", "--context", "16", "--width", "32", "--heads", "2",
        "--blocks", "2", "--write", "60", "--prompt", "the quick ", "--temperature", "0.1",
    ])  # fmt: skip
    assert made.losses[0] > 3 and made.held_out < 0.5
    said = capsys.readouterr().out
    assert f"{made.held_out / math.log(2):.2f} bits a character" in said
    assert "the quick brown fox jumps over" in said


def test_no_character_sees_what_follows() -> None:
    tg.manual_seed(1)
    model = example.GPT(10, SMALL).eval()
    codes = tg.randint(0, 10, (1, 16))
    other = codes.clone()
    other[0, 9:] = 0
    with tg.no_grad():
        assert tg.equal(model(codes)[:, :9], model(other)[:, :9])


def test_the_standard_library_is_read() -> None:
    raw = example.standard_library()
    assert "def " in raw and len(raw) > 1_000_000
    text = example.prepare(raw[:5000], least=100)
    assert (len(text.train), len(text.held_out)) == (4500, 500)
    assert text.decode(text.train[:200].tolist()) == raw[:200]
    assert text.encode("\N{SNOWMAN}").tolist() == [0]


def test_a_text_that_is_too_short_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="40 characters; 180 are needed"):
        example.prepare("abcd" * 10, least=18)
    with pytest.raises(SystemExit, match="No such file"):
        example.main(["--text", str(tmp_path / "none")])
