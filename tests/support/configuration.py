"""A station's configuration, as short as one can be."""

from __future__ import annotations

CONFIGURATION = """
[station]
site = "ulm"
name = "press4"
[mqtt]
url = "mqtt://localhost"
[[model]]
name = "cells"
bundle = "bundle"
[[camera]]
name = "top"
source = "v4l2:/dev/video0"
"""
"""Accepted as it is; more tables may follow it."""
