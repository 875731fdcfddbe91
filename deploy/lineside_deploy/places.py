"""Where things lie on a station. `device/` spells them once more: it has nothing but Python."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

HOME: Final = PurePosixPath("/opt/lineside")
"""Releases, and the link to the one that runs."""

STATE: Final = PurePosixPath("/var/lib/lineside")
"""What the agent writes: the outbox, the audit log, evidence. Releases come and go, it stays."""

IDENTITY: Final = PurePosixPath("/etc/lineside")
"""Keys, certificates, passwords: made or put there once, in no package."""
