"""The passphrase of a backup: from a file, the environment, or a person; never a command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click

from lineside.errors import InputError
from lineside.files import read_file

PASSPHRASE_VARIABLE: Final = "LINESIDE_BACKUP_PASSPHRASE"  # noqa: S105 - a name
LEAST: Final = 8
"""Characters."""


def find_passphrase(file: Path | None, *, confirm: bool = False) -> str:
    """The passphrase.

    Args:
        file: holds only that; where it is not given, the environment variable is looked at, and
            last, on a terminal, a person is asked.
        confirm: whether it is a new one: asked for twice.

    Raises:
        InputError: it is nowhere, too short, or no text.
    """
    if file is not None:
        try:
            found, where = read_file(file, 4096).decode().rstrip("\r\n"), str(file)
        except UnicodeDecodeError as error:
            msg = f"{file} is no text: a passphrase is expected"
            raise InputError(msg) from error
    elif PASSPHRASE_VARIABLE in os.environ:
        found, where = os.environ[PASSPHRASE_VARIABLE], PASSPHRASE_VARIABLE
    elif sys.stdin.isatty():
        said = "Passphrase"
        found = click.prompt(said, hide_input=True, confirmation_prompt=confirm, err=True)
        where = "it"
    else:
        msg = f"a passphrase is expected: --passphrase-file, or {PASSPHRASE_VARIABLE}"
        raise InputError(msg)
    if len(found) < LEAST:
        msg = f"{where}: a passphrase of at least {LEAST} characters is expected"
        raise InputError(msg)
    return found
