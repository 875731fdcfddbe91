"""MQTT clients in a hurry, and what a subscriber hears."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Callable

from lineside.mqtt import Delivery, Hooks, Incoming, MqttClient, Outgoing

QUICK = (0.02, 0.1)  # s, so that tests need not wait for a real backoff
Connect = Callable[..., MqttClient]


class Inbox:
    """What a subscriber hears."""

    def __init__(self, connect: Connect, url: str, *filters: str, **options: object) -> None:
        self.heard: list[Incoming] = []
        ready = queue.SimpleQueue[tuple[str, ...]]()
        hooks = Hooks(on_message=self.heard.append, on_subscribed=ready.put)
        client_id = f"inbox-{uuid.uuid4().hex}"  # two of one name would fight for their place
        connect(url, client_id=client_id, hooks=hooks, subscriptions=filters, **options)
        self.refused = ready.get(timeout=10)

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.heard]


def send(client: MqttClient, topic: str, payload: bytes, **options: bool) -> Delivery:
    answers = queue.SimpleQueue[Delivery]()
    client.publish(Outgoing(topic, payload, on_done=answers.put, **options))
    return answers.get(timeout=10)
