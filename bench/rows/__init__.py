"""The benchmarks as data, one module per area; :mod:`bench.areas` puts them together."""
