"""What says that there is a part to look at, behind one interface.

A new kind of trigger costs one file in this package, one row in `TRIGGERS`, one row in the
conformance test and one in the documentation of `stream.trigger`.
"""

from __future__ import annotations

import importlib
from typing import Final

from lineside.errors import SettingsError
from lineside_agent.triggers.base import Firing, Trigger

__all__ = ["TRIGGERS", "Firing", "Trigger", "make_trigger"]

TRIGGERS: Final = {  # what stands before the colon -> module:class
    "interval": "lineside_agent.triggers.interval:IntervalTrigger",
    "command": "lineside_agent.triggers.pushed:PushedTrigger",
}


def make_trigger(text: str, *, queue: int) -> Trigger | None:
    """The trigger that a `[[stream]]` names.

    Args:
        text: such as `interval:0.5`.
        queue: how many parts may wait to be looked at.

    Returns:
        None for `frame`: each frame is a part.

    Raises:
        SettingsError: no such kind of trigger.
    """
    kind, _, what = text.partition(":")
    if kind == "frame":
        return None
    known = TRIGGERS.get(kind)
    if known is None:
        msg = f"trigger {text!r} is none of frame, {', '.join(TRIGGERS)}"
        raise SettingsError(msg)
    module, _, name = known.partition(":")
    made: type[Trigger] = getattr(importlib.import_module(module), name)
    return made(kind, what, queue=queue)
