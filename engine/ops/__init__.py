"""Ops: per family, check the operands, infer the result, choose the kernel."""
