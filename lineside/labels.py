"""Which labels mean a good part."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from lineside.errors import DatasetError
from lineside.manifest import Label

KNOWN_AS_GOOD: Final = frozenset({"ok", "good", "normal", "functional"})
"""Labels that mean a good part where nothing else was said, in any case."""

MAX_LISTED: Final = 20
"""Labels that an error lists."""


def mark_labels(names: Sequence[str], good: Collection[str], *, sort: bool) -> tuple[Label, ...]:
    """Say of each label whether it means a good part.

    Args:
        names: the labels, sorted.
        good: the labels that do; empty: those of KNOWN_AS_GOOD.
        sort: no label means a bad part.

    Raises:
        DatasetError: a label in `good` is not there, or none or all of them mean a good part.
    """
    listed = ", ".join(map(repr, names[:MAX_LISTED]))
    if len(names) > MAX_LISTED:
        listed += f" and {len(names) - MAX_LISTED} more"
    for name in good:
        if name not in names:
            msg = f"--good {name!r} is none of the labels: {listed}"
            raise DatasetError(msg)
    if sort:
        return tuple(Label(name=name, good=True) for name in names)
    chosen = set(good) or {name for name in names if name.casefold() in KNOWN_AS_GOOD}
    if not chosen:
        msg = (
            f"none of the labels {listed} is known to mean a good part: name it with "
            f"--good LABEL, such as --good {names[0]!r}, or use --sort if none means a bad one"
        )
        raise DatasetError(msg)
    if len(chosen) == len(names):
        msg = (
            f"all of the labels {listed} mean a good part: name the good ones with --good LABEL, "
            "or use --sort if none means a bad one"
        )
        raise DatasetError(msg)
    return tuple(Label(name=name, good=name in chosen) for name in names)
