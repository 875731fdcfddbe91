"""What a station and a user are called in their certificates.

The broker takes the common name of a certificate for the user name, and puts it for `%u` into the
patterns of its ACL. So a wildcard in it would own what it matches, and `ulm` alone would own the
whole site: neither is ever issued. A user is called `user:NAME`: no name of a site or a station
holds a colon, so no pattern leads from a user to a station's topics.
"""

from __future__ import annotations

from typing import Final

from lineside.errors import InputError
from lineside.topics import check_name

MAX_COMMON_NAME: Final = 64
"""Characters of a common name (RFC 5280, ub-common-name)."""


def station_name(name: str) -> str:
    """The common name of a station: `SITE/STATION`.

    Raises:
        InputError: a half is missing, or is no name; or both are too long together.
    """
    halves = name.split("/")
    if len(halves) != 2 or not all(halves):
        msg = f"{name!r} is no station: SITE/STATION is expected, such as ulm/press4"
        raise InputError(msg)
    for what, half in zip(("site", "station"), halves, strict=True):
        check_name(what, half)
    return _checked(name, name)


def user_name(name: str) -> str:
    """The common name of a user: `user:NAME`.

    Raises:
        InputError: it is no name, or too long.
    """
    return _checked(f"user:{check_name('user', name)}", name)


def _checked(common_name: str, name: str) -> str:
    if len(common_name) > MAX_COMMON_NAME:
        msg = (
            f"{name!r} is too long for a certificate: {common_name!r} has {len(common_name)} "
            f"characters, at most {MAX_COMMON_NAME} are possible"
        )
        raise InputError(msg)
    return common_name
