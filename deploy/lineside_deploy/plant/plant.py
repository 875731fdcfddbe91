"""The folder of a plant: its authority, its broker's files, and what was issued to whom.

    PLANT/
        plant.json       what was decided: hosts, port, prefix
        issued.json      every certificate: of whom, its serial number, whether it was revoked
        authority/       ca.key (the one secret that all trust hangs on), ca.pem
        broker/          all that mosquitto reads and writes, nothing else
        lineside-broker.service

What is written down comes before what is handed out: a certificate that is not in `issued.json`
was never anywhere, and a revocation that was cut is whole when it is done again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import DNSName, IPAddress, load_pem_x509_certificate
from cryptography.x509 import SubjectAlternativeName as Names
from msgspec import Struct

from lineside.errors import InputError
from lineside.files import read_file, storage_error, write_file
from lineside_deploy.plant import authority as sign
from lineside_deploy.plant import broker
from lineside_deploy.plant.broker import BrokerSettings

UNIT: Final = "lineside-broker.service"
RENEWED_BEFORE: Final = timedelta(days=365)
"""The broker's certificate is made anew by the first command in its last year."""
MAX_BYTES: Final = 16_000_000
SECRET: Final = 0o600

S = TypeVar("S", bound=Struct)


class Issued(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate of a station or a user."""

    name: str
    """Its common name: `ulm/press4`, `user:ann`."""
    serial: str
    """Hexadecimal."""
    until: datetime
    """UTC."""
    may_command: bool = False
    """Of a user."""
    revoked: datetime | None = None
    """UTC; None: it is good."""

    def good(self, now: datetime) -> bool:
        """Whether the broker lets it in."""
        return self.revoked is None and now < self.until


class _Book(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """issued.json."""

    issued: list[Issued] = []


@dataclass(frozen=True)
class Plant:
    """A plant's folder, read.

    Attributes:
        folder: absolute.
        settings: of its broker.
        issued: every certificate, the oldest first.
    """

    folder: Path
    settings: BrokerSettings
    issued: list[Issued]

    @property
    def broker(self) -> Path:
        """All that mosquitto reads and writes."""
        return self.folder / "broker"

    @property
    def ca(self) -> Path:
        """What stations and users must know: the authority's certificate."""
        return self.folder / "authority" / "ca.pem"

    def holders(self, now: datetime) -> dict[str, Issued]:
        """Of each name that has a good certificate, the newest one."""
        return {one.name: one for one in self.issued if one.good(now)}

    def check(self, name: str, *, renew: bool = False) -> None:
        """Refuse a name before anything is made for it.

        Args:
            name: the common name.
            renew: whether it must have a certificate already; otherwise it must not.

        Raises:
            InputError: the name is taken, or there is nothing to renew.
        """
        old = self.holders(datetime.now(timezone.utc)).get(name)
        if old is not None and not renew:
            way = "revoke it first" if name.startswith("user:") else "renew it, or revoke it first"
            msg = f"{name} has a certificate already, good until {old.until:%Y-%m-%d}: {way}"
            raise InputError(msg)
        if old is None and renew:
            msg = f"{name} has no certificate that is good: make it with 'new'"
            raise InputError(msg)

    def until(self, name: str) -> str:
        """The day until which a name's newest certificate is good."""
        return f"{self.holders(datetime.now(timezone.utc))[name].until:%Y-%m-%d}"

    def issue(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        *,
        may_command: bool = False,
        renew: bool = False,
    ) -> bytes:
        """A certificate, PEM; it is written down first.

        Args:
            name: the common name (`names`).
            key: of who gets it.
            may_command: of a user.
            renew: whether the name must have a certificate already; otherwise it must not.

        Raises:
            InputError: the name is taken, or there is nothing to renew.
            StorageError: the disk is full or can't be written.
        """
        self.check(name, renew=renew)
        now = datetime.now(timezone.utc)
        signed = sign.sign_client(self.authority(), key, name, now)
        entry = Issued(
            name=name,
            serial=f"{signed.serial_number:x}",
            until=signed.not_valid_after_utc,
            may_command=may_command,
        )
        self._keep([*self.issued, entry])
        return signed.public_bytes(Encoding.PEM)

    def revoke(self, name: str) -> int:
        """All certificates of a name are good no more; the broker must start anew to notice.

        Returns:
            How many were.

        Raises:
            InputError: it has none.
            StorageError: the disk is full or can't be written.
        """
        now = datetime.now(timezone.utc)
        good = [one for one in self.issued if one.name == name and one.good(now)]
        if not any(one.name == name for one in self.issued):
            msg = f"{name} has no certificate: 'list' shows who has"
            raise InputError(msg)
        revoked = [
            msgspec.structs.replace(one, revoked=now) if one in good else one for one in self.issued
        ]
        self._keep(revoked)
        return len(good)

    def write(self) -> None:
        """All of the broker's files, from what is written down.

        Raises:
            StorageError: the disk is full or can't be written.
        """
        now = datetime.now(timezone.utc)
        authority, files = self.authority(), self.broker
        revoked = [(int(one.serial, 16), one.revoked) for one in self.issued if one.revoked]
        users = [
            (one.name, one.may_command)
            for one in self.holders(now).values()
            if one.name.startswith("user:")
        ]
        texts = {
            "mosquitto.conf": broker.configuration(self.settings, files).encode(),
            "acl": broker.access(self.settings.prefix, users).encode(),
            "revoked.pem": sign.revocation_list(authority, revoked, now),
            "ca.pem": authority.certificate.public_bytes(Encoding.PEM),
        }
        for name, data in texts.items():
            write_file(files / name, data, SECRET)
        if not self._has_certificate(now):
            key = sign.new_key()
            signed = sign.sign_broker(authority, key.public_key(), self.settings.hosts, now)
            write_file(files / "broker.key", sign.key_pem(key), SECRET)
            write_file(files / "broker.pem", signed.public_bytes(Encoding.PEM), SECRET)
        write_file(self.folder / UNIT, broker.unit(files).encode())
        self._hand_over()

    def _has_certificate(self, now: datetime) -> bool:
        """Whether the broker's own is good for another year, and for its hosts."""
        try:
            found = load_pem_x509_certificate((self.broker / "broker.pem").read_bytes())
            key = (self.broker / "broker.key").read_bytes()
            names = found.extensions.get_extension_for_class(Names).value
            sign.load_authority(key, (self.broker / "broker.pem").read_bytes())
        except (OSError, ValueError, InputError):
            return False
        hosts = {*names.get_values_for_type(DNSName)}
        hosts |= {str(address) for address in names.get_values_for_type(IPAddress)}
        return hosts == {*self.settings.hosts} and found.not_valid_after_utc - now > RENEWED_BEFORE

    def _hand_over(self) -> None:
        """The broker's files belong to its account, where we may decide that."""
        (self.broker / "data").mkdir(exist_ok=True)
        if os.geteuid():
            return
        try:
            account = pwd.getpwnam(self.settings.account)
            for path in (self.broker, *self.broker.rglob("*")):
                # Not what a link leads to: the folder is the broker's, who may not own all.
                os.chown(path, account.pw_uid, -1, follow_symlinks=False)
        except KeyError as error:
            msg = (
                f"there is no account {self.settings.account!r} on this machine: "
                "apt-get install mosquitto, or name another with --account"
            )
            raise InputError(msg) from error

    def authority(self) -> sign.Authority:
        """Who signs.

        Raises:
            InputError: its files are not there, or damaged.
        """
        folder = self.folder / "authority"
        names = ("ca.key", "ca.pem")
        return sign.load_authority(*(read_file(folder / name, MAX_BYTES) for name in names))

    def _keep(self, issued: list[Issued]) -> None:
        write_file(self.folder / "issued.json", _json(_Book(issued=issued)), SECRET)
        self.issued[:] = issued


def make_plant(folder: Path, settings: BrokerSettings) -> Plant:
    """Make the folder of a plant, or decide anew what its broker is; the authority stays.

    Raises:
        InputError: the folder holds something else.
        StorageError: the disk is full or can't be written.
    """
    folder = folder.absolute()
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is no folder"
        raise InputError(msg)
    keys = folder / "authority"
    if not (keys / "ca.pem").exists():
        if folder.exists() and any(entry.name not in _OURS for entry in folder.iterdir()):
            msg = f"{folder} holds something else: name a new folder"
            raise InputError(msg)
        new = sign.new_authority(f"lineside {settings.hosts[0]}"[:64], datetime.now(timezone.utc))
        try:
            keys.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o711)  # mosquitto must get to its files
            keys.chmod(0o700)
        except OSError as error:
            raise storage_error(error, folder) from error
        write_file(keys / "ca.key", sign.key_pem(new.key), SECRET)
        write_file(keys / "ca.pem", new.certificate.public_bytes(Encoding.PEM))
    path = folder / "issued.json"
    with _alone(folder):
        book = _read(path, _Book) if path.exists() else _Book()
        (folder / "broker").mkdir(mode=0o700, exist_ok=True)
        plant = Plant(folder, settings, book.issued)
        plant.write()
        write_file(folder / "plant.json", _json(settings))  # last: without it, it is no plant yet
        return plant


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else changes anything of a plant meanwhile.

    Its folder is locked, since a file that is replaced takes its lock along.

    Raises:
        InputError: somebody does already.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"another command is under way in {folder}: wait for its end"
            raise InputError(msg) from error
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def open_plant(folder: Path) -> Iterator[Plant]:
    """Read the folder of a plant; nobody else changes anything of it meanwhile.

    Raises:
        InputError: it is none, or somebody does already.
    """
    folder = folder.absolute()
    settings = _read(folder / "plant.json", BrokerSettings)
    with _alone(folder):
        book = folder / "issued.json"
        issued = _read(book, _Book).issued if book.exists() else []
        yield Plant(folder, settings, issued)


_OURS: Final = {"authority", "broker"}


def _read(path: Path, kind: type[S]) -> S:
    try:
        return msgspec.json.decode(read_file(path, MAX_BYTES), type=kind)
    except InputError as error:
        msg = (
            f"{path.parent} is no plant's folder ({error}): make one with 'lineside deploy broker'"
        )
        raise InputError(msg) from error
    except msgspec.DecodeError as error:
        msg = f"{path} is damaged ({error}): put a backup in its place"
        raise InputError(msg) from error


def _json(what: Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(what), indent=1) + b"\n"
