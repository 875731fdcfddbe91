"""What the keeper says: kind, sentence and details of its events, and the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, to_builtins

from lineside.messages import Event, Ledger, encode
from lineside.settings import OutboxSettings, StationSettings
from lineside_agent.past import Known
from lineside_agent.retention import Loss
from lineside_agent.waiting import MAX_MESSAGE_BYTES

GOOD_NEWS: Final = frozenset({"started", "stopped", "camera_back", "outbox_back"})
"""Events that are no warning."""


class Report(Struct, frozen=True):
    """What becomes an event.

    Attributes:
        kind: such as `cut_off`.
        message: one sentence for a person.
        details: what a program may want to know, as JSON.
    """

    kind: str
    message: str
    details: dict[str, Any] = {}


def payload(report: Report, station: StationSettings, boot: str) -> bytes:
    """The event as it is published; without its details where these are too long."""
    event = Event(
        site=station.site,
        station=station.name,
        boot=boot,
        at=datetime.now(timezone.utc),
        kind=report.kind,
        message=report.message,
        details=report.details,
    )
    found = encode(event)
    if len(found) > MAX_MESSAGE_BYTES:
        event.details = {}
        found = encode(event)
    return found


def ledger(kept: Sequence[Ledger], boot: str, committed: Mapping[str, int]) -> list[Ledger]:
    """The ledger with a line for each stream of this boot, also where nothing is kept."""
    there = {line.stream for line in kept if line.boot == boot}
    new = [
        Ledger(boot=boot, stream=stream, first=last + 1, last=last, published_through=last)
        for stream, last in committed.items()
        if stream not in there
    ]
    return [*new, *kept]


def cut_off(boot: str, streams: Sequence[Known], settings: OutboxSettings) -> Report:
    """An earlier boot ended without a stop.

    While the disk stood still nothing could be noted there, so that only what memory holds
    bounds what is missing then.
    """
    lost = [known.lost_at_most for known in streams]
    most = "an unknown number of" if None in lost else f"at most {sum(filter(None, lost))}"
    unanswered = sum(known.unanswered for known in streams)
    return Report(
        "cut_off",
        f"boot {boot} ended without a stop: {most} untriggered results of its last moments are "
        f"missing (if the disk stood still at that time, up to {settings.waiting}); "
        f"accepted triggers that had no answer and get their no_read now: {unanswered}",
        {
            "cut_off": boot,
            "commit_ms": settings.commit_ms,
            "lost_if_disk_stood_still": settings.waiting,
            "streams": to_builtins(streams),
        },
    )


def quarantined(error: Exception, moved: Path) -> Report:
    """The file was damaged."""
    return Report(
        "outbox_quarantined",
        f"{error}; it was moved to {moved.name} and a new one begun",
        {"file": moved.name},
    )


def lost(losses: Sequence[Loss], settings: OutboxSettings) -> Report:
    """Results had to go before the broker had them."""
    count = sum(loss.last - loss.first + 1 for loss in losses)
    return Report(
        "results_lost",
        f"{count} results were deleted before the broker had them, for want of room: "
        f"outbox.max_mb is {settings.max_mb:g}, outbox.max_results {settings.max_results}",
        {"lost": [asdict(loss) for loss in losses]},
    )


def refused(dropped: Mapping[str, int], settings: OutboxSettings) -> Report:
    """Results found no room in memory."""
    return Report(
        "results_lost",
        f"{sum(dropped.values())} results were dropped while the disk could not take them: "
        f"outbox.waiting is {settings.waiting}",
        {"dropped": dict(dropped)},
    )
