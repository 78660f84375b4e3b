import torch
import triton
import triton.language as tl


@triton.jit
def forward(x, y, n, beta, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, i < n)
    tl.store(y + i, v / (1 + tl.exp(-beta * v)), i < n)


@triton.jit
def backward(x, grad_y, grad_x, n, beta, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, i < n)
    s = 1 / (1 + tl.exp(-beta * v))
    tl.store(grad_x + i, tl.load(grad_y + i, i < n) * s * (1 + beta * v * (1 - s)), i < n)


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, beta=1.0):
        ctx.save_for_backward(x)
        ctx.beta = beta
        x, y = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
        forward[triton.cdiv(x.numel(), 1024),](x, y, x.numel(), beta, BLOCK=1024)
        return y

    @staticmethod
    def backward(ctx, grad_y):
        (x,) = ctx.saved_tensors
        x, grad_y = x.contiguous(), grad_y.contiguous()
        grad_x = torch.empty_like(x)
        n = x.numel()
        backward[triton.cdiv(n, 1024),](x, grad_y, grad_x, n, ctx.beta, BLOCK=1024)
        return grad_x, None
