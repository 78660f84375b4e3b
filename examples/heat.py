"""The heat equation on a periodic square, by Fourier's own method: ``python -m examples.heat``.

A hot point moves along a figure of eight over a cold plate: ``u_t = kappa (u_xx + u_yy) + f(x, y, t)``. In space the
field is a sum of waves; a wave of wave numbers (p, q) fades at its own rate ``r = kappa (p^2 + q^2)``, so one step
from t to t + h is exact but for the source, which is held still meanwhile:

    u^ <- e^(-r h) u^ + (1 - e^(-r h)) / r f^        (an exponential integrator)

What is drawn is a row of moments, as a PNG. Nothing but tilegrad and Python's own library is needed.
"""

from __future__ import annotations

import argparse
import math
import struct
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import tilegrad
from tilegrad import Tensor

KAPPA = 2e-4
# black, purple, red, orange, yellow, white: how hot looks
COLOURS = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))


def wave_numbers(n: int) -> tuple[Tensor, Tensor]:
    """Those of :func:`tilegrad.fft.rfft2` of an n x n field on the unit square, down and across."""
    turn = 2 * math.pi * n
    down = tilegrad.fft.fftfreq(n) * turn
    across = tilegrad.fft.rfftfreq(n) * turn
    return down[:, None], across[None, :]


class Plate:
    """An n x n field of temperatures and its spectrum.

    Args:
        n: points along each side.
        step: of time.
        kappa: how well heat spreads.
    """

    def __init__(self, n: int, step: float, kappa: float = KAPPA):
        self.n, self.step = n, step
        p, q = wave_numbers(n)
        rate = kappa * (p * p + q * q)
        self.fade = tilegrad.exp(-rate * step)
        # (1 - e^(-r h)) / r, whose limit for the constant wave is h
        still = rate == 0
        safe = tilegrad.where(still, tilegrad.ones_like(rate), rate)
        self.gain = tilegrad.where(
            still, tilegrad.full_like(rate, step), -tilegrad.expm1(-rate * step) / safe
        )
        self.spectrum = tilegrad.zeros(n, n // 2 + 1, dtype=tilegrad.complex64)
        at = tilegrad.arange(n) / n
        self.y, self.x = at[:, None], at[None, :]

    def set(self, field: Tensor) -> None:
        """Begin with this field."""
        self.spectrum = tilegrad.fft.rfft2(field)

    def advance(self, source: Tensor | None = None) -> None:
        """One step, with ``source`` (n, n) of heat per unit of time."""
        self.spectrum = self.spectrum * self.fade
        if source is not None:
            self.spectrum = self.spectrum + tilegrad.fft.rfft2(source) * self.gain

    def field(self) -> Tensor:
        """Temperatures, (n, n)."""
        return tilegrad.fft.irfft2(self.spectrum, (self.n, self.n))

    def spot(self, y: float, x: float, width: float = 0.02) -> Tensor:
        """A round source in (y, x), whose heat adds up to 1 per unit of time."""

        def near(at: Tensor, centre: float) -> Tensor:
            away = at - centre
            away = away - tilegrad.round(away)  # the square is periodic
            return tilegrad.exp(away * away * (-0.5 / width**2))

        made = near(self.y, y) * near(self.x, x)
        return made * (self.n**2 / made.sum())


def figure_of_eight(t: float) -> tuple[float, float]:
    """Where the hot point is at time t, which it takes 1 to go around."""
    turn = 2 * math.pi * t
    return 0.5 + 0.2 * math.sin(2 * turn), 0.5 + 0.35 * math.sin(turn)


def moments(n: int, steps: int, shown: int) -> Iterator[tuple[int, Tensor | None]]:
    """(steps done, the field at ``shown`` of them): a whole turn of the hot point."""
    plate = Plate(n, 1.0 / steps)
    drawn = {round((k + 1) * steps / shown) for k in range(shown)}
    with tilegrad.no_grad():
        for number in range(1, steps + 1):
            plate.advance(plate.spot(*figure_of_eight((number - 0.5) / steps)))
            yield number, plate.field() if number in drawn else None


# ---------------------------------------------------------------------------------------- picture


def coloured(field: Any) -> bytes:
    """Rows of RGB bytes of numbers from 0 to 1, a list of lists; each begins with PNG's filter 0."""
    found = bytearray()
    last = len(COLOURS) - 1
    for line in field:
        found.append(0)
        for value in line:
            place = min(max(value, 0.0), 1.0) * last
            low = min(int(place), last - 1)
            part = place - low
            pair = zip(COLOURS[low], COLOURS[low + 1], strict=True)
            found += bytes(round(a + (b - a) * part) for a, b in pair)
    return bytes(found)


def png(width: int, height: int, rows: bytes) -> bytes:
    """A PNG of RGB rows, each behind a filter byte."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def picture(fields: list[Tensor]) -> bytes:
    """The fields side by side, on one scale."""
    wide = tilegrad.cat(fields, 1)
    scaled = tilegrad.sqrt(tilegrad.clamp(wide / wide.max(), min=0))  # the cold half shows, too
    height, width = scaled.shape
    return png(width, height, coloured(scaled.tolist()))


def progress(done: int, steps: int) -> None:
    """A bar on a terminal."""
    if sys.stderr.isatty():
        filled = 40 * done // steps
        end = "\n" if done == steps else ""
        print(
            f"\r[{'#' * filled}{'.' * (40 - filled)}] step {done} of {steps}",
            end=end,
            file=sys.stderr,
        )


def main(given: list[str] | None = None) -> None:
    """Run and draw."""
    parser = argparse.ArgumentParser(
        description="A hot point on a cold plate, by Fourier transforms."
    )
    parser.add_argument("--size", type=int, default=256, help="points along each side (256)")
    parser.add_argument("--steps", type=int, default=600, help="of time (600)")
    parser.add_argument("--shown", type=int, default=4, help="moments in the picture (4)")
    parser.add_argument("--out", default="heat.png", help="the picture (heat.png)")
    options = parser.parse_args(given)
    fields = []
    for done, field in moments(options.size, options.steps, options.shown):
        progress(done, options.steps)
        if field is not None:
            fields.append(field)
    with open(options.out, "wb") as file:
        file.write(picture(fields))
    mean = fields[-1].mean().item()
    print(
        f"{options.out}: {options.shown} moments of {options.steps} steps; all heat of the source is there: {mean:.4f}"
    )


if __name__ == "__main__":
    main()
