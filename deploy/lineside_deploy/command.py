"""`lineside deploy`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lineside.settings import read_settings
from lineside_deploy import backup as backups
from lineside_deploy import push as pushing
from lineside_deploy.card import write_card
from lineside_deploy.deb import make_deb
from lineside_deploy.fleet.command import status
from lineside_deploy.options import over_ssh
from lineside_deploy.package.build import pack as make_package
from lineside_deploy.passphrase import PASSPHRASE_VARIABLE, find_passphrase
from lineside_deploy.plant.command import broker, station, user
from lineside_deploy.remote import Remote
from lineside_deploy.targets import TARGETS
from lineside_deploy.unit import render_unit
from lineside_device.trial import WAIT_S


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


@deploy.command(
    epilog="Example:  lineside deploy pack --config station.toml --bundle bundles/caps "
    "--target rpi-trixie"
)
@click.option(
    "--config",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The station's configuration; it is checked first.",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="The bundle of its only [[model]]. Default: what the configuration names.",
)
@click.option("--target", required=True, type=click.Choice(list(TARGETS)), help="The system.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file. Default: STATION-TARGET-RELEASE.tar, here.",
)
def pack(config: Path, bundle: Path | None, target: str, out: Path | None) -> None:
    """Make one file with all that a device needs to become a station, without a network.

    Wheels for the system's Python, lineside, the bundles, the configuration, and what installs
    them: over SSH (push), from a card (card), or by hand (install.sh).
    """
    path, package = make_package(config, bundle, TARGETS[target], out, click.echo)
    click.echo(
        f"Package: {path} ({path.stat().st_size / 1e6:.0f} MB), release {package.release} "
        f"of {package.site}/{package.station}"
    )
    click.echo(f"Over SSH:       lineside deploy push USER@HOST {path}")
    if target.startswith("rpi-"):
        click.echo(f"On a card:      lineside deploy card BOOTFS {path}")
    click.echo(f"On the device:  tar xf {path.name} && sudo ./install.sh")


@deploy.command(epilog="Example:  lineside deploy deb press4-debian-arm64-3f95315e7117.tar")
@click.argument("package", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file. Default: named as Debian names it, here.",
)
def deb(package: Path, out: Path | None) -> None:
    """Make a Debian package of PACKAGE, for those who install by apt or dpkg."""
    path = make_deb(package, out)
    click.echo(f"Package: {path} ({path.stat().st_size / 1e6:.0f} MB)")
    click.echo(f"On the device:  sudo apt install ./{path.name}")


@deploy.command(
    epilog="Example:  lineside deploy card /media/ann/bootfs press4-rpi-trixie-….tar "
    "--identity press4.pem"
)
@click.argument("bootfs", type=click.Path(path_type=Path, file_okay=False))
@click.argument("package", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The station's key and certificate, where its configuration wants station.pem: "
    "'lineside deploy station new SITE/STATION --out FILE'.",
)
def card(bootfs: Path, package: Path, identity: Path | None) -> None:
    """Put PACKAGE onto the boot partition of a card with Raspberry Pi OS.

    BOOTFS is where it is mounted. Flash the card with Raspberry Pi Imager first, with account and
    network as it asks for them. At its first start the Pi installs the package and is a station;
    lineside.log on the same partition says how that went.
    """
    write_card(bootfs, package, identity, click.echo)
    click.echo("Unmount it, put it into the Pi, and switch it on.")


@deploy.command(epilog="Example:  lineside deploy push pi@press4.local press4-rpi-trixie-….tar")
@over_ssh
@click.argument("package", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(10, 3600),
    default=WAIT_S,
    show_default=True,
    help="Seconds that the new release has to prove itself.",
)
def push(remote: Remote, package: Path, wait_s: float) -> None:
    """Install PACKAGE on a device over SSH, beside what runs there.

    The device is looked at before anything is sent. Its new release must come online with its
    models in time, or the release before runs again and this command exits with 1. A connection
    that is cut at any point leaves a station that runs.
    """
    pushing.push(package, remote, click.echo, wait_s)


@deploy.command(epilog="Example:  lineside deploy rollback pi@press4.local")
@over_ssh
def rollback(remote: Remote) -> None:
    """Let the release before run again on a device."""
    pushing.rollback(remote, click.echo)


_PASSPHRASE = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"A file that holds only the passphrase. Default: {PASSPHRASE_VARIABLE}, or asked for.",
)


@deploy.command(epilog="Example:  lineside deploy backup pi@press4.local --out press4.backup")
@over_ssh
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file."
)
@_PASSPHRASE
def backup(remote: Remote, out: Path, passphrase_file: Path | None) -> None:
    """Copy all that a station is: results, audit log, configuration, keys.

    The agent is stopped for as long as that takes, and started again. The keys are encrypted with
    a passphrase. What it runs is not in it: keep its package.
    """
    passphrase = find_passphrase(passphrase_file, confirm=True)
    backups.backup(remote, out, passphrase)
    click.echo(f"Backup: {out} ({out.stat().st_size / 1e6:.1f} MB)")


@deploy.command(
    epilog="Example:  lineside deploy restore press4.backup press4-rpi-trixie-….tar pi@new.local"
)
@click.argument("backup", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("package", type=click.Path(path_type=Path, dir_okay=False))
@over_ssh
@_PASSPHRASE
def restore(backup: Path, package: Path, remote: Remote, passphrase_file: Path | None) -> None:
    """Make a new device the station that BACKUP is of, and install PACKAGE on it.

    Results that were not sent are sent, and its sequence goes on in a new boot. The old device must
    not come back: both would be the same station.
    """
    passphrase = find_passphrase(passphrase_file)
    backups.restore(backup, package, remote, passphrase, click.echo)


for command in (broker, station, user, status):
    deploy.add_command(command)
