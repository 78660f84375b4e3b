"""One unit of a recurrent cell at one step, forward and backward, for scalars and vectors.

Of a GRU pre-activations come in two parts: ``x`` from the input, ``h`` from the state before, which of other
cells are one sum. Gates are in PyTorch's order: of an LSTM input, forget, candidate, output; of a GRU
reset, update, candidate.
"""

from __future__ import annotations

from tilegrad.kernels.formulas.primitives import cast, select
from tilegrad.kernels.formulas.transcendental import sigmoid, tanh
from tilegrad.kernels.function import inline


@inline
def tanh_cell(x):
    """The new state of a plain cell."""
    return tanh(x)


@inline
def relu_cell(x):
    """The new state of a plain cell; NaN stays NaN."""
    zero = cast(0.0, x)
    return select(x < zero, zero, x)


@inline
def tanh_cell_grad(g, out):
    """The gradient of the pre-activation."""
    return g * (cast(1.0, out) - out * out)


@inline
def relu_cell_grad(g, out):
    """The gradient of the pre-activation."""
    zero = cast(0.0, out)
    return select(out > zero, g, zero)


@inline
def lstm_cell(x, c):
    """(input, forget, candidate, output gate; new cell, new state) (Hochreiter & Schmidhuber 1997)."""
    i, f = sigmoid(x[0]), sigmoid(x[1])
    g, o = tanh(x[2]), sigmoid(x[3])
    cell = f * c + i * g
    return i, f, g, o, cell, o * tanh(cell)


@inline
def lstm_cell_grad(gates, c, dh, dc):
    """Gradients of the four pre-activations and of the cell before, ``c``; ``dh`` and ``dc`` are those
    of the new state and cell.
    """
    i, f, g, o = gates
    one = cast(1.0, c)
    bent = tanh(f * c + i * g)
    total = dc + dh * o * (one - bent * bent)
    di = total * g * i * (one - i)
    df = total * c * f * (one - f)
    dg = total * i * (one - g * g)
    do = dh * bent * o * (one - o)
    return di, df, dg, do, total * f


@inline
def gru_cell(x, h, state):
    """(reset, update, candidate gate; new state) (Cho et al. 2014); the reset gate scales ``h[2]``."""
    r, z = sigmoid(x[0] + h[0]), sigmoid(x[1] + h[1])
    n = tanh(x[2] + r * h[2])
    return r, z, n, (state - n) * z + n


@inline
def gru_cell_grad(gates, hn, state, dh):
    """Gradients of the three pre-activations, of the candidate's part ``hn`` from the state, and what
    flows past the gates to the state before.
    """
    r, z, n = gates
    one = cast(1.0, r)
    dn = dh * (one - z) * (one - n * n)
    dz = dh * (state - n) * z * (one - z)
    dr = dn * hn * r * (one - r)
    return dr, dz, dn, dn * r, dh * z
