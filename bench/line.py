"""What the benchmarks of the path share: a bundle, and a line of the agent's parts on a broker.

The networks are not trained: weights don't matter for speed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

import numpy as np
from typing_extensions import override

from bench.page import ROOT
from lineside.image import Frame
from lineside.inspector import Inspector
from lineside.messages import Result, decode
from lineside.mqtt import Delivery, Hooks, MqttClient, Outgoing
from lineside.runtime.feed import make_feed
from lineside.runtime.trial import load_bundle
from lineside.settings import CameraSettings, MqttSettings, OutboxSettings, StationSettings
from lineside.topics import Topics
from lineside_agent.keeper import Keeper
from lineside_agent.models import Post, Slot
from lineside_agent.models.loading import Place
from lineside_agent.publisher import Publisher
from lineside_agent.sources import EndOfSourceError, Shot, Source
from lineside_agent.stream import Stream
from tests.support.cells import lay_out_cells

BUILD: Final = ROOT / "build" / "path"
IN_FLIGHT: Final = 20
"""QoS 1 messages on their way, at most, on both sides: what `MqttClient` allows itself."""

BOOT: Final = "0198f1c2-0000-4000-8000-000000000003"
STATION: Final = StationSettings(site="ulm", name="press4")
SMALL: Final = "MobileNet 0.25, 128 px"
LARGE: Final = "MobileNet 1.0, 224 px"
NETWORKS: Final = {SMALL: (128, 0.25), LARGE: (224, 1.0)}
KERAS: Final = """
import sys, keras
size, alpha, cells, out = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4]
keras.utils.set_random_seed(0)
pixels = keras.Input((size, size, 3))
x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
net = keras.applications.MobileNet(
    input_shape=(size, size, 3), alpha=alpha, include_top=False, weights=None, pooling="avg")
last = keras.layers.Dense(2)
model = keras.Model(pixels, last(net(x)))
images = keras.utils.image_dataset_from_directory(
    cells, labels=None, image_size=(size, size), batch_size=64, seed=0)
batch = next(iter(images))
for layer in net.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.momentum = 0.0
model(batch, training=True)
logits = keras.ops.convert_to_numpy(model(batch))
kernel, bias = last.get_weights()
scale = 3 / logits.std(0)
last.set_weights([kernel * scale, (bias - logits.mean(0)) * scale])
model.save(out)
"""
"""Random weights; the normalization is set on pictures, or it would answer all of them alike."""


def bundle_folder(size: int, alpha: float) -> Path:
    """The folder of an int8 bundle of an untrained network, made once.

    Args:
        size: side of its input in pixels.
        alpha: MobileNet's width multiplier.
    """
    folder, cells = BUILD / f"{size}-{alpha:g}", BUILD / "cells"
    if not folder.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        if not cells.exists():
            lay_out_cells(cells, each=100)
        model, labels = BUILD / f"{size}-{alpha:g}.keras", BUILD / "labels.txt"
        labels.write_text("defective\nfunctional\n")
        made = [sys.executable, "-c", KERAS, str(size), str(alpha), cells, model]
        subprocess.run(made, check=True, capture_output=True)
        command = [sys.executable, "-m", "lineside", "convert", model, "--out", folder]
        words = ("--labels", labels, "--images", cells, "--good", "functional")
        scheme = ("--scheme", "static_wi8_ai8", "--max-flips", "100")
        subprocess.run([*command, *words, *scheme], check=True, stdout=subprocess.DEVNULL)
    return folder


def bundle_of(size: int, alpha: float) -> Inspector:
    """Such a bundle, loaded, with one interpreter thread."""
    return load_bundle(bundle_folder(size, alpha))


class Asked(NamedTuple):
    """What a benchmark is asked for.

    Attributes:
        inspector: who looks, with one interpreter thread.
        what: it is called on the page.
        folder: on the disk to measure; None: where new folders are made.
        page: whether to write the section.
    """

    inspector: Inspector
    what: str
    folder: Path | None
    page: bool


def asked(network: str = SMALL) -> Asked:
    """Parse the arguments, and load the bundle that they name.

    Args:
        network: of NETWORKS, whose untrained bundle is taken where they name none.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, help=f"default: an untrained {network}")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: a new one")
    parser.add_argument("--no-page", action="store_true", help="print the table only")
    args = parser.parse_args()
    inspector = load_bundle(args.bundle or bundle_folder(*NETWORKS[network]))
    what = args.bundle.name if args.bundle else network
    return Asked(inspector, what, args.folder, not args.no_page)


def noise_frames(inspector: Inspector, count: int = 16) -> list[Frame]:
    """Random pictures of the size of the model's input: uint8, height x width x 3, BGR."""
    height, width = inspector.bundle.manifest.input_size
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def bare(inspector: Inspector, frames: Sequence[Frame], count: int) -> float:
    """Inferences a second: nothing but `invoke` on tensors that are there."""
    tensors = [inspector.tensor(frame) for frame in frames]
    feed = make_feed(inspector.bundle.manifest.model.inputs[0])
    feeds = [feed(tensor).copy() for tensor in tensors]
    engine = inspector.engine
    began = time.perf_counter()
    for number in range(count):
        engine.invoke(feeds[number % len(feeds)])
    return count / (time.perf_counter() - began)


def result_of(payload: bytes) -> Result | None:
    """The result that a message of a line is, if it is one and has a frame."""
    result = decode("result", payload)
    return result if isinstance(result, Result) and result.inputs else None


class PacedSource(Source):
    """A camera that gives pictures at a rate, stamped with the moment at which each was due.

    One that is taken late is as old as it is: nothing is dropped, and what a stream that stood
    still did to its frames shows.

    Args:
        frames: uint8, height x width x 3, BGR, again and again.
        rate: frames a second.
        count: how many, then it has ended.
    """

    finite: ClassVar[bool] = False

    def __init__(self, frames: Sequence[Frame], rate: float, count: int) -> None:
        super().__init__("cam0", "paced", rate=rate)
        self._frames = frames
        self._period_ns = round(1e9 / rate)
        self._count = count

    @override
    def _open(self) -> None:
        self._number = 0
        self._due_ns = 0

    @override
    def _take(self, timeout_s: float) -> Shot | None:
        if self._number == self._count:
            raise EndOfSourceError
        now = time.monotonic_ns()
        self._due_ns = self._due_ns or now + self._period_ns
        if now < self._due_ns:
            time.sleep(min(timeout_s, (self._due_ns - now) / 1e9))
            if time.monotonic_ns() < self._due_ns:
                return None
        frame = self._frames[self._number % len(self._frames)]
        shot = Shot(frame, self._due_ns, datetime.now(timezone.utc), stamp="driver")
        self._number += 1
        self._due_ns += self._period_ns
        return shot

    @override
    def _close(self) -> None:
        self._number = self._count


class Line:
    """A stream, a keeper and a client on a broker, as the agent has them.

    Args:
        url: of the broker.
        folder: of the outbox; what is in it from before is its backlog.
        commit_ms: the commit interval.
        acked: called on the client's thread with the payload of each message that the broker
            acknowledged, and when that was, in ns of the monotonic clock; it must not wait.

    Attributes:
        client: on the broker.
        keeper: of results.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        commit_ms: int = 50,
        acked: Callable[[bytes, int], None] | None = None,
    ) -> None:
        topics = Topics(STATION.site, STATION.name)
        self._acked = acked
        self.client = MqttClient(MqttSettings(url=url), f"bench-{uuid.uuid4().hex[:12]}")
        send = self.client.publish if acked is None else self._send
        publisher = Publisher(send, topics, echo=False)
        settings = OutboxSettings(path=str(folder / "outbox.sqlite"), commit_ms=commit_ms)
        self.keeper = Keeper(settings, STATION, BOOT, publisher, ["top"])
        self.keeper.start()
        self.client.start(Hooks(on_disconnect=publisher.on_disconnect))
        if not self.client.wait_connected(10.0):
            raise SystemExit(self.client.error)

    def _send(self, message: Outgoing) -> None:
        """Publish a message, and note when the broker acknowledged it."""
        acked, then = self._acked, message.on_done

        def done(delivery: Delivery) -> None:
            if acked is not None and delivery.ok:
                acked(message.payload, time.monotonic_ns())
            if then is not None:
                then(delivery)

        self.client.publish(Outgoing(message.topic, message.payload, on_done=done))

    def stream(self, inspector: Inspector, source: Source) -> Stream:
        """A stream whose every frame is a part; of a source that is opened before its start."""
        camera = CameraSettings(name=source.name, source="images:.")
        post: Post = Place(STATION, BOOT, "top", camera).post(inspector, 1.0)
        return Stream(Slot(post, None, lambda _: None), source, "frame", self.keeper.put)

    def rate(self, inspector: Inspector, source: Source) -> float:
        """Results a second, from the first frame to the last acknowledgement on disk."""
        stream = self.stream(inspector, source)
        source.open()
        began = time.perf_counter()
        stream.start()
        while not stream.ended or self.keeper.pending:
            time.sleep(0.005)
        rate = stream.results / (time.perf_counter() - began)
        stream.stop()
        return rate

    def close(self) -> None:
        """End what was started."""
        self.keeper.stop()
        self.client.stop()
