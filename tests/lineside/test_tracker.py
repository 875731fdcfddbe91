from __future__ import annotations

from datetime import datetime, timezone

import pytest

from lineside.messages import Event, Ledger
from lineside.tracker import MAX_TRACKS, Gap, Tracker
from tests.support.examples import BOOT, result, status

NEWER = "0198f1c2-0000-4000-8000-000000000002"
KEY = ("ulm", "press4", BOOT, "top")


def gap(first: int, last: int, boot: str = BOOT) -> Gap:
    return Gap("ulm", "press4", boot, "top", first, last)


def test_a_duplicate_is_known_in_any_order() -> None:
    tracker = Tracker()
    assert [tracker.take(result(seq)) for seq in (2, 1, 3, 2, 1)] == [True] * 3 + [False] * 2
    assert tracker.duplicates == 2
    # The same number of another boot, stream or station is another result.
    assert tracker.take(result(2, boot=NEWER))
    assert tracker.take(result(2, stream="side"))
    assert tracker.take(result(2, station="press5"))


def test_what_was_not_published_yet_is_no_gap() -> None:
    tracker = Tracker()
    tracker.take(status(1, 0, 0))
    for seq in (1, 2, 5):
        tracker.take(result(seq))
    assert tracker.gaps() == []
    tracker.take(status(1, 7, 4))
    assert tracker.gaps() == [gap(3, 4)]
    assert tracker.missing == 2
    tracker.take(status(1, 7, 7))
    assert tracker.gaps() == [gap(3, 4), gap(6, 7)]
    tracker.take(result(3))
    assert tracker.gaps() == [gap(4, 4), gap(6, 7)]
    assert str(tracker.gaps()[1]) == f"ulm/press4/top 6 to 7 of boot {BOOT}"


def test_the_first_result_of_a_boot_that_begins_now_is_missed() -> None:
    tracker = Tracker()
    tracker.take(status(1, 0, 0))
    tracker.take(result(2))
    tracker.take(status(1, 2, 2))
    assert tracker.gaps() == [gap(1, 1)]


@pytest.mark.parametrize("retained", [True, False])
def test_who_comes_late_has_missed_nothing(*, retained: bool) -> None:
    tracker = Tracker()
    tracker.take(status(1, 90, 80), retained=retained)
    tracker.take(result(103))
    tracker.take(status(1, 104, 104))
    assert tracker.gaps() == [gap(104, 104)]


def test_a_boot_that_began_while_we_were_away_is_missed_from_its_start() -> None:
    tracker = Tracker()
    tracker.take(status(1, 4, 4), retained=True)
    tracker.take(status(1, 3, 3, boot=NEWER), retained=True)
    assert tracker.gaps() == [gap(1, 3, NEWER)]


def lost(first: int, last: int, boot: str = BOOT) -> Gap:
    return Gap("ulm", "press4", boot, "top", first, last, lost=True)


def test_what_is_gone_is_lost_and_not_missing() -> None:
    tracker = Tracker()
    tracker.take(status(1, 0, 0))
    for seq in (1, 6):
        tracker.take(result(seq))
    tracker.take(status(1, 9, 9))
    tracker.lose(KEY, [(1, 3), (8, 8)])  # the first one did arrive
    assert tracker.lost() == [lost(2, 3), lost(8, 8)]
    assert list(tracker.news) == tracker.lost()
    assert tracker.gaps() == [gap(4, 5), gap(7, 7), gap(9, 9)]
    tracker.lose(KEY, [(2, 3)])  # said again
    assert len(tracker.news) == 2
    # What was thought to be lost was only late.
    assert tracker.take(result(3))
    assert not tracker.take(result(3))
    assert tracker.lost() == [lost(2, 2), lost(8, 8)]
    assert str(lost(2, 2)).endswith(f"2 of boot {BOOT}, not kept any more")


def losses(**details: object) -> Event:
    at = datetime(2026, 11, 22, tzinfo=timezone.utc)
    names = {"site": "ulm", "station": "press4", "boot": NEWER}
    return Event(**names, at=at, kind="results_lost", message="disk full", details=details)


def test_an_event_says_what_is_lost_once(caplog: pytest.LogCaptureFixture) -> None:
    tracker = Tracker()
    tracker.take(status(1, 0, 0))
    event = losses(
        lost=[{"boot": BOOT, "stream": "top", "first": 2, "last": 4}], dropped={"side": 3}
    )
    for _ in range(2):  # MQTT may bring it twice
        assert tracker.take(event)
    assert tracker.lost() == list(tracker.news) == [lost(2, 4)]
    assert tracker.dropped == {("ulm", "press4", "side"): 3}
    tracker.take(status(5, 6, 6))
    assert tracker.gaps() == [gap(1, 1), gap(5, 6)]
    event = losses(lost=[{"boot": BOOT, "first": "1"}])
    event.message = "another"
    tracker.take(event)
    assert "results_lost of ulm/press4 can't be read" in caplog.text


def test_what_was_lost_before_we_came_is_not_ours() -> None:
    tracker = Tracker()
    tracker.take(status(1, 9, 9), retained=True)
    tracker.lose(KEY, [(3, 12)])
    assert tracker.lost() == []
    tracker.take(result(10))
    assert tracker.lost() == [lost(11, 12)]


def test_all_that_is_kept_is_expected_if_wanted() -> None:
    tracker = Tracker(since="kept")
    tracker.take(result(12))
    assert tracker.gaps() == []
    will = status(1, 9, 9, state="offline", reasons=["connection_lost"])
    tracker.take(will, retained=True)  # as old as its connection
    assert tracker.gaps() == []
    tracker.take(status(5, 14, 14))
    assert tracker.gaps() == [gap(5, 11), gap(13, 14)]
    tracker.take(status(8, 14, 14))
    assert tracker.gaps() == [gap(5, 11), gap(13, 14)]


def test_what_comes_while_we_are_away_is_expected() -> None:
    tracker = Tracker()
    tracker.take(status(1, 80, 78), retained=True)
    tracker.away()
    tracker.take(status(1, 90, 90))
    assert tracker.gaps() == [gap(81, 90)]


def test_nothing_is_expected_of_a_last_will() -> None:
    tracker = Tracker()
    tracker.take(status(1, 0, 0, state="offline"), retained=True)
    tracker.away()
    tracker.take(status(1, 90, 90))
    assert tracker.gaps() == []


def test_a_boot_that_is_gone_from_the_ledger_has_published_what_it_gave() -> None:
    tracker = Tracker()
    tracker.take(status(1, 0, 0))
    tracker.take(result(2))
    tracker.take(status(1, 5, 1))
    tracker.take(result(7))
    tracker.take(status(1, 0, 0, boot=NEWER, state="offline"))
    assert tracker.gaps() == [gap(1, 1)]
    tracker.take(status(1, 0, 0, boot=NEWER))
    assert tracker.gaps() == [gap(1, 1), gap(3, 6)]


def test_a_boot_behind_a_known_one_is_older_and_not_awaited() -> None:
    tracker = Tracker()
    tracker.take(status(1, 0, 0, boot=NEWER))
    older = Ledger(boot=BOOT, stream="top", first=40, last=50, published_through=50)
    message = status(1, 2, 2, boot=NEWER)
    message.ledger.append(older)
    tracker.take(message)
    assert tracker.gaps() == [gap(1, 2, NEWER)]


def test_what_is_forgotten_is_not_asked_for_from_its_start() -> None:
    tracker = Tracker()
    tracker.take(status(1, 0, 0))
    tracker.take(result(1))
    for number in range(MAX_TRACKS):
        tracker.take(result(1, station="press5", boot=f"boot-{number}"))
    assert len(tracker.tracks) == MAX_TRACKS
    assert KEY not in tracker.tracks
    tracker.take(status(1, 70, 70))
    assert tracker.gaps() == []
    tracker.take(result(71))
    tracker.take(status(1, 72, 72))
    assert tracker.gaps() == [gap(72, 72)]


def test_what_ledgers_name_is_forgotten_last() -> None:
    tracker = Tracker()
    tracker.take(status(1, 0, 0))
    for number in range(MAX_TRACKS):
        tracker.take(result(1, station="press5", boot=f"boot-{number}"))
        if number % 1000 == 0:
            tracker.take(status(1, 0, 0))
    assert KEY in tracker.tracks


def test_a_hundred_thousand_with_holes_are_a_thousand_ranges() -> None:
    tracker = Tracker()
    tracker.take(status(1, 0, 0))
    message = result(1)
    for seq in range(1, 100_001):
        if seq % 100:
            message.seq = seq
            tracker.take(message)
    tracker.take(status(1, 100_000, 100_000))
    assert tracker.missing == len(tracker.gaps()) == 1000
    assert len(list(tracker.tracks[KEY].settled.ranges())) == 1000
    for seq in range(100, 100_001, 100):
        message.seq = seq
        assert tracker.take(message, replayed=True)
    assert tracker.missing == 0
    assert tracker.repaired == 1000
    assert list(tracker.tracks[KEY].settled.ranges()) == [(1, 100_000)]
