"""Random programs, run in step by PyTorch and by tilegrad."""
