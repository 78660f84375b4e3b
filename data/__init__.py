"""Datasets, samplers and the loader."""

if __name__ != "tilegrad.data":
    raise ImportError("import this package as tilegrad.data, not as a top-level 'data'")
