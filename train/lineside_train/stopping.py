"""Ctrl-C during a training: the first one ends it with the best so far, the second one at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import click


@contextlib.contextmanager
def stop_on_interrupt(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on the first SIGINT, and raise KeyboardInterrupt on the second.

    In any other thread than the main one, which gets the signals, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupted(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's own
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        click.echo("Stopping; the best so far is kept. Once more to leave at once.", err=True)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
