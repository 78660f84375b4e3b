"""The end of a transformer's block in one pass: a bias, dropout, and the sum with what went around the block.

Dropout's random numbers are an operand, so that the kernel is a function of its operands alone, and the backward pass
drops what the forward pass dropped.
"""

import tilegrad


@tilegrad.elementwise
def bias_dropout_residual(x, bias, residual, draw, p=0.1):
    """residual + dropout(x + bias): an element is kept where its draw from [0, 1) is not below p."""
    return residual + ((x + bias) / (1 - p) if draw >= p else 0)


def apply(x, bias, residual, p=0.1):
    """The block's end in training, shapes (batch, features), (features), (batch, features)."""
    return bias_dropout_residual(x, bias, residual, tilegrad.rand_like(x), p=p)


OPS = {
    bias_dropout_residual: (
        ((64, 256), (256,), (64, 256), (64, 256)),
        ((2048, 768), (768,), (2048, 768), (2048, 768)),
    )
}
