"""`lineside deploy backup` and `restore`: a new device takes the place of a broken one.

A backup is a tar, as the device writes it (`lineside_device.backup`), but for the identity: that is
one file, `identity.age`, encrypted with a passphrase (age-encryption.org, scrypt), before anything
of it is on this machine's disk.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from lineside.errors import InputError
from lineside.extras import require
from lineside.files import new_file
from lineside_deploy.push import LOCK, STATION, check_device, read_info, send
from lineside_deploy.remote import AS_ROOT, Remote
from lineside_device.backup import SCHEMA
from lineside_device.places import IDENTITY, STATE

SEALED: Final = "identity.age"
MAX_IDENTITY: Final = 10_000_000
"""Bytes that keys and passwords may have."""

# Each beside the place that it goes to, so that it gets there by one rename: the state first. Where
# that is all that was done, nothing but the second is missing.
MOVE_KEYS: Final = f"mv -T $keys/identity {IDENTITY} && sync && rm -rf $state $keys"
_BEGIN: Final = (
    AS_ROOT
    + f"""exec $as sh -c 'set -e; umask 077; exec 9>{LOCK}
state={STATE}.new keys={IDENTITY}.new
flock -n 9 || {{ echo "a push or a restore is under way here: wait for its end" >&2; exit 3; }}
"""
)
CLEAR: Final = (
    _BEGIN
    + f"""if [ -d $state ] && [ ! -e $state/state ] && [ -d $keys/identity ]; then
  {MOVE_KEYS} || :
fi
for there in {STATE} {IDENTITY}; do
  [ -z "$(ls -A $there 2>/dev/null)" ] || {{
    echo "$there holds a station already: was it put there just now? then push its package; else \
uninstall that, or remove the folder" >&2; exit 3; }}
done
rm -rf $keys; rm -rf $state'
"""
)
STAGE: Final = (
    _BEGIN
    + """mkdir $state $keys; mkdir $state/state $keys/identity
tar -xf - -C $state --no-same-owner'
"""
)
FINISH: Final = (
    _BEGIN
    + f"""tar -xf - -C $keys --no-same-owner; sync
mv -T $state/state {STATE}; sync
{MOVE_KEYS}'
"""
)


def backup(remote: Remote, out: Path, passphrase: str) -> None:
    """Copy all that a station is, besides its release; the agent stands still meanwhile.

    Args:
        remote: the device.
        out: the file.
        passphrase: encrypts its keys.

    Raises:
        DeployError: the device can't be reached, or is no station.
        StorageError: the disk is full or can't be written.
    """
    with (
        new_file(out, mode=0o600) as part,
        part.open("wb") as file,
        remote.stream(STATION + "backup") as stream,
    ):
        _seal(stream, file, passphrase)


def _seal(stream: IO[bytes], out: IO[bytes], passphrase: str) -> None:
    """Copy a tar, with one encrypted file in place of the identity.

    Raises:
        ValueError: the device sent something else.
    """
    keys = io.BytesIO()
    told: dict[str, Any] = {}
    with (
        tarfile.open(fileobj=stream, mode="r|gz") as given,
        tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as kept,
        tarfile.open(fileobj=keys, mode="w") as identity,
    ):
        for entry in given:
            data = given.extractfile(entry)
            if entry.name == "backup.json" and data is not None:
                content = data.read(MAX_IDENTITY)
                told = json.loads(content)
                data = io.BytesIO(content)
            to = identity if entry.name.startswith("identity/") else kept
            to.addfile(entry, data)
        identity.close()
        sealed = require("pyrage", extra="deploy").passphrase.encrypt(keys.getvalue(), passphrase)
        record = tarfile.TarInfo(SEALED)
        record.size, record.mode = len(sealed), 0o600
        kept.addfile(record, io.BytesIO(sealed))
    if told.get("schema") != SCHEMA:
        msg = f"{SCHEMA} is expected from the device, got {told.get('schema')!r}"
        raise ValueError(msg)


def restore(
    path: Path, package: Path, remote: Remote, passphrase: str, say: Callable[[str], None]
) -> None:
    """Make a new device the station that a backup is of.

    Its results that were not sent yet are sent, its keys are the old ones, and its sequence goes
    on in a new boot.

    Args:
        path: of the backup.
        package: of the same station, for the new device.
        remote: the new device.
        passphrase: of the backup.
        say: tells a person.

    Raises:
        InputError: it is no backup, of another station than the package, or the passphrase is
            wrong.
        DeployError: the device can't be reached, is not one that the package is for, or is a
            station already; or the release did not prove itself.
    """
    told, sealed, unpacked = read_backup(path)
    info = read_info(package)
    names = [f"{one['site']}/{one['station']}" for one in (told, info)]
    if names[0] != names[1]:
        msg = f"{path} is of {names[0]}, and {package} of {names[1]}"
        raise InputError(msg)
    pyrage = require("pyrage", extra="deploy")
    try:
        identity = pyrage.passphrase.decrypt(sealed, passphrase)
    except pyrage.DecryptError as error:
        msg = f"{path}: the passphrase is wrong"
        raise InputError(msg) from error
    remote.call(CLEAR)
    check_device(remote, info, package.stat().st_size, more=unpacked)
    put_back(path, identity, remote)
    say(f"{names[0]} as it was at {told['made']} is on {remote.host}")
    send(package, remote, say)


def put_back(path: Path, identity: bytes, remote: Remote) -> None:
    """Put the state and the keys of a backup onto a device, after CLEAR.

    Cut while it is sent, it is done again. Once all of it is there, `push` is what remains.

    Args:
        path: of the backup.
        identity: decrypted, a tar; it is on no disk of this machine.
        remote: the new device.

    Raises:
        DeployError: the device can't be reached or written, or is a station already.
    """
    with tempfile.TemporaryFile() as state:
        with tarfile.open(path) as given, tarfile.open(fileobj=state, mode="w") as kept:
            for entry in given:
                if entry.isfile() and entry.name.startswith("state/"):
                    kept.addfile(entry, given.extractfile(entry))
        state.seek(0)
        remote.call(STAGE, stdin=state)
    remote.call(FINISH, stdin=identity)


def read_backup(path: Path) -> tuple[dict[str, Any], bytes, int]:
    """What a backup says of itself, its identity as it is encrypted, and its bytes unpacked.

    Raises:
        InputError: it is no backup.
    """
    try:
        with tarfile.open(path) as archive:
            found = json.loads(_member(archive, "backup.json"))
            identity = _member(archive, SEALED)
            unpacked = sum(entry.size for entry in archive)
        known = found["schema"] == SCHEMA
    except (OSError, LookupError, TypeError, ValueError, tarfile.TarError) as error:
        msg = f"{path} is no backup: a file written by 'lineside deploy backup' is expected"
        raise InputError(msg) from error
    if not known:
        msg = f"{path} is no backup that this version knows: {SCHEMA} is expected in it"
        raise InputError(msg)
    return found, identity, unpacked


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    data = archive.extractfile(name)
    if data is None:
        raise LookupError(name)
    return data.read(MAX_IDENTITY)
