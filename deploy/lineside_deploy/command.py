"""`lineside deploy`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lineside.settings import read_settings
from lineside_deploy.unit import render_unit


@click.group()
def deploy() -> None:
    """Turn a bundle and the agent into a running station."""


@deploy.command(epilog="Example:  lineside deploy unit station.toml > station.service")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--user",
    default="lineside",
    show_default=True,
    metavar="NAME",
    help="The account that the agent runs as.",
)
def unit(config: Path, user: str) -> None:
    """Print a systemd unit that keeps the agent of CONFIG running on this device.

    CONFIG is checked first. The outbox's folder must be writable by the account.
    """
    settings = read_settings(config)
    command = Path(sys.executable).parent / "lineside"
    click.echo(
        render_unit(settings, config=config.absolute(), command=command, user=user), nl=False
    )
