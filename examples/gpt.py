"""A small GPT that reads text character by character, and then writes: Python, if nothing else is given.

A decoder of transformer blocks (Radford and others, Language models are unsupervised multitask learners, 2019) with
embeddings shared between input and output. It learns from the sources of Python's standard library, which every
machine has, or from any text::

    python -m examples.gpt [--text FILE] [--steps 1000] [--write 600] [--prompt "def "]

A tenth of the text is held out. Afterwards it writes, a character drawn at a time from what it thinks may follow.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import trange

import tilegrad as tg
from tilegrad import Tensor, nn
from tilegrad.nn import functional as F

UNKNOWN = "\ufffd"
MOST = 4_000_000  # characters that are read
COMMON = 100  # characters of a vocabulary, the most frequent


class Sizes(NamedTuple):
    """Of the model: characters seen at once, width, heads, blocks."""

    context: int = 128
    width: int = 128
    heads: int = 4
    blocks: int = 3


class Text(NamedTuple):
    """Characters as numbers of a vocabulary.

    Attributes:
        vocabulary: the characters; the first stands for all others.
        train, held_out: (n,) int64.
    """

    vocabulary: list[str]
    train: Tensor
    held_out: Tensor

    def encode(self, text: str) -> Tensor:
        """(len(text),) int64."""
        place = {c: i for i, c in enumerate(self.vocabulary)}
        return tg.tensor([place.get(c, 0) for c in text])

    def decode(self, codes: Sequence[int]) -> str:
        """The text of such numbers."""
        return "".join(self.vocabulary[code] for code in codes)


def standard_library() -> str:
    """The modules of Python's standard library, one after the other."""
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    return "\n\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files)


def prepare(text: str, least: int) -> Text:
    """The vocabulary and the two parts of ``text``, its last tenth held out.

    Raises:
        SystemExit: the held-out part has fewer than ``least`` characters.
    """
    text = text[:MOST]
    vocabulary = [UNKNOWN, *sorted(c for c, _ in Counter(text).most_common(COMMON))]
    made = Text(vocabulary, tg.empty(0), tg.empty(0))
    codes = made.encode(text)
    cut = len(codes) * 9 // 10
    if len(codes) - cut < least:
        raise SystemExit(f"the text has {len(text)} characters; {10 * least} are needed")
    return made._replace(train=codes[:cut], held_out=codes[cut:])


class Block(nn.Module):
    """Attention to what stands before, then two layers, each added to what came in."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        width, self.heads = sizes.width, sizes.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, context, width) to the same."""
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, length, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Characters (batch, length) to scores of the next ones (batch, length, vocabulary)."""

    def __init__(self, vocabulary: int, sizes: Sizes):
        super().__init__()
        self.sizes = sizes
        self.characters = nn.Embedding(vocabulary, sizes.width)
        self.places = nn.Embedding(sizes.context, sizes.width)
        self.blocks = nn.Sequential(*(Block(sizes) for _ in range(sizes.blocks)))
        self.norm = nn.LayerNorm(sizes.width)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:  # smaller where a block adds to what came in
                deep = name.endswith(("out.weight", "mlp.2.weight"))
                nn.init.normal_(parameter, 0, 0.02 / math.sqrt(2 * sizes.blocks) if deep else 0.02)

    def forward(self, codes: Tensor) -> Tensor:
        """Scores; ``codes`` are at most the context long."""
        x = self.characters(codes) + self.places(tg.arange(codes.shape[1]))
        return F.linear(self.norm(self.blocks(x)), self.characters.weight)


class Learned(NamedTuple):
    """What became of it: the loss of each step in nats a character, and of held-out text at the end."""

    model: GPT
    text: Text
    losses: list[float]
    held_out: float


def batch_of(codes: Tensor, count: int, length: int) -> tuple[Tensor, Tensor]:
    """Pieces at random places, and each shifted by a character: (count, length) both."""
    begin = tg.randint(0, len(codes) - length, (count, 1))
    pieces = codes[begin + tg.arange(length + 1)]
    return pieces[:, :-1], pieces[:, 1:]


def loss_of(model: GPT, inputs: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of each next character."""
    return F.cross_entropy(model(inputs).flatten(0, 1), wanted.flatten())


def learn(text: Text, sizes: Sizes, steps: int, batch: int = 16, rate: float = 2e-3) -> Learned:
    """AdamW, the learning rate rising for a tenth of the steps and falling along a cosine."""
    tg.manual_seed(0)
    model = GPT(len(text.vocabulary), sizes)
    optimizer = tg.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = tg.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps + 1, pct_start=0.1
    )
    losses: list[float] = []
    with trange(steps, desc="learning", unit="step", disable=None) as bar:
        for _ in bar:
            optimizer.zero_grad()
            loss = loss_of(model, *batch_of(text.train, batch, sizes.context))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            bar.set_postfix(loss=f"{losses[-1]:.3f}")
    return Learned(model, text, losses, held_out(model, text, batch))


def held_out(model: GPT, text: Text, batch: int) -> float:
    """The mean loss over 16 batches of the held-out text."""
    model.eval()
    with tg.no_grad():
        drawn = [batch_of(text.held_out, batch, model.sizes.context) for _ in range(16)]
        return sum(loss_of(model, *one).item() for one in drawn) / len(drawn)


def write(made: Learned, prompt: str, count: int, temperature: float = 0.8) -> Iterator[str]:
    """Characters that may follow ``prompt``, one at a time; below 1, ``temperature`` favours the likely."""
    codes = made.text.encode(prompt or "\n")[None, :]
    made.model.eval()
    for _ in range(count):
        with tg.no_grad():
            scores = made.model(codes[:, -made.model.sizes.context :])[0, -1]
            scores[0] = -math.inf  # not the one that stands for others
            drawn = (scores / temperature).softmax(0).multinomial(1)
        codes = tg.cat([codes, drawn[None, :]], 1)
        yield made.text.decode(drawn.tolist())


def main(arguments: Sequence[str] | None = None) -> Learned:
    """Learn, say how well, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--text", type=Path, metavar="FILE", help="(Python's standard library)")
    parser.add_argument("--steps", type=int, default=1000, help="(1000)")
    parser.add_argument("--batch", type=int, default=16, help="(16)")
    for field, value in Sizes()._asdict().items():
        parser.add_argument(f"--{field}", type=int, default=value, help=f"({value})")
    parser.add_argument("--write", type=int, default=600, help="characters (600)")
    parser.add_argument("--prompt", default="\ndef ", help="what the writing goes on from")
    parser.add_argument("--temperature", type=float, default=0.7, help="(0.7)")
    given = parser.parse_args(arguments)
    try:
        raw = given.text.read_text(encoding="utf-8") if given.text else standard_library()
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{given.text}: {error}") from None
    sizes = Sizes(given.context, given.width, given.heads, given.blocks)
    text = prepare(raw, sizes.context + 2)
    made = learn(text, sizes, given.steps, given.batch)
    count = sum(p.numel() for p in made.model.parameters())
    print(
        f"{count:,} parameters, {len(text.train):,} characters: loss {made.losses[0]:.3f} -> "
        f"{made.losses[-1]:.3f}; held out {made.held_out:.3f}, {made.held_out / math.log(2):.2f} bits a character\n"
    )
    sys.stdout.write(given.prompt.lstrip("\n"))
    for character in write(made, given.prompt, given.write, given.temperature):
        sys.stdout.write(character)
        sys.stdout.flush()
    print()
    return made


if __name__ == "__main__":
    main()
