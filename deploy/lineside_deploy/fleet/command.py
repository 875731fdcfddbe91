"""`lineside deploy status`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lineside.errors import BrokerError
from lineside.subscriber import Received, Subscriber
from lineside_deploy.fleet.inventory import Inventory, read_inventory
from lineside_deploy.fleet.sighting import Sighting

COLOURS: Final = {"online": "green", "degraded": "yellow", "offline": "red", "unknown": "red"}
VERDICTS: Final = {"ok": "green", "ng": "bold red", "review": "yellow", "no_read": "magenta"}


@click.command(
    epilog="""\b
Examples:
  lineside deploy status inventory.toml
  lineside deploy status inventory.toml --json --wait 30
"""
)
@click.argument("inventory", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0.5, 3600),
    default=10.0,
    show_default=True,
    help="Seconds to listen at most: for health and verdicts of those that are there.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one object a line.")
def status(inventory: Path, wait_s: float, *, as_json: bool) -> None:
    """Say of each station in INVENTORY how it is: state, version, models, last verdict, troubles.

    The state is what the broker keeps; health and verdicts are what comes while it listens. It
    exits with 0 only if all stations are online.
    """
    told = read_inventory(inventory)
    logging.getLogger("lineside.mqtt").setLevel(logging.ERROR)  # what is wrong is said below
    seen = look(told, wait_s)
    if as_json:
        for one in seen:
            click.echo(msgspec.json.encode(one.as_json()).decode())
    else:
        Console().print(table(seen))
    unwell = [f"{one.name} is {one.state}" for one in seen if one.state != "online"]
    if unwell:
        msg = f"not all are online: {', '.join(unwell)}"
        raise BrokerError(msg)


def look(inventory: Inventory, wait_s: float) -> list[Sighting]:
    """Listen until enough was heard of each station, or the time is over.

    Raises:
        BrokerError: the broker refuses us, or can't be reached within the time.
    """
    seen = {name: Sighting(name) for name in inventory.stations}
    began = time.monotonic()

    def over() -> bool:
        heard = all(one.enough for one in seen.values())
        return heard or time.monotonic() - began >= wait_s

    with Subscriber(inventory.mqtt) as subscriber:
        for received in subscriber.received(over):
            if isinstance(received, Received):
                name = f"{received.topic.site}/{received.topic.station}"
                if name in seen:
                    seen[name].take(received.message, datetime.now(timezone.utc))
        if subscriber.error is not None:
            raise BrokerError(subscriber.error)
    return list(seen.values())


def table(seen: Iterable[Sighting]) -> Table:
    """One line for each station."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("station", "state", "lineside", "models", "verdict", "what is wrong"):
        shown.add_column(name, overflow="fold")
    for one in seen:
        verdict = one.result.verdict if one.result else "-"
        shown.add_row(
            Text(one.name),
            Text(one.state, style=COLOURS[one.state]),
            Text(one.status.version if one.status else "-"),
            Text(", ".join(one.models) or "-"),
            Text(verdict, style=VERDICTS.get(verdict, "")),
            Text("\n".join(one.troubles)),
        )
    return shown
