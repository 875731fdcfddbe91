"""A URL as people may see it: a log or a console must not tell a camera's password."""

from __future__ import annotations

import re
from typing import Final

_START: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?/*")


def hide_login(url: str) -> str:
    """The URL with `***` in place of its user name and password.

    It is shown where something is wrong with it, so it need not be a proper one: a password may
    hold `/` or `@`, slashes may be missing. So all up to the last `@` counts as the login, unless
    it follows `//`, holds `/` and no `:`, which is a host and a path.

    Args:
        url: such as `rtsp://ann:secret@camera/live`. A text with no `@` behind a `:` holds no
            password and comes back as it is.

    Returns:
        Such as `rtsp://***@camera/live`.
    """
    head, at, rest = url.rpartition("@")
    if not at or ":" not in head:
        return url
    found = _START.match(head)
    start = found[0] if found else ""
    login = head[len(start) :]
    if "//" in start and "/" in login and ":" not in login:
        return url
    return f"{start}***@{rest}"
