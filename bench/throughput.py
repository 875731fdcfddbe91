"""Images a second in training: photos from the cache, changed anew each time, against tensors.

    python bench/throughput.py                       # on the CPU
    KERAS_BACKEND=jax python bench/throughput.py     # on a GPU, where there is one

The other side is the same network, compiled in the same way, that is fed one batch again and again
which lies in memory already (on the accelerator, where there is one), and changes nothing. Epochs
of both in turn, in one process; the ratio is the median of those of one turn.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.page import write_section
from lineside.extras import require
from lineside_train.backend import accelerators, load_keras
from lineside_train.fitting.draws import Draws
from lineside_train.fitting.examples import Examples, Rows
from lineside_train.fitting.trainee import batches_ahead, compile_trainee, make_trainee
from lineside_train.networks import build_network
from lineside_train.options import TrainOptions

ROUNDS: Final = 14
CASES: Final = (
    (TrainOptions(image_size=128, flip="both"), 1536),
    (TrainOptions(arch="mobilenet_v1", width=0.25, image_size=160, flip="both", mix="mixup"), 512),
    (TrainOptions(arch="mobilenet_v2", image_size=160, flip="both", mix="mixup"), 192),
)
"""Networks, and how many images an epoch has: about two seconds on two cores."""


def seconds(fit: Any) -> float:  # noqa: ANN401 - a function of Keras
    """How long an epoch takes: the second one, as the first one starts what feeds it."""
    began: list[float] = []
    callback = load_keras().callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: began.append(time.perf_counter()),  # noqa: ARG005
        on_epoch_end=lambda epoch, logs: began.append(time.perf_counter()),  # noqa: ARG005
    )
    fit(epochs=2, verbose=0, callbacks=[callback])
    return began[3] - began[2]


def measure(options: TrainOptions, images: int, folder: Path) -> tuple[float, float, float]:
    """Images a second: of a training, on tensors that lie in memory, and the ratio."""
    keras = load_keras()
    size = options.image_size
    random = np.random.default_rng(0)
    file = folder / f"{options.arch}.npy"
    np.save(file, random.integers(0, 256, (images, size, size, 1), np.uint8))
    rows = Rows(np.load(file, mmap_mode="r"), np.arange(images))
    train = Examples(rows, random.integers(0, 2, images))
    draws = Draws(images, (size, size), options)
    inside = bool(accelerators())
    trainee = make_trainee(build_network(options, 1, 2), draws, 100, inside=inside)
    bare = build_network(options, 1, 2)
    compile_trainee(bare, options, draws.steps, 100)
    convert = keras.ops.convert_to_tensor
    pixels = convert(random.uniform(0, 255, (draws.batch, size, size, 1)).astype(np.float32))
    batch = pixels, convert(np.eye(2, dtype=np.float32)[random.integers(0, 2, draws.batch)])

    def in_memory() -> Any:  # noqa: ANN401 - what the backend is quickest with
        if keras.backend.backend() == "tensorflow":
            tensorflow = require("tensorflow", extra="train")
            return tensorflow.data.Dataset.from_tensors(batch).repeat()
        return itertools.repeat(batch)

    def theirs(**words: Any) -> None:  # noqa: ANN401
        bare.fit(in_memory(), shuffle=False, steps_per_epoch=draws.steps, **words)

    with batches_ahead(train, np.ones(2), draws, first=0, inside=inside) as batches:
        ours = functools.partial(trainee.fit, batches, shuffle=False, steps_per_epoch=draws.steps)
        seconds(ours), seconds(theirs)  # compiled
        took = []
        for turn in range(ROUNDS):  # neither is always the first
            both = [(side, seconds((ours, theirs)[side])) for side in ((0, 1), (1, 0))[turn % 2]]
            took.append([lasted for _, lasted in sorted(both)])
    done = draws.steps * draws.batch
    mine, plain = (done / statistics.median(side) for side in zip(*took, strict=True))
    return mine, plain, statistics.median(bare / ours for ours, bare in took)


def main() -> None:
    """Measure and write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    keras = load_keras()
    lines = ["| network | training, images/s | tensors in memory, images/s | ratio |"]
    lines.append("| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for options, images in CASES:
            mine, plain, ratio = measure(options, images, Path(folder))
            row = f"{options.arch}, {options.image_size} px | {mine:,.0f} | {plain:,.0f}"
            lines.append(f"| {row} | {ratio:.2f} |")
            print(lines[-1], flush=True)
    backend = keras.backend.backend()
    where = ", ".join(accelerators()) or "the CPU"
    body = f"Keras {keras.__version__} on {backend}, on {where}.\n\n" + "\n".join(lines)
    write_section(
        f"throughput-{backend}", f"Training speed ({backend})", "python bench/throughput.py", body
    )


if __name__ == "__main__":
    main()
