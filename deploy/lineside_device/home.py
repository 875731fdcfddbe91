"""Releases side by side, and one link to the one that runs.

    /opt/lineside/
        releases/RELEASE/     a folder each; `complete` is written last: without it, it is rubbish.
                              `kept`: it was tried, and stayed. Without it, nobody goes back to it
        current -> releases/RELEASE
        trial.json            a release that must prove itself yet, and the one before
        outcome.json          how the last trial ended
        .installing           a lock, and so is .deciding

The link is replaced by a rename, so that at each moment, also of a power cut, it is there and
leads to a complete release.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lineside_device.errors import RefusedError
from lineside_device.files import link, sync, write_file
from lineside_device.leftovers import (
    COMPLETE,
    KEPT,
    deciding,
    installing,
    leftovers,
    locked,
    remove,
)

NOT_YET = 2**62
"""The place of a release that was not kept yet: after all others."""


@dataclass(frozen=True)
class Trial:
    """A switch that is not decided yet.

    Attributes:
        release: what was switched to.
        before: what ran before; None where nothing did.
        wait_s: seconds that it has.
        old: the last status of what ran before; None: there was none.
        invocation: of the agent then, as systemd calls it; empty: it did not run.
    """

    release: str
    before: str | None
    wait_s: float
    old: dict[str, Any] | None = None
    invocation: str = ""


class Home:
    """Where releases lie.

    Args:
        folder: /opt/lineside, or where it is while an image is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.link = folder / "current"
        self._trial = folder / "trial.json"

    def release(self, name: str) -> Path:
        """The folder of a release."""
        return self.folder / "releases" / name

    @property
    def releases(self) -> list[str]:
        """Those that were tried, and stayed, in that order; and the current one."""
        rubbish = leftovers(self.folder)
        found = [one.name for one in self.folder.glob("releases/*") if one not in rubbish]
        return sorted(filter(self.is_complete, found), key=self._place)

    @property
    def current(self) -> str | None:
        """The release that the link leads to; None: there is none, or it is not complete."""
        try:
            name = self.link.readlink().name
        except FileNotFoundError:
            return None
        return name if self.is_complete(name) else None

    def begin(self, name: str) -> Path:
        """An empty folder for a release that is to be installed."""
        path = self.release(name)
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(exist_ok=True, parents=True)
        path.mkdir(mode=0o700)
        return path

    def complete(self, name: str) -> None:
        """All of a release is there: make it last, and say so."""
        path = self.release(name)
        path.chmod(0o755)
        for entry in path.rglob("*"):
            if not entry.is_symlink():
                sync(entry)
        (path / COMPLETE).write_bytes(b"")
        sync(path / COMPLETE)
        sync(path)
        sync(path.parent)

    def is_complete(self, name: str) -> bool:
        """Whether a release is installed, tried or not."""
        return (self.release(name) / COMPLETE).exists()

    def keep(self, name: str) -> None:
        """A release was tried, and stays: it is the last that did."""
        known = [place for one in self.releases if (place := self._place(one)) < NOT_YET]
        # Counted, since a clock that runs only with power may say that it was before the others.
        write_file(self.release(name) / KEPT, str(max(known, default=0) + 1))

    def reject(self, name: str) -> None:
        """Nobody goes back to a release, however it was before."""
        (self.release(name) / KEPT).unlink(missing_ok=True)

    def _place(self, name: str) -> int:
        try:
            return int((self.release(name) / KEPT).read_text())
        except (OSError, ValueError):
            return NOT_YET

    def switch(self, name: str) -> None:
        """Let the link lead to a release.

        Raises:
            RefusedError: that release is not complete.
        """
        self._check(name)
        link(self.link, Path("releases") / name)

    def _check(self, name: str) -> None:
        if not self.is_complete(name):
            msg = f"{self.release(name)} is no complete release: there are {self.releases}"
            raise RefusedError(msg)

    def remove(self, name: str) -> None:
        """Remove a release."""
        remove(self.release(name))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else changes anything meanwhile.

        Raises:
            RefusedError: somebody does already.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(installing(self.folder), wait=False))
            except BlockingIOError as error:
                msg = "another installation is under way here: wait for its end"
                raise RefusedError(msg) from error
            yield

    def deciding(self) -> contextlib.AbstractContextManager[None]:
        """Nobody else switches or decides meanwhile: who comes second waits, and finds it done."""
        return locked(deciding(self.folder), wait=True)

    def clear(self) -> None:
        """Remove what installations that were cut have left."""
        for path in leftovers(self.folder):
            remove(path)

    def prune(self, keep: int) -> None:
        """Remove all but the last releases; the current one stays.

        Args:
            keep: how many, one at least.
        """
        known = self.releases
        for name in known[:-keep]:
            if name != self.current:
                self.remove(name)

    # ---- the trial

    @property
    def trial(self) -> Trial | None:
        """The switch that is not decided yet."""
        try:
            kept = json.loads(self._trial.read_bytes())
        except FileNotFoundError:
            return None
        # Another release than this may have written it, and say more.
        return Trial(**{one.name: kept[one.name] for one in fields(Trial) if one.name in kept})

    def try_out(
        self,
        name: str,
        wait_s: float,
        *,
        old: dict[str, Any] | None = None,
        invocation: str = "",
    ) -> Trial:
        """Switch to a release that must prove itself; what is gone back to is kept in mind first.

        That is what runs now, unless it has not proved itself yet either.

        Raises:
            RefusedError: that release is not complete.
        """
        self._check(name)
        undecided = self.trial
        before = self.current
        if undecided is not None and undecided.release == before:
            before = undecided.before
        if before == name:  # it runs, and has not proved itself
            before = None
        trial = Trial(name, before, wait_s, old, invocation)
        write_file(self._trial, json.dumps(vars(trial)))
        self.switch(name)
        return trial

    def decide(self) -> None:
        """The trial has ended, in one way or the other."""
        self._trial.unlink(missing_ok=True)
        sync(self.folder)
