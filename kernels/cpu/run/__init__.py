"""Compiling a CPU kernel, keeping its object, loading and calling it; tasks and threads."""
