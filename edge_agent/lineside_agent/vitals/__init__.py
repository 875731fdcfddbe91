"""Whether a camera's pictures can be trusted: black, over-exposed, blurred, moved or frozen.

Pure: one `Vitals` for each camera is told of each of its frames. What it has learned of the
camera can be saved and given to the next one.
"""

from __future__ import annotations

from lineside_agent.vitals.findings import Finding, Kind
from lineside_agent.vitals.watch import KINDS, Vitals

__all__ = ["KINDS", "Finding", "Kind", "Vitals"]
