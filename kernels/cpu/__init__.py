"""CPU kernels: numba functions over addresses, compiled on first use and cached as object files."""
