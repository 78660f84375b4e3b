"""What a kernel did wrong, as an exception."""


class KernelFault(RuntimeError):  # noqa: N818  (what hardware calls it)
    """A kernel did what hardware would punish or, worse, not notice."""
