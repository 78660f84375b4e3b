"""Bodies that dance: orbits of equal masses along one closed curve, found by least action.

Newton's laws say which motions are possible; the principle of least action says it in one number. Let N equal
masses follow each other along a curve z(t) of period 2 pi, each 2 pi / N behind the next. The action of one of them,

    A = mean over t of  |z'(t)|^2 / 2  +  sum over j = 1 .. N-1 of  1 / (2 |z(t) - z(t + 2 pi j / N)|)

is stationary exactly where ``z'' = -sum of (z - z_j) / |z - z_j|^3``, Newton's law of gravitation (G = m = 1). So an
orbit is found by minimising an ordinary expression: z is a Fourier sum, its coefficients begin as a rough guess or
at random, and L-BFGS goes down the gradient that autograd gives. No neural network, no data (Moore, Braids in classical dynamics,
1993; Chenciner, Montgomery, A remarkable periodic solution of the three-body problem, 2000; Vanderbei, New orbits for
the n-body problem, 2004)::

    python -m examples.choreography [--steps 600] [--search 5 --tries 100] [--picture choreography.png]

Each panel of the picture is one orbit: the bodies, and behind each its way from where the next one is.
"""

from __future__ import annotations

import argparse
import cmath
import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

import tilegrad as tg
from tilegrad import Tensor

HARMONICS = 120  # of the Fourier sum, on both sides of 0
ROUGH = 5  # harmonics of a random start
POINTS = 96  # of the curve, for each body


class Start(NamedTuple):
    """Where a search begins: bodies, what the orbit looks like, and the waves k: c_k that are not zero."""

    bodies: int
    title: str
    waves: dict[int, complex]


# rough guesses: the largest waves of orbits that --search found, to two digits
KNOWN = (
    Start(3, "the figure eight", {1: 0.55, -1: 0.55, 2: 0.17, -2: -0.17}),
    Start(4, "loop and tail", {-1: 0.79, 1: 0.43, 2: 0.22, -2: -0.15, 3: 0.07}),
    Start(4, "clover", {-2: 0.53, 1: -0.15 + 0.49j, -5: 0.01 + 0.05j}),
    Start(4, "twice around", {-1: 0.47, 1: 0.35, 2: 0.34, 3: -0.24, -2: 0.18, -3: 0.08}),
    Start(5, "pretzel", {1: 0.69, -2: 0.11 - 0.54j, 4: -0.01 - 0.05j}),
    Start(5, "scissors", {-1: 0.51, 1: 0.50, 2: 0.49, 3: -0.14, -2: -0.09, -3: -0.05}),
    Start(5, "chain", {-1: 0.85, 1: 0.66, 3: 0.20, -3: -0.09}),
    Start(6, "star", {1: 0.69, -2: -0.54, -1: 0.44, -3: -0.12, 2: 0.09, 3: -0.05, -4: -0.05}),
    Start(6, "ring in a ring", {-2: 0.67, -1: 0.52j, 1: -0.1j, -3: 0.1j, -4: 0.05}),
    Start(6, "triangle", {1: 0.85, -2: 0.49 + 0.21j, 4: -0.06 + 0.02j, -5: 0.04 + 0.04j}),
    Start(7, "knot", {2: 0.70, -1: -0.50j, 1: 0.39j, 3: 0.13j}),
    Start(7, "three arms", {-1: 0.85, 2: -0.55, 1: 0.40, 3: -0.09, -2: 0.09, 4: -0.07, -3: -0.06}),
)


class Dance(NamedTuple):
    """What was found.

    Attributes:
        curve, velocity: z and z', (M,) complex128, M a multiple of the bodies.
        actions: the action after every tenth step.
        residual: the largest |z'' - gravity| over the largest |z''|: 0 for an orbit.
    """

    bodies: int
    curve: Tensor
    velocity: Tensor
    actions: list[float]
    residual: float


class Curve:
    """A Fourier sum of waves k up to ``harmonics`` on both sides, seen at ``points`` times of a period.

    Coefficients are held times k, (K, 2) float64, so that the kinetic part of the action is half their sum of
    squares: L-BFGS finds a minimum the sooner, the rounder it is.
    """

    def __init__(self, bodies: int, points: int, harmonics: int = HARMONICS):
        self.bodies, self.points = bodies, points
        k = tg.arange(-harmonics, harmonics + 1, dtype=tg.float64)
        # waves that all bodies have in step would move the centre of mass, which rests
        self.k = k[tg.remainder(k, bodies) != 0]
        t = tg.arange(points, dtype=tg.float64) * (2 * math.pi / points)
        phase = t[:, None] * self.k
        self.waves = tg.complex(phase.cos(), phase.sin())

    def scaled(self, waves: dict[int, complex]) -> Tensor:
        """Coefficients of which these are not zero."""
        found = [k * waves.get(int(k), 0) for k in self.k.tolist()]
        return tg.view_as_real(tg.tensor(found, dtype=tg.complex128))

    def derivative(self, scaled: Tensor, order: int) -> Tensor:
        """z, z' or z'' at all points, (points,) complex128."""
        factor = tg.complex(self.k ** (order - 1), tg.zeros_like(self.k)) * (1j**order)
        return self.waves @ (tg.view_as_complex(scaled) * factor)

    def away(self, z: Tensor) -> Tensor:
        """``z(t) - z(t + 2 pi j / N)`` for j from 1 to N - 1, (N - 1, points)."""
        step = self.points // self.bodies
        return tg.stack([z - tg.roll(z, -j * step) for j in range(1, self.bodies)])

    def action(self, scaled: Tensor) -> Tensor:
        """The action of a body over a period."""
        kinetic = 0.5 * (scaled * scaled).sum()
        return kinetic + 0.5 * (1 / self.away(self.derivative(scaled, 0)).abs()).sum(0).mean()

    def residual(self, scaled: Tensor) -> float:
        """How far Newton's law is missed."""
        away = self.away(self.derivative(scaled, 0))
        gravity = -(away / away.abs() ** 3).sum(0)
        found = self.derivative(scaled, 2)
        return ((found - gravity).abs().max() / found.abs().max()).item()


def any_waves(seed: int) -> dict[int, complex]:
    """A random start: the first waves, the shorter the smaller, with any phase."""
    draw = random.Random(seed).random
    both = [k for size in range(1, ROUGH + 1) for k in (size, -size)]
    return {k: cmath.rect(1.6 * draw() / abs(k) ** 1.2, 2 * math.pi * draw()) for k in both}


def search(
    bodies: int,
    waves: dict[int, complex],
    steps: int = 600,
    harmonics: int = HARMONICS,
    points: int = POINTS,
) -> Dance:
    """Go down the action from a sum of waves, by at most ``steps`` of L-BFGS."""
    curve = Curve(bodies, points * bodies, harmonics)
    scaled = curve.scaled(waves).clone().requires_grad_()
    optimizer = tg.optim.LBFGS(
        [scaled], max_iter=10, history_size=30, line_search_fn="strong_wolfe", tolerance_change=0.0
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = curve.action(scaled)
        value.backward()
        return value

    actions = [optimizer.step(closure).item() for _ in range(0, steps, 10)]
    with tg.no_grad():
        actions.append(curve.action(scaled).item())
        z, velocity = curve.derivative(scaled, 0), curve.derivative(scaled, 1)
        return Dance(bodies, z, velocity, actions, curve.residual(scaled))


def is_new(made: Dance, others: Sequence[Dance]) -> bool:
    """Whether it is an orbit, no circle, and none of the others again."""
    radius = made.curve.abs()
    circle = (radius.max() - radius.min()).item() < 1e-2
    known = any(abs(made.actions[-1] - other.actions[-1]) < 1e-3 for other in others)
    return made.residual < 1e-3 and not circle and not known


# ---------------------------------------------------------------------------------------- picture

NIGHT, PALE = "#0a0e1a", "#c9d3e6"
COLOURS = ("#ffcf56", "#ff7e67", "#5ec8f8", "#9be564", "#d59bf6", "#ff9ecd", "#6ff0d0")


def upright(made: Dance) -> Any:
    """The curve's points, turned so that it is as wide as it can be, its largest distance 1."""
    z = made.curve
    turn = tg.view_as_real((z * z).mean()).tolist()  # the direction in which it is longest, twice
    z = z * cmath.exp(-0.5j * math.atan2(turn[1], turn[0]))
    return (z / z.abs().max()).numpy()


def panel(axes: Any, made: Dance, title: str) -> None:
    """One orbit: every body with its tail, that fades towards the body behind."""
    import numpy as np
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb

    z = upright(made)
    step = len(z) // made.bodies
    fade = np.linspace(0, 1, step) ** 1.5
    for body in range(made.bodies):
        tail = z[np.arange(body * step, (body + 1) * step + 1) % len(z)]
        points = np.stack([tail.real, tail.imag], 1)
        colours = np.empty((step, 4))
        colours[:, :3] = to_rgb(COLOURS[body % len(COLOURS)])
        # each piece reaches into the next, so that no seam shows
        pairs = np.stack([points[:-1], points[1:], np.vstack([points[2:], points[-1:]])], 1)
        for width, strength in ((3.5, 0.10), (2.0, 0.18), (1.0, 1.0)):  # a glow around a line
            colours[:, 3] = strength * (0.15 + 0.85 * fade)
            widths = width * (0.6 + 1.8 * fade)
            lines = LineCollection(pairs, colors=colours, linewidths=widths, capstyle="butt")
            axes.add_collection(lines)
        colour = colours[0, :3]
        for size, alpha in ((300, 0.10), (130, 0.25), (52, 1.0)):
            axes.scatter(*points[-1], s=size, color=colour, alpha=alpha, lw=0, zorder=3)
        axes.scatter(*points[-1], s=14, color="white", lw=0, zorder=4)
    middle = (z.imag.max() + z.imag.min()) / 2
    axes.set(xlim=(-1.15, 1.15), ylim=(middle - 1, middle + 1), aspect="equal")
    axes.axis("off")
    axes.set_title(f"{made.bodies} bodies: {title}", color=PALE, fontsize=10, pad=0)


def draw(found: Sequence[tuple[str, Dance]], path: str) -> None:
    """All orbits, four in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(4, len(found))
    down = -(-len(found) // across)
    figure = Figure(figsize=(3.2 * across, 3.0 * down), layout="constrained", facecolor=NIGHT)
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, (title, made) in zip(panels, found, strict=False):
        panel(axes, made, title)
    figure.savefig(path, dpi=100, facecolor=NIGHT)


def main(arguments: Sequence[str] | None = None) -> list[tuple[str, Dance]]:
    """Search, draw, say how well Newton's law holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--steps", type=int, default=600, help="of L-BFGS, for each orbit (600)")
    parser.add_argument("--search", type=int, metavar="N", help="look for orbits of N bodies anew")
    parser.add_argument("--tries", type=int, default=100, help="random starts of --search (100)")
    parser.add_argument("--picture", default="choreography.png", help="(choreography.png)")
    given = parser.parse_args(arguments)
    starts = KNOWN
    if given.search is not None:
        if given.search < 3:
            parser.error("--search: two bodies go around each other; give 3 or more")
        starts = tuple(
            Start(given.search, f"start {seed}", any_waves(seed)) for seed in range(given.tries)
        )
    found: list[tuple[str, Dance]] = []
    with tqdm(starts, unit="orbit", disable=None) as bar:
        for bodies, title, waves in bar:
            made = search(bodies, waves, given.steps)
            if given.search is None or is_new(made, [other for _, other in found]):
                found.append((title, made))
                bar.set_postfix_str(f"{title}: action {made.actions[-1]:.6f}")
    if not found:
        raise SystemExit(f"no orbit of {given.search} bodies in {given.tries} tries; give more")
    for title, made in found:
        print(
            f"{made.bodies} bodies, {title}: action {made.actions[0]:.4f} -> {made.actions[-1]:.8f}; "
            f"Newton's law holds to {made.residual:.1e}"
        )
    draw(found, given.picture)
    print(given.picture)
    return found


if __name__ == "__main__":
    main()
