"""The one error of the device's side."""

from __future__ import annotations


class RefusedError(Exception):
    """It can't be done; the message is one line with the value that is wrong and the way out."""
