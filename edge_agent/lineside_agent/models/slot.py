"""Who looks at a stream's frames, and how that changes between two of them.

    worker thread ── offer ──▶ [offers] ── turn, between two frames ──▶ looking, watched at first
                                                                          │
                     worker ◀── report: gone back, or passed ─────────────┘

There is no lock: only the stream's thread changes who looks, and what others offer comes through
a deque, whose single steps are atomic. On the path of a frame it costs two attribute reads, and
one float is noted.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Protocol

from typing_extensions import override

from lineside.decision import no_read
from lineside.image import Box, Frame, Reduction
from lineside.inspector import Inspection, Inspector
from lineside.manifest import Manifest
from lineside.messages import Limits
from lineside_agent.assemble import Context
from lineside_agent.models.watch import JUDGED, Figure, Speed, Watch

log = logging.getLogger(__name__)

RECENT: Final = 101
"""Inferences whose median says how fast a model is here."""


Seen = tuple[Frame, Box | None, int]
"""A frame, the station's region, and by what its sides were divided."""


class Looks(Protocol):
    """What gives a verdict: `lineside.inspector.Inspector`, or nobody."""

    def inspect(
        self, frame: Frame, roi: Box | None = None, reduced: int | None = None
    ) -> Inspection:
        """Look at one frame."""

    def set_limits(self, review: float | None, ng: float | None) -> None:
        """Use other limits than the bundle's."""


class Nobody:
    """Stands where there is no model: whatever it is shown, there is no answer to trust."""

    def inspect(
        self,
        frame: Frame,  # noqa: ARG002 - as a model
        roi: Box | None = None,  # noqa: ARG002
        reduced: int | None = None,  # noqa: ARG002
    ) -> Inspection:
        """A `no_read` that says `no_model`; the frame is not looked at."""
        return Inspection(no_read("no_model"), 0.0, 0.0)

    def set_limits(self, review: float | None, ng: float | None) -> None:
        """There is nothing to limit."""


@dataclass(eq=False)
class Post:
    """A model at a stream: who looks, and what the results say of it. They change as one.

    Attributes:
        looks: the inspector, of this stream alone.
        context: what its results have in common.
        manifest: of its bundle; None where nobody looks.
        digest: of its bundle; empty where nobody looks.
        here_ms: the median of one inference on this device, in milliseconds: of the golden images
            first, of the stream's frames once it was replaced.
        taken: is set when the stream looks with it.
    """

    looks: Looks
    context: Context
    manifest: Manifest | None = None
    digest: str = ""
    here_ms: float = 0.0
    taken: threading.Event = field(default_factory=threading.Event, repr=False)

    @classmethod
    def of(cls, inspector: Inspector, context: Context, warm_ms: float) -> Post:
        """The post of a model that is loaded and warm.

        Args:
            inspector: who looks.
            context: of the stream, made of the same inspector.
            warm_ms: the median of one inference of its golden images here, in milliseconds.
        """
        bundle = inspector.bundle
        return cls(inspector, context, bundle.manifest, bundle.digest, warm_ms)

    @cached_property
    def reduce(self) -> Reduction:
        """What the sides of a JPEG may be divided by for it while it is decoded."""
        return 1 if self.manifest is None else self.manifest.preprocess.decode.reduce

    @property
    def speed(self) -> Speed:
        """What is known of its speed."""
        said = None if self.manifest is None else Figure.of(self.manifest.measured)
        return Speed(said, self.here_ms)


@dataclass(frozen=True)
class Report:
    """What a slot says of a new model.

    Attributes:
        stream: whose slot it is.
        digest: of the new model's bundle.
        why: why the old one is back; None if the new one has passed the watch.
        frames: how many it was watched for.
    """

    stream: str
    digest: str
    why: str | None
    frames: int


class Slot:
    """Who looks at the frames of one stream.

    `turn` and `inspect` belong to the stream's thread; `offer` and what only reads may be called
    from any.

    Args:
        post: who looks first.
        old: who comes back if that one misbehaves; None: it is known already, or there is no
            other, and it is not watched.
        report: is told what became of a new model, on the stream's thread; must not wait.
    """

    def __init__(self, post: Post, old: Post | None, report: Callable[[Report], None]) -> None:
        self._post = post
        self._report = report
        self._offers: deque[tuple[Post, Post | None]] = deque()
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._begin(post, old)

    @property
    def post(self) -> Post:
        """Who looks, and what is said of it, as one."""
        return self._post

    @property
    def context(self) -> Context:
        """What the results of whoever gave the last answer have in common."""
        return self._post.context

    @property
    def vacant(self) -> bool:
        """Whether there is no model."""
        return isinstance(self._post.looks, Nobody)

    @property
    def old(self) -> Post | None:
        """Who comes back if the one that looks misbehaves; None: it is not watched."""
        return self._old

    @property
    def reduce(self) -> Reduction:
        """What the sides of a JPEG may be divided by while it is decoded: for whoever may look."""
        old = self._old
        return self._post.reduce if old is None else min(self._post.reduce, old.reduce)

    def offer(self, post: Post, old: Post | None = None) -> None:
        """Have the stream look with another model from its next turn on.

        Args:
            post: loaded and warm, of this stream alone.
            old: who comes back if it misbehaves; None: it is not watched.
        """
        self._offers.append((post, old))

    def withdraw(self) -> None:
        """Take back what was offered and not yet taken."""
        self._offers.clear()

    def turn(self) -> None:
        """Between two frames: take what is offered. Call it also where no frame comes."""
        if self._offers:
            self._take()

    def set_limits(self, review: float | None, ng: float | None) -> None:
        """Between two frames: decide by other limits than the bundle's; None: not used.

        They stay with whoever looks now: another bundle comes with its own, and the old one comes
        back with those that it went with. By the stream's thread alone.
        """
        post = self._post
        post.looks.set_limits(review, ng)
        limits = Limits(review=review, ng=ng, origin="command")
        post.context = replace(post.context, limits=limits)

    def inspect(self, frame: Frame, roi: Box | None = None, reduced: int = 1) -> Inspection:
        """Look at one frame. `context` is then that of whoever gave the answer.

        Args:
            frame: uint8, height x width x 3, BGR; the picture at 1/reduced of its size.
            roi: the station's region: x, y, width, height in pixels of the whole picture.
            reduced: by what its sides were divided: a divisor of `reduce`.

        Raises:
            LinesideError: as `Inspector.inspect`; anything else that a model raises.
        """
        if self._watch is not None and self._old is not None:
            return self._inspect_watched(self._watch, self._old, (frame, roi, reduced))
        found = self._post.looks.inspect(frame, roi, reduced)
        self._recent.append(found.invoke_ms)
        return found

    def _begin(self, post: Post, old: Post | None) -> None:
        self._post = post
        self._old = old
        self._watch = None if old is None else Watch(post.speed, old.speed, time.monotonic())
        self._recent.clear()
        post.taken.set()

    def _take(self) -> None:
        newest = None
        with contextlib.suppress(IndexError):  # withdrawn at this moment
            while self._offers:  # what was offered before is overtaken
                newest = self._offers.popleft()
        if newest is None:
            return
        post, old = newest
        if len(self._recent) >= JUDGED:
            self._post.here_ms = statistics.median(self._recent)
        if post is not self._post or old is not self._old:
            self._begin(post, old)
        post.taken.set()

    def _inspect_watched(self, watch: Watch, old: Post, seen: Seen) -> Inspection:
        new = self._post
        try:
            found = new.looks.inspect(*seen)
        except Exception as error:
            log.debug("a new model failed", exc_info=True)
            answer = _ask(old, seen)
            if answer is None:
                raise
            return self._go_back(f"it fails: {type(error).__name__}: {error}", answer)
        if found.answer.verdict == "no_read":
            answer = _ask(old, seen)
            if answer is not None:
                return self._go_back(f"it gives no answer: {found.answer.reasons[0]}", answer)
            return found
        self._recent.append(found.invoke_ms)
        why = watch.see(found.invoke_ms)
        if why is not None:
            # This frame's answer is the new one's and so is its context: the old one is back from
            # the next turn on.
            self._watch = None
            self._offers.appendleft((old, None))  # what others offer comes before it
            self._report(Report(new.context.stream, new.digest, why, watch.seen))
        elif watch.passed(time.monotonic()):
            self._watch = self._old = None
            self._report(Report(new.context.stream, new.digest, None, watch.seen))
        return found

    def _go_back(self, why: str, answer: Inspection) -> Inspection:
        """The old one is back, and has answered this frame."""
        new, old, watch = self._post, self._old, self._watch
        if old is not None and watch is not None:
            self._begin(old, None)
            self._report(Report(new.context.stream, new.digest, why, watch.seen))
        return answer

    @override
    def __repr__(self) -> str:
        return f"Slot({self.context.stream!r}, {self._post.digest or 'nobody'})"


def _ask(old: Post, seen: Seen) -> Inspection | None:
    """What the old model says of a frame that the new one failed on; None if it fails, too."""
    try:
        found = old.looks.inspect(*seen)
    except Exception:  # noqa: BLE001 - then it is the frame that is at fault
        return None
    return None if found.answer.verdict == "no_read" else found
