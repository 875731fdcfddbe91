"""What the broker has of this station, for programs of the device: `status.json`.

systemd names a folder in memory that goes with the agent (`RuntimeDirectory=`); without one,
nothing is written. What installs a release reads there whether it is good.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from lineside.errors import StorageError
from lineside.files import write_file

log = logging.getLogger(__name__)

FILE: Final = "status.json"


def show_status(payload: bytes) -> None:
    """Write a status that the broker has acknowledged, whole or not at all.

    Args:
        payload: as it was published.
    """
    folder = os.environ.get("RUNTIME_DIRECTORY", "")
    if not folder:
        return
    try:
        write_file(Path(folder) / FILE, payload)
    except StorageError as error:  # a folder in memory is full: no reason to stop
        log.warning("%s", error)
