"""Everything that a training run needs to go on as if it had never stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilegrad.autograd.rules.random import get_rng_state, set_rng_state
from tilegrad.cli.failure import Failure
from tilegrad.data.serialization import load, save

NAME = "checkpoint.safetensors"


@dataclass
class Progress:
    """What a run has done: options that shape its numbers, one record for each epoch, seconds."""

    options: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


def write(folder: Path, progress: Progress, parts: dict[str, Any]) -> None:
    """Save ``progress``, the state dicts of ``parts`` and the random generator."""
    states = {name: part.state_dict() for name, part in parts.items()}
    save({"progress": vars(progress), "states": states, "random": get_rng_state()}, folder / NAME)


def read(folder: Path) -> dict[str, Any]:
    """What :func:`write` saved.

    Raises:
        Failure: there is no checkpoint, or it is damaged.
    """
    path = folder / NAME
    try:
        found = load(path)
    except OSError as error:
        raise Failure(f"{path}: cannot resume: {error.strerror}") from None
    except RuntimeError as error:
        raise Failure(str(error)) from None
    if not isinstance(found, dict) or not {"progress", "states", "random"} <= set(found):
        raise Failure(f"{path}: not a checkpoint of tilegrad train")
    return found


def restore(found: dict[str, Any], parts: dict[str, Any]) -> None:
    """Give ``parts`` and the random generator the saved states.

    Raises:
        Failure: they do not fit.
    """
    try:
        for name, part in parts.items():
            part.load_state_dict(found["states"][name])
        set_rng_state(found["random"].numpy())
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError):
        raise Failure(f"{NAME}: its states do not fit this model") from None
