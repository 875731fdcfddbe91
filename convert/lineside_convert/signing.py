"""Signing a bundle with `model-signing`: OpenSSF Model Signing v1, by a P-256 key.

What it writes is checked on the device by `lineside.signature`, and by `model_signing verify key`.
"""

from __future__ import annotations

from pathlib import Path

from lineside.errors import ConvertError
from lineside.extras import require
from lineside.keys import find_password, load_private_key
from lineside.signature import SIGNATURE, fingerprint


def check_private_key(path: Path, *, password_file: Path | None = None) -> bytes | None:
    """Try a key before the long work, so that it does not fail after it.

    Args:
        path: a P-256 private key in PEM, that only its owner may read.
        password_file: holds only its password; else it is looked for in the environment variable
            LINESIDE_KEY_PASSWORD, and on a terminal a person is asked.

    Returns:
        Its password, for `sign_folder`; None where it has none.

    Raises:
        InputError: it can't be read, others can read it, it is no such key, or the password is
            missing or wrong.
        MissingExtraError: `model-signing`, or what it needs, is not installed.
    """
    _require_model_signing()
    password = find_password(path, password_file)
    load_private_key(path, password)
    return password


def sign_folder(folder: Path, key: Path, password: bytes | None = None) -> str:
    """Sign every file of a folder, and write signature.json into it.

    Args:
        folder: a bundle, without or with an old signature.json, which is not covered.
        key: a P-256 private key in PEM, that only its owner may read.
        password: of an encrypted one: see `check_private_key`.

    Returns:
        The key's fingerprint.

    Raises:
        InputError: the key can't be used.
        ConvertError: the folder can't be signed, such as for a symbolic link in it.
        MissingExtraError: `model-signing`, or what it needs, is not installed.
    """
    _require_model_signing()
    private = load_private_key(key, password)
    hashing = require("model_signing.hashing", extra="convert")
    signing = require("model_signing.signing", extra="convert")
    # A bundle holds nothing of git, so git's names need no exception.
    covered = hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    config = signing.Config().set_hashing_config(covered)
    try:
        config.use_elliptic_key_signer(private_key=key, password=password)
        config.sign(folder, folder / SIGNATURE)
    except (ValueError, TypeError) as error:
        msg = f"{folder} can't be signed: {error}"
        raise ConvertError(msg) from error
    return fingerprint(private.public_key())


def _require_model_signing() -> None:
    """Say it early if it is missing: it needs pyOpenSSL without asking for it."""
    for module in ("OpenSSL", "model_signing.signing"):
        require(module, extra="convert")
