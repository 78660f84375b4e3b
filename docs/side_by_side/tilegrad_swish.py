import tilegrad


@tilegrad.elementwise
def swish(x, beta=1.0):
    return x / (1 + exp(-beta * x))  # noqa: F821
