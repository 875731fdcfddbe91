"""Keys that sign bundles: making a pair, reading them, and the command `lineside keys`.

The private key signs (`lineside convert --sign`) and stays on the workstation; the public one is
copied to whoever checks (`trust` in a station's configuration, `lineside verify`). No secret is
ever printed or taken from a command line, where other users of the machine would see it.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from lineside.errors import InputError, StorageError
from lineside.extras import require
from lineside.files import fsync_folder, read_file, storage_error
from lineside.signature import fingerprint, key_kind, load_public_key
from lineside.topics import NAME_PATTERN

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

PASSWORD_VARIABLE: Final = "LINESIDE_KEY_PASSWORD"  # noqa: S105 - a name
"""The environment variable that may hold the password of a private key."""

MAX_KEY_BYTES: Final = 64 * 1024
"""How large the file of a key, or of its password, may be, in bytes."""


@dataclass(frozen=True)
class KeyPair:
    """A pair of keys, as files.

    Attributes:
        private: PEM, PKCS #8; only its owner may read it.
        public: PEM, for whoever checks.
        fingerprint: sha256 of the public file.
        encrypted: whether the private key needs a password.
    """

    private: Path
    public: Path
    fingerprint: str
    encrypted: bool


def new_key_pair(name: str, folder: Path, password: bytes | None = None) -> KeyPair:
    """Make a P-256 key pair: `NAME.pem` and `NAME.pub.pem`.

    Args:
        name: of the files: 1 to 64 of A-Z a-z 0-9 _ -.
        folder: where they go; made if it is not there.
        password: encrypts the private key.

    Raises:
        InputError: the name is none.
        StorageError: one of the files is there already, or the disk can't be written. Neither is
            left then.
        MissingExtraError: `cryptography` is not installed.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        msg = (
            f"the key's name: 1 to 64 of the characters A-Z a-z 0-9 _ - are expected, got {name!r}"
        )
        raise InputError(msg)
    ec = require("cryptography.hazmat.primitives.asymmetric.ec", extra="signing")
    pem = require("cryptography.hazmat.primitives.serialization", extra="signing")
    key = ec.generate_private_key(ec.SECP256R1())
    secret = pem.NoEncryption() if password is None else pem.BestAvailableEncryption(password)
    pair = KeyPair(
        private=folder / f"{name}.pem",
        public=folder / f"{name}.pub.pem",
        fingerprint=fingerprint(key.public_key()),
        encrypted=password is not None,
    )
    private = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, secret)
    public = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    _write_new(folder, [(pair.private, private, 0o600), (pair.public, public, 0o644)])
    return pair


def read_public_key(path: Path) -> bytes:
    """The PEM of a public key that can be trusted with bundles.

    Raises:
        InputError: the file can't be read, or is no public key on the curve P-256.
        MissingExtraError: `cryptography` is not installed.
    """
    pem = read_file(path, MAX_KEY_BYTES)
    try:
        load_public_key(pem)
    except InputError as error:
        msg = f"{path}: {error}"
        raise InputError(msg) from error
    return pem


def load_private_key(path: Path, password: bytes | None = None) -> EllipticCurvePrivateKey:
    """Read a P-256 private key.

    Args:
        path: PEM, that only its owner may read.
        password: of an encrypted one.

    Raises:
        InputError: it can't be read, others can read it, it is no such key, or the password is
            missing or wrong.
        MissingExtraError: `cryptography` is not installed.
    """
    pem = _read_private(path)
    serialization = require("cryptography.hazmat.primitives.serialization", extra="signing")
    unsupported = require("cryptography.exceptions", extra="signing").UnsupportedAlgorithm
    try:
        key = serialization.load_pem_private_key(pem, password if is_encrypted(pem) else None)
    except TypeError as error:
        msg = f"{path} is encrypted: its password is expected in {PASSWORD_VARIABLE}"
        raise InputError(msg) from error
    except (ValueError, unsupported) as error:
        why = "the password is wrong" if is_encrypted(pem) else "no private key in PEM"
        msg = f"{path} can't be used: {why}"
        raise InputError(msg) from error
    found = key_kind(key)
    if found != "P-256":
        msg = f"{path}: an EC key on the curve P-256 is expected, got {found}: lineside keys new"
        raise InputError(msg)
    private: EllipticCurvePrivateKey = key
    return private


def is_encrypted(pem: bytes) -> bool:
    """Whether the PEM of a private key needs a password, in either of its two styles."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem or b"Proc-Type: 4,ENCRYPTED" in pem


def find_password(path: Path, file: Path | None = None) -> bytes | None:
    """The password of a private key: of a file, the environment, or asked for; None if it has none.

    Args:
        path: the private key.
        file: holds only the password; where it is not given, the variable
            LINESIDE_KEY_PASSWORD is looked at, and last, on a terminal, a person is asked.

    Raises:
        InputError: a file can't be read, others can read the key, or the password is nowhere.
    """
    if not is_encrypted(_read_private(path)):
        return None
    password = _given_password(file)
    if password is not None:
        return password
    if not sys.stdin.isatty():
        msg = f"{path} is encrypted: its password is expected in {PASSWORD_VARIABLE}"
        raise InputError(msg)
    asked: str = click.prompt(f"Password of {path}", hide_input=True, err=True)
    return asked.encode()


def _given_password(file: Path | None) -> bytes | None:
    """What a file or the environment holds, without the newline that editors add."""
    if file is not None:
        password, where = (
            read_file(file, MAX_KEY_BYTES).removesuffix(b"\n").removesuffix(b"\r"),
            str(file),
        )
    elif PASSWORD_VARIABLE in os.environ:
        password, where = os.environb[PASSWORD_VARIABLE.encode()], PASSWORD_VARIABLE
    else:
        return None
    if not password:
        msg = f"{where} is empty, a password is expected"
        raise InputError(msg)
    return password


def _read_private(path: Path) -> bytes:
    """The PEM of a private key, that only its owner may read."""
    pem = read_file(path, MAX_KEY_BYTES)
    if b"-----BEGIN PUBLIC KEY-----" in pem:
        msg = f"{path} is a public key: to sign with, the private one is expected"
        raise InputError(msg)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        msg = f"{path}: others can read this private key (mode {mode:o}): chmod 600 {path}"
        raise InputError(msg)
    return pem


def _write_new(folder: Path, files: list[tuple[Path, bytes, int]]) -> None:
    """Write files that must not be there yet, all or none, each with its mode from the start."""
    made: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, data, mode in files:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            made.append(path)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        fsync_folder(folder)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            msg = f"{error.filename} is there already: choose another name, no key is overwritten"
            raise StorageError(msg) from error
        raise storage_error(error, folder) from error


@click.group()
def keys() -> None:
    """Keys that sign bundles."""


@keys.command(epilog="Example:  lineside keys new plant --out ~/keys")
@click.argument("name")
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Where the two files go. [default: the current folder]",
)
@click.option(
    "--password-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A file that holds only the password that encrypts the private key.",
)
@click.option("--ask", is_flag=True, help="Ask for a password that encrypts the private key.")
def new(name: str, *, out: Path, password_file: Path | None, ask: bool) -> None:
    """Make a key pair: NAME.pem, which signs and stays with you, and NAME.pub.pem, which checks.

    The private key can be encrypted with a password: from --password-file, from the environment
    variable LINESIDE_KEY_PASSWORD, or asked for with --ask. Take a long one.
    """
    password = _given_password(password_file)
    if password is None and ask:
        if not sys.stdin.isatty():
            msg = f"--ask needs a terminal: use --password-file or {PASSWORD_VARIABLE}"
            raise InputError(msg)
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        password = asked.encode()
    pair = new_key_pair(name, out, password)
    how = "encrypted with the password" if pair.encrypted else "not encrypted: keep the file safe"
    click.echo(f"private      {pair.private}  (signs; {how})")
    click.echo(f"public       {pair.public}  (checks; copy it to the stations)")
    click.echo(f"fingerprint  {pair.fingerprint}")
