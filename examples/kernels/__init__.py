"""Kernels as a user writes them, one file each; ``python -m examples.kernels`` checks and times them all."""
