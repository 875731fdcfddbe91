"""`lineside deploy broker`, `station` and `user`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

import click
import msgspec

from lineside.errors import InputError
from lineside.extras import require
from lineside_deploy.options import over_ssh
from lineside_deploy.plant.broker import BrokerSettings
from lineside_deploy.plant.names import station_name, user_name
from lineside_deploy.remote import Remote

_PLANT: Final = click.option(
    "--plant",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("plant"),
    show_default=True,
    help="The folder that 'deploy broker' made.",
)
_OUT: Final = click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where key and certificate go, as one file.",
)


@click.command(
    epilog="Example:  lineside deploy broker /srv/plant --host broker.ulm.example --host 10.0.0.5"
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--host",
    "hosts",
    multiple=True,
    required=True,
    help="A name or an address under which stations reach it. May be given again.",
)
@click.option("--port", type=int, default=8883, show_default=True, help="That it listens on.")
@click.option("--bind", default="", metavar="ADDRESS", help="To listen on that alone.")
@click.option("--prefix", default="lineside", show_default=True, help="First levels of all topics.")
@click.option("--account", default="mosquitto", show_default=True, help="That it runs as.")
def broker(
    folder: Path, hosts: tuple[str, ...], port: int, bind: str, prefix: str, account: str
) -> None:
    """Make a broker for a plant: Mosquitto, TLS, an authority, a certificate for everybody.

    FOLDER holds all of it, on the machine that the broker runs on. Done again it decides anew what
    is given here; the authority and all certificates stay.
    """
    told = {"hosts": list(hosts), "port": port, "bind": bind, "prefix": prefix, "account": account}
    try:
        settings = msgspec.convert(told, BrokerSettings)
    except msgspec.ValidationError as error:
        msg = f"{error}; see 'lineside deploy broker --help'"
        raise InputError(msg) from error
    _issuing().make(folder, settings, click.echo)


def _issuing() -> ModuleType:
    """What does the work: it needs `cryptography`, which only these commands do."""
    require("cryptography.x509", extra="deploy")
    from lineside_deploy.plant import issuing

    return issuing


def _give(name: str, remote: Remote | None, plant: Path, out: Path | None, *, renew: bool) -> None:
    if (remote is None) == (out is None):
        msg = "either USER@HOST, where the key is to be made, or --out FILE is expected"
        raise InputError(msg)
    _issuing().give_station(plant, name, remote or out, click.echo, renew=renew)


@click.group()
def station() -> None:
    """Certificates of stations: who may publish as SITE/STATION."""


@click.group()
def user() -> None:
    """Certificates of people and programs that watch stations, or command them."""


def _station_words(command: Callable[..., None]) -> Callable[..., None]:
    """What new and renew take."""
    name = click.argument("name", metavar="SITE/STATION")
    return name(over_ssh(_PLANT(_OUT(command)), required=False))


@station.command("new", epilog="Example:  lineside deploy station new ulm/press4 pi@press4.local")
@_station_words
def new_station(name: str, remote: Remote | None, plant: Path, out: Path | None) -> None:
    """Give a station its identity: a key made on the device, and a certificate for it.

    It becomes /etc/lineside/station.pem there; name it in the configuration, as cert_file and as
    key_file. Without USER@HOST the key is made here, for a card: --out says where.
    """
    _give(name, remote, plant, out, renew=False)


@station.command("renew", epilog="Example:  lineside deploy station renew ulm/press4 pi@press4")
@_station_words
def renew_station(name: str, remote: Remote | None, plant: Path, out: Path | None) -> None:
    """Give a station a new key and certificate, which it takes when it connects the next time.

    The certificate before stays good until it ends. If the key may be known to somebody: revoke,
    and then new.
    """
    _give(name, remote, plant, out, renew=True)


@user.command("new", epilog="Example:  lineside deploy user new ann --may-command --out ann.pem")
@click.argument("name")
@click.option("--may-command", is_flag=True, help="Not only watch stations: command them, too.")
@_PLANT
@_OUT
def new_user(name: str, plant: Path, out: Path | None, *, may_command: bool) -> None:
    """Let somebody hear all stations; and command them, with --may-command.

    A subscriber that has gaps filled asks stations to send again: it commands.
    """
    _issuing().give_user(
        plant, name, out or Path(f"{name}.pem"), click.echo, may_command=may_command
    )


@station.command("revoke", epilog="Example:  lineside deploy station revoke ulm/press4")
@click.argument("name", metavar="SITE/STATION")
@_PLANT
def revoke_station(name: str, plant: Path) -> None:
    """Let a station in no more, at once: its session ends, too.

    The broker starts anew for it; the other stations are back within seconds, and lose nothing.
    """
    _issuing().revoke(plant, station_name(name), click.echo)


@user.command("revoke", epilog="Example:  lineside deploy user revoke ann")
@click.argument("name")
@_PLANT
def revoke_user(name: str, plant: Path) -> None:
    """Let somebody in no more, at once."""
    _issuing().revoke(plant, user_name(name), click.echo)


@station.command("list")
@_PLANT
def list_stations(plant: Path) -> None:
    """Who has a certificate, until when."""
    _issuing().show(plant, click.echo, users=False)


@user.command("list")
@_PLANT
def list_users(plant: Path) -> None:
    """Who has a certificate, until when, and who may command."""
    _issuing().show(plant, click.echo, users=True)
