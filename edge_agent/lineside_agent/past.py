"""What earlier boots left in an outbox: where they were cut off, and what they did not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    import apsw


class Answer(Struct, frozen=True):
    """What a command was answered.

    Attributes:
        number: counts answers; the lowest is the oldest.
        requester: who asked.
        id: of the command.
        payload: the response.
    """

    number: int
    requester: str
    id: str
    payload: bytes


class Known(Struct, frozen=True):
    """What is known of a stream whose boot was cut off.

    Attributes:
        stream: its name.
        last: the last number that is on disk; 0 if none is.
        lost_at_most: how many results may be missing behind it: an upper bound, unless the disk
            refused to be written at the time. None in a file of an older version.
        unanswered: accepted triggers that had no result on disk.
    """

    stream: str
    last: int
    lost_at_most: int | None
    unanswered: int


class Past(Struct):
    """What earlier boots left.

    Attributes:
        cut_off: the boots that ended without a stop, such as by a power loss, and what is known
            of their streams. The next boot lists them again, unless they are noted as ended
            together with the events that tell of them.
        unanswered: accepted triggers without a result: number, stream and trigger of each.
        answers: what commands were answered, the oldest first.
    """

    cut_off: dict[str, list[Known]]
    unanswered: list[tuple[int, str, bytes]]
    answers: list[Answer]


def read_past(db: apsw.Connection, boot: str) -> Past:
    """Read it, before `boot` adds its own."""
    cut = "SELECT boot FROM boots WHERE ended = 0 AND boot <> ?"
    boots: list[tuple[Any, ...]] = db.execute(cut, (boot,)).fetchall()
    cut_off = {
        boot: [
            Known(stream, last, max(0, granted - last) if granted else None, unanswered)
            for stream, last, granted, unanswered in db.execute(
                "SELECT s.stream, "
                "coalesce((SELECT max(seq) FROM messages m WHERE m.series = s.series), 0), granted,"
                "(SELECT count(*) FROM journal j WHERE j.boot = s.boot AND j.stream = s.stream) "
                "FROM series s WHERE s.boot = ? AND s.stream <> '' ORDER BY s.stream",
                (boot,),
            )
        ]
        for (boot,) in boots
    }
    rows = db.execute("SELECT number, stream, trigger FROM journal ORDER BY number")
    journal: list[tuple[Any, ...]] = rows.fetchall()
    answers = db.execute("SELECT number, requester, id, payload FROM answers ORDER BY number")
    return Past(
        cut_off,
        [(n, stream, trigger) for n, stream, trigger in journal],
        [Answer(*row) for row in answers],
    )
