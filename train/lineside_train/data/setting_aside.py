"""Moving files out of the way, and back: nothing is ever deleted or overwritten.

They go into a folder beside the data, `DATA.set-aside`, under the path that they had.
`moved.csv` in it says of each where it was, where it is, and why: it is written before the first
file is moved, so whatever happens meanwhile can be undone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from lineside.dataset import set_aside_folder
from lineside.errors import DatasetError
from lineside.files import fsync_folder, read_file, storage_error, write_file

MOVED: Final = "moved.csv"
_HEADER: Final = ["file", "to", "why"]
_MAX_BYTES: Final = 200_000_000


@dataclass(frozen=True)
class Move:
    """One file that is moved.

    Attributes:
        file: where it was, below the data folder.
        to: where it is, below the folder beside it.
        why: in a few words.
    """

    file: str
    to: str
    why: str


def set_aside(root: Path, wanted: Iterable[tuple[str, str]]) -> list[Move]:
    """Move files out of the data folder.

    Args:
        root: the data folder.
        wanted: files below it, each with why; one that comes again is not moved twice.

    Returns:
        What was moved.

    Raises:
        StorageError: the disk is full or can't be written; what was moved is in `moved.csv`.
        DatasetError: `moved.csv` is there and is none.
    """
    aside = set_aside_folder(root)
    before = _read(aside)
    taken = {move.to for move in before}
    moves = []
    for file, why in dict(reversed(list(wanted))).items():
        to = _free(aside, file, taken)
        taken.add(to)
        moves.append(Move(file, to, why))
    moves.sort(key=lambda move: move.file)
    if not moves:
        return []
    _write(aside, [*before, *moves])
    for move in moves:
        _rename(root / move.file, aside / move.to)
    return moves


def put_back(root: Path) -> tuple[list[Move], list[Move]]:
    """Move everything back to where it was.

    Returns:
        What was moved back, and what could not be, since its old place is taken: that stays listed.

    Raises:
        DatasetError: nothing was ever moved, or `moved.csv` is none.
        StorageError: the disk can't be written.
    """
    aside = set_aside_folder(root)
    if not (aside / MOVED).is_file():
        msg = f"{aside / MOVED} is not there: nothing was moved out of {root}"
        raise DatasetError(msg)
    listed = _read(aside)
    back = []
    for move in listed:
        # Looked at one by one: two of them may come from the same place.
        if (aside / move.to).is_file() and not (root / move.file).exists():
            _rename(aside / move.to, root / move.file)
            back.append(move)
    left = [move for move in listed if (aside / move.to).is_file()]
    _write(aside, left)
    return back, left


def _free(aside: Path, file: str, taken: set[str]) -> str:
    """A path below `aside` at which nothing is: that of the file, or with a number."""
    path, number = PurePosixPath(file), 1
    to = file
    while to in taken or (aside / to).exists():
        number += 1
        to = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
    return to


def _rename(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        fsync_folder(target.parent)
        fsync_folder(source.parent)
    except OSError as error:
        raise storage_error(error, source) from error


def _write(aside: Path, moves: Sequence[Move]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows([move.file, move.to, move.why] for move in moves)
    write_file(aside / MOVED, text.getvalue().encode())


def _read(aside: Path) -> list[Move]:
    """What was moved before; files are never looked for outside of the two folders."""
    path = aside / MOVED
    if not path.is_file():
        return []
    try:
        text = read_file(path, _MAX_BYTES).decode()
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{path} is damaged ({error}): move it away, and put the files back by hand"
        raise DatasetError(msg) from error
    if not rows or rows[0] != _HEADER or any(len(row) != len(_HEADER) for row in rows):
        msg = f"{path} is damaged: file,to,why is expected in each line; move it away"
        raise DatasetError(msg)
    for row in rows[1:]:
        for name in row[:2]:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                msg = f"{path} lists {name!r}, which lies outside of the folder, and is refused"
                raise DatasetError(msg)
    return [Move(*row) for row in rows[1:]]
