"""What is wrong with a kernel, as an exception."""


class KernelFault(RuntimeError):  # noqa: N818  (what hardware calls it)
    """A kernel did what hardware would punish or, worse, not notice."""


class MissingKernelError(RuntimeError):
    """A kernel is nowhere to be found, and nothing may be compiled.

    Attributes: ``kernel``, its name.
    """

    def __init__(self, kernel: str, message: str):
        super().__init__(message)
        self.kernel = kernel


class SettingError(ValueError):
    """A variable of the environment has a value that means nothing."""
