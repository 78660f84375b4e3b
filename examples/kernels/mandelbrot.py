"""The Mandelbrot set: an elementwise function with a loop that ends at a different time for each element."""

import tilegrad


@tilegrad.elementwise
def escape(x, y, limit=200.0):
    """How many steps z -> z^2 + c takes to leave the disc of radius 2, from c = x + iy; at most limit."""
    a, b, count = 0.0, 0.0, 0.0
    while count < limit and a * a + b * b <= 4:
        a, b = a * a - b * b + x, 2 * a * b + y
        count = count + 1
    return count


def image(width=600, height=400, device="cpu"):
    """Counts over the part of the plane with the set, (height, width)."""
    x = tilegrad.linspace(-2.2, 0.8, width, device=device)
    y = tilegrad.linspace(-1.0, 1.0, height, device=device).unsqueeze(1)
    return escape(x, y)


def picture(path):
    """Draw it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.imsave(path, image().log1p().numpy(), cmap="magma")


OPS = {escape: ((400, 600),)}
CHECKED = {escape: {"orders": 0}}  # it jumps
