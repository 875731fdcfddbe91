"""Where the process that was started, and the one that trains, part ways."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import IO, Any

import click

from lineside.errors import LinesideError, TrainError
from lineside_train.hosts.link import Ended, Facts, Link
from lineside_train.hosts.options import Roster
from lineside_train.hosts.watch import GRACE_S, Watch


class Ward:
    """What the process that trains says to the one that watches.

    Args:
        link: to it.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Wait until all hosts are there and are about to do the same.

        Args:
            facts: what is about to be done, as JSON has it.
        """
        self._link.send(Facts(dict(facts)))
        self._link.wait()  # where they don't agree, this process is ended

    def done(self) -> None:
        """Nothing is done together any more: the other hosts may end, and so may this one."""
        self._link.send(Ended(0))

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """A training that fails here must end the others; one that fails for them says nothing."""
        try:
            yield
        except (KeyboardInterrupt, click.Abort):
            self._link.send(Ended(130))
            raise
        except LinesideError:
            self._link.send(Ended(1))
            raise
        except Exception:
            # What JAX raises where another host is gone: the watching process knows who it is,
            # and ends this one.
            time.sleep(GRACE_S)
            self._link.send(Ended(1))
            raise


def part_ways(roster: Roster) -> Ward:
    """Go on in a process of its own; the one that was started watches over it, and ends here.

    Before JAX is loaded, which can't be taken into another process.

    Args:
        roster: who takes part.

    Returns:
        In the new process only.

    Raises:
        click.exceptions.Exit: in the process that was started, when it is over.
        TrainError: the same, where there is something to tell.
    """
    ours, childs = socket.socketpair()
    alive, held = os.pipe()  # closed with the process that watches
    noise = tempfile.TemporaryFile()  # noqa: SIM115 - both processes have it to their ends
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.close(held)
        os.setpgid(0, 0)  # Ctrl-C reaches it once, from the process that watches
        _divert_native(noise)
        threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
        return Ward(Link(childs))
    childs.close()
    os.close(alive)
    raise _watched(Watch(roster, Link(ours), pid, lambda: _last_line(noise)))


def _watched(watch: Watch) -> Exception:
    """Watch until it is over: how this process is to end then."""

    def interrupted(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's own
        os.kill(watch.pid, signal.SIGINT)

    def terminated(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        watch.terminated = True

    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, terminated)
    over = watch.run()
    if over.line and over.code == 1:
        return TrainError(over.line)
    if over.line:
        click.echo(f"error: {over.line}", err=True)
    return click.exceptions.Exit(over.code)


def _divert_native(noise: IO[bytes]) -> None:
    """Let Python's output go where it went, and native code's to `noise`."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        before = getattr(sys, name)
        kept = os.fdopen(
            os.dup(number), "w", encoding=before.encoding, errors=before.errors, buffering=1
        )
        setattr(sys, name, kept)
        os.dup2(noise.fileno(), number)


def _end_with(alive: int) -> None:
    """End this process when the one that watches ends, however it does."""
    os.read(alive, 1)
    os._exit(1)


def _last_line(noise: IO[bytes]) -> str:
    size = os.fstat(noise.fileno()).st_size
    text = os.pread(noise.fileno(), 8192, max(0, size - 8192)).decode(errors="replace")
    fatal = [line for line in text.splitlines() if line.startswith(("F", "E"))]
    return (fatal or text.splitlines() or ["without a word"])[-1].strip()
