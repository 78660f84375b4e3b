"""CUDA kernels: the twins of ``tilegrad.kernels.cpu``, module by module."""
