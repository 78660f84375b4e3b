"""Numbers given to activations are elements of the input's dtype, or an error; PyTorch's values."""

import pytest
import torch

import tilegrad

CALLS = {
    "threshold of ints by floats": lambda m, f: f.threshold(m.tensor([-2, 0, 3]), 0.5, 7.5),
    "threshold, too large": lambda m, f: f.threshold(m.tensor([2], dtype=m.uint8), 1, 300),
    "threshold, negative": lambda m, f: f.threshold(m.tensor([2, 0], dtype=m.uint8), 1, -3),
    "threshold, float32": lambda m, f: f.threshold(m.ones(2), 0, 1e300),
    "threshold, float64": lambda m, f: f.threshold(m.ones(2).double(), 2, 1e300),
    "threshold, infinite": lambda m, f: f.threshold(m.ones(2), 2, float("inf")),
    "threshold, text": lambda m, f: f.threshold(m.ones(2), "a", 1),
    "hardtanh of ints": lambda m, f: f.hardtanh(m.tensor([-2, 0, 3]), -1.5, 1.5),
    "hardtanh, unsigned": lambda m, f: f.hardtanh(m.tensor([3], dtype=m.uint8), -1, 1),
    "hardtanh, too large": lambda m, f: f.hardtanh(m.tensor([1], dtype=m.int8), -1, 300),
    "leaky_relu": lambda m, f: f.leaky_relu(m.tensor([-1.0, 1.0]), 1e300),
    "leaky_relu by an int": lambda m, f: f.leaky_relu(m.tensor([-1.0, 1.0]), 2),
    "softplus": lambda m, f: f.softplus(m.ones(2), 1e300),
    "elu": lambda m, f: f.elu(m.tensor([-1.0]), 1e300),
    "relu6 of ints": lambda m, f: f.relu6(m.tensor([-2, 4, 9])),
}


@pytest.mark.parametrize("name", CALLS)
def test_numbers(name):
    found = []
    for m in (tilegrad, torch):
        try:
            out = CALLS[name](m, m.nn.functional)
            found.append((out.tolist(), str(out.dtype).split(".")[1]))
        except (RuntimeError, TypeError) as error:
            found.append(type(error).__name__)
    assert found[0] == found[1]
