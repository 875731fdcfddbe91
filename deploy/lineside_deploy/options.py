"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lineside_deploy.remote import Remote


def over_ssh(command: Callable[..., None], *, required: bool = True) -> Callable[..., None]:
    """What all commands take that reach a device; they are given it as `remote`.

    Args:
        command: is called with a Remote, or with None where nobody named a device.
        required: whether somebody must.
    """

    @functools.wraps(command)
    def with_remote(
        host: str | None,
        port: int | None,
        ssh_config: Path | None,
        **others: Any,  # noqa: ANN401 - of the command
    ) -> None:
        command(remote=None if host is None else Remote(host, port, ssh_config), **others)

    wrapped: Callable[..., None] = with_remote
    for option in (
        click.option("--port", type=click.IntRange(1, 65535), help="Of its SSH server."),
        click.option(
            "--ssh-config",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="A configuration file for ssh. Default: yours.",
        ),
        click.argument(
            "host", metavar="USER@HOST" if required else "[USER@HOST]", required=required
        ),
    ):
        wrapped = option(wrapped)
    return wrapped
