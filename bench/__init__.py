"""The `tilegrad bench` command: what tilegrad costs, beside NumPy, PyTorch and CuPy, on CPU and GPU.

Its modules are imported as ``tilegrad.bench``; in a clone ``python -m bench`` is the same program.
"""
