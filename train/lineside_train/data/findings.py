"""What a check of photos finds: plain data, for people, for programs and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from lineside.dataset import Notice

Level = Literal["warning", "note"]
"""A warning means that training would suffer, or that its figures would; a note is good to know."""

ADVICE: Final = {
    "unreadable": "Take the pictures again, or move the files out of the way with --fix.",
    "conflict": "Decide which label is right, and keep the picture under that one only.",
    "duplicates": "Harmless, but they add nothing: --fix moves the extra copies aside.",
    "links": "Copy the photos themselves into the folder.",
    "others": "Nothing to do, unless photos are among them.",
    "empty": "Add photos to it, or remove the folder.",
}
"""What to do about what the reader of the folder says, by kind of notice."""


class Item(Struct, frozen=True):
    """One case of a finding: a picture, or several that belong to each other."""

    files: list[str]
    """The first is what it is about."""
    captions: list[str]
    """A few words for each file."""
    score: float | None = None
    """0 to 1: of twins how alike they are, of a doubtful label how far it is believed."""
    says: str = ""
    """Of a doubtful label: the one that it looks like."""


class Finding(Struct, frozen=True, kw_only=True):
    """One kind of thing that was found."""

    kind: str
    level: Level
    title: str
    message: str
    """One line: what was found."""
    advice: str = ""
    """What to do about it."""
    evidence: str = ""
    """What it is based on, and how far that goes."""
    items: list[Item] = []
    """The worst first."""
    values: dict[str, float | int | str] = {}
    """Figures, for programs."""

    def as_notice(self) -> Notice:
        """The same as a line at the start of a training."""
        files = dict.fromkeys(file for item in self.items for file in item.files)
        return Notice(self.kind, self.message, tuple(files))


def from_notices(notices: Sequence[Notice]) -> list[Finding]:
    """What the reader of the folder said already."""
    return [
        Finding(
            kind=notice.kind,
            level="warning" if notice.kind in {"unreadable", "conflict", "empty"} else "note",
            title=notice.kind.replace("-", " ").capitalize(),
            message=notice.message,
            advice=ADVICE.get(notice.kind, ""),
            items=_items(notice),
        )
        for notice in notices
    ]


def _items(notice: Notice) -> list[Item]:
    if notice.kind == "conflict":
        labels = [file.split("/", 1)[0] for file in notice.files]
        return [Item(list(notice.files), labels)]
    return [Item([file], [""]) for file in notice.files]


def counted(count: int, what: str) -> str:
    """`1 image`, `2 images`."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")
