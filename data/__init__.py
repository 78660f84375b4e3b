"""Datasets, samplers and the loader."""

if __name__ != "tilegrad.data":
    raise ImportError("import this package as tilegrad.data, not as a top-level 'data'")

from tilegrad.data import transforms
from tilegrad.data.collate import default_collate, default_convert
from tilegrad.data.dataloader import DataLoader
from tilegrad.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from tilegrad.data.distributed import DistributedSampler
from tilegrad.data.info import WorkerInfo, get_worker_info
from tilegrad.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "WorkerInfo",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "random_split",
    "transforms",
]
