"""What a configuration's types can't say: contradictions between its keys, each refused."""

from __future__ import annotations

import math
import os
from typing import NoReturn
from urllib.parse import urlsplit

import msgspec

from lineside.complaints import readable
from lineside.errors import SettingsError
from lineside.logins import hide_login
from lineside.settings.tables import (
    DOUBTS,
    SOURCES,
    CameraSettings,
    MqttSettings,
    Settings,
    StreamSettings,
)


def check_settings(settings: Settings) -> None:
    """Refuse tables that contradict each other or themselves.

    Raises:
        SettingsError: naming the table and the entry.
    """
    if not settings.stream:
        _refuse("[[stream]] is expected, since there are several cameras or models")
    for kind in ("model", "camera", "stream"):
        names = [entry.name for entry in getattr(settings, kind)]
        for twice in sorted({n for n in names if names.count(n) > 1}):
            _refuse(f"[[{kind}]] {twice!r} comes twice: each needs a name of its own")
    for stream in settings.stream:
        for kind in ("camera", "model"):
            known = [entry.name for entry in getattr(settings, kind)]
            wanted = getattr(stream, kind)
            if wanted not in known:
                _refuse(
                    f"[[stream]] {stream.name!r}: no {kind} {wanted!r}, there is {', '.join(known)}"
                )
        _check_trigger(stream)
    for camera in settings.camera:
        _check_camera(camera)
    cameras = [stream.camera for stream in settings.stream]
    for twice in sorted({c for c in cameras if cameras.count(c) > 1}):
        _refuse(
            f"[[stream]]: camera {twice!r} is used by two streams; give each stream its own camera"
        )


def check_files(settings: Settings) -> None:
    """Refuse two tables that write to one file.

    Args:
        settings: with absolute paths.

    Raises:
        SettingsError: naming the file.
    """
    if os.path.realpath(settings.outbox.path) == os.path.realpath(settings.audit.path):
        _refuse(
            f"outbox.path and audit.path are the same file, {settings.outbox.path!r}: "
            "give each its own"
        )


def _check_trigger(stream: StreamSettings) -> None:
    """Refuse an interval that is none."""
    kind, _, seconds = stream.trigger.partition(":")
    if kind == "interval" and (float(seconds) <= 0 or math.isinf(float(seconds))):
        _refuse(
            f"[[stream]] {stream.name!r}: trigger {stream.trigger!r}: more than 0 and a finite "
            "number of seconds is expected, such as 'interval:0.5'; 'frame' makes each frame a part"
        )


def _check_camera(camera: CameraSettings) -> None:
    """Refuse a camera of an unknown kind, or that contradicts itself."""
    scheme, _, where = camera.source.partition(":")
    if scheme not in SOURCES or not where:
        _refuse(
            f"[[camera]] {camera.name!r}: source {hide_login(camera.source)!r} is none of "
            + ", ".join(f"{name}:…" for name in SOURCES)
        )
    if camera.controls.chosen and not camera.source.startswith(("v4l2:", "line:")):
        _refuse(
            f"[[camera]] {camera.name!r}: controls can be set of v4l2: cameras only, "
            f"got {hide_login(camera.source)!r}"
        )
    if 0 < camera.rate < 1 and camera.source.startswith(("v4l2:", "line:")):
        _refuse(
            f"[[camera]] {camera.name!r}: rate {camera.rate:g}: a live camera gives at least "
            "1 frame a second, or it counts as lost"
        )
    _check_looks(camera)


def _check_looks(camera: CameraSettings) -> None:
    """Refuse looks at pictures that are not made."""
    for key in ("checks", "doubts"):
        if getattr(camera, key) and camera.source.startswith(("images:", "file:")):
            _refuse(
                f"[[camera]] {camera.name!r}: {key} are for live cameras only, "
                f"got {hide_login(camera.source)!r}"
            )
    for doubt in camera.doubts or ():
        if doubt not in (*camera.looked_for, *DOUBTS):
            _refuse(
                f"[[camera]] {camera.name!r}: {doubt!r} is among doubts and not among checks, "
                "and a single picture does not show it; add it to checks"
            )


def check_mqtt(mqtt: MqttSettings) -> MqttSettings:
    """Return `mqtt` if it does not contradict itself, also where it came from no file.

    Raises:
        SettingsError: naming the key.
    """
    raw = msgspec.to_builtins(mqtt)
    try:
        msgspec.convert(raw, MqttSettings)
    except msgspec.ValidationError as error:
        msg = f"mqtt.{readable(str(error), raw, MqttSettings)}"
        raise SettingsError(msg) from error
    try:
        url = urlsplit(mqtt.url)
        _ = url.port
    except ValueError:  # a port or brackets that are none
        url = urlsplit("")
    if url.scheme not in {"mqtt", "mqtts"} or not url.hostname or url.path.strip("/"):
        _refuse(
            "mqtt.url: mqtt://HOST[:PORT] or mqtts://HOST[:PORT] is expected, "
            f"got {hide_login(mqtt.url)!r}"
        )
    if url.username or url.password:
        _refuse("mqtt.url: no name or password in the URL; use mqtt.username and password_file")
    if mqtt.password_file and not mqtt.username:
        _refuse("mqtt.password_file is set without mqtt.username")
    if bool(mqtt.cert_file) != bool(mqtt.key_file):
        _refuse("mqtt.cert_file and mqtt.key_file go together: set both or none")
    if url.scheme == "mqtt" and (mqtt.ca_file or mqtt.cert_file):
        _refuse("mqtt.ca_file and mqtt.cert_file need TLS: use mqtts:// in mqtt.url")
    return mqtt


def _refuse(text: str) -> NoReturn:
    raise SettingsError(text)
