"""Networks for the benchmarks of the converter, each written as a run.

    python bench/networks.py JOB.json

A process of its own for each: TensorFlow's memory goes with it. The job names what to make:

    transfer     MobileNet (alpha 0.25) with ImageNet's weights: a head, then a short fine-tuning
    mobilenet3   MobileNetV3-Small, from nothing
    outliers     a run's model with some channels scaled by 200, undone in the next layer
    wide_input   a run's model whose input layer spans far more than its pixels need

The weights of MobileNet have their batch normalization folded: it stays frozen.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from lineside.dataset import Photo, fingerprint, load_tensors
from lineside.image import Preprocess
from lineside.manifest import Label
from lineside.metrics import figures
from lineside.run import (
    PARTS,
    RunInfo,
    RunMetrics,
    SplitPart,
    SplitRow,
    decode_split,
    encode_split,
    write_run,
)
from lineside_train.backend import load_keras, versions
from lineside_train.fitting.examples import predict

SCALED: Final = 200.0
"""How much larger an outgrown channel is."""

Pixels = npt.NDArray[np.uint8]
Truth = npt.NDArray[np.int64]


class Job(Struct, frozen=True, kw_only=True):
    """What to make."""

    make: Literal["transfer", "mobilenet3", "outliers", "wide_input"]
    data: str
    """The folder of photos."""
    split: str
    """A split.csv."""
    labels: list[Label]
    out: str
    """The run folder."""
    run: str = ""
    """The run whose model is changed."""
    weights: str = ""
    """ImageNet's."""
    size: int = 160
    """Height and width of the input, in pixels."""
    colour: Literal["gray", "rgb"] = "rgb"
    resize: Literal["letterbox", "stretch"] = "letterbox"
    epochs: int = 0
    """Of the fine-tuning, or of the training."""
    seed: int = 0


class Material:
    """The photos of a job as tensors."""

    def __init__(self, job: Job) -> None:
        self.labels = job.labels
        self.rows = decode_split(Path(job.split).read_bytes())
        self.preprocess = Preprocess(colour=job.colour, resize=job.resize)
        self.pixels = {part: self._load(job, part) for part in PARTS}
        self.truth = {part: self._truth(part) for part in PARTS}

    def part(self, part: SplitPart) -> tuple[SplitRow, ...]:
        """The images of one part, in order."""
        return tuple(row for row in self.rows if row.part == part)

    def _load(self, job: Job, part: SplitPart) -> Pixels:
        files = [row.file for row in self.part(part)]
        size = (job.size, job.size)
        return load_tensors(Path(job.data), files, self.preprocess, size, what=f"Reading {part}")

    def _truth(self, part: SplitPart) -> Truth:
        index = {label.name: k for k, label in enumerate(self.labels)}
        return np.array([index[row.label] for row in self.part(part)], np.int64)


def normalized(pixels: Any) -> Any:  # noqa: ANN401 - Keras ships no types
    """From 0 to 255 to -1 to 1, as the converter folds it into one subtraction."""
    return (pixels - 127.5) * (1 / 127.5)


# ---- transfer


def transfer(job: Job, material: Material) -> Any:  # noqa: ANN401
    """A logistic regression on ImageNet's features, then all of it fine-tuned for a while."""
    keras = load_keras()
    keras.utils.set_random_seed(job.seed)
    shape = (job.size, job.size, 3)
    body = keras.applications.MobileNet(shape, alpha=0.25, include_top=False, weights=None)
    body.load_weights(job.weights)
    pixels = keras.Input(shape, name="pixels")
    x = body(normalized(pixels), training=False)
    features = keras.layers.GlobalAveragePooling2D()(x)
    extractor = keras.Model(pixels, features)
    head = keras.layers.Dense(len(job.labels), name="logits")
    model = keras.Model(pixels, head(features), name="transfer")
    head.set_weights(_regression(extractor, material))
    body.trainable = True
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    if job.epochs:
        _fit(model, material, job, learning_rate=3e-4)
    return model


def _regression(extractor: Any, material: Material) -> list[npt.NDArray[np.float32]]:  # noqa: ANN401
    """The kernel and the biases of the head; how much they are held back is chosen on `val`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    given = {part: predict(extractor, material.pixels[part]) for part in ("train", "val")}
    flipped = predict(extractor, material.pixels["train"][:, :, ::-1])
    x = np.concatenate([given["train"], flipped])
    y = np.concatenate([material.truth["train"]] * 2)
    found = []
    for c in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0):
        fitted = LogisticRegression(C=c, class_weight="balanced", max_iter=2000).fit(x, y)
        loss = log_loss(material.truth["val"], fitted.predict_proba(given["val"]))
        found.append((loss, c, fitted))
    best = min(found, key=lambda one: one[:2])[2]
    kernel, bias = best.coef_.T, best.intercept_
    if kernel.shape[1] == 1:  # one value for two labels: half of it for one, half against the other
        kernel, bias = np.hstack([-kernel / 2, kernel / 2]), np.array([-bias[0] / 2, bias[0] / 2])
    return [kernel.astype(np.float32), bias.astype(np.float32)]


# ---- training


def _fit(model: Any, material: Material, job: Job, *, learning_rate: float) -> None:  # noqa: ANN401
    """Train, keeping the weights of the lowest loss on `val`."""
    keras = load_keras()
    truth = material.truth["train"]
    counts = np.bincount(truth, minlength=len(job.labels))
    weights = len(truth) / (len(counts) * counts)
    batch = 32
    steps = max(1, -(-len(truth) // batch))
    rate = keras.optimizers.schedules.CosineDecay(
        learning_rate / 10,
        job.epochs * steps,
        warmup_target=learning_rate,
        warmup_steps=min(3, job.epochs) * steps // 2,
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    random = np.random.default_rng(job.seed)

    class Batches(keras.utils.PyDataset):  # type: ignore[misc, name-defined] # Keras has no types
        """The training images in another order each epoch, turned over at random."""

        def __init__(self) -> None:
            super().__init__()
            self.order = random.permutation(len(truth))

        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[Any, Any, Any]:
            chosen = self.order[index * batch : (index + 1) * batch]
            x = material.pixels["train"][chosen]
            x = x[:, :, ::-1] if random.integers(2) else x
            x = x[:, ::-1] if job.make == "mobilenet3" and random.integers(2) else x
            return x.astype(np.float32), truth[chosen], weights[truth[chosen]]

        def on_epoch_end(self) -> None:
            self.order = random.permutation(len(truth))

    val = material.truth["val"]
    model.fit(
        Batches(),
        epochs=job.epochs,
        validation_data=(material.pixels["val"].astype(np.float32), val, weights[val]),
        callbacks=[
            keras.callbacks.ModelCheckpoint(
                f"{job.out}.best.weights.h5",
                "val_loss",
                save_best_only=True,
                save_weights_only=True,
            )
        ],
        verbose=2,
    )
    best = Path(f"{job.out}.best.weights.h5")
    model.load_weights(best)
    best.unlink()


def mobilenet3(job: Job, material: Material) -> Any:  # noqa: ANN401
    """MobileNetV3-Small with hard-swish and squeeze-excite, as Keras has it."""
    keras = load_keras()
    keras.utils.set_random_seed(job.seed)
    channels = material.preprocess.channels
    pixels = keras.Input((job.size, job.size, channels), name="pixels")
    x = normalized(pixels)
    if channels == 1:
        x = keras.layers.Concatenate()([x, x, x])
    body = keras.applications.MobileNetV3Small(
        (job.size, job.size, 3),
        alpha=1.0,
        include_top=False,
        weights=None,
        include_preprocessing=False,
    )
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # small data sets have few batches
    x = keras.layers.GlobalAveragePooling2D()(body(x))
    x = keras.layers.Dropout(0.2)(x)
    model = keras.Model(pixels, keras.layers.Dense(len(job.labels), name="logits")(x))
    _fit(model, material, job, learning_rate=2e-3)
    return model


# ---- what plain quantization breaks


def outliers(job: Job, _material: Material) -> Any:  # noqa: ANN401
    """The same function, but every fourth channel of two layers is 200 times as large.

    What a ReLU is given is multiplied, and the next layer's weights are divided by as much.
    """
    keras = load_keras()
    model = keras.saving.load_model(Path(job.run) / "model.keras", compile=False)
    norms = [
        n for n, one in enumerate(model.layers) if isinstance(one, keras.layers.BatchNormalization)
    ]
    for n in norms[1:3]:
        after = next(layer for layer in model.layers[n + 1 :] if layer.weights)
        gamma, beta, *moments = model.layers[n].get_weights()
        factors = np.where(np.arange(len(gamma)) % 4 == 1, SCALED, 1.0).astype(np.float32)
        model.layers[n].set_weights([gamma * factors, beta * factors, *moments])
        kernel, *others = after.get_weights()
        after.set_weights([kernel / factors[:, np.newaxis], *others])
    return model


def wide_input(job: Job, _material: Material) -> Any:  # noqa: ANN401
    """The same function of the pixels, by way of an input layer of a bad range.

    A Rescaling layer, then a Normalization whose std is a 200th for one of three channels, as if
    that channel had hardly varied in the training images; the first convolution undoes it.
    """
    keras = load_keras()
    model = keras.saving.load_model(Path(job.run) / "model.keras", compile=False)
    body = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    std = np.array([1.0, 1.0, 1.0 / SCALED], np.float32)
    first = next(layer for layer in body.layers if layer.weights)
    kernel, *others = first.get_weights()
    first.set_weights([kernel * std[:, np.newaxis], *others])
    pixels = keras.Input(model.input_shape[1:], name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(pixels)
    x = keras.layers.Normalization(mean=np.zeros(3), variance=np.square(std))(x)
    x = body(x, training=False)
    for layer in model.layers[model.layers.index(body) + 1 :]:
        x = layer(x)
    return keras.Model(pixels, x)


# ---- out


def write(job: Job, material: Material, model: Any) -> None:  # noqa: ANN401
    """Write the run, with what the model says of `val` and `test`."""
    logits = {part: predict(model, material.pixels[part]) for part in PARTS}
    found: dict[str, dict[str, Any]] = {
        part: msgspec.to_builtins(figures(material.truth[part], logits[part], job.labels))
        for part in PARTS
    }
    photos = [Photo(row.file, row.sha256) for row in material.rows]
    info = RunInfo(
        name=Path(job.out).name,
        labels=job.labels,
        preprocess=material.preprocess,
        image_size=(job.size, job.size),
        split=hashlib.sha256(encode_split(material.rows)).hexdigest(),
        data=fingerprint(photos),
        data_root=str(Path(job.data).resolve()),
        seed=job.seed,
        options={"make": job.make, "epochs": job.epochs},
        versions=versions(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        train_seconds=0.0,
    )
    metrics = RunMetrics(
        figures=found,
        history={},
        logits={part: logits[part].tolist() for part in ("val", "test")},
        parameters=model.count_params(),
    )
    write_run(Path(job.out), info=info, metrics=metrics, split=material.rows, save_model=model.save)


def main(arguments: Sequence[str]) -> None:
    """Do the job."""
    job = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Job)
    material = Material(job)
    makers = {
        "transfer": transfer,
        "mobilenet3": mobilenet3,
        "outliers": outliers,
        "wide_input": wide_input,
    }
    write(job, material, makers[job.make](job, material))


if __name__ == "__main__":
    main(sys.argv[1:])
