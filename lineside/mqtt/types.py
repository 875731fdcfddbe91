"""What goes in and out of the MQTT client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message.

    Attributes:
        ok: whether the broker has it (QoS 1), or it was written to the connection (QoS 0).
        reason: the broker's reason by name, such as `Success` or `Not authorized`.
    """

    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish.

    Attributes:
        topic: from `lineside.topics`.
        payload: bytes.
        qos: 1; or 0, then it is dropped while there is no connection.
        retain: whether the broker keeps it for later subscribers.
        on_done: called once, on the client's thread, when it is known what became of it.
        correlation: what the one who answers sends back with it; MQTT 5 only.
        expiry_s: seconds that the broker may hold it back; then it is not delivered any more.
            None: for ever; MQTT 5 only.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    on_done: Callable[[Delivery], None] | None = None
    correlation: bytes | None = None
    expiry_s: int | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that was received.

    Attributes:
        topic: where it was published.
        payload: bytes.
        retained: whether the broker had kept it, so that it may be old. For a client that keeps
            the flag (`keep_retain`): whether it was published so.
        mono_ns: when it came, in ns of this machine's monotonic clock.
        response_topic: where the sender wants an answer; MQTT 5 only.
        correlation: what the sender wants back with the answer; MQTT 5 only.
    """

    topic: str
    payload: bytes
    retained: bool
    mono_ns: int
    response_topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True)
class Hooks:
    """What the client calls, always on its own thread; none of them may wait for anything.

    Attributes:
        on_connect: the broker accepted the connection; publish what it must know.
        on_subscribed: the broker answered the subscriptions: the filters that it refused.
        on_message: a message came.
        on_disconnect: the connection was lost.
    """

    on_connect: Callable[[], None] | None = None
    on_subscribed: Callable[[tuple[str, ...]], None] | None = None
    on_message: Callable[[Incoming], None] | None = None
    on_disconnect: Callable[[], None] | None = None
