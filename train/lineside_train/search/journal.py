"""What a search has tried so far, on disk: one file, replaced as a whole after each step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from lineside.errors import StorageError
from lineside.files import storage_error, write_file
from lineside.search import Trial
from lineside_train.fitting.checkpoint import Checkpoint
from lineside_train.search.device import Device
from lineside_train.search.space import Drawn
from lineside_train.unfinished import SEARCH_FILE


class Record(Struct, frozen=True, kw_only=True):
    """A trial, with what only the search itself needs."""

    trial: Trial
    drawn: Drawn
    losses: list[float] = []
    """Of each image of val; empty where there is no network."""
    halfway: float | None = None
    """The lowest `val_loss` in the first half of all epochs; null where it did not come so far."""


class Running(Struct, frozen=True, kw_only=True):
    """The trial that is under way."""

    drawn: Drawn
    starts: Annotated[int, Meta(ge=1)] = 1
    """How often it was begun or gone on with."""


class Journal(Struct, kw_only=True):
    """All that a search goes on from, but for the trainings' own states."""

    device: Device
    latencies: dict[str, float] = {}
    """Milliseconds on this machine, by the shape of the network."""
    records: list[Record] = []
    running: Running | None = None


def read_journal(folder: Path) -> Journal | None:
    """What was kept; None where nothing was.

    Raises:
        StorageError: the file is damaged.
    """
    path = folder / SEARCH_FILE
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Journal)
    except (OSError, msgspec.DecodeError) as error:
        msg = f"{path} is damaged ({error}): remove {folder} and search again"
        raise StorageError(msg) from error


def write_journal(folder: Path, journal: Journal) -> None:
    """Keep it.

    Raises:
        StorageError: the disk is full or can't be written; what was kept before is still there.
    """
    write_file(folder / SEARCH_FILE, msgspec.json.encode(journal))


def trial_folder(folder: Path, number: int) -> Path:
    """Where all of one trial's training is kept."""
    return folder / f"trial-{number}"


def checkpoint_of(folder: Path, number: int) -> Checkpoint:
    """Where the state of a trial's training is kept; the folder is made.

    Raises:
        StorageError: it can't be made.
    """
    place = trial_folder(folder, number)
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise storage_error(error, place) from error
    return Checkpoint(place)
