"""A tiled product of matrices: 16 x 16 tiles in shared memory on the GPU, four rows at a time on the CPU.

tilegrad's own ``matmul`` is several times faster; this one fits a page.
"""

from numba import cuda

import tilegrad

TILE = 16
ROWS = 4  # a task's


@tilegrad.op("matmul(x: f[M, K], y: f[K, N]) -> z: f[M, N]")
def matmul(x, y):
    """The product of two matrices."""
    return x @ y


@matmul.cpu(tasks=lambda M: -(-M // ROWS))
def _(task, x, y, z, M, K, N, f):
    first, last = task * ROWS, min(task * ROWS + ROWS, M)
    for i in range(first, last):
        for j in range(N):
            z[i * N + j] = f(0)
    for k in range(K):
        for i in range(first, last):
            left = x[i * K + k]
            for j in range(N):
                z[i * N + j] += left * y[k * N + j]


@matmul.cuda(grid=lambda M, N: (-(-N // TILE), -(-M // TILE)), block=(TILE, TILE))
def _(x, y, z, M, K, N, f):
    left = cuda.shared.array((TILE, TILE), f)
    right = cuda.shared.array((TILE, TILE), f)
    j, i = cuda.grid(2)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    total = f(0)
    for k in range(0, K, TILE):
        left[ty, tx] = x[i * K + k + tx] if i < M and k + tx < K else f(0)
        right[ty, tx] = y[(k + ty) * N + j] if j < N and k + ty < K else f(0)
        cuda.syncthreads()
        for step in range(TILE):
            total += left[ty, step] * right[step, tx]
        cuda.syncthreads()
    if i < M and j < N:
        z[i * N + j] = total


@matmul.vjp
def _(grad_z, x, y):
    return matmul(grad_z, y.t()), matmul(x.t(), grad_z)


OPS = {matmul: (((64, 64), (64, 64)), ((512, 512), (512, 512)))}
