"""Where things lie on a station: the one place that says it, for the workstation's side too."""

from __future__ import annotations

from pathlib import Path

from lineside_device import facts

HOME = Path(facts.HOME)
"""Releases, and the link to the one that runs."""

STATE = Path("/var/lib/lineside")
"""What the agent writes: the outbox, the audit log. Releases come and go, it stays."""

IDENTITY = Path("/etc/lineside")
"""Keys, certificates, passwords: put there once, in no package."""

CERTIFICATE = IDENTITY / "station.pem"
"""The station's key and its certificate, in one file."""

USER = "lineside"
"""The account that the agent runs as."""

UNIT = "lineside.service"
TRIAL_UNIT = "lineside-trial.service"
SWITCH_UNIT = "lineside-switch.service"
"""Runs once, for each switch to a new release."""
