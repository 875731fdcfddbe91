"""Which bundles a command may name, and which of them may stand in for the one in use."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from lineside.errors import BundleError
from lineside.manifest import Manifest
from lineside.settings import ModelSettings

SHOWN: Final = 100
"""Characters of a path that is refused which are said again."""


def allowed_path(named: str | None, model: ModelSettings) -> Path:
    """The bundle that a command means.

    Args:
        named: a path, relative to the model's `bundles`; None, or the configuration's own words:
            the bundle of the configuration.
        model: of the station's configuration.

    Returns:
        An absolute path, its links followed. Whether anything is there is not looked at: who may
        not name a path does not learn that either.

    Raises:
        BundleError: the configuration allows no command, or not this path.
    """
    if not model.bundles:
        msg = (
            f"model {model.name!r}: commands may not change its bundle; the configuration would "
            "have to name a folder, bundles, that they may take it from"
        )
        raise BundleError(msg)
    if named is None or named == model.bundle:
        return Path(model.bundle)
    try:
        folder = Path(model.bundles).resolve()
        path = (folder / named).resolve()
        below = folder in path.parents
        if below:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path.stat()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, a NUL
        msg = f"{_short(named)} is refused: it is no path below {model.bundles}"
        raise BundleError(msg) from error
    if not below:
        msg = f"{_short(named)} is refused: a path below {model.bundles} is expected"
        raise BundleError(msg)
    return path


def _short(named: str) -> str:
    return repr(named if len(named) <= SHOWN else f"{named[:SHOWN]}…")


def misfit(old: Manifest, new: Manifest) -> str | None:
    """Why a bundle can't stand in for another by a command; None if it can.

    Another task, other labels or another kind of input change what results mean to everyone who
    subscribes. That is a change of the station, made in its configuration by whoever may log in
    there, and there is no `force`: it would be in every script after a week. Another order of the
    labels is none: results name them.

    Returns:
        One line with what was expected and what was found.
    """
    if old.task != new.task:
        return f"it does {new.task!r}, the one in use {old.task!r}"
    kinds = [[source.kind for source in manifest.inputs] for manifest in (old, new)]
    if kinds[0] != kinds[1]:
        return f"it takes {', '.join(kinds[1])}, the one in use {', '.join(kinds[0])}"
    labels = [
        sorted(f"{label.name} ({'good' if label.good else 'bad'})" for label in manifest.labels)
        for manifest in (old, new)
    ]
    if labels[0] != labels[1]:
        return f"its labels are {', '.join(labels[1])}, of the one in use {', '.join(labels[0])}"
    return None
