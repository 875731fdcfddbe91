"""What leaves an outbox: what was published long ago, and the oldest of what is too much.

Each function works inside the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import apsw

_EVENT: Final = "(SELECT series FROM series WHERE stream = '')"


@dataclass(frozen=True, slots=True)
class Loss:
    """Results that had to go before they were published.

    Attributes:
        boot: whose they were.
        stream: whose they were.
        first: the first sequence number that is lost.
        last: the last one; all between them are lost too.
    """

    boot: str
    stream: str
    first: int
    last: int


@dataclass
class Pruned:
    """What was deleted.

    Attributes:
        results: how many results.
        events: how many events.
        pending: how many of both had not been published.
    """

    results: int = 0
    events: int = 0
    pending: int = 0

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Count deleted rows: state, and whether it was an event."""
        for state, event in rows:
            self.events += event
            self.results += not event
            self.pending += state == 0


def expire(db: apsw.Connection, pruned: Pruned, *, cutoff: float, limit: int) -> None:
    """Delete what was kept long enough.

    Args:
        db: the outbox.
        pruned: counts it.
        cutoff: what was published before this, in the outbox's seconds, goes.
        limit: how many messages are deleted at most, so that it stays short.
    """
    old = "SELECT id FROM messages WHERE state > 0 AND at < ? ORDER BY at LIMIT ?"
    pruned.add(_delete(db, old, cutoff, limit))


def oldest_events(db: apsw.Connection, limit: int) -> list[int]:
    """The ids of the oldest events, published or not."""
    text = f"SELECT id FROM messages WHERE series IN {_EVENT} ORDER BY series, seq LIMIT ?"  # noqa: S608 - our own text
    return [number for (number,) in db.execute(text, (limit,))]


def delete(db: apsw.Connection, pruned: Pruned, ids: Sequence[int]) -> None:
    """Delete messages, published or not."""
    which = "SELECT value FROM json_each(?)"
    pruned.add(_delete(db, which, json.dumps(list(ids))))


def discard(db: apsw.Connection, pruned: Pruned, *, count: int) -> None:
    """Delete the oldest of what was published, results and events."""
    pruned.add(_delete(db, "SELECT id FROM messages WHERE state > 0 ORDER BY at LIMIT ?", count))


def oldest(db: apsw.Connection, limit: int) -> list[int]:
    """The ids of the oldest results that nobody has got yet, boot by boot as they were made."""
    found: list[int] = []
    boot_before = ""
    series = "SELECT series, boot FROM series WHERE stream <> '' ORDER BY series"
    numbers: list[tuple[Any, ...]] = db.execute(series).fetchall()
    for number, boot in numbers:
        if boot != boot_before and len(found) >= limit:
            break
        boot_before = boot
        rows = "SELECT id FROM messages WHERE state = 0 AND series = ? ORDER BY seq LIMIT ?"
        found += [row for (row,) in db.execute(rows, (number, limit))]
    return sorted(found)[:limit]


def lose(db: apsw.Connection, pruned: Pruned, ids: Sequence[int], *, told: int) -> None:
    """Delete results that nobody has got yet, and note which they were.

    Args:
        db: the outbox.
        pruned: counts them.
        ids: which.
        told: what was noted up to this number is being told: nothing is added to it.
    """
    which = "SELECT boot, stream, seq FROM messages m JOIN series s ON s.series = m.series "
    rows: list[tuple[Any, ...]] = db.executemany(
        which + "WHERE id = ? AND state = 0", [(n,) for n in ids]
    ).fetchall()
    gone: list[tuple[str, str, int]] = sorted((boot, stream, seq) for boot, stream, seq in rows)
    db.executemany("DELETE FROM messages WHERE id = ? AND state = 0", [(n,) for n in ids])
    for loss in ranges(gone):
        longer = (loss.last, told, loss.boot, loss.stream, loss.first - 1)
        db.execute(
            "UPDATE losses SET last = ? WHERE number > ? AND boot = ? AND stream = ? AND last = ?",
            longer,
        )
        if not db.changes():
            number = "max((SELECT coalesce(max(number), 0) FROM losses), ?) + 1"
            db.execute(
                f"INSERT INTO losses VALUES ({number}, ?, ?, ?, ?)",  # noqa: S608 - our own text
                (told, loss.boot, loss.stream, loss.first, loss.last),
            )
    pruned.results += len(gone)
    pruned.pending += len(gone)


def ranges(gone: Sequence[tuple[str, str, int]]) -> list[Loss]:
    """Boot, stream and number of each, in order, as ranges without a gap."""
    found: list[Loss] = []
    for boot, stream, seq in gone:
        last = found[-1] if found else None
        if last is not None and (last.boot, last.stream, last.last) == (boot, stream, seq - 1):
            found[-1] = Loss(boot, stream, last.first, seq)
        else:
            found.append(Loss(boot, stream, seq, seq))
    return found


def forget_boots(db: apsw.Connection, boot: str) -> None:
    """Delete what is known of boots that nothing is kept of, but for `boot`."""
    nothing = "boot <> ? AND NOT EXISTS (SELECT 1 FROM {})"
    inner = "messages m WHERE m.series = series.series"
    db.execute(f"DELETE FROM series WHERE {nothing.format(inner)}", (boot,))  # noqa: S608 - our own text
    inner = "series s WHERE s.boot = boots.boot"
    db.execute(f"DELETE FROM boots WHERE {nothing.format(inner)}", (boot,))  # noqa: S608 - our own text


def _delete(db: apsw.Connection, select: str, *bindings: float | str) -> list[tuple[Any, ...]]:
    """State, and whether it was an event, of each row that was deleted."""
    text = f"DELETE FROM messages WHERE id IN ({select}) RETURNING state, series IN {_EVENT}"  # noqa: S608 - our own text
    found: list[tuple[Any, ...]] = db.execute(text, bindings).fetchall()
    return found
