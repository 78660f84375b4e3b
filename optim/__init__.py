"""Optimizers and learning-rate schedules, PyTorch's names and arguments.

SparseAdam is left out: there are no sparse gradients.
"""

if __name__ != "tilegrad.optim":
    raise ImportError("import this package as tilegrad.optim, not as a top-level 'optim'")

from importlib import import_module as _import_module

from tilegrad.optim import lr_scheduler
from tilegrad.optim.adadelta import Adadelta
from tilegrad.optim.adafactor import Adafactor
from tilegrad.optim.adagrad import Adagrad
from tilegrad.optim.adam import Adam
from tilegrad.optim.adamax import Adamax
from tilegrad.optim.adamw import AdamW
from tilegrad.optim.asgd import ASGD
from tilegrad.optim.lbfgs import LBFGS
from tilegrad.optim.muon import Muon
from tilegrad.optim.nadam import NAdam
from tilegrad.optim.optimizer import Optimizer
from tilegrad.optim.radam import RAdam
from tilegrad.optim.rmsprop import RMSprop
from tilegrad.optim.rprop import Rprop
from tilegrad.optim.sgd import SGD

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon",
    "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "lr_scheduler",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name != "swa_utils":  # which alone needs modules
        raise AttributeError(f"module 'tilegrad.optim' has no attribute {name!r}")
    return _import_module("tilegrad.optim.swa_utils")
