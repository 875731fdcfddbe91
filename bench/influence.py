"""Which training images are to blame for an error? Ways to tell, on photos with labels made wrong.

    python bench/influence.py

A tenth of the training labels are changed, at random or in neighbourhoods (the nearest images of
the same label around four of them), and a network is trained. For each test image that it gets
wrong, each way names three training images. `found`: how many of them have a changed label (a tenth
by chance). `gain`: by how much the logarithm of the right label's probability rises where the last
layer is fitted again without the five worst.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.page import ROOT, write_section
from lineside.dataset import load_tensors
from lineside.image import Preprocess
from lineside_train.explain.influence import harm, residuals, whiten
from lineside_train.explain.layers import LastLayers
from lineside_train.fitting.examples import Examples, Tensors
from lineside_train.fitting.fit import train_network
from lineside_train.options import TrainOptions
from tests.support.cells import lay_out_cells

SIZE: Final = 64
SEEDS: Final = 3
ERRORS: Final = 10
"""Errors of each training for which the last layer is fitted again."""
WAYS: Final = (
    "TracIn, last layer",
    "influence",
    "influence, other labels only",
    "nearest of the label",
)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]


def photos(root: Path, each: int, colour: Any) -> tuple[Tensors, Ints]:  # noqa: ANN401 - Literal
    """The first images of each label, as a model sees them, and their labels."""
    labels = sorted(path.name for path in root.iterdir() if path.is_dir())
    files = [
        [file.relative_to(root).as_posix() for file in sorted((root / label).iterdir())][:each]
        for label in labels
    ]
    spec = Preprocess(colour=colour, resize="stretch")
    tensors = load_tensors(
        root, [file for one in files for file in one], spec, (SIZE, SIZE), what="Reading"
    )
    return tensors, np.repeat(np.arange(len(labels)), [len(one) for one in files])


def scores(features: Floats, logits: Floats, taught: Ints, image: int, truth: int) -> list[Floats]:
    """What each way says of each training image (all but the last), higher means more to blame.

    Args:
        features: of the training images, and behind them the test image.
        logits: the same.
        taught: the training images' labels.
        image: index of the test image.
        truth: its label.
    """
    known, asked = features[: len(taught)], features[image : image + 1]
    pull = residuals(logits[: len(taught)], taught)
    wanted = residuals(logits[image : image + 1], np.array([truth]))
    mean, matrix = whiten(known)
    white = harm((known - mean) @ matrix, pull, (asked - mean) @ matrix, wanted)[0]
    called = int(logits[image].argmax())
    near = -np.sum((known - asked) ** 2, axis=1)
    return [
        harm(known, pull, asked, wanted)[0],
        white,
        np.where(taught != truth, white, -np.inf),
        np.where(taught == called, near, -np.inf),
    ]


def embedded(tensors: Tensors, parts: list[Ints], taught: Ints, seed: int) -> tuple[Floats, Floats]:
    """Features and logits of all images, by a network trained on the first part."""
    labels = int(taught.max()) + 1
    options = TrainOptions(image_size=SIZE, epochs=20, patience=20, seed=seed)
    train, val = (Examples(tensors[part], taught[part]) for part in parts[:2])
    layers = LastLayers(train_network(train, val, labels, options).network)
    features = layers.embed(tensors)
    return features, layers.logits(features)


def measure(tensors: Tensors, truth: Ints, seed: int, *, nearby: bool) -> dict[str, list[Floats]]:
    """For each error and way: how many of three were found; and the gain."""
    random = np.random.default_rng(seed)
    order, n = random.permutation(len(truth)), len(truth)
    parts = [order[: n * 6 // 10], order[n * 6 // 10 : n * 7 // 10], order[n * 7 // 10 :]]
    train, test = parts[0], parts[2]
    changed = np.zeros(n, np.bool_)
    asked = np.ones(n, np.bool_)
    if nearby:
        features, logits = embedded(tensors, parts, truth, seed)
        asked = logits.argmax(axis=1) == truth  # errors that the changed labels made
        for centre in random.choice(train[asked[train]], 4, replace=False):
            same = train[truth[train] == truth[centre]]
            away = np.sum((features[same] - features[centre]) ** 2, axis=1)
            changed[same[np.argsort(away)[: len(train) // 40]]] = True
    else:
        changed[random.choice(train, len(train) // 10, replace=False)] = True
    labels = int(truth.max()) + 1
    taught = np.where(changed, (truth + random.integers(1, labels, n)) % labels, truth)
    features, logits = embedded(tensors, parts, taught, seed)
    both = np.concatenate([train, test])
    features, logits = features[both], logits[both]
    spread = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    learned = np.arange(len(train))

    def sureness(rows: Ints, image: int) -> float:
        head = LogisticRegression(C=0.05, max_iter=300).fit(spread[rows], taught[train][rows])
        return float(head.predict_log_proba(spread[image : image + 1])[0][truth[both[image]]])

    found: dict[str, list[Floats]] = defaultdict(list)
    for image in range(len(train), len(both)):
        if logits[image].argmax() == truth[both[image]] or not asked[both[image]]:
            continue
        worst = [
            np.argsort(-one, kind="stable")
            for one in scores(features, logits, taught[train], image, int(truth[both[image]]))
        ]
        found["found"].append(np.array([changed[train][one[:3]].mean() for one in worst]))
        if len(found["gain"]) < ERRORS:
            before = sureness(learned, image)
            after = [sureness(np.delete(learned, one[:5]), image) for one in worst]
            found["gain"].append(np.array(after) - before)
    return found


def main() -> None:
    """Measure, and write the section."""
    lines = [
        "| photos | changed labels | errors | figure |" + "".join(f" {way} |" for way in WAYS),
        "|" + " --- |" * (4 + len(WAYS)),
    ]
    with TemporaryDirectory() as folder:
        sets = {
            "elpv": photos(lay_out_cells(Path(folder) / "cells", each=400), 400, "gray"),
            "trashnet": photos(ROOT.parent / "shared" / "data" / "trashnet", 100, "rgb"),
        }
        for name, (tensors, truth) in sets.items():
            for nearby in (False, True):
                runs = [measure(tensors, truth, seed, nearby=nearby) for seed in range(SEEDS)]
                for figure in ("found", "gain"):
                    rows = np.concatenate([one[figure] for one in runs if one[figure]])
                    cells = "".join(f" {value:.2f} |" for value in rows.mean(axis=0))
                    where = "nearby" if nearby else "at random"
                    lines.append(f"| {name} | {where} | {len(rows)} | {figure} |{cells}")
    said = [
        f"{SIZE} px, `plain`, 20 epochs, {SEEDS} seeds; a tenth of the training labels are wrong.",
        "`found`: share of the three training images named for an error whose label was changed.",
        "`gain`: what fitting the last layer again without the five worst adds to the logarithm of",
        "the right label's probability. The report uses the third way.",
        "",
        *lines,
    ]
    print("\n".join(said))
    title = "Which training images are to blame"
    write_section("influence", title, "python bench/influence.py", "\n".join(said))


if __name__ == "__main__":
    main()
