"""Scalar formulas, each written once for every device, with their derivatives beside them."""

from tilegrad.kernels.formulas import (
    activation,
    arithmetic,
    bits,
    elementary,
    loss,
    numeric,
    slopes,
)

TABLES = (
    arithmetic.TABLE, bits.TABLE, elementary.TABLE, activation.TABLE, loss.TABLE, numeric.TABLE,
    slopes.TABLE,
)  # fmt: skip
