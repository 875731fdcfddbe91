"""From a bundle on disk to posts that are ready to look: checked, tried in a child, loaded, warm.

Slow: seconds at times. Never on a stream's thread, nor on the MQTT client's.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from lineside.bundle import Bundle
from lineside.errors import EngineError
from lineside.inspector import Inspector
from lineside.keys import read_public_key
from lineside.messages import Limits
from lineside.runtime.golden import run_golden
from lineside.runtime.trial import load_bundle
from lineside.settings import CameraSettings, ModelSettings, Settings, StationSettings
from lineside_agent.assemble import Context
from lineside_agent.models.slot import Nobody, Post


@dataclass(frozen=True)
class Place:
    """A stream, as far as its model's results need it.

    Attributes:
        station: whose results they are.
        boot: the UUID of this start of the agent.
        stream: the stream's name.
        camera: its camera.
    """

    station: StationSettings
    boot: str
    stream: str
    camera: CameraSettings

    def post(self, inspector: Inspector, warm_ms: float) -> Post:
        """The post of a model that is loaded and warm."""
        context = Context.of(
            inspector,
            station=self.station,
            boot=self.boot,
            stream=self.stream,
            camera=self.camera.name,
            roi=self.camera.roi,
        )
        return Post.of(inspector, context, warm_ms)

    def vacancy(self) -> Post:
        """The post where there is no model: every part is a `no_read` that says so."""
        context = Context(
            station=self.station,
            boot=self.boot,
            stream=self.stream,
            camera=self.camera.name,
            roi=self.camera.roi,
            task="unknown",
            limits=Limits(review=None, ng=None),
            models=(),
            xnnpack=False,
            parity="unknown",
        )
        return Post(Nobody(), context)


def places_of(model: ModelSettings, settings: Settings, boot: str) -> list[Place]:
    """The streams that a model looks at."""
    cameras = {camera.name: camera for camera in settings.camera}
    return [
        Place(settings.station, boot, stream.name, cameras[stream.camera])
        for stream in settings.stream
        if stream.model == model.name
    ]


def read_trust(model: ModelSettings) -> bytes | None:
    """The PEM of the key that must have signed a model's bundles; None where none is set.

    Raises:
        InputError: it can't be read, or is no such key.
        MissingExtraError: `cryptography` is not installed.
    """
    return read_public_key(Path(model.trust)) if model.trust else None


@dataclass(frozen=True)
class Loaded:
    """A bundle, ready to look.

    Attributes:
        bundle: as it was checked.
        posts: one for each place, each with an interpreter of its own.
    """

    bundle: Bundle
    posts: list[Post]


def load(path: Path, model: ModelSettings, trust: bytes | None, places: list[Place]) -> Loaded:
    """Try a bundle in a child process, then load and warm it for each place.

    Raises:
        BundleError: it is refused.
        EngineError: its model can't be used on this machine.
        MissingExtraError: no engine is installed.
    """
    first = load_bundle(path, threads=model.threads, trust=trust)
    bundle = first.bundle
    others = [Inspector(bundle, threads=model.threads) for _ in places[1:]]
    inspectors = [first, *others]
    return Loaded(
        bundle, [place.post(i, _warm(i)) for place, i in zip(places, inspectors, strict=True)]
    )


def _warm(inspector: Inspector) -> float:
    """Run the golden images here, too: what follows finds an interpreter that is warm.

    Returns:
        The median of one inference, in milliseconds.

    Raises:
        EngineError: an answer is not what it was in the child process.
    """
    results = run_golden(inspector)
    for result in results:
        if not result.passed:
            msg = f"{inspector.bundle.path} is refused: it passed its trial, but not here. {result}"
            raise EngineError(msg)
    return statistics.median(result.invoke_ms for result in results)
