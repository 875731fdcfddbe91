"""The systemd unit of a station."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lineside.settings import Settings
from lineside_device.places import HOME

WATCHDOG_S: Final = 60
"""Seconds without a sign of life from every part of the agent after which it is restarted. A camera
that is lost is connected to again at least every 20 s, and a commit on a slow card may take as
long."""

MEMORY: Final = "60%"
"""Of the device's memory. An agent with a small model and one camera takes about 80 MB."""

START_S: Final = 300
"""Seconds that a start may take: each model is tried in a child process first."""

# What is left out on purpose: ProtectClock= refuses adjtimex(2), by which the agent asks whether
# the clock was set; PrivateDevices= would hide the cameras; ProcSubset=pid hides /proc/meminfo;
# MemoryDenyWriteExecute= would stop kernels that an engine compiles as it loads.
_TEMPLATE = """\
[Unit]
Description=lineside station {site}/{name}
Wants=network-online.target modprobe@videodev.service
# DeviceAllow= knows char-video4linux only once the module is there, cameras or not.
After=network-online.target modprobe@videodev.service
# A station never gives up.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
{before}ExecStart={command} agent run {config}
User={user}
Restart=on-failure
RestartSec=2
TimeoutStartSec={start_s}
# Fed only while capture, inference and outbox get on with their work.
WatchdogSec={watchdog_s}
# A stop publishes what is left, for at most outbox.drain_s.
TimeoutStopSec={stop_s:.0f}
# An agent that grows is ended and started anew, before the whole device stands still.
MemoryMax={memory}
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
LockPersonality=yes
# No device but cameras, and those that every program needs, such as /dev/null.
DevicePolicy=closed
DeviceAllow=char-video4linux rw
ProtectSystem=strict
ProtectHome={home}
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
PrivateMounts=yes
PrivateTmp=yes
# Shared memory that a killed agent leaves behind goes with it.
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=~@cpu-emulation @debug @module @mount @obsolete @raw-io @reboot @swap
ReadWritePaths={state}
{runtime}
[Install]
WantedBy=multi-user.target
"""


# Only where there is one agent: two would share the folder.
_RUNTIME: Final = """\
# Where the agent shows programs of this device the status that the broker has.
RuntimeDirectory=lineside
RuntimeDirectoryMode=0755
"""

# As root: the agent may not set the clock.
_CLOCK: Final = f"""\
# TLS needs a clock, and a Pi has none that runs without power.
ExecStartPre=+/usr/bin/python3 -IB {HOME}/current/device clock
"""

TRIAL: Final = """\
[Unit]
Description=lineside: a new release proves itself, or the one before comes back
ConditionPathExists=/opt/lineside/trial.json
After=lineside.service

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -IB /opt/lineside/current/device trial
Restart=on-failure
RestartSec=10
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""


def render_unit(
    settings: Settings, *, config: Path, command: Path, user: str, state: Path | None = None
) -> str:
    """The text of a unit that keeps the station's agent running.

    Args:
        settings: the station's configuration, read and checked.
        config: the absolute path of its file.
        command: the absolute path of the `lineside` command.
        user: the account that the agent runs as.
        state: of a device with one station, a folder that is there before the agent is, and
            belongs to the account: what it writes below it, it makes itself.

    Returns:
        An INI text for /etc/systemd/system/. Only the folders of the outbox and of the audit log
        can be written; systemd starts nothing while one of them is not there. With `state`, homes
        of people are out of sight; without, the configuration may lie in one.
    """
    folders = {Path(settings.outbox.path).parent, Path(settings.audit.path).parent}
    if state is not None:
        folders = {state if folder.is_relative_to(state) else folder for folder in folders}
    return _TEMPLATE.format(
        site=settings.station.site,
        name=settings.station.name,
        command=quoted(command),
        config=quoted(config).replace("$", "$$"),
        state=" ".join(quoted(folder) for folder in sorted(folders)),
        user=user,
        runtime="" if state is None else _RUNTIME,
        before="" if state is None else _CLOCK,
        memory=MEMORY,
        home="read-only" if state is None else "yes",
        start_s=START_S,
        watchdog_s=WATCHDOG_S,
        stop_s=settings.outbox.drain_s + 10,
    )


def quoted(path: Path) -> str:
    """A path as systemd reads it. It puts variables into arguments, so `$` is doubled there."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"'
