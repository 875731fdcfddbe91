"""Many rows of an outbox in one step, while a backlog is drained.

Python's other threads run at each step of a statement, and it has to wait for them before the next.
Beside a busy MQTT client a thousand steps take tens of milliseconds that way, for which live
results wait (`bench/drain.py`); one step takes a few. So numbers go in and out as one JSON, and
payloads end to end. To insert so brought nothing: live results are few in one commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from lineside_agent.records import Row, State

if TYPE_CHECKING:
    import apsw

_NOTE: Final = """
UPDATE messages SET state = ?, at = ?
WHERE state = 0 AND id IN (SELECT value FROM json_each(?))
"""

_BACKLOG: Final = """
SELECT
    json_group_array(
        json_array(id, series, seq, stream, length(payload)) ORDER BY series, seq
    ),
    CAST(
        coalesce(group_concat(CAST(payload AS TEXT), '' ORDER BY series, seq), '') AS BLOB
    )
FROM (
    SELECT id, m.series, seq, stream, payload
    FROM messages m JOIN series s ON s.series = m.series
    WHERE state = 0 AND (m.series, seq) > (?, ?) ORDER BY m.series, seq LIMIT ?
)
"""


def note(db: apsw.Connection, done: Sequence[tuple[int, State]], at: float) -> None:
    """Note what became of messages that were to be published.

    Args:
        db: the outbox.
        done: ids and their new states.
        at: when, in seconds of running since the file was begun.
    """
    for state in {state for _, state in done}:
        numbers = [number for number, found in done if found is state]
        db.execute(_NOTE, (int(state), at, _text(numbers)))


def backlog(db: apsw.Connection, after: tuple[int, int], limit: int) -> list[Row]:
    """What is to be published, the oldest first; see `Outbox.backlog`."""
    found: tuple[str, bytes] = db.execute(_BACKLOG, (*after, limit)).get
    numbers, payloads = found
    rows, start = [], 0
    for number, series, seq, stream, size in msgspec.json.decode(numbers):
        rows.append(Row(number, series, seq, stream, payloads[start : start + size]))
        start += size
    return rows


def _text(numbers: Sequence[object]) -> str:
    return msgspec.json.encode(numbers).decode()
