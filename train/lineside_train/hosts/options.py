"""`--hosts` and `--host-index`: who takes part in a training."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from lineside.errors import TrainError

START_S: Final = 300
"""Seconds that hosts are waited for, if nobody says otherwise."""

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Roster:
    """Who takes part.

    Attributes:
        addresses: `host:port` of each. The first one's port is JAX's; at the others' ports the
            first one comes and asks.
        index: which of them this is.
        wait_s: seconds that the others are waited for at the start.
    """

    addresses: tuple[str, ...]
    index: int
    wait_s: float

    def name(self, index: int) -> str:
        """What a host is called in messages."""
        return f"host {index} ({self.addresses[index]})"

    def address(self, index: int) -> tuple[str, int]:
        """Host and port, as sockets take them."""
        host, _, port = self.addresses[index].rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)


def host_options(command: Command) -> Command:
    """The options of a training on several machines; `pop_roster` takes them."""
    for option in reversed(_CLICK):
        command = option(command)
    return command


_CLICK: Final = (
    click.option(
        "--hosts",
        metavar="HOST:PORT,HOST:PORT…",
        help="Train on several machines together, all started with the same command; wants "
        "KERAS_BACKEND=jax. The first one writes the run.",
    ),
    click.option(
        "--host-index",
        type=click.IntRange(min=0),
        metavar="I",
        help="Which of --hosts this machine is, counted from 0.",
    ),
    click.option(
        "--hosts-wait",
        type=click.FloatRange(1, 86_400),
        metavar="SECONDS",
        help=f"How long the other --hosts are waited for at the start.  [default: {START_S}]",
    ),
)


def pop_roster(options: dict[str, Any]) -> Roster | None:
    """Take the options of `host_options` out; None where one machine trains alone.

    Args:
        options: of the command.

    Raises:
        click.UsageError: they contradict each other or `--batch-size`, or name no machines.
        TrainError: KERAS_BACKEND asks for another backend than JAX.
    """
    hosts, index, wait_s = (options.pop(name) for name in ("hosts", "host_index", "hosts_wait"))
    if hosts is None:
        for name, value in (("--host-index", index), ("--hosts-wait", wait_s)):
            if value is not None:
                msg = f"{name} means nothing without --hosts: name all machines there"
                raise click.UsageError(msg)
        return None
    addresses = tuple(_checked(address.strip()) for address in hosts.split(","))
    if len(addresses) < 2 or len(set(addresses)) < len(addresses):
        msg = f"--hosts is {hosts!r}: two different HOST:PORT at least are expected, none twice"
        raise click.UsageError(msg)
    if index is None:
        msg = f"--hosts wants --host-index as well: 0 to {len(addresses) - 1} on each machine"
        raise click.UsageError(msg)
    if index >= len(addresses):
        last = len(addresses) - 1
        msg = f"--host-index is {index}, and --hosts names {last + 1}: 0 to {last} is expected"
        raise click.UsageError(msg)
    backend = os.environ.get("KERAS_BACKEND", "")
    if backend != "jax":
        found = f"is {backend!r}" if backend else "is not set"
        msg = f"--hosts trains on JAX only, and KERAS_BACKEND {found}: set KERAS_BACKEND=jax"
        raise TrainError(msg)
    batch = options["batch_size"]
    if batch % len(addresses):
        count = len(addresses)
        msg = f"--batch-size {batch} can't be divided among {count} --hosts: choose a multiple"
        raise click.UsageError(msg)
    return Roster(addresses, index, START_S if wait_s is None else wait_s)


def _checked(address: str) -> str:
    host, _, port = address.rpartition(":")
    whole = host.startswith("[") == host.endswith("]") and (":" not in host or host[0] == "[")
    if not host or not whole or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        msg = (
            f"--hosts names {address!r}: HOST:PORT is expected, such as gpu1:4200 or [fd00::1]:4200"
        )
        raise click.UsageError(msg)
    return address
