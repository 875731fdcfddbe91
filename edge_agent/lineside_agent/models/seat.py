"""One model of the configuration: which bundle is in use, at its start and when it changes.

At the start, the first of these that can be used is:

1. what a command chose, while the configuration still has the bundle that it was chosen over,
   and still allows commands (`bundles`);
2. the bundle of the configuration;
3. the last good one, from the store. Status then says `model_fallback:NAME`.

A bundle that was taken back, or under which the agent ended STARTS times while it was new, is not
tried again until a command or another configuration asks for it, unless there is no other: its
answers were true, where it had some. Where none can be used, the streams answer `no_read` with the
reason `no_model`, and status says `no_model:NAME`.

A bundle that is not the last good one is watched (`lineside_agent.models.watch`), with the last
good one loaded beside it. Once it has passed, it is the last good one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from msgspec.structs import replace

from lineside.bundle import Bundle, open_bundle
from lineside.errors import BundleError, EngineError, StorageError
from lineside.manifest import Manifest
from lineside.messages import LoadedModel
from lineside.settings import ModelSettings
from lineside_agent.models.allowed import allowed_path, misfit
from lineside_agent.models.loading import Loaded, Place, load
from lineside_agent.models.slot import Post, Report, Slot
from lineside_agent.models.store import Choice, Record, Store

log = logging.getLogger(__name__)

STARTS: Final = 3
"""Starts of the agent with a bundle that is being watched, without a stop, until it is refused:
a model can kill its process after it has passed its golden images."""

TAKE_S: Final = 10.0
"""Seconds that a stream may take to come to the end of a frame and take an offer."""

Origin = Literal["configuration", "command", "last_good"]


class Tells(Protocol):
    """Who hears of what happened: `lineside_agent.keeper.Keeper.event`, and the audit log."""

    def __call__(self, kind: str, message: str, **details: Any) -> object:  # noqa: ANN401 - JSON
        """Something happened."""


class Seat:
    """One model of the configuration, with a slot for each stream that uses it.

    `begin` and `started` are for the thread that starts the agent; then all belongs to one worker
    thread, but for `reasons`, `said` and `rest`.

    Args:
        model: of the configuration.
        places: the streams that use it.
        trust: the PEM of the key that must have signed its bundles.
        store: of its bundles.
        tell: hears what happened.
        report: is told by the slots what became of a new model, on their streams' threads.

    Attributes:
        slots: one for each place, once it has begun.
        reasons: why status is degraded.
        said: what status says of the bundle in use.
    """

    def __init__(
        self,
        model: ModelSettings,
        places: list[Place],
        trust: bytes | None,
        store: Store,
        tell: Tells,
        report: Callable[[Report], None],
    ) -> None:
        self.model = model
        self._places = places
        self._trust = trust
        self._store = store
        self._tell = tell
        self._report = report
        self._configured: Bundle | None = None
        self._used: Loaded | None = None
        self._good: Loaded | None = None
        self._passed: set[str] = set()
        self._failed: set[Path] = set()
        self._before: Record | None = None
        self.slots: list[Slot] = []
        self.reasons: tuple[str, ...] = ()
        self.said: tuple[LoadedModel, ...] = ()

    # ---- at the start

    def begin(self) -> None:
        """Load what can be used, and fill the slots. Nothing is written.

        Raises:
            MissingExtraError: no engine is installed.
        """
        self._configured = self._peek()
        for origin, path in self._candidates():
            used = self._try(path, origin)
            if used is not None:
                self._take_seat(used, origin)
                return
        self.reasons = (f"no_model:{self.model.name}",)
        posts = [place.vacancy() for place in self._places]
        self.slots = [Slot(post, None, self._report) for post in posts]

    def _peek(self) -> Bundle | None:
        """The bundle of the configuration, opened but not loaded; None if it is refused."""
        try:
            return open_bundle(Path(self.model.bundle), trust=self._trust)
        except BundleError:
            return None  # why is said where it is tried

    def _candidates(self) -> Iterator[tuple[Origin, Path]]:
        """What may be used, the first choice first. Given one after another, as they fail."""
        record, name = self._store.record, self.model.name
        configured = None if self._configured is None else self._configured.digest
        chosen = record.chosen if self.model.bundles else None
        if chosen is not None and configured is not None and configured != chosen.over:
            log.info("model %s: the configuration has another bundle since, it holds", name)
            self._plan(chosen=None)
            chosen = None
        wanted = configured if chosen is None else chosen.digest
        if wanted is not None and wanted != record.good and record.starts >= STARTS:
            self._plan(refused=record.refuse(wanted), starts=0)
            log.warning("model %s: the agent ended %d times under it", name, record.starts)
        refused = self._store.record.refused
        path = Path(self.model.bundle) if chosen is None else self._store.find(chosen.digest)
        if path is None:
            self._refused(str(wanted), "it is not in the store any more")
        elif wanted in refused:
            self._refused(str(wanted), "it was taken back, or the agent ended under it, before")
        else:
            yield "configuration" if chosen is None else "command", path
        good = None if record.good is None else self._store.find(record.good)
        if good is not None and record.good != wanted:
            yield "last_good", good
        if chosen is not None or configured in refused:  # better than none
            yield "configuration", Path(self.model.bundle)

    def _try(self, path: Path, origin: Origin) -> Loaded | None:
        try:
            return load(path, self.model, self._trust, self._places)
        except (BundleError, EngineError) as error:
            self._failed.add(path)
            self._refused("", str(error), origin=origin)
            return None

    def _take_seat(self, used: Loaded, origin: Origin) -> None:
        record = self._store.record
        by_command = record.chosen is not None and bool(self.model.bundles)
        good = None
        if record.good is not None and record.good != used.bundle.digest:
            path = self._store.find(record.good)
            if path is not None and path not in self._failed:
                good = self._try(path, "last_good")
        self._used, self._good = used, good
        old: list[Post | None] = [None] * len(used.posts) if good is None else [*good.posts]
        self.slots = [
            Slot(post, back, self._report) for post, back in zip(used.posts, old, strict=True)
        ]
        wanted = "command" if by_command else "configuration"
        self._say(used.bundle, origin, fallback=origin != wanted)
        if good is not None:
            self._plan(starts=record.starts + 1)

    def _plan(self, **changes: Any) -> None:  # noqa: ANN401 - fields of Record
        """Remember once the agent has started: until then the folder may be another agent's."""
        self._store.record = replace(self._store.record, **changes)

    def started(self) -> None:
        """The agent has started, and the folder is its own: write down what was found."""
        self._remember()

    # ---- on the worker's thread

    def settle(self) -> None:
        """Put the bundle that is in use into the store, where nothing has to be shown first."""
        if self._used is not None and self._good is None:
            self._now_good(self._used.bundle)

    def use(self, named: str | None, by: str) -> dict[str, Any]:
        """Change to another bundle, between two frames of each stream.

        Args:
            named: its path, as `allowed_path` takes it; None: the bundle of the configuration.
            by: who asks.

        Returns:
            What the answer to the command says.

        Raises:
            BundleError: it may not be used, is refused, or does not fit.
            EngineError: its model can't be used here, or a stream did not take it.
            StorageError: it can't be kept, and would not survive a restart.
            MissingExtraError: no engine is installed.
        """
        path = allowed_path(named, self.model)
        bundle = open_bundle(path, trust=self._trust)
        self._require_fit(path, bundle.manifest)
        if path == Path(self.model.bundle):
            self._configured = bundle  # it may have been replaced since the start
        used = self._used
        if used is not None and self._in_use(bundle.digest):
            self._note(bundle, by)
            self._say(bundle, self._origin(bundle.digest), fallback=False)
            return {"changed": False, "model": _words(bundle), "digest": bundle.digest}
        good = self._standing()
        known = good is not None and good.bundle.digest == bundle.digest
        loaded = good if known and good is not None else self._load(path, bundle.digest)
        self._store.keep(bundle)
        self._before = before = self._store.record
        try:
            self._note(bundle, by)
            self._offer(loaded, None if known else good)
        except EngineError:
            self._store.note(before)
            raise
        finally:
            self._before = None
        old = None if used is None else used.bundle
        self._used, self._good = loaded, None if known else good
        self._passed.clear()
        self._say(bundle, self._origin(bundle.digest), fallback=False)
        self._tell(
            "model_changed",
            f"model {self.model.name}: {_words(bundle)} is in use now, as {by} asked",
            model=self.model.name,
            by=by,
            digest=bundle.digest,
            before=None if old is None else old.digest,
        )
        if self._good is None:
            self._now_good(bundle)
        return {"changed": True, "model": _words(bundle), "digest": bundle.digest}

    def hear(self, report: Report) -> None:
        """Act on what a slot says of a new model."""
        if report.why is not None:
            self._taken_back(report, report.why)
        elif self._used is not None and self._used.bundle.digest == report.digest:
            self._passed.add(report.stream)
            if len(self._passed) == len(self.slots):
                log.info("model %s: %s has passed its watch", self.model.name, report.digest)
                self._good = None
                self._now_good(self._used.bundle)

    def rest(self) -> None:
        """The agent stops as it should, which is nobody's fault. By any thread: one may load."""
        try:  # a bundle that not every stream has taken is not remembered
            self._store.close(replace(self._before or self._store.record, starts=0))
        except StorageError as error:
            self._trouble(error)

    def _taken_back(self, report: Report, why: str) -> None:
        record = self._store.record
        refused = record.refuse(report.digest)
        used, good = self._used, self._good
        if used is not None and good is not None and used.bundle.digest == report.digest:
            for slot, post in zip(self.slots, good.posts, strict=True):
                slot.offer(post)
            self._used, self._good = good, None
            self._passed.clear()
            chosen = record.chosen
            if chosen is not None and chosen.digest == report.digest:
                chosen = self._choice(good.bundle.digest, chosen.by)
            self._remember(chosen=chosen, refused=refused, starts=0)
            self._say(good.bundle, "last_good", fallback=True)
        elif refused != record.refused and not self._in_use(report.digest):
            self._remember(refused=refused)
        else:
            return  # another stream has said so already
        self._tell(
            "model_taken_back",
            f"model {self.model.name}: a new bundle is taken back after {report.frames} frames of "
            f"stream {report.stream}: {why}",
            model=self.model.name,
            stream=report.stream,
            digest=report.digest,
            now=None if self._used is None else self._used.bundle.digest,
        )

    def _load(self, path: Path, digest: str) -> Loaded:
        loaded = load(path, self.model, self._trust, self._places)
        if loaded.bundle.digest != digest:
            msg = f"{path} was replaced while it was loaded: {digest} became {loaded.bundle.digest}"
            raise BundleError(msg)
        return loaded

    def _require_fit(self, path: Path, new: Manifest) -> None:
        used = self._configured if self._used is None else self._used.bundle
        why = None if used is None else misfit(used.manifest, new)
        if why is not None:
            msg = f"{path} does not fit model {self.model.name!r}: {why}; change the configuration"
            raise BundleError(msg)

    def _standing(self) -> Loaded | None:
        """What a new model is to be measured against: not one that is itself being watched."""
        return self._good or self._used

    def _in_use(self, digest: str) -> bool:
        return all(slot.post.digest == digest for slot in self.slots)

    def _offer(self, loaded: Loaded, good: Loaded | None) -> None:
        """Have every stream take the new model, or none.

        Raises:
            EngineError: a stream did not come to the end of a frame.
        """
        before = [(slot.post, slot.old) for slot in self.slots]
        for n, (slot, post) in enumerate(zip(self.slots, loaded.posts, strict=True)):
            post.taken.clear()
            slot.offer(post, None if good is None else good.posts[n])
        for slot, post in zip(self.slots, loaded.posts, strict=True):
            if not post.taken.wait(TAKE_S):
                for other, who in zip(self.slots, before, strict=True):
                    other.withdraw()
                    other.offer(*who)
                name = slot.context.stream
                msg = f"stream {name!r} did not take the new model within {TAKE_S:g} s"
                raise EngineError(msg)

    # ---- what is remembered, and said

    def _origin(self, digest: str) -> Origin:
        configured = self._configured
        is_configured = configured is not None and configured.digest == digest
        return "configuration" if is_configured else "command"

    def _choice(self, digest: str, by: str) -> Choice | None:
        """How a bundle in use is remembered: not at all if it is the configuration's."""
        if self._origin(digest) == "configuration":
            return None
        over = None if self._configured is None else self._configured.digest
        return Choice(digest=digest, by=by, over=over)

    def _note(self, bundle: Bundle, by: str) -> None:
        record = self._store.record
        refused = [digest for digest in record.refused if digest != bundle.digest]
        chosen = self._choice(bundle.digest, by)
        if not self._store.commit(replace(record, chosen=chosen, refused=refused, starts=0)):
            msg = f"{_words(bundle)} is not used: the agent stops; ask again when it is back"
            raise EngineError(msg)

    def _now_good(self, bundle: Bundle) -> None:
        try:
            self._store.keep(bundle)
            self._store.note(replace(self._store.record, good=bundle.digest, starts=0))
        except StorageError as error:
            self._trouble(error)

    def _remember(self, **changes: Any) -> None:  # noqa: ANN401 - fields of Record
        try:
            self._store.note(replace(self._store.record, **changes))
        except StorageError as error:
            self._trouble(error)

    def _trouble(self, error: StorageError) -> None:
        message = f"model {self.model.name}: its last good bundle can't be kept: {error}"
        self._tell("model_store_failed", message, model=self.model.name)

    def _refused(self, digest: str, why: str, **details: Any) -> None:  # noqa: ANN401 - JSON
        said = f"{digest}: {why}" if digest else why
        message = f"model {self.model.name}: a bundle is not used: {said}"
        self._tell("model_refused", message, model=self.model.name, **details)

    def _say(self, bundle: Bundle, origin: Origin, *, fallback: bool) -> None:
        manifest = bundle.manifest
        for remark in manifest.remarks:
            log.warning("model %s: %s", self.model.name, remark)
        self.reasons = (f"model_fallback:{self.model.name}",) if fallback else ()
        self.said = (
            LoadedModel(
                role=manifest.model.role,
                name=manifest.name,
                version=manifest.version,
                digest=bundle.digest,
                parity=manifest.parity.status,
                origin=origin,
            ),
        )


def _words(bundle: Bundle) -> str:
    return f"{bundle.manifest.name} {bundle.manifest.version}"
