"""The parts of a station, and the order in which they start and stop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lineside.mqtt import Hooks, Incoming, MqttClient
from lineside.settings import Settings
from lineside.topics import Topics
from lineside_agent.commands import Audit, Desk, KeptAnswers
from lineside_agent.commands.ops import limits_op, pause_op, trigger_op
from lineside_agent.commands.replay import Replays
from lineside_agent.commands.snapshot import Snapshots
from lineside_agent.controls import Controls
from lineside_agent.home_assistant import HomeAssistant
from lineside_agent.keeper import Keeper
from lineside_agent.models import Roster
from lineside_agent.publisher import Publisher
from lineside_agent.readings import Readings
from lineside_agent.sources import Source
from lineside_agent.stream import Stream
from lineside_agent.supervision import MetricsServer, Notifier, Watchdog
from lineside_agent.voice import Voice


class Station:
    """All that an agent is made of.

    Args:
        settings: of the station.
        boot: the UUID of this start.
        sources: by camera, open.
        notifier: of the service manager.

    Attributes:
        streams: one for each `[[stream]]`.
        keeper: of results and events.
        client: of the broker.

    Raises:
        InputError: a key that is trusted can't be read.
        MissingExtraError: no engine is installed, or `cryptography` where a key is trusted.
    """

    def __init__(
        self, settings: Settings, boot: str, sources: Mapping[str, Source], notifier: Notifier
    ) -> None:
        self._notifier = notifier
        mqtt, who = settings.mqtt, settings.station
        echo = mqtt.protocol == "3.1.1"
        self._topics = topics = Topics(who.site, who.name, mqtt.prefix)
        heard = Publisher.subscriptions(topics) if echo else ()
        self.client = client = MqttClient(
            mqtt,
            topics.client_id,
            subscriptions=(topics.command(), *heard),
            keep_retain=True,
        )
        self._publisher = Publisher(client.publish, topics, echo=echo)
        self.names = [stream.name for stream in settings.stream]
        self.keeper = Keeper(settings.outbox, who, boot, self._publisher, self.names)
        self._audit = Audit(
            Path(settings.audit.path), boot, max_bytes=round(settings.audit.max_mb * 1e6)
        )
        self._roster = Roster(settings, boot, self.keeper.event, self._audit)
        self._roster.begin()
        self.streams = [
            Stream(
                self._roster.slots[stream.name],
                sources[stream.camera],
                stream.trigger,
                self.keeper.put,
                queue=stream.queue,
                max_wait_ms=stream.max_wait_ms,
            )
            for stream in settings.stream
        ]
        self._controls = controls = Controls(self.streams, self.keeper)
        self._snapshots = Snapshots(controls.newest)
        self._desk = Desk(
            topics,
            who,
            boot,
            {
                "replay": Replays(topics, self.keeper.ask, self._publisher.replay),
                "pause": pause_op(controls.pause, paused=True),
                "resume": pause_op(controls.pause, paused=False),
                "snapshot": self._snapshots,
                "trigger": trigger_op(controls.fire),
                "set_limits": limits_op(controls.set_limits, self._audit, self.keeper.event),
                "use_bundle": self._roster.use_bundle,
            },
            send=client.publish,
            answers=KeptAnswers(self.keeper),
            audit=self._audit,
        )
        self._voice = Voice(
            settings,
            boot,
            streams=self.streams,
            keeper=self.keeper,
            publisher=self._publisher,
            roster=self._roster,
            client=client,
        )
        self._home = HomeAssistant(settings, client.address, client.publish)
        readings = Readings(
            settings, boot, self.streams, self.keeper, self._publisher, client, self._desk
        )
        self._watchdog = Watchdog(readings.beats, self._notifier)
        readings.watchdog = self._watchdog
        self._metrics = MetricsServer(settings.metrics.port, readings.snapshot)

    def open(self) -> None:
        """Open the outbox.

        Raises:
            StorageError: it is used by another agent.
        """
        self.keeper.start()

    def start(self) -> None:
        """Begin."""
        self._audit.start()
        self._roster.start()
        self._controls.settle()
        self.keeper.event("started", f"the agent has started: {', '.join(self.names)}")
        self._home.start()
        hooks = Hooks(
            on_connect=self._on_connect,
            on_subscribed=self._publisher.on_subscribed,
            on_message=self._on_message,
            on_disconnect=self._publisher.on_disconnect,
        )
        self.client.start(hooks, will=self._voice.will)
        for stream in self.streams:
            stream.start()
        self._metrics.start()
        self._notifier.ready(f"looking: {', '.join(self.names)}")

    def tick(self) -> None:
        """What is to be done several times a second."""
        self._controls.settle()  # an outbox on a failing disk may have been opened only now
        self._voice.tick()
        self._desk.tick()
        self._home.tick()
        self._watchdog.tick()

    def rest(self, why: str) -> None:
        """Look at nothing more."""
        self._notifier.stopping(why)
        self._voice.resting = True
        self._snapshots.stop()
        for stream in self.streams:
            stream.stop()
        self._roster.stop()
        self.keeper.event("stopped", f"the agent stops: {why}")

    def close(self) -> None:
        """Say goodbye, once nothing more is to be published."""
        if self.client.connected:
            self._voice.goodbye()
        self.client.stop()
        self._home.tick()  # what was confirmed last
        self._metrics.stop()
        self._audit.stop()

    def _on_connect(self) -> None:
        self._voice.greet()
        self._home.greet()

    def _on_message(self, message: Incoming) -> None:
        if message.topic == self._topics.command():
            self._desk.on_message(message)
        else:
            self._publisher.on_message(message)
