"""`lineside agent run` and `lineside agent check`."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from lineside.settings import read_settings

_CONFIG = click.argument("config", type=click.Path(path_type=Path))


@click.group()
def agent() -> None:
    """A bundle and a camera to verdicts over MQTT."""


@agent.command(epilog="Example:  lineside agent run station.toml")
@_CONFIG
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
def run(config: Path, *, verbose: bool) -> None:
    """Run the station that CONFIG describes.

    It ends by itself when its sources are files and at their end. SIGTERM and Ctrl-C stop it:
    what is in hand is finished and published, for at most outbox.drain_s; a second one does not
    wait. What the broker does not have by then stays in the outbox for the next start.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
    )
    settings = read_settings(config)

    from lineside_agent.agent import Agent

    station = Agent(settings)

    def stop(number: int, _frame: FrameType | None) -> None:
        station.stop(f"told to by {signal.Signals(number).name}")

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    station.run()


@agent.command(epilog="Example:  lineside agent check station.toml")
@_CONFIG
@click.option("--broker/--no-broker", default=True, help="Whether to try the broker too.")
def check(config: Path, *, broker: bool) -> None:
    """Try all that CONFIG names: models, cameras, outbox and broker.

    Exits with 0 only if all is right. It publishes one event, `checked`.
    """
    settings = read_settings(config)

    from lineside_agent.check import check_station

    click.echo(f"{'ok':6} {'settings':16} {config} is complete")
    wrong = 0
    for finding in check_station(settings, broker=broker):
        wrong += not finding.ok
        mark, colour = ("ok", "green") if finding.ok else ("WRONG", "red")
        if finding.note:
            mark, colour = "note", "yellow"
        click.echo(f"{click.style(f'{mark:6}', fg=colour)} {finding.what:16} {finding.line}")
    if wrong:
        raise click.exceptions.Exit(1)
