"""What leaves an outbox: what was published long ago, and the oldest of what is too much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import apsw

_EVENT: str = "(SELECT series FROM series WHERE stream = '')"


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
        lost: the results among those.
    """

    results: int = 0
    events: int = 0
    pending: int = 0
    lost: list[Loss] = field(default_factory=list)

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Count deleted rows: state, and whether it was an event."""
        for state, event in rows:
            self.events += event
            self.results += not event
            self.pending += state == 0


def prune(db: apsw.Connection, *, cutoff: float, results: int, events: int, at_once: int) -> Pruned:
    """Delete, inside the caller's transaction.

    Args:
        db: the outbox.
        cutoff: what was published before this, in the outbox's seconds, has been kept long enough.
        results: how many results are too many. The oldest published ones go, then the oldest.
        events: how many events are too many. The oldest go.
        at_once: how many messages are deleted for each reason at most, so that it stays short.
    """
    pruned = Pruned()
    published = "SELECT id FROM messages WHERE state > 0 {} ORDER BY at LIMIT ?"
    pruned.add(_delete(db, published.format("AND at < ?"), cutoff, at_once))
    excess = min(at_once, results - pruned.results)
    if excess > 0:
        where = f"AND series NOT IN {_EVENT}"
        before = pruned.results
        pruned.add(_delete(db, published.format(where), excess))
        excess -= pruned.results - before
    if excess > 0:
        _lose(db, excess, pruned)
    excess = min(at_once, events - pruned.events)
    if excess > 0:
        select = f"SELECT id FROM messages WHERE series IN {_EVENT} ORDER BY id LIMIT ?"  # noqa: S608 - our own text
        pruned.add(_delete(db, select, excess))
    return pruned


def forget_boots(db: apsw.Connection, boot: str) -> None:
    """Delete what is known of boots that nothing is kept of, but for `boot`."""
    nothing = "boot <> ? AND NOT EXISTS (SELECT 1 FROM {})"
    inner = "messages m WHERE m.series = series.series"
    db.execute(f"DELETE FROM series WHERE {nothing.format(inner)}", (boot,))  # noqa: S608 - our own text
    inner = "series s WHERE s.boot = boots.boot"
    db.execute(f"DELETE FROM boots WHERE {nothing.format(inner)}", (boot,))  # noqa: S608 - our own text


def _delete(db: apsw.Connection, select: str, *bindings: float) -> list[tuple[Any, ...]]:
    """State, and whether it was an event, of each row that was deleted."""
    text = f"DELETE FROM messages WHERE id IN ({select}) RETURNING state, series IN {_EVENT}"  # noqa: S608 - our own text
    found: list[tuple[Any, ...]] = db.execute(text, bindings).fetchall()
    return found


def _lose(db: apsw.Connection, excess: int, pruned: Pruned) -> None:
    """Delete the oldest results that nobody has got yet, and note which they were."""
    found: list[tuple[Any, ...]] = db.execute(
        "SELECT id, boot, stream, seq FROM messages m JOIN series s ON s.series = m.series "
        "WHERE state = 0 AND stream <> '' ORDER BY m.series, seq LIMIT ?",
        (excess,),
    ).fetchall()
    lost = pruned.lost
    for _, boot, stream, seq in found:
        last = lost[-1] if lost else None
        if last is not None and (last.boot, last.stream, last.last) == (boot, stream, seq - 1):
            lost[-1] = Loss(boot, stream, last.first, seq)
        else:
            lost.append(Loss(boot, stream, seq, seq))
    db.executemany("DELETE FROM messages WHERE id = ?", [(row[0],) for row in found])
    pruned.results += len(found)
    pruned.pending += len(found)
