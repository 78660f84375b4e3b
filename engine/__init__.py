"""The engine: dtypes, devices, memory, arrays, and the dispatch of ops to kernels. No gradients."""

if __name__ != "tilegrad.engine":
    raise ImportError("import this package as tilegrad.engine, not as a top-level 'engine'")
