"""Swish, x times the sigmoid of beta x (Ramachandran, Zoph and Le 2017): the ten-line kernel."""

import tilegrad


@tilegrad.elementwise
def swish(x, beta=1.0):
    """x times the sigmoid of beta x."""
    return x / (1 + exp(-beta * x))  # noqa: F821


OPS = {swish: ((1000,), (1000, 1000))}
