"""How long the client waits before it tries again."""

from __future__ import annotations

import pytest

from lineside.mqtt.backoff import DROPS, STEADY_S, Backoff


def pauses_of(backoff: Backoff, served_s: float, *, tries: int) -> list[float]:
    """The pauses after connections that served so long."""
    return [backoff.pause_s(served_s) for _ in range(tries)]


@pytest.mark.parametrize("served_s", [0.0, STEADY_S / 2])
def test_pauses_grow_to_their_limit_and_no_further(served_s: float) -> None:
    limits = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    drawn = [pauses_of(Backoff(1.0, 30.0), served_s, tries=len(limits)) for _ in range(500)]
    for limit, pauses in zip(limits, zip(*drawn, strict=True), strict=True):
        assert 0.9 * limit < max(pauses) <= limit
        assert 0 <= min(pauses) < 0.1 * limit


def test_after_a_steady_connection_they_begin_anew() -> None:
    backoff = Backoff(1.0, 30.0)
    pauses_of(backoff, 0.0, tries=20)
    backoff.pause_s(STEADY_S + 1)
    assert backoff.pause_s(0.0) <= 1.0


def test_thousands_of_attempts_do_no_harm() -> None:
    assert max(pauses_of(Backoff(1.0, 30.0), 0.0, tries=5000)) <= 30.0


def test_only_short_connections_in_a_row_look_like_another_client() -> None:
    backoff = Backoff(1.0, 30.0)
    pauses_of(backoff, 0.5, tries=DROPS - 1)
    assert not backoff.pushed_out
    backoff.pause_s(0.0)  # no connection at all: nobody pushes us out
    pauses_of(backoff, 0.5, tries=DROPS - 1)
    assert not backoff.pushed_out
    backoff.pause_s(0.5)
    assert backoff.pushed_out
    backoff.pause_s(STEADY_S + 1)
    assert not backoff.pushed_out
