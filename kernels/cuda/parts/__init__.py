"""Building blocks that several families of CUDA kernels share."""
