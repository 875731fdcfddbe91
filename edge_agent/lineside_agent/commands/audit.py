"""The audit log: who asked for what, what came of it, and which model and limits were in force.

JSON lines in two files, so that refused nonsense can't push out what was done:

    audit.jsonl            commands that were accepted and their outcome, models, limits
    audit-refused.jsonl    commands that were refused or repeated, and why

A thread of its own writes and syncs them. A full disk is a line in the log and a number here:
lines wait in memory, and what there is no room for is counted and named in the file later.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import msgspec

from lineside.files import fsync_folder, storage_error

log = logging.getLogger(__name__)

MAX_WAITING: Final = 2000
"""Lines that wait for the disk at most; then new ones are lost and counted."""

MAX_BATCH_BYTES: Final = 32 * 1024
"""Bytes written at once, not much more."""

RETRY_S: Final = 1.0
"""Seconds between attempts to write to a disk that failed."""

FILES: Final = 4
"""Files of each kind: the one that is written, and those before it."""

MAX_LINE_BYTES: Final = 4096
"""A line longer than this is written without what made it so long."""


class _Lines:
    """One file of lines, and those before it."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._handle: int | None = None
        self._size = 0

    def write(self, lines: list[bytes]) -> None:
        """Append the lines and sync them; all or none.

        Raises:
            OSError: they can't be written.
        """
        data = b"".join(lines)
        if self._size and self._size + len(data) > self._max_bytes:
            self._rotate()
        handle = self._open()
        try:
            written = 0
            while written < len(data):
                written += os.write(handle, data[written:])
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, self._size)  # no half line stays
            raise
        self._size += len(data)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open(self) -> int:
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            try:
                self._size = _whole(handle)
                fsync_folder(self.path.parent)
            except OSError:
                os.close(handle)
                raise
            self._handle = handle
        return self._handle

    def _rotate(self) -> None:
        self.close()
        for number in range(FILES - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path.with_name(f"{self.path.name}.{number - 1}")
            if number == 1:
                newer = self.path
            if newer.exists():
                newer.replace(older)
        self._size = 0


def _whole(handle: int) -> int:
    """Cut off a line that a power loss has left half; the size that remains."""
    size = os.fstat(handle).st_size
    tail = os.pread(handle, MAX_LINE_BYTES, max(0, size - MAX_LINE_BYTES))
    if tail and not tail.endswith(b"\n"):
        size -= len(tail) - (tail.rfind(b"\n") + 1)
        os.ftruncate(handle, size)
    return size


class Audit:
    """Writes the audit log. `record` may be called from any thread and waits for nothing.

    Args:
        path: of the file of what was done, such as `state/audit.jsonl`.
        boot: the UUID of this start of the agent; it stands in every line.
        max_bytes: how large all files get together.

    Attributes:
        problem: why nothing can be written just now, in one line; None if all is well.
        lost: lines that found no room.
    """

    def __init__(self, path: Path, boot: str, *, max_bytes: int = 8_000_000) -> None:
        self._boot = boot
        each = max_bytes // (2 * FILES)
        self._done = _Lines(path, each)
        self._refused = _Lines(path.with_name(f"{path.stem}-refused{path.suffix}"), each)
        self._queue: queue.Queue[tuple[_Lines, bytes]] = queue.Queue(MAX_WAITING)
        self._lock = threading.Lock()
        self._said = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self.problem: str | None = None
        self.lost = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Write what waits, as far as it goes within the time, and end."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def record(self, kind: str, *, refused: bool = False, **fields: Any) -> None:  # noqa: ANN401 - JSON
        """Note that something happened.

        Args:
            kind: `command`, `model` or `limits`.
            refused: whether it changed nothing.
            fields: what there is to say of it, as JSON.
        """
        line = self._line(kind, fields)
        try:
            self._queue.put_nowait((self._refused if refused else self._done, line))
        except queue.Full:
            with self._lock:
                self.lost += 1

    def _line(self, kind: str, fields: dict[str, Any]) -> bytes:
        # For people: what came after what, the order of the lines says.
        head = {"at": datetime.now(timezone.utc), "boot": self._boot, "kind": kind}
        try:
            line = msgspec.json.encode(head | fields)
        except (TypeError, ValueError, RecursionError):
            line = b""
        if not 0 < len(line) < MAX_LINE_BYTES:
            short = {k: v for k, v in fields.items() if v is None or type(v) in {int, bool}}
            short |= {k: v[:64] for k, v in fields.items() if isinstance(v, str)}
            line = msgspec.json.encode(head | short | {"cut": True})
        return line + b"\n"

    # On its own thread.

    def _run(self) -> None:
        while not self._stopping.is_set() or not self._queue.empty():
            batch = self._batch()
            while batch and not self._write(batch):
                if self._stopping.wait(RETRY_S):
                    log.error("the end of the audit log is lost: %s", self.problem)
                    return
        self._done.close()
        self._refused.close()

    def _batch(self) -> dict[_Lines, list[bytes]]:
        """What waits, by file."""
        batch: dict[_Lines, list[bytes]] = {}
        try:
            lines, line = self._queue.get(timeout=0.2)
            batch.setdefault(lines, []).append(line)
            size = len(line)
            while size < MAX_BATCH_BYTES:
                lines, line = self._queue.get_nowait()
                batch.setdefault(lines, []).append(line)
                size += len(line)
        except queue.Empty:
            pass
        return batch

    def _write(self, batch: dict[_Lines, list[bytes]]) -> bool:
        """Write as much of it as goes; whether it was all."""
        try:
            for lines in list(batch):
                lines.write(batch[lines])
                del batch[lines]
            if self.lost > self._said:
                lost = self.lost
                gap = {"lost": lost - self._said, "reason": "the disk could not take them in time"}
                self._done.write([self._line("gap", gap)])
                self._said = lost
        except OSError as error:
            problem = str(storage_error(error, self._done.path))
            if problem != self.problem:
                log.warning("the audit log waits in memory: %s", problem)
            self.problem = problem
            return False
        if self.problem is not None:
            log.info("the audit log can be written again")
            self.problem = None
        return True
