"""Does the converted model say what the original says? On four data sets, on images of the test.

    python bench/parity.py [NAME…]

Each model is converted twice, as plain int8 and by `auto`. Choices are made on val. Takes about
half an hour on two cores, most of it the training, which is kept in build/quality.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Final

sys.path.insert(0, str(Path(__file__).parent))

from page import write_section
from quality import (
    FOLDS,
    WEIGHTS,
    AbsentError,
    Comparison,
    answers_of,
    figures_of,
    fold_photos,
    make_bundle,
    make_own_run,
    make_run,
    photos_of,
    pooled,
    shared,
)

from lineside.bundle import Bundle
from lineside.dataset import read_dataset, split_photos
from lineside.labels import mark_labels
from lineside.run import Run
from lineside_convert.scheme import STATIC, parse_scheme

POINTS: Final = 0.3
"""Of balanced accuracy that may be lost; one image always may."""

SCHEMES: Final = {STATIC: ("--max-flips", "100"), "auto": ()}
"""Plain int8 is measured whatever it does; auto has its own limits."""


@dataclass(frozen=True)
class Entry:
    """A model to convert.

    Attributes:
        data: the data set.
        folds: whether it is small, so that each image is tested on once.
        epochs: of the fine-tuning; None: lineside's own network.
        sort: whether no label means a bad part.
    """

    data: str
    folds: bool = False
    epochs: int | None = None
    sort: bool = False

    @property
    def title(self) -> str:
        """Of the row."""
        model = "lineside's own CNN, 128 px" if self.epochs is None else "MobileNet 0.25, 160 px"
        return f"{self.data}, {model}"

    def runs(self) -> Iterator[Run]:
        """The trained models: one, or one for each fold.

        Raises:
            AbsentError: photos or weights are not here.
        """
        data = photos_of(self.data)
        if self.epochs is None:
            yield make_own_run(f"{self.data}-own", data)
            return
        dataset, weights = read_dataset(data), str(shared(WEIGHTS))
        labels = list(mark_labels(dataset.labels, (), sort=self.sort))
        for fold in range(FOLDS if self.folds else 1):
            rows = (
                fold_photos(dataset.photos, fold) if self.folds else split_photos(dataset.photos, 0)
            )
            name = f"{self.data}-{fold}" if self.folds else self.data
            yield make_run(
                name,
                rows,
                data,
                make="transfer",
                labels=labels,
                weights=weights,
                epochs=self.epochs,
            )


ENTRIES: Final = {
    "own": Entry("elpv"),
    "elpv": Entry("elpv", epochs=8),
    "trashnet": Entry("trashnet", epochs=10, sort=True),
    "cookies": Entry("cookies", epochs=10, folds=True),
    "aliens": Entry("aliens", epochs=10, folds=True),
}


def main(names: Sequence[str]) -> None:
    """Convert all, or those that are named, and write the table."""
    rows = [
        (
            "| photos, model | tested on | scheme | chosen | kB | balanced accuracy, % | int8 "
            "| points (95 %) | flips | recall lost | reached |"
        ),
        "| --- " * 11 + "|",
    ]
    for name in names or ENTRIES:
        entry = ENTRIES[name]
        try:
            runs = list(entry.runs())
        except AbsentError as error:
            rows.append(f"| {entry.title} | skipped: {error} |" + " |" * 9)
            continue
        for scheme, options in SCHEMES.items():
            bundles = [make_bundle(run, scheme, *options) for run in runs]
            pairs = zip(runs, bundles, strict=True)
            found = figures_of(pooled([answers_of(run, bundle) for run, bundle in pairs]))
            rows.append(_row(entry, scheme, bundles, found))
            print(rows[-1], flush=True)
    if not names:
        write_section("parity", "Parity", "make bench-parity", _TEXT + "\n".join(rows))


def _row(entry: Entry, scheme: str, bundles: Sequence[Bundle], found: Comparison) -> str:
    unmet = [
        *(["balanced accuracy"] if not found.accurate(POINTS) else []),
        *(["flips"] if not found.steady else []),
        *(["recall"] if not found.watchful else []),
    ]
    size = mean(len(bundle.model) for bundle in bundles) / 1000
    lost = ", ".join(f"{name} {count:+d}" for name, count in found.lost.items() if count)
    cells = (
        entry.title,
        f"{found.images}, {'5 folds' if entry.folds else '1 split'}",
        "plain int8" if scheme == STATIC else scheme,
        chosen(bundles),
        f"{size:.0f}",
        f"{found.original:.2f}",
        f"{found.converted:.2f}",
        f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f})",
        f"{found.flips} ({100 * found.flips / found.images:.2f} %)",
        lost or "none",
        "yes" if not unmet else f"no: {', '.join(unmet)}",
    )
    return "| " + " | ".join(cells) + " |"


def chosen(bundles: Sequence[Bundle]) -> str:
    """The schemes of bundles, in few words."""
    counted = Counter(in_words(bundle.manifest.model.scheme) for bundle in bundles)
    if len(bundles) == 1:
        return next(iter(counted))
    return ", ".join(f"{times} x {scheme}" for scheme, times in counted.items())


def in_words(scheme: str) -> str:
    """A scheme without the names of its layers."""
    count = len(parse_scheme(scheme).in_float)
    return f"{STATIC}, {count} in float" if count else scheme


_TEXT: Final = (
    "Keras against the bundle on the same test images, verdicts by the bundle's own limits. "
    "`plain int8` is `--scheme static_wi8_ai8`, whatever it does; `auto` chooses on val. What must "
    "be reached: balanced accuracy within max(1 image, 0.3 points), verdicts flip on at most "
    "max(1 image, 0.5 %), and no defect label (when sorting: no label) loses more than one image "
    "of its recall (+ is lost, - gained). The interval is of the difference, int8 less float: "
    "2,000 resamples of the test images within each label, both models' answers drawn together. "
    "With folds, each image is tested once, by the models of its fold; the folds' images are "
    "pooled, flips are counted by each fold's own limits, and kB is the mean.\n\n"
)


if __name__ == "__main__":
    main(sys.argv[1:])
