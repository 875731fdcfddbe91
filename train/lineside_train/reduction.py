"""How far JPEGs are reduced while they are decoded: decided once, for the run and its bundles."""

from __future__ import annotations

from dataclasses import replace

from lineside.dataset import Dataset, Notice
from lineside.errors import DatasetError
from lineside.image import (
    MIN_SIDE,
    REDUCTIONS,
    Decode,
    Preprocess,
    Reduction,
    is_enough,
    largest_reduction,
)
from lineside_train.options import TrainOptions


def settle_reduction(
    dataset: Dataset, spec: Preprocess, options: TrainOptions
) -> tuple[Dataset, Decode]:
    """What `--reduce` comes to.

    Args:
        dataset: the photos.
        spec: how they become tensors.
        options: with `reduce`, and the size of the model's input.

    Returns:
        The photos, with a notice where too little is left of some, and how they are decoded.

    Raises:
        DatasetError: hardly anything would be left of a photo.
    """
    size = (options.image_size, options.image_size)
    best = largest_reduction(dataset.sizes, spec, size)
    if options.reduce == "auto":
        return dataset, Decode(best)
    chosen = next(one for one in REDUCTIONS if str(one) == options.reduce)
    short = sorted(
        one for one in dataset.sizes if chosen > 1 and not is_enough(one, chosen, spec.resize, size)
    )
    if not short:
        return dataset, Decode(chosen)
    least = min(short, key=min)
    if -(-min(least) // chosen) < MIN_SIDE:
        msg = (
            f"--reduce {chosen} leaves {_said(least, chosen)} pixels of a photo of "
            f"{_said(least)}, {MIN_SIDE}x{MIN_SIDE} is the least: --reduce {best} would do"
        )
        raise DatasetError(msg)
    message = (
        f"--reduce {chosen} leaves less than the model sees: {_said(least, chosen)} pixels of a "
        f"photo of {_said(least)}; --reduce {best} leaves enough of every one"
    )
    notices = (*dataset.notices, Notice("reduced", message, ()))
    return replace(dataset, notices=notices), Decode(chosen)


def _said(size: tuple[int, int], reduction: Reduction = 1) -> str:
    """Width x height, reduced."""
    height, width = (-(-side // reduction) for side in size)
    return f"{width}x{height}"
