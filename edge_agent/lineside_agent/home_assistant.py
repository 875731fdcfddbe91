"""Home Assistant finds the station by itself: MQTT discovery.

One retained message describes the device and its entities; their values come from the messages
that the station sends anyway. The format is Home Assistant's device discovery (2024.11 and later):
https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload

    <discovery prefix>/device/<site>/<station>/config

Retained messages outlive whoever sent them. So what was announced is written to a file before it
is sent, and taken back with an empty message when it is not wanted any more: also at a later
start, under another name, or when a stream has gone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from lineside import __version__
from lineside.errors import BrokerError, InputError, StorageError
from lineside.files import read_file, write_file
from lineside.messages import Verdict
from lineside.mqtt import Delivery, Outgoing
from lineside.settings import Settings
from lineside.topics import Topics

log = logging.getLogger(__name__)

FILE: Final = "home-assistant.json"
"""In the folder of the outbox: what brokers may hold of ours."""

RETRY_S: Final = 30.0
"""Seconds between attempts to write that file."""

_MAX_FILE_BYTES: Final = 1024 * 1024

Announced = dict[str, dict[str, dict[str, str]]]
"""Broker -> discovery topic -> entity -> its platform, of what was announced."""


def discovery_topic(settings: Settings) -> str:
    """Where this station is described; its last levels are a user name's of the form SITE/STATION.

    Home Assistant's grammar is <prefix>/<component>/[<node>/]<object>/config.
    """
    station = settings.station
    return f"{settings.mqtt.home_assistant_prefix}/device/{station.site}/{station.name}/config"


def entities(settings: Settings) -> dict[str, dict[str, Any]]:
    """The entities of a station: their id within the device -> their description."""
    topics = Topics(settings.station.site, settings.station.name, settings.mqtt.prefix)
    found = _of_station(topics)
    for stream in settings.stream:
        found |= _of_stream(stream.name, topics)
    for camera in sorted({stream.camera for stream in settings.stream}):
        found[f"camera_{camera}"] = {
            "platform": "binary_sensor",
            "name": f"Camera {camera}",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": topics.status(),
            "value_template": _camera_problem(camera),
        }
    unique = f"{settings.mqtt.prefix}/{settings.station.site}/{settings.station.name}"
    for name, entity in found.items():
        entity["unique_id"] = f"{unique}/{name}"
    return found


def description(settings: Settings, gone: Mapping[str, str] | None = None) -> bytes:
    """The discovery message.

    Args:
        settings: of the station.
        gone: entities that were announced before: those that are no more are taken back, by a
            description that holds only their platform. It stays in the message, since Home
            Assistant may have been away when it first came.

    Returns:
        JSON, UTF-8.
    """
    station, mqtt = settings.station, settings.mqtt
    now = entities(settings)
    removed = {name: {"platform": kind} for name, kind in (gone or {}).items() if name not in now}
    status = Topics(station.site, station.name, mqtt.prefix).status()
    message = {
        "device": {
            "identifiers": [f"{mqtt.prefix}/{station.site}/{station.name}"],
            "name": f"{station.site} {station.name}",
            "manufacturer": "lineside",
            "model": "inspection station",
            "sw_version": __version__,
        },
        "origin": {"name": "lineside", "sw_version": __version__},
        "availability": [
            {
                "topic": status,
                "value_template": "{{ 'offline' if value_json.state == 'offline' else 'online' }}",
            }
        ],
        "components": now | removed,
        "qos": 1,
    }
    return msgspec.json.encode(message)


def _of_station(topics: Topics) -> dict[str, dict[str, Any]]:
    diagnostic = {"entity_category": "diagnostic", "state_topic": topics.health()}
    return {
        "state": {
            "platform": "sensor",
            "name": "State",
            "device_class": "enum",
            "options": ["online", "degraded", "offline"],
            "state_topic": topics.status(),
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": topics.status(),
            "json_attributes_template": "{{ {'reasons': value_json.reasons} | tojson }}",
        },
        "temperature": {
            "platform": "sensor",
            "name": "CPU temperature",
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "state_class": "measurement",
            "value_template": "{{ value_json.cpu_temperature_c }}",
            **diagnostic,
        },
        "pending": {
            "platform": "sensor",
            "name": "Waiting to be published",
            "state_class": "measurement",
            "value_template": "{{ value_json.outbox_pending }}",
            **diagnostic,
        },
    }


def _of_stream(stream: str, topics: Topics) -> dict[str, dict[str, Any]]:
    def counter(name: str, field: str) -> dict[str, Any]:
        which = f"selectattr('stream', 'eq', '{stream}') | map(attribute='{field}') | first"
        return {
            "platform": "sensor",
            "name": f"{name} {stream}",
            # It begins again at 0 with each start of the agent, which this class allows for.
            "state_class": "total_increasing",
            "state_topic": topics.health(),
            "value_template": f"{{{{ value_json.streams | {which} }}}}",
        }

    return {
        f"verdict_{stream}": {
            "platform": "sensor",
            "name": f"Verdict {stream}",
            "device_class": "enum",
            "options": list(get_args(Verdict)),
            "state_topic": topics.result(stream),
            "value_template": "{{ value_json.verdict }}",
        },
        f"results_{stream}": counter("Results", "results"),
        f"dropped_{stream}": counter("Dropped frames", "dropped_frames")
        | {"entity_category": "diagnostic"},
    }


def _camera_problem(camera: str) -> str:
    """ON while the status gives a reason camera_…:NAME or camera_…:NAME:…. Any Jinja knows it."""
    return (
        "{% set found = namespace(it=false) %}"
        "{% for reason in value_json.reasons %}"
        "{% set said = reason.split(':') %}"
        f"{{% if said[0].startswith('camera_') and said[1:2] == ['{camera}'] %}}"
        "{% set found.it = true %}{% endif %}{% endfor %}"
        "{{ 'ON' if found.it else 'OFF' }}"
    )


class HomeAssistant:
    """Announces the station, or takes back what was announced.

    `start` and `tick` are called by the main thread, `greet` by the MQTT client's.

    Args:
        settings: of the station.
        broker: the broker's address, as `MqttClient.address`: others may hold something too.
        send: gives a message to the MQTT client.
    """

    def __init__(self, settings: Settings, broker: str, send: Callable[[Outgoing], None]) -> None:
        self._settings = settings
        self._broker = broker
        self._send = send
        self._path = Path(settings.outbox.path).parent / FILE
        self._topic = discovery_topic(settings) if settings.mqtt.home_assistant else None
        self._lock = threading.Lock()
        self._announced: Announced = {}
        self._changed = False  # what is on disk is not what is announced
        self._unsaid = False
        self._on_way: set[str] = set()  # topics: the client sends again what was not confirmed
        self._write_at = 0.0

    def start(self) -> None:
        """Read what was announced before; call it before the client is started."""
        self._announced = _read(self._path)
        if self._topic is not None:
            known = self._announced.setdefault(self._broker, {}).setdefault(self._topic, {})
            now = {name: entity["platform"] for name, entity in entities(self._settings).items()}
            self._changed = known | now != known
            known |= now
        self._write()

    def greet(self) -> None:
        """There is a connection: say what is to be said, once that is on disk."""
        with self._lock:
            self._unsaid = True
            if not self._changed:
                self._say()

    def tick(self) -> None:
        """Write down what has changed, when it is time; several times a second."""
        if self._changed and time.monotonic() >= self._write_at:
            self._write()

    def _write(self) -> None:
        with self._lock:
            if not self._changed:
                return
            announced = msgspec.json.encode(self._announced)
            self._changed = False
        try:
            write_file(self._path, announced)
        except StorageError as error:
            log.warning("Home Assistant is told later: %s", error)
            with self._lock:
                self._changed, self._write_at = True, time.monotonic() + RETRY_S
            return
        with self._lock:
            if self._unsaid:
                self._say()

    def _say(self) -> None:
        """Announce the station, and clear what is at this broker and not wanted any more."""
        self._unsaid = False
        for topic, known in self._announced.get(self._broker, {}).items():
            if topic in self._on_way:
                continue
            payload = description(self._settings, known) if topic == self._topic else b""
            done = partial(self._answered, topic)
            try:
                self._send(Outgoing(topic, payload, retain=True, on_done=done))
            except BrokerError as error:  # too much waits already: the next connection's matter
                log.warning("Home Assistant is told later: %s", error)
            else:
                self._on_way.add(topic)  # its answer waits for the lock, which is ours

    def _answered(self, topic: str, delivery: Delivery) -> None:
        with self._lock:
            self._on_way.discard(topic)
        if not delivery.ok:
            log.warning("the broker refuses %s (%s): may we write there?", topic, delivery.reason)
        elif topic != self._topic:
            with self._lock:
                here = self._announced.get(self._broker, {})
                here.pop(topic, None)
                if not here:
                    self._announced.pop(self._broker, None)
                self._changed = True


def _read(path: Path) -> Announced:
    """What was announced; nothing where there is no file, or none that can be understood."""
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(read_file(path, _MAX_FILE_BYTES), type=Announced)
    except (InputError, msgspec.DecodeError) as error:
        log.warning("%s is passed over: %s", path, error)
        return {}
