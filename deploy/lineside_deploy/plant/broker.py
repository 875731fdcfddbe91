"""Mosquitto for a plant: its configuration, its ACL and its unit. Pure: from settings to texts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from lineside.topics import DEFAULT_PREFIX, PREFIX_PATTERN
from lineside_deploy.unit import quoted

_HOST: Final = r"^[A-Za-z0-9:]([A-Za-z0-9.:_-]{0,251}[A-Za-z0-9])?$(?!\n)"
Host = Annotated[str, Meta(pattern=_HOST)]


class BrokerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person decides of a broker."""

    hosts: Annotated[list[Host], Meta(min_length=1)]
    """Names and addresses under which stations reach it: its certificate holds these."""
    bind: Annotated[str, Meta(pattern=r"^([A-Za-z0-9.:_-]{0,253})$(?!\n)")] = ""
    """The address that it listens on; empty: all of this machine."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 8883
    """The TCP port that it listens on."""
    prefix: Annotated[str, Meta(pattern=PREFIX_PATTERN)] = DEFAULT_PREFIX
    """The first levels of every topic."""
    account: Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_-]{0,31}$(?!\n)")] = "mosquitto"
    """The account that it runs as."""


_CONFIGURATION: Final = """\
# Written by 'lineside deploy broker', and written again by it: change nothing here.
user {account}
pid_file {folder}/mosquitto.pid
log_dest stderr
log_type error
log_type warning
log_type notice

# Sessions, what is queued for them, and retained messages are on disk after each change: they
# survive a kill. What a subscriber misses beyond its queue, it has the stations send again.
persistence true
persistence_location {folder}/data/
autosave_on_changes true
autosave_interval 1
max_queued_messages 1000
persistent_client_expiration 14d

listener {port}{bind}
tls_version tlsv1.2
cafile {folder}/ca.pem
certfile {folder}/broker.pem
keyfile {folder}/broker.key
crlfile {folder}/revoked.pem
# Who has no certificate of this plant's authority does not get in, and is who it says.
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file {folder}/acl
"""

_STATION: Final = """\
# Written by 'lineside deploy broker', and written again by it: change nothing here.
#
# A station's certificate is called SITE/STATION: that is %u. It writes its own topics only.
# It reads its own results where it speaks MQTT 3.1.1, since only their echo confirms them there.
pattern readwrite {prefix}/%u/result/+
pattern write {prefix}/%u/status
pattern write {prefix}/%u/health
pattern write {prefix}/%u/event
pattern write {prefix}/%u/response/+
pattern write {prefix}/%u/replay/+/+
pattern read {prefix}/%u/command
"""

_UNIT: Final = """\
[Unit]
Description=lineside: the broker of a plant
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/sbin/mosquitto -c {config}
ExecReload=/bin/kill -HUP $MAINPID
# Also after it was ended: that is how a revoked station is thrown out.
Restart=always
RestartSec=1
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
NoNewPrivileges=yes
ReadWritePaths={folder}

[Install]
WantedBy=multi-user.target
"""


def configuration(settings: BrokerSettings, folder: Path) -> str:
    """mosquitto.conf.

    Args:
        settings: what was decided.
        folder: absolute, of the broker's files.
    """
    return _CONFIGURATION.format(
        account=settings.account,
        folder=folder,
        port=settings.port,
        bind=f" {settings.bind}" if settings.bind else "",
    )


def access(prefix: str, users: Iterable[tuple[str, bool]]) -> str:
    """The ACL.

    Args:
        prefix: of all topics.
        users: common names, and whether each may give commands.
    """
    parts = [_STATION.format(prefix=prefix)]
    for name, may_command in sorted(users):
        parts.append(f"\nuser {name}\ntopic read {prefix}/#\n")
        if may_command:
            parts.append(f"topic write {prefix}/+/+/command\n")
    return "".join(parts)


def unit(folder: Path) -> str:
    """The systemd unit that keeps the broker running.

    Args:
        folder: absolute, of the broker's files.
    """
    path = quoted(folder)
    return _UNIT.format(config=quoted(folder / "mosquitto.conf").replace("$", "$$"), folder=path)
