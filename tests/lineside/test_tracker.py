from __future__ import annotations

import pytest

from lineside.tracker import Gap, Tracker
from tests.support.examples import BOOT, result, status

NEWER = "0198f1c2-0000-4000-8000-000000000002"


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
