"""What the agent and a camera's child say to each other, one struct for each message.

Two pairs of SOCK_SEQPACKET sockets, on which every message is whole. On the first, frames: the
child sends a `Header` for each, the agent sends back one byte: the number of a slot that it is
done with, `END`, or `REDUCE` plus what the sides of a JPEG may be divided by. On the second,
words: first the agent's `Order`, then the child's `News`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from lineside.image import Reduction
from lineside_agent.capture.memory import SLOTS
from lineside_agent.vitals import Kind

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""A message is never longer; what a camera says is cut to MAX_TEXT characters."""

MAX_TEXT: Final = 500

END: Final = b"\xff"
"""The agent asks the child to let the camera go and to end."""

REDUCE: Final = 0x80
"""Plus 1, 2, 4 or 8: what the agent lets the sides of a JPEG be divided by, from now on."""


class Order(Struct, frozen=True, kw_only=True):
    """What the child shall do. It may hold a password, so it is no argument of the process."""

    camera: str
    """The camera's name, for messages."""
    scheme: str
    where: str
    """What follows the scheme."""
    rate: float
    """Frames a second that are wished for; 0: as the camera likes."""
    controls: dict[str, float]
    """What to set: `exposure_us`, `gain`, `white_balance_k`."""
    checks: list[Kind] = []
    """The faults that pictures are looked at for."""
    doubts: list[Kind] = []
    """Those of them with which no picture can be trusted."""
    learned: str = ""
    """The file of what was learned of the camera's pictures; empty: it is not kept."""


class Header(Struct, frozen=True, array_like=True):
    """One frame: where it is, and what is known of it."""

    number: int
    """Of the frames of this child, from 1."""
    slot: Annotated[int, Meta(ge=0, lt=SLOTS)]
    height: int
    """Of the frame in pixels; 0 where there is no frame."""
    width: int
    mono_ns: int
    """When it was captured, in ns of CLOCK_MONOTONIC, which all processes share."""
    wall_ns: int
    """The same in ns since 1970, for people."""
    stamp: Literal["driver", "read"]
    frame_id: int | None
    flagged: str | None
    doubt: Kind | None = None
    """What makes the picture doubtful. Unlike a flagged frame it has pixels, and its camera is not
    started again."""
    reduced: Reduction = 1
    """By what the sides of the picture were divided while it was decoded."""
    whole: tuple[int, int] | None = None
    """Height and width of the whole picture in pixels, where it was reduced."""


class News(Struct, frozen=True, kw_only=True):
    """What happened to the camera beside its frames."""

    at_ns: int
    """When, in ns of the monotonic clock."""
    trouble: str | None = None
    """Why no frames come, in one line."""
    flagged: str | None = None
    """Why the newest frame can't be trusted."""
    controls: dict[str, float] | None = None
    """What was read back after setting, of a camera that was opened."""
    findings: dict[Kind, str] | None = None
    """All faults that last, and what was seen of each; said when they have changed."""
    note: str | None = None
    """What somebody should read in the log."""


encode = msgspec.msgpack.Encoder().encode
decode_header = msgspec.msgpack.Decoder(Header).decode
decode_news = msgspec.msgpack.Decoder(News).decode
decode_order = msgspec.msgpack.Decoder(Order).decode
