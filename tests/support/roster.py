"""A roster with a real bundle and a stream that looks, as the agent puts them together."""

from __future__ import annotations

import json
import queue
import threading
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import Self

from lineside.commands import Command, Response
from lineside.image import Frame
from lineside.settings import Settings, parse_settings
from lineside_agent.commands import Audit, Reply, Request
from lineside_agent.models import Roster, Slot
from lineside_agent.models.store import Record
from tests.support import models
from tests.support.broker import wait_for
from tests.support.bundles import edit_manifest
from tests.support.examples import BOOT

CONFIG = """
[station]
site = "ulm"
name = "press4"
[mqtt]
url = "mqtt://127.0.0.1:1"
[[model]]
name = "cells"
bundle = "cells"
bundles = "bundles"
[[camera]]
name = "top"
source = "images:top"
[[camera]]
name = "side"
source = "images:side"
[[stream]]
name = "top"
camera = "top"
model = "cells"
[[stream]]
name = "side"
camera = "side"
model = "cells"
"""
GREY = models.flat(90)
MEASURED = {"device": "a workstation", "threads": 1, "invoke_ms_p50": 0.01}


class Line:
    """A stream's thread: looks at the same frame again and again, and notes who answered what."""

    def __init__(self, slot: Slot, frame: Frame) -> None:
        self.slot = slot
        self.frame = frame
        self.moving = True
        self.seen: list[tuple[str, str]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.001):
            if self.moving:
                self.slot.turn()
                answer = self.slot.inspect(self.frame).answer
                version = next((model.version for model in self.slot.context.models), "none")
                self.seen.append((answer.verdict, version))


class Station:
    """The models of a station, begun and stopped as an agent does it."""

    def __init__(self, folder: Path, frame: Frame, *, config: str = CONFIG) -> None:
        self.settings: Settings = parse_settings(config, folder=folder)
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.audit = Audit(folder / "state" / "audit.jsonl", BOOT)
        self.roster = Roster(self.settings, BOOT, self._tell, self.audit)
        self._frame = frame

    def _tell(self, kind: str, message: str, **details: Any) -> None:  # noqa: ANN401 - JSON
        self.events.append((kind, message, details))

    def __enter__(self) -> Self:
        (Path(self.settings.outbox.path).parent).mkdir(exist_ok=True)
        self.roster.begin()
        self.lines = [Line(slot, self._frame) for slot in self.roster.slots.values()]
        self.audit.start()
        self.roster.start()
        for line in self.lines:
            line.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        for line in self.lines:
            line.stop()
        self.roster.stop()
        self.audit.stop()

    def __getitem__(self, kind: str) -> list[str]:
        """What was said of one kind."""
        return [message for found, message, _ in self.events if found == kind]

    @property
    def versions(self) -> list[str]:
        """Of the bundle that each stream looks with."""
        return [slot.context.models[0].version for slot in self.roster.slots.values()]

    @property
    def slots_watching(self) -> int:
        """How many streams look with a bundle that is being watched."""
        return sum(slot.old is not None for slot in self.roster.slots.values())

    @property
    def status(self) -> list[tuple[str, str | None]]:
        """Version and origin, as status says them."""
        return [(model.version, model.origin) for model in self.roster.loaded]

    def ask(self, bundle: str | None = None, model: str = "cells") -> Response:
        """Send `use_bundle`, and wait for the answer."""
        return self.send(bundle, model).get(timeout=60)

    def send(self, bundle: str | None, model: str = "cells") -> queue.SimpleQueue[Response]:
        """Send `use_bundle`."""
        answers: queue.SimpleQueue[Response] = queue.SimpleQueue()
        args = {"model": model} | ({} if bundle is None else {"bundle": bundle})
        request = Request(Command(id="1", requester="ann", op="use_bundle", args=args), 0)
        draft = Response(site="ulm", station="press4", boot=BOOT, id="1", op="use_bundle", ok=False)
        reply = Reply(draft, request, lambda answered: answers.put(answered.response))
        self.roster.use_bundle(request, reply)
        return answers

    def proven(self) -> None:
        """Wait until what is in use is the last good one."""
        used = self.roster.loaded[0].digest
        file = Path(self.settings.outbox.path).parent / "models" / "cells" / "choice.json"
        wait_for(
            lambda: file.exists() and json.loads(file.read_bytes()).get("good") == used, 30, "good"
        )


def record(folder: Path) -> Record:
    """What the store remembers."""
    path = folder / "state" / "models" / "cells" / "choice.json"
    return msgspec.json.decode(path.read_bytes(), type=Record)


def wrong_answers(folder: Path) -> None:
    """Make its first golden image expect what no model here says."""
    edit_manifest(folder, lambda m: m["golden"][0].update(verdict="review"))
