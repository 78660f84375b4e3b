"""The benchmarks as data, one module per area; :mod:`tilegrad.bench.areas` puts them together."""
