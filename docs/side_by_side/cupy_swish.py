import cupy

swish = cupy.ElementwiseKernel("T x, T beta", "T y", "y = x / (1 + exp(-beta * x))", "swish")

swish_backward = cupy.ElementwiseKernel(
    "T x, T beta, T grad_y",
    "T grad_x",
    "T s = 1 / (1 + exp(-beta * x)); grad_x = grad_y * s * (1 + beta * x * (1 - s))",
    "swish_backward",
)
