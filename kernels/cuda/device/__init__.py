"""The language of CUDA kernels: PTX by intrinsics, words, registers, copies; each intrinsic with what it
does on the simulated device, and pointers that check themselves in debug builds.
"""
