"""All that a station is, besides its release: what it has written, its keys, its configuration.

A tar, written to a stream while the agent stands still: its databases are its alone.

    backup.json     of which station, when, of which release
    station.toml    the configuration as the device reads it
    state/          what the agent writes
    identity/       keys, certificates, passwords
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
from pathlib import Path
from typing import IO

SCHEMA = "lineside.backup/1"


def write_backup(out: IO[bytes], *, release: Path, state: Path, identity: Path) -> None:
    """Write the tar, compressed: what an outbox holds in reserve takes nothing.

    Args:
        out: where it goes.
        release: the current release.
        state: what the agent writes.
        identity: its keys.

    Raises:
        OSError: something can't be read, or nobody takes it.
    """
    package = json.loads((release / "package.json").read_bytes())
    told = {
        "schema": SCHEMA,
        "site": package["site"],
        "station": package["station"],
        "release": package["release"],
        "lineside": package["lineside"],
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        _add(archive, "backup.json", json.dumps(told).encode())
        _add(archive, "station.toml", (release / "station.toml").read_bytes())
        for folder, name in ((state, "state"), (identity, "identity")):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.is_symlink():
                    archive.add(path, f"{name}/{path.relative_to(folder)}", recursive=False)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(data))
