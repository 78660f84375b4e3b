"""Scalar formulas, each written once for every device, with their derivatives beside them."""

from tilegrad.kernels.formulas import (
    activation,
    arithmetic,
    bits,
    elementary,
    loss,
    numeric,
    vjps,
)

TABLES = (
    arithmetic.TABLE, bits.TABLE, elementary.TABLE, activation.TABLE, loss.TABLE, numeric.TABLE,
    vjps.TABLE,
)  # fmt: skip
