"""Heat on a plate whose edge is held at 0: one explicit step of the heat equation, a five-point stencil.

No neural network: the program finds where the plate was heated, from what is measured later, by gradients
through all steps. The stencil equals its transpose, so its gradient is the step itself.
"""

from numba import cuda

import tilegrad

SIDE = 8


@tilegrad.op("heat_step(u: f[H, W], k: float = 0.1) -> v: like u")
def heat_step(u, k):
    """u plus k times the sum of the differences to the four neighbours; outside it is 0."""
    edge = tilegrad.nn.functional.pad(u, (1, 1, 1, 1))
    around = edge[:-2, 1:-1] + edge[2:, 1:-1] + edge[1:-1, :-2] + edge[1:-1, 2:]
    return u + k * (around - 4 * u)


def at(u, i, j, H, W):
    """u[i, j], 0 outside."""
    return u[i * W + j] if 0 <= i and i < H and 0 <= j and j < W else u[0] * 0


@heat_step.cpu(tasks=lambda H: H)
def _(task, u, v, k, H, W):
    i = task
    for j in range(W):
        here = u[i * W + j]
        around = at(u, i - 1, j, H, W) + at(u, i + 1, j, H, W)
        around += at(u, i, j - 1, H, W) + at(u, i, j + 1, H, W)
        v[i * W + j] = here + k * (around - 4 * here)


@heat_step.cuda(grid=lambda H, W: (-(-W // SIDE), -(-H // SIDE)), block=(SIDE, SIDE))
def _(u, v, k, H, W):
    j, i = cuda.grid(2)
    if i < H and j < W:
        here = u[i * W + j]
        around = at(u, i - 1, j, H, W) + at(u, i + 1, j, H, W)
        around += at(u, i, j - 1, H, W) + at(u, i, j + 1, H, W)
        v[i * W + j] = here + k * (around - 4 * here)


@heat_step.vjp
def _(grad_v, k):
    return heat_step(grad_v, k=k)


def run(u, steps):
    """The plate after so many steps."""
    for _ in range(steps):
        u = heat_step(u)
    return u


def find(measured, steps, rounds=200):
    """The plate ``steps`` before ``measured``, by gradient descent; also the loss of each round."""
    start = tilegrad.zeros_like(measured).requires_grad_()
    optimizer = tilegrad.optim.Adam([start], lr=0.1)
    losses = []
    for _ in range(rounds):
        optimizer.zero_grad()
        loss = (run(start, steps) - measured).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return start.detach(), losses


def picture(path, side=64, steps=12):
    """The plate heated, later, and as it was found again from what it was later."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    plate = tilegrad.zeros(side, side)
    plate[side // 4 : side // 3, side // 4 : side // 2] = 1
    plate[side // 2 : side // 2 + 6, side // 2 :] = 0.7
    later = run(plate, steps)
    found, _ = find(later, steps)
    figure, axes = pyplot.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
    for axis, values, title in zip(
        axes, (plate, later, found), ("heated", f"{steps} steps later", "found again"), strict=True
    ):
        shown = axis.imshow(values.numpy(), cmap="inferno", vmin=0, vmax=1)
        axis.set_title(title)
        axis.set_axis_off()
    figure.colorbar(shown, ax=axes, label="temperature")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


OPS = {heat_step: ((64, 64), (1024, 1024))}
