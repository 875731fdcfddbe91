"""Models that change and fail: which bundle is in use, the watch over a new one, the way back."""

from lineside_agent.models.roster import Roster, UseBundle
from lineside_agent.models.slot import Post, Report, Slot

__all__ = ["Post", "Report", "Roster", "Slot", "UseBundle"]
