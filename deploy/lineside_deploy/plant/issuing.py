"""What the commands do: a plant is made, certificates are given and revoked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from lineside_deploy.plant import authority as sign
from lineside_deploy.plant import running
from lineside_deploy.plant.broker import BrokerSettings
from lineside_deploy.plant.identity import (
    check_new,
    keep_certificate,
    request_key,
    write_identity,
)
from lineside_deploy.plant.names import station_name, user_name
from lineside_deploy.plant.plant import UNIT, Plant, make_plant, open_plant
from lineside_deploy.remote import Remote
from lineside_device.places import CERTIFICATE

Say = Callable[[str], None]


def make(folder: Path, settings: BrokerSettings, say: Say) -> None:
    """Make a plant's folder, or decide anew what its broker is, and say how it is started.

    Raises:
        InputError: the folder holds something else, or the account is none.
        StorageError: the disk is full or can't be written.
    """
    plant = make_plant(folder, settings)
    unit = plant.folder / UNIT
    say(f"Broker:  {plant.broker / 'mosquitto.conf'}")
    say(f"ca_file: {plant.ca}")
    say(f"Start:   sudo systemctl disable --now mosquitto; sudo systemctl link {unit}")
    say(f"         sudo systemctl enable --now {UNIT.removesuffix('.service')}")
    if running.running(plant) is not None:
        say("It runs already: restart it, so that it takes what was changed")


def give_station(
    folder: Path, name: str, where: Remote | Path, say: Say, *, renew: bool = False
) -> None:
    """Give a station its identity.

    Args:
        folder: of the plant.
        name: `SITE/STATION`.
        where: the device, on which the key is made; or a file here.
        say: tells a person.
        renew: whether it must have one already; otherwise it must not.

    Raises:
        InputError: the name is none, or taken, or there is nothing to renew.
        DeployError: the device can't be reached, or makes no key.
        StorageError: a file is there already, or the disk is full or can't be written.
    """
    common_name = station_name(name)
    with open_plant(folder) as plant:
        plant.check(common_name, renew=renew)
        if isinstance(where, Path):
            _give_file(plant, common_name, where, say, renew=renew)
            return
        certificate = plant.issue(common_name, request_key(where), renew=renew)
        keep_certificate(where, certificate)
        until = plant.until(common_name)
        say(f"{common_name}: {CERTIFICATE} on {where.host}, good until {until}")


def give_user(folder: Path, name: str, out: Path, say: Say, *, may_command: bool) -> None:
    """Give somebody an identity, and tell the broker what they may.

    Args:
        folder: of the plant.
        name: of the user.
        out: the file.
        say: tells a person.
        may_command: whether not only to watch.

    Raises:
        InputError: the name is none, or taken.
        StorageError: the file is there already, or the disk is full or can't be written.
    """
    common_name = user_name(name)
    with open_plant(folder) as plant:
        plant.check(common_name)
        _give_file(plant, common_name, out, say, may_command=may_command)
        plant.write()
        running.reload(plant)


def _give_file(
    plant: Plant,
    common_name: str,
    out: Path,
    say: Say,
    *,
    renew: bool = False,
    may_command: bool = False,
) -> None:
    check_new(out)
    key = sign.new_key()
    certificate = plant.issue(common_name, key.public_key(), renew=renew, may_command=may_command)
    write_identity(out, key, certificate)
    say(f"{common_name}: {out}, good until {plant.until(common_name)}; ca_file: {plant.ca}")


def revoke(folder: Path, common_name: str, say: Say) -> None:
    """Let somebody in no more, and end what sessions there are.

    Raises:
        InputError: nobody is called so.
        DeployError: the broker was ended and nothing started it again.
        StorageError: the disk is full or can't be written.
    """
    with open_plant(folder) as plant:
        count = plant.revoke(common_name)
        plant.write()
        say(f"{common_name}: revoked ({count} certificate{'s' * (count != 1)})")
        ran = running.restart(plant)
    say(
        "the broker has started anew: all others are back by themselves"
        if ran
        else "the broker does not run on this machine: it lets nobody of that name in when it does"
    )


def show(folder: Path, say: Say, *, users: bool) -> None:
    """A line for each certificate, of users or of stations.

    Raises:
        InputError: it is no plant's folder.
    """
    now = datetime.now(timezone.utc)
    with open_plant(folder) as plant:
        for one in plant.issued:
            if one.name.startswith("user:") == users:
                state = "good" if one.good(now) else "revoked" if one.revoked else "run out"
                what = ", may command" if one.may_command else ""
                say(f"{one.name:40} {state:8} until {one.until:%Y-%m-%d}{what}")
