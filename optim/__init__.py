"""Optimizers and learning-rate schedules, PyTorch's names and arguments."""

if __name__ != "tilegrad.optim":
    raise ImportError("import this package as tilegrad.optim, not as a top-level 'optim'")

from tilegrad.optim import lr_scheduler
from tilegrad.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from tilegrad.optim.adaptive import Adadelta, Adagrad, RMSprop
from tilegrad.optim.optimizer import Optimizer
from tilegrad.optim.sgd import SGD

__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "Optimizer", "RAdam",
    "RMSprop", "lr_scheduler",
]  # fmt: skip
