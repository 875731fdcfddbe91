"""Live cameras, each read by a process of its own.

Drivers hang and crash, and nothing that runs in the agent's process could stop them. So a child
(`python -m lineside_agent.capture`) opens one camera, and the agent kills and starts it as needed.

    child:  backend ──▶ a slot of shared memory ──header──▶ socket      (child.py, v4l2.py, ...)
            a look at the picture                                       (pictures.py)
    agent:  socket ──▶ the newest header ──▶ a view of its slot          (channel.py)
            control words, news, the process itself                     (supervisor.py)

Who may touch a slot is decided by who holds its header, and headers are messages of a socket, of
which the kernel gives each to one reader only: the agent takes what is there and sends back the
number of a slot it is done with, and the child takes back the oldest header that nobody took
(`memory.py`). There is no lock that a killed or stopped process could keep.

A new kind of live camera costs one file here, one row in `BACKENDS`, one row in the conformance
test and one in the documentation of `camera.source`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of live camera.

    Attributes:
        backend: module:class of its `lineside_agent.capture.backend.Backend`.
        max_delay_ms: how much later than its capture a frame may be read, where the backend
            knows no better stamp; what `[[camera]] max_delay_ms` is if it is left out.
    """

    backend: str
    max_delay_ms: float


BACKENDS: Final = {  # scheme of `camera.source` -> its kind
    "v4l2": Kind("lineside_agent.capture.v4l2:V4l2", max_delay_ms=200.0),
    "rtsp": Kind("lineside_agent.capture.rtsp:Rtsp", max_delay_ms=500.0),
    "line": Kind("lineside_agent.capture.line:Line", max_delay_ms=0.0),
}
