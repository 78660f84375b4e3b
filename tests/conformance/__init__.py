"""How far tilegrad goes along PyTorch's own sample databases; ``python -m tests.conformance``."""
