"""What the agent does with commands, over a broker and on a real outbox, without any camera."""

from __future__ import annotations

import threading
from pathlib import Path

from typing_extensions import Self

from lineside.mqtt import Hooks, MqttClient
from lineside.settings import MqttSettings, OutboxSettings
from lineside_agent.commands import Audit, Desk, KeptAnswers, Op
from lineside_agent.commands.replay import Replays
from lineside_agent.keeper import Keeper
from lineside_agent.publisher import Publisher
from tests.support.requests import STATION, TOPICS

QUICK = (0.02, 0.1)  # s


class CommandedStation:
    """A station with one stream called `top`, that can replay.

    A subclass adds to `ops` before the station is entered.

    Args:
        url: the broker.
        folder: where its outbox and its audit log are.
        boot: of this start.
    """

    def __init__(self, url: str, folder: Path, boot: str) -> None:
        self.boot = boot
        self.folder = folder
        self.client = MqttClient(
            MqttSettings(url=url),
            "press4",
            subscriptions=(TOPICS.command(),),
            keep_retain=True,
            backoff_s=QUICK,
        )
        self.publisher = Publisher(self.client.publish, TOPICS, echo=False)
        settings = OutboxSettings(path=str(folder / "outbox.sqlite"))
        self.keeper = Keeper(settings, STATION, boot, self.publisher, ["top"])
        self.audit = Audit(folder / "audit.jsonl", boot)
        self.ops: dict[str, Op] = {
            "replay": Replays(TOPICS, self.keeper.ask, self.publisher.replay)
        }

    def __enter__(self) -> Self:
        self.desk = Desk(
            TOPICS,
            STATION,
            self.boot,
            self.ops,
            send=self.client.publish,
            answers=KeptAnswers(self.keeper),
            audit=self.audit,
        )
        self.audit.start()
        self.keeper.start()
        subscribed = threading.Event()
        self.client.start(
            Hooks(
                on_message=self.desk.on_message,
                on_subscribed=lambda _refused: subscribed.set(),
                on_disconnect=self.publisher.on_disconnect,
            )
        )
        assert subscribed.wait(10)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.keeper.stop()
        self.client.stop()
        self.audit.stop()
