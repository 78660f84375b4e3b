"""`tilegrad train`: a convolutional network that learns to read digits."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.random import manual_seed
from tilegrad.cli import checkpoint, report
from tilegrad.cli.checkpoint import Progress
from tilegrad.cli.digits import Sets, load_sets
from tilegrad.cli.failure import Failure, missing
from tilegrad.cli.model import Classifier, Shape
from tilegrad.data import DataLoader
from tilegrad.data.serialization import save
from tilegrad.kernels.cpu.run.threads import get_num_threads, set_num_threads
from tilegrad.nn import functional as F
from tilegrad.optim import AdamW
from tilegrad.optim.lr_scheduler import ExponentialLR

# what a run's numbers depend on; a resumed run keeps the values of its checkpoint
DEFAULTS = {"batch_size": 64, "lr": 3e-3, "seed": 0}
_DECAY = (
    0.75  # of the learning rate, each epoch; not a function of --epochs, so that runs can go on
)
_TEST_BATCH = 256


def run(arguments: argparse.Namespace) -> None:
    """Train, write the results to ``--out`` and say how good they are.

    Raises:
        Failure: wrong data, an unusable folder, a missing package, or nothing to resume.
    """
    if find_spec("matplotlib") is None:
        raise missing("tilegrad train", "matplotlib")
    _choose_threads(arguments.threads)
    sets = load_sets(arguments.data)
    folder = _folder(arguments.out)
    found = checkpoint.read(folder) if arguments.resume else None
    progress = _progress(arguments, sets, found)
    manual_seed(progress.options["seed"])
    job = Job(sets, progress, arguments)
    if found is not None:
        checkpoint.restore(found, job.parts)
    with _writing(folder):
        for epoch in range(len(progress.history) + 1, arguments.epochs + 1):
            job.epoch(epoch)
            job.write(folder)
        job.finish(folder)


def _choose_threads(given: int | None) -> None:
    """What was asked for; else half of the cores, since loading images takes some too, and a
    kernel's threads that wait for a core cost more than they bring.
    """
    if given is not None:
        set_num_threads(given)
    elif "TILEGRAD_NUM_THREADS" not in os.environ:
        set_num_threads(max(1, get_num_threads() // 2))


def _folder(name: str) -> Path:
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"--out {name}: {error.strerror}") from None
    return folder


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failure(f"{folder}: cannot be written: {error}") from None


def _progress(arguments: argparse.Namespace, sets: Sets, found: dict[str, Any] | None) -> Progress:
    """A new run's, or that of the checkpoint.

    Raises:
        Failure: an option or the data differs from the checkpoint's.
    """
    given = {name: getattr(arguments, name) for name in DEFAULTS} | {"data": sets.name}
    if found is None:
        chosen = {k: DEFAULTS.get(k) if v is None else v for k, v in given.items()}
        return Progress(chosen)
    try:
        progress = Progress(**found["progress"])
        kept = {name: progress.options[name] for name in given}
    except (TypeError, KeyError):
        raise Failure(f"{checkpoint.NAME}: not a checkpoint of tilegrad train") from None
    for name, value in given.items():
        if value is not None and value != kept[name]:
            option = "--" + name.replace("_", "-")
            raise Failure(
                f"--resume: the checkpoint was made with {option} {kept[name]}; got {value}"
            )
    return progress


class Job:
    """A run: the model, what trains it, and how far it is."""

    def __init__(self, sets: Sets, progress: Progress, arguments: argparse.Namespace):
        self.sets = sets
        self.progress = progress
        self.arguments = arguments
        options = progress.options
        self.model = Classifier(Shape(*sets.size, sets.classes)).to(arguments.device)
        self.optimizer = AdamW(self.model.parameters(), lr=options["lr"], weight_decay=0.01)
        self.schedule = ExponentialLR(self.optimizer, _DECAY)
        self.parts: dict[str, Any] = {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
        }
        self.loader = DataLoader(
            sets.train,
            batch_size=options["batch_size"],
            shuffle=True,
            num_workers=arguments.workers,
            persistent_workers=arguments.workers > 0,
        )
        self.test_loader = DataLoader(sets.test, batch_size=_TEST_BATCH)

    def epoch(self, number: int) -> None:
        """One pass over the training images, then a test."""
        begin = time.perf_counter()
        rate = self.optimizer.param_groups[0]["lr"]
        loss, accuracy = self._train(number)
        self.schedule.step()
        test_loss, confusion = self._test()
        seconds = time.perf_counter() - begin
        correct, count = sum(row[i] for i, row in enumerate(confusion)), len(self.sets.test)
        self.progress.seconds += seconds
        self.progress.history.append(
            {
                "epoch": number,
                "learning_rate": rate,
                "train_loss": loss,
                "train_accuracy": accuracy,
                "test_loss": test_loss,
                "test_accuracy": correct / count,
                "test_correct": correct,
                "seconds": round(seconds, 3),
            }
        )
        print(
            f"epoch {number}: loss {loss:.4f}, accuracy {accuracy:.2%}; "
            f"held out: loss {test_loss:.4f}, accuracy {correct / count:.2%} ({correct} of {count}); "
            f"{seconds:.1f} s",
            flush=True,
        )

    def _train(self, number: int) -> tuple[float, float]:
        """Mean loss and accuracy over the pass, as seen before each step."""
        self.model.train()
        device = self.arguments.device
        total, correct, seen = 0.0, 0, 0
        title = f"epoch {number}/{self.arguments.epochs}"
        with tqdm(self.loader, desc=title, unit="batch", leave=False, dynamic_ncols=True) as bar:
            for images, labels in bar:
                images, labels = images.to(device), labels.to(device)
                scores = self.model(images)
                loss = F.cross_entropy(scores, labels)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                total += loss.item() * len(labels)
                correct += int((scores.detach().argmax(1) == labels).sum().item())
                seen += len(labels)
                bar.set_postfix(loss=f"{total / seen:.4f}", accuracy=f"{correct / seen:.2%}")
        return total / seen, correct / seen

    def _test(self) -> tuple[float, list[list[int]]]:
        """Mean loss on the held-out images, and how often each class (row) was taken for which."""
        self.model.eval()
        classes = self.sets.classes
        confusion = [[0] * classes for _ in range(classes)]
        total = 0.0
        with no_grad():
            for images, labels in self.test_loader:
                scores = self.model(images.to(self.arguments.device)).cpu()
                total += F.cross_entropy(scores, labels, reduction="sum").item()
                for label, guess in zip(labels.tolist(), scores.argmax(1).tolist(), strict=True):
                    confusion[label][guess] += 1
        return total / len(self.sets.test), confusion

    def write(self, folder: Path) -> None:
        """The model and the checkpoint, as they are now."""
        metadata = self.model.metadata()
        save(self.model.state_dict(), folder / "model.safetensors", metadata=metadata)
        checkpoint.write(folder, self.progress, self.parts)

    def finish(self, folder: Path) -> None:
        """The metrics and the picture, and the last word."""
        test_loss, confusion = self._test()
        correct, count = sum(row[i] for i, row in enumerate(confusion)), len(self.sets.test)
        chosen = {
            "device": self.arguments.device,
            "epochs": self.arguments.epochs,
            "workers": self.arguments.workers,
            "threads": get_num_threads(),
            **self.progress.options,
        }
        metrics = {
            "test_accuracy": correct / count,
            "test_correct": correct,
            "test_count": count,
            "test_loss": test_loss,
            "train_seconds": round(self.progress.seconds, 3),
        }
        history = self.progress.history
        report.write_metrics(folder, {**metrics, "history": history, "args": chosen})
        report.draw(folder, history, confusion)
        print(
            f"held-out accuracy {correct / count:.2%} ({correct} of {count}) "
            f"after {len(history)} epochs in {self.progress.seconds:.1f} s; results in {folder}"
        )
