"""Images a second in training: photos from the cache, changed anew each time, against tensors.

    python bench/throughput.py                       # on the CPU
    KERAS_BACKEND=jax python bench/throughput.py     # on a GPU, where there is one

The other side is the same network, compiled in the same way, that is fed one batch again and again
which lies in memory already (on the accelerator, where there is one), and changes nothing. Epochs
of both in turn, in one process; what is compared are medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.page import write_section
from lineside_train.backend import accelerators, load_keras
from lineside_train.fitting.draws import Draws
from lineside_train.fitting.examples import Examples, Rows
from lineside_train.fitting.trainee import compile_trainee, make_batches, make_trainee
from lineside_train.networks import build_network
from lineside_train.options import TrainOptions

IMAGES: Final = 1536
ROUNDS: Final = 7
CASES: Final = (
    TrainOptions(image_size=128, flip="both"),
    TrainOptions(arch="mobilenet_v1", width=0.25, image_size=160, flip="both", mix="mixup"),
    TrainOptions(arch="mobilenet_v2", image_size=160, flip="both", mix="mixup"),
)


def seconds(fit: Any) -> float:  # noqa: ANN401 - a function of Keras
    """How long an epoch takes."""
    started = time.perf_counter()
    fit()
    return time.perf_counter() - started


def measure(options: TrainOptions, folder: Path) -> tuple[float, float]:
    """Images a second: of a training, and on tensors that lie in memory."""
    keras = load_keras()
    size = options.image_size
    random = np.random.default_rng(0)
    file = folder / f"{options.arch}.npy"
    np.save(file, random.integers(0, 256, (IMAGES, size, size, 1), np.uint8))
    rows = Rows(np.load(file, mmap_mode="r"), np.arange(IMAGES))
    train = Examples(rows, random.integers(0, 2, IMAGES))
    draws = Draws(IMAGES, (size, size), options)
    inside = bool(accelerators())
    trainee = make_trainee(build_network(options, 1, 2), draws, 100, inside=inside)
    batches = make_batches(train, np.ones(2), draws, first=0, inside=inside)
    bare = build_network(options, 1, 2)
    compile_trainee(bare, options, draws.steps, 100)
    convert = keras.ops.convert_to_tensor
    pixels = convert(random.uniform(0, 255, (draws.batch, size, size, 1)).astype(np.float32))
    batch = pixels, convert(np.eye(2, dtype=np.float32)[random.integers(0, 2, draws.batch)])

    def endless() -> Any:  # noqa: ANN401 - tensors of the backend
        while True:
            yield batch

    def ours() -> None:
        trainee.fit(batches, epochs=1, shuffle=False, verbose=0)

    def theirs() -> None:
        bare.fit(endless(), steps_per_epoch=draws.steps, epochs=1, verbose=0)

    ours(), theirs()  # compiled
    took = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    images = draws.steps * draws.batch
    mine, plain = (images / statistics.median(side) for side in zip(*took, strict=True))
    return mine, plain


def main() -> None:
    """Measure and write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    keras = load_keras()
    lines = ["| network | training, images/s | tensors in memory, images/s | ratio |"]
    lines.append("| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for options in CASES:
            mine, plain = measure(options, Path(folder))
            row = f"{options.arch}, {options.image_size} px | {mine:,.0f} | {plain:,.0f}"
            lines.append(f"| {row} | {mine / plain:.2f} |")
            print(lines[-1], flush=True)
    backend = keras.backend.backend()
    where = ", ".join(accelerators()) or "the CPU"
    body = f"Keras {keras.__version__} on {backend}, on {where}.\n\n" + "\n".join(lines)
    write_section(
        f"throughput-{backend}", f"Training speed ({backend})", "python bench/throughput.py", body
    )


if __name__ == "__main__":
    main()
