"""The topics of a station. Nothing else in lineside spells a topic.

<prefix>/<site>/<station>/result/<stream>               one verdict for one part
<prefix>/<site>/<station>/status                        retained; also the last will
<prefix>/<site>/<station>/health
<prefix>/<site>/<station>/event
<prefix>/<site>/<station>/command                       never retained
<prefix>/<site>/<station>/response/<requester>
<prefix>/<site>/<station>/replay/<requester>/<stream>
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lineside.errors import MessageError

NAME_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$(?!\n)"  # Python's $ lets a last newline pass
"""What a site, a station, a stream, a camera or a model may be called: one topic level."""

PREFIX_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}$(?!\n)"
"""A prefix is one to four names."""

DEFAULT_PREFIX: Final = "lineside"

_LEAVES: Final = {  # kind -> the levels that follow it
    "result": ("stream",),
    "status": (),
    "health": (),
    "event": (),
    "command": (),
    "response": ("requester",),
    "replay": ("requester", "stream"),
}


def check_name(what: str, name: str) -> str:
    """Return `name` if it may be one level of a topic.

    Raises:
        MessageError: it holds a slash, a wildcard, a space…, or is too long.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        msg = f"{what} {name!r} is refused: 1 to 64 of the characters A-Z a-z 0-9 _ - are allowed"
        raise MessageError(msg)
    return name


def name_from(text: str) -> str:
    """A name that is as near to `text`, a folder's or a file's, as the rule lets it be."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)[:64] or "model"


@dataclass(frozen=True)
class Topic:
    """A topic, taken apart.

    Attributes:
        kind: `result`, `status`, `health`, `event`, `command`, `response` or `replay`.
        site: the site's name.
        station: the station's name.
        stream: the stream's name, for `result` and `replay`.
        requester: who asked, for `response` and `replay`.
    """

    kind: str
    site: str
    station: str
    stream: str | None = None
    requester: str | None = None


@dataclass(frozen=True)
class Topics:
    """The topics of one station, or, with `+` as site and station, the filters for all of them."""

    site: str
    station: str
    prefix: str = DEFAULT_PREFIX

    @property
    def client_id(self) -> str:
        """Our name at the broker, which a second client of that name would push out.

        No two stations have the same, since no name holds a colon.
        """
        return ":".join((*self.prefix.split("/"), self.site, self.station))

    def _topic(self, *levels: str) -> str:
        return "/".join((self.prefix, self.site, self.station, *levels))

    def result(self, stream: str) -> str:
        """One verdict for one part; `+` for all streams."""
        return self._topic("result", stream)

    def status(self) -> str:
        """Retained: online, offline, degraded, and what was published."""
        return self._topic("status")

    def health(self) -> str:
        """Rates, drops, temperatures."""
        return self._topic("health")

    def event(self) -> str:
        """What happened."""
        return self._topic("event")

    def command(self) -> str:
        """What a station is asked to do."""
        return self._topic("command")

    def response(self, requester: str) -> str:
        """The answer to a command."""
        return self._topic("response", requester)

    def replay(self, requester: str, stream: str) -> str:
        """Results again, for the one who asked."""
        return self._topic("replay", requester, stream)


def parse_topic(topic: str, prefix: str = DEFAULT_PREFIX) -> Topic:
    """Take a topic apart.

    Raises:
        MessageError: it is none of the topics of a station under `prefix`.
    """
    head = prefix + "/"
    levels = topic[len(head) :].split("/") if topic.startswith(head) else []
    kind = levels[2] if len(levels) >= 3 else ""
    names = _LEAVES.get(kind)
    if names is None or len(levels) != 3 + len(names):
        msg = f"topic {topic!r} is no topic of a station under {prefix!r}"
        raise MessageError(msg)
    for level in levels:
        check_name("topic level", level)
    return Topic(kind, levels[0], levels[1], **dict(zip(names, levels[3:], strict=True)))
