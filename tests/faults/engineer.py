"""Somebody who asks a station for other models."""

from __future__ import annotations

import json

import paho.mqtt.client as paho
from typing_extensions import override

from tests.faults.plain import PlainClient
from tests.faults.truth import SITE


class Engineer(PlainClient):
    """Sends `use_bundle`, once each: an answer may never come, as where the agent is killed.

    Args:
        port: of the broker.

    Attributes:
        answers: bundle, whether it is in use now, and why not.
    """

    def __init__(self, port: int) -> None:
        super().__init__("engineer", port, [(f"{SITE}/response/engineer", 1)])
        self._asked: dict[str, str] = {}
        self._count = 0
        self.answers: list[tuple[str, bool, str]] = []

    def use_bundle(self, bundle: str) -> None:
        """Ask for a bundle."""
        self._count += 1
        name = f"use-{self._count}"
        self._asked[name] = bundle
        command = {
            "schema": "lineside.command/1",
            "id": name,
            "requester": "engineer",
            "expires_s": 30,
            "op": "use_bundle",
            "args": {"model": "tiny", "bundle": bundle},
        }
        self._client.publish(f"{SITE}/command", json.dumps(command), qos=1)

    @override
    def _on_message(self, message: paho.MQTTMessage) -> None:
        response = json.loads(message.payload)
        bundle = self._asked.pop(response["id"], None)
        if bundle is not None:
            self.answers.append((bundle, response["ok"], response["reason"] or ""))
