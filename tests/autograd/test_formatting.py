"""How tensors are shown."""

import torch

import tilegrad


def test_what_is_expanded_is_not_copied_to_be_shown(device):
    for m, where in ((tilegrad, device), (torch, "cpu")):
        wide = m.ones(1, device=where).expand(1_000_000, 1_000_000)
        lines = repr(wide).split("\n")
        assert lines[0] == "tensor([[1., 1., 1.,  ..., 1., 1., 1.]," and len(lines) == 7
        assert isinstance(hash(wide), int)
