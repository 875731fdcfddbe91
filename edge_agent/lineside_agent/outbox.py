"""The outbox: one SQLite file that holds every result until its retention ends.

A result is in it before it is published and stays after the broker's acknowledgement. Events
are kept the same way, as a stream whose name is empty. Beside them there are the accepted
triggers that have no result yet and the answers to commands. `lineside_agent.schema` has the
tables. The file is used by one thread at a time and by one process at a time, which a lock
beside it ensures.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lineside.errors import StorageError
from lineside.extras import require
from lineside.files import storage_error
from lineside.messages import Ledger
from lineside_agent import bulk
from lineside_agent.custody import CorruptError, DiskFullError, lock
from lineside_agent.past import read_past
from lineside_agent.records import EVENTS, FIRST_GRANT, Aside, Entry, Row, State
from lineside_agent.retention import (
    Loss,
    Pruned,
    delete,
    discard,
    expire,
    forget_boots,
    lose,
    oldest,
    oldest_events,
)
from lineside_agent.schema import check, configure, upgrade

if TYPE_CHECKING:
    import apsw

MAX_LEDGERS: Final = 64
"""How many boots and streams the ledger lists at most, the newest ones."""

_NOTHING: Final = Aside()


class Outbox:
    """The file, open. Every method but the constructor may raise StorageError.

    Args:
        path: the SQLite file; begun if it is not there.
        boot: the UUID of this start of the agent.
        first_id: the lowest id that new messages get. It keeps the ids of a file that was moved
            aside from being given again while they are in use.
        streams: those that give results in this boot, as far as they are known.
        wal_pages: pages that the log beside the file may have before they go into the file.

    Attributes:
        pending: how many messages are to be published.
        kept: how many results there are.
        next_id: the id that the next message gets.
        past: what earlier boots left.

    Raises:
        BusyError: another agent uses it, or a newer version wrote it.
        CorruptError: it is no outbox, or damaged.
        DiskFullError: there is no room.
        StorageError: the disk can't be written.
    """

    def __init__(
        self,
        path: Path,
        boot: str,
        *,
        first_id: int = 1,
        streams: Sequence[str] = (),
        wal_pages: int = 1000,
    ) -> None:
        self.path = path
        self.next_id = first_id
        self._boot = boot
        self._lock = lock(path)
        self._apsw = require("apsw", extra="agent")
        self._db: apsw.Connection | None = None
        try:
            with self._errors():
                new = not path.exists() or not path.stat().st_size
                self._db = self._apsw.Connection(str(path))
                configure(self._db, new=new, wal_pages=wal_pages)
                self._prepare(streams)
        except BaseException:
            self._release()
            raise

    def _prepare(self, streams: Sequence[str]) -> None:
        db = self._connection
        check(db, self.path)
        self._page_bytes: int = db.pragma("page_size")
        self._series: dict[str, int] = {}
        with self._transaction():
            upgrade(db)
            self.past = read_past(db, self._boot)
            db.execute("INSERT OR REPLACE INTO boots VALUES (?, 0)", (self._boot,))
            for stream in streams:
                self._series[stream] = self._begin_series(db, stream)
        self.pending: int = db.execute("SELECT count(*) FROM messages WHERE state = 0").get
        events = "SELECT count(*) FROM messages NATURAL JOIN series WHERE stream = ''"
        self._events: int = db.execute(events).get
        self.kept: int = db.execute("SELECT count(*) FROM messages").get - self._events
        highest: int = db.execute("SELECT coalesce(max(id), 0) FROM messages").get
        self.next_id = max(self.next_id, highest + 1)
        ran = db.execute("SELECT coalesce(max(at), 0) FROM messages WHERE state > 0").get
        self._began = time.monotonic() - ran

    @property
    def _connection(self) -> apsw.Connection:
        if self._db is None:
            msg = f"{self.path} is closed"
            raise StorageError(msg)
        return self._db

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What SQLite raises, as one of lineside's errors."""
        module = self._apsw
        try:
            yield
        except (module.CorruptError, module.NotADBError) as error:
            msg = f"{self.path} is damaged: {error}"
            raise CorruptError(msg) from error
        except module.FullError as error:
            msg = f"{self.path}: the disk is full; free some space"
            raise DiskFullError(msg) from error
        except module.Error as error:
            msg = f"{self.path} can't be used: {error}"
            raise StorageError(msg) from error
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise storage_error(error, self.path) from error

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        """All of it or nothing; the error, if any, as one of lineside's."""
        with self._errors():
            db = self._connection
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # SQLite ends it itself after some errors
                    db.execute("ROLLBACK")
                raise

    def commit(
        self,
        entries: Sequence[Entry] = (),
        done: Sequence[tuple[int, State]] = (),
        aside: Aside = _NOTHING,
    ) -> list[Row]:
        """Keep new messages and note what became of old ones, all in one transaction.

        Args:
            entries: what is new. The accepted triggers that they answer are done with.
            done: ids and their new states.
            aside: what is committed with it.

        Returns:
            The new messages, as they are on disk now.
        """
        series = dict(self._series)
        with self._transaction() as db:
            for stream in {entry.stream for entry in entries} - series.keys():
                series[stream] = self._begin_series(db, stream)
            rows = [
                Row(number, series[entry.stream], entry.seq, entry.stream, entry.payload)
                for number, entry in enumerate(entries, start=self.next_id)
            ]
            db.executemany(
                "INSERT INTO messages VALUES (?, ?, ?, 0, 0, ?)",
                [(row.id, row.series, row.seq, row.payload) for row in rows],
            )
            changed = db.total_changes()
            bulk.note(db, done, time.monotonic() - self._began)
            changed = db.total_changes() - changed
            answered = {entry.journal for entry in entries if entry.journal is not None}
            self._note_aside(db, aside, answered)
        self._series = series
        self.next_id += len(rows)
        events = sum(row.stream == EVENTS for row in rows)
        self._events += events
        self.kept += len(rows) - events
        self.pending += len(rows) - changed
        return rows

    def _note_aside(self, db: apsw.Connection, aside: Aside, answered: set[int]) -> None:
        """What goes with messages; a trigger that has its result already is not noted first."""
        open_ = [row for row in aside.accepted if row[0] not in answered]
        before = answered.difference(row[0] for row in aside.accepted)
        rows = [(number, self._boot, stream, trigger) for number, stream, trigger in open_]
        db.executemany("INSERT OR REPLACE INTO journal VALUES (?, ?, ?, ?)", rows)
        db.executemany("DELETE FROM journal WHERE number = ?", [(number,) for number in before])
        answers = [(a.number, a.requester, a.id, a.payload) for a in aside.answers]
        db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", answers)
        if answers:
            db.execute("DELETE FROM answers WHERE number <= ?", (aside.forgotten,))
        granted = [(last, self._boot, stream) for stream, last in aside.granted.items()]
        db.executemany("UPDATE series SET granted = ? WHERE boot = ? AND stream = ?", granted)
        if aside.told:
            db.execute("DELETE FROM losses WHERE number <= ?", (aside.told,))
        ended = [(boot,) for boot in aside.ended]
        db.executemany("UPDATE boots SET ended = 1 WHERE boot = ?", ended)

    def _begin_series(self, db: apsw.Connection, stream: str) -> int:
        key = (self._boot, stream)
        new = "INSERT OR IGNORE INTO series (boot, stream, granted) VALUES (?, ?, ?)"
        db.execute(new, (*key, FIRST_GRANT))
        found: int = db.execute("SELECT series FROM series WHERE boot = ? AND stream = ?", key).get
        return found

    def backlog(self, after: tuple[int, int], limit: int) -> list[Row]:
        """What is to be published, the oldest first.

        Args:
            after: series and seq behind which to begin; (0, 0) for the start.
            limit: how many rows at most.
        """
        with self._errors():
            return bulk.backlog(self._connection, after, limit)

    def results(
        self, boot: str, stream: str, first: int, last: int, limit: int
    ) -> list[tuple[int, bytes]]:
        """The results of a boot and stream that are kept, published or not, by their numbers.

        Args:
            boot: whose they are.
            stream: whose they are.
            first: the first sequence number.
            last: the last one, included.
            limit: how many at most; the next page begins behind the last one of this page.

        Returns:
            Sequence number and payload of each.
        """
        with self._errors():
            found = self._connection.execute(
                "SELECT seq, payload FROM messages "
                "WHERE series = (SELECT series FROM series WHERE boot = ? AND stream = ?) "
                "AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
                (boot, stream, first, last, limit),
            )
            return [(seq, payload) for seq, payload in found]

    def ledger(self) -> list[Ledger]:
        """What is kept of each boot and stream, the newest first, MAX_LEDGERS at most."""
        with self._errors():
            found = self._connection.execute(
                "SELECT boot, stream, "
                "(SELECT min(seq) FROM messages m WHERE m.series = s.series), "
                "(SELECT max(seq) FROM messages m WHERE m.series = s.series), "
                "(SELECT min(seq) FROM messages m WHERE m.series = s.series AND state = 0) "
                "FROM series s WHERE stream <> '' ORDER BY series DESC LIMIT ?",
                (MAX_LEDGERS,),
            )
            return [
                Ledger(
                    boot=boot,
                    stream=stream,
                    first=first,
                    last=last,
                    published_through=last if pending is None else pending - 1,
                )
                for boot, stream, first, last, pending in found
                if first is not None
            ]

    def waits(self, stream: str, seq: int) -> bool:
        """Whether a message of this boot is still to be published."""
        with self._errors():
            found = self._connection.execute(
                "SELECT count(*) FROM messages WHERE series = ? AND seq = ? AND state = 0",
                (self._series.get(stream), seq),
            )
            return bool(found.get)

    def losses(self, limit: int) -> tuple[int, list[Loss]]:
        """Results that had to go and that no event has named yet: the oldest, `limit` at most.

        Returns:
            The number to give as `Aside.told`, 0 if there are none, and which results.
        """
        with self._errors():
            found = self._connection.execute(
                "SELECT number, boot, stream, first, last FROM losses ORDER BY number LIMIT ?",
                (limit,),
            )
            rows: list[tuple[Any, ...]] = found.fetchall()
        return (rows[-1][0] if rows else 0), [Loss(*row[1:]) for row in rows]

    def expire(self, *, retention_s: float, limit: int) -> Pruned:
        """Delete what is older than the retention.

        Args:
            retention_s: how long a message is kept after it was published, in seconds of running.
            limit: how many messages are deleted at most, so that it stays short.

        Returns:
            What was deleted.
        """
        with self._pruning() as (db, pruned):
            cutoff = time.monotonic() - self._began - retention_s
            expire(db, pruned, cutoff=cutoff, limit=limit)
            forget_boots(db, self._boot)
        return pruned

    def surplus(self, max_events: int, limit: int) -> list[int]:
        """The ids of the oldest events where there are more than `max_events`; `limit` at most."""
        excess = min(limit, self._events - max_events)
        if excess <= 0:
            return []
        with self._errors():
            return oldest_events(self._connection, excess)

    def delete(self, ids: Sequence[int]) -> Pruned:
        """Delete messages, published or not; nothing tells of it afterwards."""
        with self._pruning() as (db, pruned):
            delete(db, pruned, ids)
        return pruned

    def discard(self, count: int) -> Pruned:
        """Delete the oldest messages that were published, `count` at most."""
        with self._pruning() as (db, pruned):
            discard(db, pruned, count=count)
        return pruned

    def oldest(self, limit: int) -> list[int]:
        """The ids of the oldest results that nobody has got yet."""
        with self._errors():
            return oldest(self._connection, limit)

    def lose(self, ids: Sequence[int], *, told: int = 0) -> Pruned:
        """Delete results that nobody has got yet; `losses` tells which they were.

        Args:
            ids: which.
            told: as in `Aside`, if an event about losses is on its way.
        """
        with self._pruning() as (db, pruned):
            lose(db, pruned, ids, told=told)
        return pruned

    @contextmanager
    def _pruning(self) -> Iterator[tuple[apsw.Connection, Pruned]]:
        pruned = Pruned()
        with self._transaction() as db:
            yield db, pruned
        self.kept -= pruned.results
        self._events -= pruned.events
        self.pending -= pruned.pending

    def room(self) -> tuple[int, int]:
        """Bytes of the file, once all is written into it, and how many of them are free in it."""
        with self._errors():
            pages: int = self._connection.pragma("page_count")
            free: int = self._connection.pragma("freelist_count")
        return pages * self._page_bytes, free * self._page_bytes

    def shrink(self, size: int) -> None:
        """Give up to `size` free bytes of the file back to the disk."""
        with self._errors():
            pages = size // self._page_bytes
            self._connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
            self._connection.wal_checkpoint()  # only then is the file shorter

    def close(self, *, clean: bool) -> None:
        """Close the file.

        Args:
            clean: whether everything that was given is in it, so that the next boot need not
                report a cut.
        """
        try:
            if self._db is not None and clean:
                with self._errors():
                    self._db.execute("UPDATE boots SET ended = 1 WHERE boot = ?", (self._boot,))
        finally:
            self._release()

    def _release(self) -> None:
        try:
            if self._db is not None:
                self._db.close()
                self._db = None
        finally:
            os.close(self._lock)
