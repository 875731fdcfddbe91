"""What comes before the first scheme: the model is loaded, its images lie beside the worker."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from lineside.dataset import load_tensors
from lineside.decision import is_sorting
from lineside.errors import ConvertError, InputError
from lineside.image import to_tensor
from lineside.limit_rules import LimitRules, check_sorting
from lineside.progress import working
from lineside.run import SplitPart, SplitRow
from lineside_convert.calibration import balanced_sample, with_full_range
from lineside_convert.golden import test_pictures
from lineside_convert.maker import GIVEN, PROBED
from lineside_convert.options import Options
from lineside_convert.source import Photos, Source, Subject, digest, understand
from lineside_convert.tflite.examine import examine
from lineside_convert.trials import Trials
from lineside_convert.worker.protocol import Load, Loaded
from lineside_convert.workshop import Workshop


def prepare(source: Source, options: Options, workshop: Workshop) -> Trials:
    """Load a model into a workshop, and put its images there.

    Args:
        source: as `lineside_convert.source.open_source` gives it.
        options: what was said.
        workshop: where; what was loaded there before is forgotten.

    Raises:
        InputError: labels or other things that don't fit the model.
        DatasetError: an image is missing or was changed.
        ConvertError: the model can't be used.
    """
    subject, photos = _load(source, options, workshop), source.photos
    _check_rules(options.rules, subject, photos)
    if photos is None:
        pictures = [
            to_tensor(frame, subject.preprocess, subject.size)
            for frame in test_pictures(subject.size)
        ]
        workshop.save("patterns.npy", np.stack(pictures))
        return Trials(workshop, source, subject, options)
    truth = {part: _truth(photos, subject, part) for part in ("val", "test")}
    sample = balanced_sample(photos.part("train"), options.calibration, photos.seed)
    calibration = with_full_range(_tensors(photos, subject, sample, "train"))
    workshop.save("calibration.npy", calibration)
    workshop.save("probe.npy", calibration[:PROBED])
    for part in ("val", "test"):
        workshop.save(f"{part}.npy", _tensors(photos, subject, photos.part(part), part))
    return Trials(workshop, source, subject, options, truth=truth, sample=sample)


def _check_rules(rules: LimitRules, subject: Subject, photos: Photos | None) -> None:
    if is_sorting(subject.labels):
        check_sorting(rules)
    if photos is None and rules != LimitRules():
        said = f"--{rules.texts()[0][0].replace('_', '-')}"
        msg = f"{said} means nothing without images to choose limits on: add --images, or leave it"
        raise InputError(msg)


def _load(source: Source, options: Options, workshop: Workshop) -> Subject:
    if source.kind == "tflite":
        return _load_tflite(source, options, workshop)
    request = Load(path=str(source.path.absolute()), normalization=options.normalization)
    with working("Loading the model"):
        loaded = workshop.ask(request, Loaded)
    return understand(source, loaded, options)


def _load_tflite(source: Source, options: Options, workshop: Workshop) -> Subject:
    with working("Examining the file"):
        examined = examine(source.path)
        given = (workshop.folder / GIVEN).absolute()
        shutil.copyfile(source.path, given)
    if examined.sha256 != digest(given):
        msg = f"{source.path} was changed while it was read: try again when it is complete"
        raise ConvertError(msg)
    request = Load(path=str(given))
    with working("Loading the model"):
        loaded = workshop.ask(request, Loaded)
    subject = understand(source, loaded, options, examined.metadata)
    if subject.normalization is not None:
        request = msgspec.structs.replace(request, normalization=subject.normalization)
        workshop.ask(request, Loaded)
    return dataclasses.replace(subject, notes=(*subject.notes, *examined.notes))


def _tensors(
    photos: Photos, subject: Subject, rows: Sequence[SplitRow], part: str
) -> npt.NDArray[np.uint8]:
    return load_tensors(
        photos.root,
        [row.file for row in rows],
        subject.preprocess,
        subject.size,
        what=f"Reading {part}",
        sha256=[row.sha256 for row in rows],
    )


def _truth(photos: Photos, subject: Subject, part: SplitPart) -> npt.NDArray[np.intp]:
    """For each image of a part the index of its label."""
    names = [label.name for label in subject.labels]
    rows = photos.part(part)
    strange = sorted({row.label for row in rows} - set(names))
    if strange:
        msg = f"{strange[0]!r} in split.csv is none of the labels {', '.join(names)}"
        raise ConvertError(msg)
    return np.array([names.index(row.label) for row in rows], np.intp)
