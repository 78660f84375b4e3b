"""The language of CPU kernels: memory, loops and vectors, written out as LLVM IR."""
