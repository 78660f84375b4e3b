"""The `tilegrad` command: train, predict, serve, inspect, warmup, bench, info."""

if __name__ != "tilegrad.cli":
    raise ImportError("import this package as tilegrad.cli, not as a top-level 'cli'")
