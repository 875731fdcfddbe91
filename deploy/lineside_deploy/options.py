"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click


def over_ssh(command: Callable[..., None], *, required: bool = True) -> Callable[..., None]:
    """What all commands take that reach a device: `host`, `port` and `ssh_config`."""
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
        command = option(command)
    return command
