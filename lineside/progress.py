"""Progress of long work, for people: on a terminal only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def track(iterable: Iterable[Item], *, total: int | None = None, what: str) -> Iterator[Item]:
    """Yield what `iterable` yields, with a progress bar on stderr where that is a terminal.

    Args:
        iterable: the work.
        total: how many items there are, where `iterable` has no length.
        what: what is being done, such as `Reading the images`.
    """
    # rich takes a tenth of a second to import: commands without long work don't wait for it.
    from rich.console import Console
    from rich.progress import track as rich_track

    console = Console(stderr=True)
    if not console.is_terminal:
        yield from iterable
        return
    yield from rich_track(iterable, what, total=total, console=console, transient=True)


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner on stderr, where that is a terminal, as long as the block runs.

    Args:
        what: what is being done, such as `Converting to int8`.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
