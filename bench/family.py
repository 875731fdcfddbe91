"""lineside's own small networks against MobileNets, all from scratch: accuracy and latency.

    python bench/family.py

The same photos, split, resolution, optimizer and number of batches for all; splits and weights
differ by the seed. Each is converted by `lineside convert`, to float32 and to int8 where it is
not known yet which of the two is faster: that one counts, with its own accuracy on test. Latency:
ai-edge-litert, one thread, the median, in turn, over MobileNetV3-Small's, which was measured at the
same time.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from sklearn.metrics import balanced_accuracy_score

from bench.page import write_section
from bench.quality import answers_of, photos_of
from bench.training import WORK, Results, make_bundle, middle
from lineside.bench.measure import time_in_turn
from lineside.bundle import Bundle
from lineside.inspector import Inspector
from lineside.run import Run, open_run
from lineside_train.backend import load_keras
from lineside_train.cache import default_cache
from lineside_train.networks.build import BACKBONES
from lineside_train.options import TrainOptions
from lineside_train.session import train_run
from lineside_train.task import Task, gather

SIZE: Final = 96
REFERENCE: Final = "mobilenet_v3_small"
REFERENCE_NAME: Final = f"{REFERENCE} 1"
SCHEMES: Final = ("float32", "static_wi8_ai8")
NETWORKS: Final = (
    (REFERENCE, 1.0),
    ("mobilenet_v2", 0.35),
    *(("plain", width) for width in (0.5, 1.0, 2.0)),
    *(("separable", width) for width in (1.0, 2.0, 4.0)),
)
DATA: Final = {"elpv": {"good": ("functional",)}, "trashnet": {"sort": True}}
STEPS: Final = 1500
"""Batches that each network learns from."""

SECONDS: Final = 3.0
"""How long each is timed."""


def mobilenet_v3_small(x: Any, options: TrainOptions) -> Any:  # noqa: ANN401 - Keras has no types
    """Howard et al., Searching for MobileNetV3, ICCV 2019."""
    keras = load_keras()
    network = keras.applications.MobileNetV3Small(
        input_tensor=x,
        alpha=options.width,
        include_top=False,
        weights=None,
        include_preprocessing=False,
    )
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # as of all the others
    return keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(network.output))


@dataclass(frozen=True)
class Measured:
    """One network, trained once.

    Attributes:
        accuracy: balanced, on test, of the faster format.
        latency: of the faster format, over that of the reference's faster one.
        format: which it is.
        parameters: of the network.
    """

    accuracy: float
    latency: float
    format: str
    parameters: int

    @classmethod
    def read(cls, row: dict[str, str]) -> Measured:
        """From a table."""
        accuracy, latency = float(row["accuracy"]), float(row["latency"])
        return cls(accuracy, latency, row["format"], int(row["parameters"]))


def place(data: str, arch: str, width: float, seed: int) -> Path:
    """Where a run is."""
    return WORK / "family" / f"{data}-{arch}-{width:g}-{seed}"


def train(data: str, arch: str, width: float, seed: int) -> None:
    """Train one network: in a process of its own."""
    BACKBONES[REFERENCE] = mobilenet_v3_small
    photos = photos_of(data)
    images = sum(1 for _ in photos.glob("*/*"))
    epochs = max(1, round(STEPS / (0.6 * images / 32)))
    options = TrainOptions(
        arch=arch,  # type: ignore[arg-type] # one that the command line doesn't offer
        width=width,
        image_size=SIZE,
        epochs=epochs,
        patience=epochs,
        flip="both" if data == "elpv" else "horizontal",
        seed=seed,
    )
    task = Task(
        data=photos,
        out=place(data, arch, width, seed),
        **{"good": (), "sort": False} | DATA[data],
        split=None,
        options=options,
        cache=default_cache(),
        resume=True,
    )
    train_run(task, gather(task))


def make_run(data: str, arch: str, width: float, seed: int) -> Run:
    """A run, unless it is there already."""
    out = place(data, arch, width, seed)
    if not out.is_dir():
        out.parent.mkdir(parents=True, exist_ok=True)
        words = ["--train", data, arch, f"{width:g}", str(seed)]
        subprocess.run([sys.executable, __file__, *words], check=True)
    return open_run(out)


def calls(bundle: Bundle) -> list[Any]:
    """An inference of the bundle's model."""
    inspector = Inspector(bundle)
    height, width = bundle.manifest.input_size
    channels = bundle.manifest.preprocess.channels
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)
    return [partial(inspector.logits, pixels)]


def compare(data: str, seed: int, faster: dict[str, str]) -> dict[str, Measured]:
    """All networks of one seed.

    Args:
        data: the photos.
        seed: of the split and of the weights.
        faster: the format of each network; what is not there yet comes in.
    """
    runs = {f"{arch} {width:g}": make_run(data, arch, width, seed) for arch, width in NETWORKS}
    bundles = {
        (name, scheme): make_bundle(run, scheme)
        for name, run in runs.items()
        for scheme in ([faster[name]] if name in faster else SCHEMES)
    }
    works = [calls(bundle) for bundle in bundles.values()]
    times = time_in_turn(works, seconds=SECONDS, what="Timing")
    took = {key: float(np.median(one)) for key, one in zip(bundles, times, strict=True)}
    for name, scheme in sorted(took, key=lambda key: took[key]):
        faster.setdefault(name, scheme)
    base = took[REFERENCE_NAME, faster[REFERENCE_NAME]]
    found = {}
    for name, run in runs.items():
        answers = answers_of(run, bundles[name, faster[name]])
        found[name] = Measured(
            float(balanced_accuracy_score(answers.truth, answers.converted.argmax(axis=1))),
            took[name, faster[name]] / base,
            faster[name],
            run.metrics.parameters,
        )
    return found


def main() -> None:
    """Train, convert, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", nargs=4)
    wanted = parser.parse_args()
    if wanted.train:
        data, arch, width, seed = wanted.train
        train(data, arch, float(width), int(seed))
        return
    body = [
        f"At {SIZE} px. Balanced accuracy on test: medians of {wanted.seeds} seeds. Latency: x V3."
    ]
    table = Results("family", "data", "seed", "network")
    names = [f"{arch} {width:g}" for arch, width in NETWORKS]
    faster: dict[str, str] = {}
    for data in DATA:
        rows: dict[str, list[Measured]] = defaultdict(list)
        for seed in range(wanted.seeds):
            if (data, seed, REFERENCE_NAME) not in table:
                for name, one in compare(data, seed, faster).items():
                    table.add((data, seed, name), asdict(one))
            for name in names:
                rows[name].append(Measured.read(table[data, seed, name]))
                faster[name] = rows[name][-1].format
        body += ["", f"| {data} | parameters | accuracy | latency | format |"]
        body.append("| --- | ---: | ---: | ---: | --- |")
        for name, found in rows.items():
            latency = statistics.median(one.latency for one in found)
            body.append(
                f"| {name} | {found[0].parameters:,} | "
                f"{middle([one.accuracy for one in found])} | {latency:.2f} | "
                f"{found[0].format} |"
            )
        print("\n".join(body), flush=True)
    title = "Small networks from scratch"
    write_section("family", title, "python bench/family.py", "\n".join(body))


if __name__ == "__main__":
    main()
