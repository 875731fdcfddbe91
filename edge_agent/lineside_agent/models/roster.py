"""All models of a station, and the thread that changes them: seldom, slowly, off the path.

Roster.begin()                loads them: before anything else runs
Roster.slots[STREAM]          who looks at a stream's frames
Roster.start() / stop()       the worker
Roster.use_bundle(…)          the op: on the MQTT thread, answers when it is done
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta

from lineside.errors import LinesideError, MessageError
from lineside.messages import LoadedModel
from lineside.settings import Name, Settings
from lineside_agent.commands import Args, Audit, Reply, Request
from lineside_agent.models.loading import places_of, read_trust
from lineside_agent.models.seat import Seat, Tells
from lineside_agent.models.slot import Report, Slot
from lineside_agent.models.store import Store

log = logging.getLogger(__name__)

STOP_S: Final = 2.0
"""Seconds that a stop waits for the worker: it may be in the middle of loading a bundle."""


class UseBundle(Args, frozen=True, kw_only=True):
    """What the op `use_bundle` takes."""

    model: Name
    """The name of a `[[model]]`."""
    bundle: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    """A path, relative to the model's `bundles`, or absolute and below it. Left out: the bundle of
    the configuration."""


class Roster:
    """The models of a station.

    Args:
        settings: of the station.
        boot: the UUID of this start of the agent.
        tell: hears what happened; what happens in `begin` it hears in `start`.
        audit: notes each change, and each that was refused.

    Attributes:
        slots: who looks at each stream's frames, once it has begun.
    """

    def __init__(self, settings: Settings, boot: str, tell: Tells, audit: Audit) -> None:
        self._settings = settings
        self._boot = boot
        self._tell = tell
        self._audit = audit
        self._news: list[Callable[[], object]] = []
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._busy = False
        self._stopping = False
        self._seats: dict[str, Seat] = {}
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self.slots: dict[str, Slot] = {}

    def begin(self) -> None:
        """Load every model that a stream uses: see `lineside_agent.models.seat`.

        Raises:
            InputError: a key that is trusted can't be read.
            MissingExtraError: no engine is installed, or no `cryptography` where a key is trusted.
        """
        folder = Path(self._settings.outbox.path).parent / "models"
        for model in self._settings.model:
            places = places_of(model, self._settings, self._boot)
            if not places:
                continue
            seat = Seat(
                model,
                places,
                read_trust(model),
                Store(folder / model.name),
                self._hear,
                partial(self._reported, model.name),
            )
            seat.begin()
            self._seats[model.name] = seat
            names = (place.stream for place in places)
            self.slots.update(zip(names, seat.slots, strict=True))

    def start(self) -> None:
        """Begin to work: what there is to keep is kept, and commands are taken.

        Only now is anything written: the outbox, open, says that the folder is this agent's.
        """
        for seat in self._seats.values():
            seat.started()
        for news in self._news:
            news()
        self._news.clear()
        for seat in self._seats.values():
            self._jobs.put(seat.settle)
        self._thread.start()

    def stop(self) -> None:
        """The agent stops. A bundle that is being loaded is not waited for."""
        self._stopping = True
        self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join(STOP_S)
            for seat in self._seats.values():
                seat.rest()

    @property
    def reasons(self) -> list[str]:
        """Why status is degraded: `model_fallback:NAME`, `no_model:NAME`."""
        return [reason for seat in self._seats.values() for reason in seat.reasons]

    @property
    def loaded(self) -> list[LoadedModel]:
        """What status says of the bundles in use; each once."""
        said = {model.digest: model for seat in self._seats.values() for model in seat.said}
        return list(said.values())

    def use_bundle(self, request: Request, reply: Reply) -> None:
        """The op: change a model's bundle.

        The answer comes when every stream of the model looks with the new one, with `changed`,
        `model` and `digest`; or it says why all is as it was.

        Args:
            request: its arguments are `UseBundle`.
            reply: takes the answer.

        Raises:
            MessageError: there is no such model, another bundle is just being tried, or the agent
                stops.
        """
        args = request.read(UseBundle)
        seat = self._seats.get(args.model)
        if seat is None:
            known = ", ".join(self._seats)
            msg = f"use_bundle is refused: no stream uses a model {args.model!r}, there is {known}"
            raise MessageError(msg)
        if self._stopping:
            msg = "use_bundle is refused: the agent stops; send it again when it is back"
            raise MessageError(msg)
        if self._busy:
            msg = "use_bundle is refused: another bundle is just being tried; send it again later"
            raise MessageError(msg)
        self._busy = True
        self._jobs.put(partial(self._use, seat, args.bundle, request.command.requester, reply))

    def _use(self, seat: Seat, named: str | None, by: str, reply: Reply) -> None:
        details: dict[str, Any] = {}
        reason = "the station failed to try the bundle: see its log"
        try:
            details = seat.use(named, by)
        except LinesideError as error:
            reason = str(error)
            name = seat.model.name
            message = f"model {name}: the bundle that {by} asks for is not used: {error}"
            self._hear("model_refused", message, model=name, by=by)
        finally:
            self._busy = False
            if details:
                reply.ok(**details)
            else:
                reply.refuse(reason)

    def _reported(self, model: str, report: Report) -> None:
        """On a stream's thread."""
        self._jobs.put(lambda: self._seats[model].hear(report))

    def _hear(self, kind: str, message: str, **details: Any) -> None:  # noqa: ANN401 - JSON
        self._audit.record("model", refused=kind == "model_refused", what=kind, **details)
        news = partial(self._tell, kind, message, **details)
        if self._thread.ident is None:
            self._news.append(news)
        else:
            news()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(job)

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception:  # one job that fails must not end the others
            log.exception("a change of models failed")
