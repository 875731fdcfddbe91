"""`lineside deploy broker`, `station` and `user`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

import click
import msgspec

from lineside.errors import InputError
from lineside_deploy.options import over_ssh
from lineside_deploy.plant import authority as sign
from lineside_deploy.plant import running
from lineside_deploy.plant.broker import BrokerSettings
from lineside_deploy.plant.identity import (
    FILE,
    check_new,
    keep_certificate,
    request_key,
    write_identity,
)
from lineside_deploy.plant.names import station_name, user_name
from lineside_deploy.plant.plant import UNIT, Plant, make_plant, open_plant
from lineside_deploy.remote import Remote
from lineside_device.places import IDENTITY

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
    plant = make_plant(folder, settings)
    click.echo(f"Broker:  {plant.broker / 'mosquitto.conf'}")
    click.echo(f"ca_file: {plant.ca}")
    unit = plant.folder / UNIT
    click.echo(f"Start:   sudo systemctl disable --now mosquitto; sudo systemctl link {unit}")
    click.echo(f"         sudo systemctl enable --now {UNIT.removesuffix('.service')}")


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
def new_station(
    name: str,
    host: str | None,
    port: int | None,
    ssh_config: Path | None,
    plant: Path,
    out: Path | None,
) -> None:
    """Give a station its identity: a key made on the device, and a certificate for it.

    It becomes /etc/lineside/station.pem there; name it in the configuration, as cert_file and as
    key_file. Without USER@HOST the key is made here, for a card: --out says where.
    """
    _give(name, host, port, ssh_config, plant, out, renew=False)


@station.command("renew", epilog="Example:  lineside deploy station renew ulm/press4 pi@press4")
@_station_words
def renew_station(
    name: str,
    host: str | None,
    port: int | None,
    ssh_config: Path | None,
    plant: Path,
    out: Path | None,
) -> None:
    """Give a station a new key and certificate, which it takes when it connects the next time.

    The certificate before stays good until it ends. If the key may be known to somebody: revoke,
    and then new.
    """
    _give(name, host, port, ssh_config, plant, out, renew=True)


def _give(
    name: str,
    host: str | None,
    port: int | None,
    ssh_config: Path | None,
    folder: Path,
    out: Path | None,
    *,
    renew: bool,
) -> None:
    common_name = station_name(name)
    if (host is None) == (out is None):
        msg = "either USER@HOST, where the key is to be made, or --out FILE is expected"
        raise InputError(msg)
    with open_plant(folder) as plant:
        plant.check(common_name, renew=renew)
        if host is None:
            _give_file(plant, common_name, out or Path(FILE), renew=renew)
            return
        remote = Remote(host, port, ssh_config)
        certificate = plant.issue(common_name, request_key(remote), renew=renew)
        keep_certificate(remote, certificate)
        click.echo(
            f"{common_name}: {IDENTITY / FILE} on {host}, good until {plant.until(common_name)}"
        )


def _give_file(
    plant: Plant, common_name: str, out: Path, *, renew: bool = False, may_command: bool = False
) -> None:
    check_new(out)
    key = sign.new_key()
    certificate = plant.issue(common_name, key.public_key(), renew=renew, may_command=may_command)
    write_identity(out, key, certificate)
    click.echo(f"{common_name}: {out}, good until {plant.until(common_name)}; ca_file: {plant.ca}")


@user.command("new", epilog="Example:  lineside deploy user new ann --may-command --out ann.pem")
@click.argument("name")
@click.option("--may-command", is_flag=True, help="Not only watch stations: command them, too.")
@_PLANT
@_OUT
def new_user(name: str, plant: Path, out: Path | None, *, may_command: bool) -> None:
    """Let somebody hear all stations; and command them, with --may-command.

    A subscriber that has gaps filled asks stations to send again: it commands.
    """
    common_name = user_name(name)
    with open_plant(plant) as opened:
        opened.check(common_name)
        _give_file(opened, common_name, out or Path(f"{name}.pem"), may_command=may_command)
        opened.write()
        running.reload(opened)


@station.command("revoke", epilog="Example:  lineside deploy station revoke ulm/press4")
@click.argument("name", metavar="SITE/STATION")
@_PLANT
def revoke_station(name: str, plant: Path) -> None:
    """Let a station in no more, at once: its session ends, too.

    The broker starts anew for it; the other stations are back within seconds, and lose nothing.
    """
    _revoke(station_name(name), plant)


@user.command("revoke", epilog="Example:  lineside deploy user revoke ann")
@click.argument("name")
@_PLANT
def revoke_user(name: str, plant: Path) -> None:
    """Let somebody in no more, at once."""
    _revoke(user_name(name), plant)


def _revoke(common_name: str, folder: Path) -> None:
    with open_plant(folder) as plant:
        count = plant.revoke(common_name)
        plant.write()
        ran = running.restart(plant)
    click.echo(f"{common_name}: {count} certificates revoked")
    click.echo("every session was ended" if ran else "the broker does not run on this machine")


@station.command("list")
@_PLANT
def list_stations(plant: Path) -> None:
    """Who has a certificate, until when."""
    _list(plant, users=False)


@user.command("list")
@_PLANT
def list_users(plant: Path) -> None:
    """Who has a certificate, until when, and who may command."""
    _list(plant, users=True)


def _list(folder: Path, *, users: bool) -> None:
    now = datetime.now(timezone.utc)
    with open_plant(folder) as plant:
        for one in plant.issued:
            if one.name.startswith("user:") == users:
                state = "good" if one.good(now) else "revoked" if one.revoked else "run out"
                what = ", may command" if one.may_command else ""
                click.echo(f"{one.name:40} {state:8} until {one.until:%Y-%m-%d}{what}")
