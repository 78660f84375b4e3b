"""Building blocks that several families of CPU kernels share."""
