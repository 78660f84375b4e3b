"""RMS norm (Zhang and Sennrich 2019) with a backward pass of its own: each row is read once to be measured and
once to be scaled, forward and backward.
"""

from numba import cuda

import tilegrad

THREADS = 128


@tilegrad.op("rms_norm(x: f[*B, N], weight: f[N], eps: float = 1e-6) -> y: like x, scale: f[*B]")
def rms_norm(x, weight, eps):
    """x over the root mean square of its last dimension, times weight; and one over that root."""
    scale = (x.square().mean(-1) + eps).rsqrt()
    return x * scale.unsqueeze(-1) * weight, scale


@rms_norm.cpu(tasks=lambda B: B)
def _(task, x, weight, y, scale, eps, N, f):
    first = task * N
    total = f(0)
    for j in range(N):
        total += x[first + j] * x[first + j]
    r = 1 / sqrt(total / N + eps)  # noqa: F821
    scale[task] = r
    for j in range(N):
        y[first + j] = x[first + j] * r * weight[j]


@rms_norm.cuda(grid=lambda B: B, block=THREADS)
def _(x, weight, y, scale, eps, N, f):
    sums = cuda.shared.array(THREADS, f)
    t, first = cuda.threadIdx.x, cuda.blockIdx.x * N
    total = f(0)
    for j in range(t, N, THREADS):
        total += x[first + j] * x[first + j]
    sums[t] = total
    cuda.syncthreads()
    half = THREADS // 2
    while half:
        if t < half:
            sums[t] += sums[t + half]
        cuda.syncthreads()
        half //= 2
    r = 1 / sqrt(sums[0] / N + eps)  # noqa: F821
    if t == 0:
        scale[cuda.blockIdx.x] = r
    for j in range(t, N, THREADS):
        y[first + j] = x[first + j] * r * weight[j]


@rms_norm.vjp
def _(grad_y, grad_scale, x, weight, scale):
    r = scale.unsqueeze(-1)
    x_hat, g = x * r, grad_y * weight
    inner = (g * x_hat).mean(-1, keepdim=True)
    dx = r * (g - x_hat * inner)
    if grad_scale is not None:
        dx = dx - grad_scale.unsqueeze(-1) * r * r * x_hat / x.shape[-1]
    dweight = (grad_y * x_hat).sum(tuple(range(x.ndim - 1)))
    return dx, dweight


OPS = {rms_norm: (((64, 256), (256,)), ((4096, 768), (768,)))}
