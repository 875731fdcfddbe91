"""A station that keeps its results in a real outbox and answers `replay`, played by real code.

It is built of the agent's outbox and the MQTT client. What the network would lose is left out
on purpose, so that a test knows exactly what is missing.
"""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from typing_extensions import Self

from lineside.commands import Command, Response, decode_command
from lineside.commands import encode as encode_response
from lineside.messages import Status, encode
from lineside.mqtt import Hooks, Incoming, MqttClient, Outgoing
from lineside.settings import MqttSettings
from lineside.topics import Topics
from lineside_agent.outbox import Outbox
from lineside_agent.records import Entry, State
from tests.support.broker import wait_for
from tests.support.examples import LOADED, result

PAGE = 2000
"""Results committed, and handed to the client, at once."""


def everything(_seq: int) -> bool:
    """The network loses nothing."""
    return True


class ReplayStation:
    """One station. It may be started again with the same folder: then it is a new boot.

    Args:
        mqtt: the broker.
        folder: where its outbox is.
        station: its name, at the site `ulm`.

    Attributes:
        boot: of this start.
        passes: which replayed results the network lets through, by their number.
        refusal: why replays are refused; None if they are not.
        silent: whether commands are not answered.
        commands: what it was asked for.
    """

    def __init__(self, mqtt: MqttSettings | str, folder: Path, station: str = "press4") -> None:
        self.boot = str(uuid.uuid4())
        self.passes: Callable[[int], bool] = everything
        self.refusal: str | None = None
        self.silent = False
        self.commands: list[Command] = []
        self.topics = Topics("ulm", station)
        folder.mkdir(parents=True, exist_ok=True)
        self._station = station
        self._outbox = Outbox(folder / f"{station}.sqlite", self.boot)
        self._lock = threading.Lock()  # the outbox is used by one thread at a time
        self._last: dict[str, int] = {}
        self._subscribed = threading.Event()
        self._client = MqttClient(
            MqttSettings(url=mqtt) if isinstance(mqtt, str) else mqtt,
            f"station-{station}",
            subscriptions=(self.topics.command(),),
            backoff_s=(0.02, 0.05),
        )

    def put(
        self,
        count: int,
        *,
        stream: str = "top",
        passes: Callable[[int], bool] = everything,
        **fields: object,
    ) -> None:
        """Keep `count` more results and publish those that `passes` lets through.

        Args:
            count: how many.
            stream: of which stream.
            passes: which ones the network lets through, by their number.
            fields: of the results, where they are not those of `examples.result`.
        """
        begin = self._last.get(stream, 0) + 1
        self._last[stream] = begin + count - 1
        for first in range(begin, begin + count, PAGE):
            seqs = range(first, min(first + PAGE, begin + count))
            entries = [Entry(stream, seq, self._payload(stream, seq, fields)) for seq in seqs]
            with self._lock:
                rows = self._outbox.commit(entries)
                self._outbox.commit(done=[(row.id, State.CONFIRMED) for row in rows])
            self._send(
                Outgoing(self.topics.result(stream), entry.payload)
                for entry in entries
                if passes(entry.seq)
            )

    def say(self, state: str = "online") -> None:
        """Publish the status, with the outbox's ledger."""
        with self._lock:
            ledger = self._outbox.ledger()
        message = Status(
            site="ulm",
            station=self._station,
            boot=self.boot,
            state=state,  # type: ignore[arg-type]
            version="0.1.0",
            models=[LOADED],
            ledger=ledger,
        )
        self._send([Outgoing(self.topics.status(), encode(message), retain=True)])

    def keep_only(self, results: int) -> None:
        """Delete the oldest results beyond so many."""
        with self._lock:
            self._outbox.discard(self._outbox.kept - results)

    def _payload(self, stream: str, seq: int, fields: dict[str, object]) -> bytes:
        names = {"boot": self.boot, "station": self._station, "stream": stream}
        return encode(result(seq, **names, **fields))

    def _send(self, messages: Iterable[Outgoing]) -> None:
        for message in messages:
            self._client.publish(message)
        wait_for(lambda: self._client.idle, 30)

    def _on_message(self, message: Incoming) -> None:
        command = decode_command(message.payload)
        self.commands.append(command)
        if self.silent:
            return
        details: dict[str, object] = {}
        if self.refusal is None:
            boot, stream = command.args["boot"], command.args["stream"]
            sent, gone = self._replay(command.requester, boot, stream, command.args["ranges"])
            details = {"sent": sent, "gone": gone}
        response = Response(
            site="ulm",
            station=self._station,
            boot=self.boot,
            id=command.id,
            op=command.op,
            ok=self.refusal is None,
            reason=self.refusal,
            details=details,
        )
        topic = self.topics.response(command.requester)
        self._client.publish(Outgoing(topic, encode_response(response)))

    def _replay(
        self, requester: str, boot: str, stream: str, ranges: Sequence[tuple[int, int]]
    ) -> tuple[int, list[tuple[int, int]]]:
        sent, gone = 0, []
        for first, last in ranges:
            with self._lock:
                kept = self._outbox.results(boot, stream, first, last, last - first + 1)
            for seq, payload in kept:
                if self.passes(seq):
                    topic = self.topics.replay(requester, stream)
                    self._client.publish(Outgoing(topic, payload))
                sent += 1
            seqs = [first - 1, *(seq for seq, _ in kept), last + 1]
            gone += [(a + 1, b - 1) for a, b in itertools.pairwise(seqs) if b - a > 1]
        return sent, gone

    def _on_subscribed(self, _refused: tuple[str, ...]) -> None:
        self._subscribed.set()

    def __enter__(self) -> Self:
        self._client.start(Hooks(on_message=self._on_message, on_subscribed=self._on_subscribed))
        assert self._subscribed.wait(10)
        self.say()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.stop()
        with self._lock:
            self._outbox.close(clean=True)
