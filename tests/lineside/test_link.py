from __future__ import annotations

from lineside.link import BACK_S, Link


def test_a_connection_that_is_away_and_back_is_said() -> None:
    link = Link()
    assert link.say(None, 100.0, shown=True) is None
    away = "not connected for 0 s, all below is of before: no broker at x:1"
    assert link.say("no broker at x:1", 101.0, shown=True) == away
    assert (link.say("no broker at x:1", 108.0, shown=True) or "").startswith(
        "not connected for 7 s"
    )
    assert link.say(None, 109.0, shown=True) == "connected again, after 8 s"
    assert link.say(None, 109.0 + BACK_S, shown=True) is None


def test_where_nothing_is_shown_yet_the_reason_is_enough() -> None:
    link = Link()
    assert link.say("no broker at x:1", 1.0, shown=False) == "no broker at x:1"
    assert link.say(None, 2.0, shown=False) is None
