"""The systemd unit of a station."""

from __future__ import annotations

from pathlib import Path

from lineside.settings import Settings

_TEMPLATE = """\
[Unit]
Description=lineside station {site}/{name}
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={command} agent run {config}
User={user}
Restart=on-failure
RestartSec=2
# A stop publishes what is left, for at most outbox.drain_s.
TimeoutStopSec={stop_s:.0f}
UMask=0077
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ReadWritePaths={state}

[Install]
WantedBy=multi-user.target
"""


def render_unit(settings: Settings, *, config: Path, command: Path, user: str) -> str:
    """The text of a unit that keeps the station's agent running.

    Args:
        settings: the station's configuration, read and checked.
        config: the absolute path of its file.
        command: the absolute path of the `lineside` command.
        user: the account that the agent runs as.

    Returns:
        An INI text for /etc/systemd/system/. Only the outbox's folder can be written.
    """
    return _TEMPLATE.format(
        site=settings.station.site,
        name=settings.station.name,
        command=_quoted(command),
        config=_quoted(config).replace("$", "$$"),
        state=_quoted(Path(settings.outbox.path).parent),
        user=user,
        stop_s=settings.outbox.drain_s + 10,
    )


def _quoted(path: Path) -> str:
    """A path as systemd reads it. It puts variables into arguments, so `$` is doubled there."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"'
