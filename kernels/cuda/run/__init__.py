"""Compiling a CUDA kernel, keeping its cubin, loading and launching it."""
