"""The client: a queue, a window, and a connection that heals itself."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from lineside.errors import BrokerError
from lineside.extras import require
from lineside.mqtt import faults
from lineside.mqtt.backoff import Backoff
from lineside.mqtt.bell import Bell
from lineside.mqtt.loop import Loop
from lineside.mqtt.opening import CONNECT_S, ERROR_LEVEL, new_client
from lineside.mqtt.packets import (
    connect_properties,
    delivery,
    incoming,
    packet_bytes,
    publish_properties,
    wanted,
)
from lineside.mqtt.tcp import full_segments, quick_ack
from lineside.mqtt.types import Delivery, Hooks, Outgoing
from lineside.settings import MqttSettings, check_mqtt

if TYPE_CHECKING:
    import paho.mqtt.client as paho
    from paho.mqtt.client import ConnectFlags, DisconnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger(__name__)

MAX_IN_FLIGHT: Final = 20
"""QoS 1 messages sent and not confirmed yet, at most."""

MAX_QUEUED: Final = 10_000
"""Messages that wait for their turn, at most."""


class MqttClient:
    """A connection to one broker that heals itself.

    Args:
        mqtt: the broker and who we are there. Passwords and certificates are read from their
            files at each attempt, so that renewed ones are used.
        client_id: our name at the broker. A second client of the same name takes its place.
        subscriptions: filters, renewed with each connection (QoS 1).
        keep_retain: whether `Incoming.retained` says that a message was published so, also where
            it comes while we are connected (MQTT 5): otherwise only what the broker had kept is.
        backoff_s: seconds before the second attempt, and at most. Each pause is drawn evenly
            from 0 to its limit, which doubles each time, so that a plant full of stations does
            not return at one instant.

    Attributes:
        connected: whether the broker has accepted the connection.
        error: why not, in one line for a person; None while connected.
        refused: whether the broker said no to who we are, so that trying again helps only if
            something is changed there.
        fault: the name of that reason, where it has one: see `lineside.mqtt.faults.fault_name`.
        failures: attempts to connect that failed, since the last one that did not.
        connections: how many there were.

    Raises:
        SettingsError: `mqtt` contradicts itself.
        MissingExtraError: paho-mqtt is not installed.
    """

    def __init__(
        self,
        mqtt: MqttSettings,
        client_id: str,
        *,
        subscriptions: Sequence[str] = (),
        keep_retain: bool = False,
        backoff_s: tuple[float, float] = (1.0, 30.0),
    ) -> None:
        self._mqtt = check_mqtt(mqtt)
        require("paho.mqtt.client", extra="mqtt")
        self._client_id = client_id
        self._subscriptions = tuple(subscriptions)
        self._keep_retain = keep_retain
        self._will: Callable[[], Outgoing] | None = None
        self._hooks = Hooks()
        self._backoff = Backoff(*backoff_s)
        self._queue: deque[Outgoing] = deque()
        self._in_flight: dict[int, Outgoing] = {}
        self._limit = MAX_IN_FLIGHT
        self._max_packet = 0  # bytes; 0: no limit
        self._stop_by: float | None = None
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._bell: Bell | None = None
        self._closing: tuple[int, str] = (0, "")
        self._detail = ""
        self._unwelcome = False
        self._served_s = 0.0
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self.connected = False
        self.error: str | None = f"no connection to broker {self.address} yet"
        self.refused = False
        self.fault: str | None = None
        self.failures = 0
        self.connections = 0

    @property
    def address(self) -> str:
        """The broker as host:port."""
        return faults.address(self._mqtt)

    def start(
        self, hooks: Hooks | None = None, *, will: Callable[[], Outgoing] | None = None
    ) -> None:
        """Begin to connect, in the background.

        Args:
            hooks: what to call.
            will: gives what the broker publishes when we vanish; asked at each connection.
        """
        self._hooks = hooks or Hooks()
        self._will = will
        self._bell = Bell()
        self._thread.start()

    def publish(self, message: Outgoing) -> None:
        """Give a message to the client; may be called from any thread, and never waits.

        A QoS 1 message is sent again after each lost connection until the broker answers it.

        Raises:
            BrokerError: MAX_QUEUED messages wait already.
        """
        if len(self._queue) >= MAX_QUEUED:
            msg = f"{MAX_QUEUED} messages wait for broker {self.address} already"
            raise BrokerError(msg)
        self._queue.append(message)
        # A callback need not wake its own thread.
        if self._bell is not None and threading.get_ident() != self._thread.ident:
            self._bell.ring()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._queue and not self._in_flight

    def wait_connected(self, timeout_s: float, *, attempts: int = 0) -> bool:
        """Wait for a connection, for a refusal that only a change can mend, or for the timeout.

        Args:
            timeout_s: how long.
            attempts: how many attempts may fail; 0 for any number.

        Returns:
            Whether there is a connection.
        """

        def over() -> bool:
            enough = attempts > 0 and self.failures >= attempts
            return self.connected or self.refused or enough

        with self._changed:
            self._changed.wait_for(over, timeout_s)
        return self.connected

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Send what waits, as far as it goes within the time, and say goodbye: no last will.

        Returns:
            Whether everything was sent and confirmed.
        """
        self._stop_by = time.monotonic() + timeout_s
        self._stopping.set()
        if self._bell is not None:
            self._bell.ring()
            self._thread.join(timeout_s + 1.0)
            if not self._thread.is_alive():
                self._bell.close()
        return self.idle

    # All that follows runs on the client's own thread.

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._served_s = 0.0
            try:
                self._connection()
            except BrokerError as error:
                self._note(str(error), faults.fault_name(error))
            except Exception as error:  # this thread must outlive any mistake
                log.exception("the MQTT connection failed in an unforeseen way")
                self._note(f"broker {self.address}: {error!r}")
            self._stopping.wait(self._backoff.pause_s(self._served_s))

    def _note(self, line: str, fault: str | None = None) -> None:
        """Say why there is no connection, once for each reason."""
        if line != self.error and not self._stopping.is_set():
            log.warning("%s; trying again", line)
        with self._changed:
            self.error, self.refused, self.fault = line, self._unwelcome, fault
            self.failures += 1
            self._changed.notify_all()

    def _connection(self) -> None:
        """One connection, from its opening to its end.

        Raises:
            BrokerError: it could not be opened, was refused, or was lost.
        """
        client = self._new_client()
        try:
            mqtt = self._mqtt
            beside = connect_properties() if mqtt.protocol == "5" else None
            client.connect(mqtt.host, mqtt.port, mqtt.keepalive_s, properties=beside)
        except (OSError, ValueError) as error:  # ValueError: a host name that can't be one
            raise BrokerError(faults.unreachable_line(self._mqtt, error)) from error
        opened = time.monotonic()
        try:
            self._serve(client, opened)
        finally:
            # What was sent and not confirmed is sent again, before what came later.
            self._queue.extendleft(reversed(self._in_flight.values()))
            self._in_flight.clear()
            was_connected = self.connected
            if was_connected:
                self._served_s = time.monotonic() - opened
            self.connected = False
            sock = client.socket()
            if sock is not None:
                sock.close()
            if was_connected:
                self._drop_qos0()
                self._call(self._hooks.on_disconnect)

    def _new_client(self) -> paho.Client:
        """A paho client that calls us."""
        self._detail, self._closing, self._unwelcome = "", (0, ""), False
        client = new_client(self._mqtt, self._client_id)
        if self._will is not None:
            will = self._will()
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_log = self._on_log
        return client

    def _serve(self, client: paho.Client, opened: float) -> None:
        """Send, receive and keep alive until the connection ends.

        Raises:
            BrokerError: it ended, and not because we wanted it.
        """
        sock, bell = client.socket(), self._bell
        if sock is None or bell is None:
            raise BrokerError(self._ended_line(welcomed=False))
        with contextlib.closing(Loop(client, sock, bell)) as loop:
            while client.socket() is sock:
                if self.connected:
                    with full_segments(sock, burst=len(self._queue) > 1):
                        self._send(client)
                    if client.socket() is not sock:
                        break  # sending has found that it is lost
                elif time.monotonic() - opened > CONNECT_S:
                    raise BrokerError(faults.silence_line(self._mqtt, CONNECT_S))
                if self._stopping.is_set() and self._may_leave():
                    client.disconnect()
                    return
                if loop.turn() and not self._queue:  # what is sent next would acknowledge it too
                    quick_ack(sock)
        raise BrokerError(self._ended_line(welcomed=self.connected))

    def _may_leave(self) -> bool:
        """Whether a wanted stop may happen now: all is sent, or the time is over."""
        return not self.connected or self.idle or time.monotonic() > (self._stop_by or 0.0)

    def _send(self, client: paho.Client) -> None:
        """Publish what waits, as far as the window goes."""
        while self._queue and client.socket() is not None:
            if self._queue[0].qos > 0 and len(self._in_flight) >= self._limit:
                return
            message = self._queue.popleft()
            if self._max_packet and packet_bytes(message) > self._max_packet:
                self._call(message.on_done, Delivery(ok=False, reason="Packet too large"))
                continue
            try:
                self._publish(client, message)
            except ValueError as error:  # such as a topic that can't be one: it never will be
                self._call(message.on_done, Delivery(ok=False, reason=str(error)))

    def _publish(self, client: paho.Client, message: Outgoing) -> None:
        beside = publish_properties(message)
        info = client.publish(message.topic, message.payload, message.qos, message.retain, beside)
        if message.qos > 0:
            self._in_flight[info.mid] = message
        else:
            self._call(message.on_done, Delivery(ok=info.rc == 0, reason=info.rc.name))

    def _drop_qos0(self) -> None:
        # Others append meanwhile, so it is not iterated over; what they append stays behind.
        waiting = [self._queue.popleft() for _ in range(len(self._queue))]
        self._queue.extendleft([message for message in reversed(waiting) if message.qos > 0])

    def _ended_line(self, *, welcomed: bool) -> str:
        code, reason = self._closing
        return faults.closed_line(
            self._mqtt,
            welcomed=welcomed,
            again=self._backoff.pushed_out,
            detail=self._detail,
            code=code,
            reason=reason,
        )

    def _call(self, hook: Callable[..., None] | None, *args: object) -> None:
        if hook is None:
            return
        try:
            hook(*args)
        except Exception:  # somebody else's mistake must not end the connection
            log.exception("a callback of the MQTT client failed")

    # What paho calls, from loop_read and loop_write.

    def _on_connect(
        self,
        client: paho.Client,
        _data: object,
        _flags: ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if code.is_failure:
            self._unwelcome = code.value in faults.BAD_CREDENTIALS
            raise BrokerError(faults.refused_line(self._mqtt, code.value, str(code)))
        client.on_log = None  # what it tells is about opening, and each line costs a message's time
        self._limit = min(MAX_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT))
        self._max_packet = getattr(properties, "MaximumPacketSize", 0)
        if self._subscriptions:
            protocol, keep = self._mqtt.protocol, self._keep_retain
            client.subscribe(wanted(self._subscriptions, protocol, keep_retain=keep))
        log.info("connected to broker %s over MQTT %s", self.address, self._mqtt.protocol)
        with self._changed:
            self.connected, self.refused, self.error, self.fault = True, False, None, None
            self.failures = 0
            self.connections += 1
            self._changed.notify_all()
        self._call(self._hooks.on_connect)

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: object,
        flags: DisconnectFlags,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._closing = (code.value, str(code))

    def _on_publish(
        self,
        _client: paho.Client,
        _data: object,
        mid: int,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        message = self._in_flight.pop(mid, None)
        if message is not None:
            self._call(message.on_done, delivery(code))

    def _on_subscribe(
        self,
        _client: paho.Client,
        _data: object,
        _mid: int,
        codes: Sequence[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        answers = zip(self._subscriptions, codes, strict=False)
        refused = tuple(topic for topic, code in answers if code.is_failure)
        for topic in refused:
            log.warning("broker %s refuses the subscription %s", self.address, topic)
        self._call(self._hooks.on_subscribed, refused)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        with contextlib.suppress(UnicodeDecodeError):  # a topic that is no UTF-8
            self._call(self._hooks.on_message, incoming(message))

    def _on_log(self, _client: paho.Client, _data: object, level: int, text: str) -> None:
        if level == ERROR_LEVEL:
            self._detail = text
