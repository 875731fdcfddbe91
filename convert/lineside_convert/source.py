"""What is converted: a run, a model of Keras or TensorFlow, or a .tflite that nobody here made."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from lineside import labels as label_rules
from lineside.dataset import fingerprint, read_dataset, split_photos
from lineside.errors import ConvertError, DatasetError, InputError, RunError
from lineside.files import read_file
from lineside.image import Preprocess
from lineside.manifest import Label, Normalization
from lineside.run import PARTS, Run, SplitPart, SplitRow, encode_split, open_run
from lineside.topics import name_from
from lineside_convert.options import Options
from lineside_convert.scheme import UNCHANGED
from lineside_convert.tflite.metadata import FileMetadata
from lineside_convert.worker.protocol import Layout, Loaded

Kind = Literal["run", "keras", "saved_model", "tflite"]

MAX_LABELS_BYTES: Final = 1_000_000
"""How large a file of labels may be, in bytes."""


@dataclass(frozen=True)
class Photos:
    """Labelled images, split: every choice is made on train and val, test is measured once.

    Attributes:
        root: the folder.
        rows: all of them.
        data: fingerprint of the images.
        split: fingerprint of the split.
        seed: of the split, and of the calibration's sample.
        notices: what was odd about the images.
    """

    root: Path
    rows: tuple[SplitRow, ...]
    data: str
    split: str
    seed: int
    notices: tuple[str, ...] = ()

    def part(self, part: SplitPart) -> tuple[SplitRow, ...]:
        """The images of one part, in order."""
        return tuple(row for row in self.rows if row.part == part)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Something to convert, before its model is loaded.

    Attributes:
        path: of the model.
        kind: what it is.
        name: the bundle's, where nothing else was said.
        photos: the images; None where there are none.
        run: the run; None for a model of others.
    """

    path: Path
    kind: Kind
    name: str
    photos: Photos | None
    run: Run | None = None

    def provenance(self) -> dict[str, Any]:
        """Where the bundle comes from, for its manifest."""
        photos = self.photos
        said: dict[str, Any] = {"model": self.path.name, "sha256": digest(self.path)}
        if self.run is not None:
            said = {"run": self.run.info.name, "train": self.run.info.options}
        if photos is not None:
            said |= {"data": f"sha256:{photos.data}", "split": f"sha256:{photos.split}"}
            said |= {"seed": photos.seed}
        return said


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is known of a source once its model was loaded.

    Attributes:
        labels: in the order of the outputs.
        preprocess: from bytes to pixels.
        size: height and width of the input, in pixels.
        layout: where its channels are.
        kind: of the output of original.tflite.
        own_kind: of the model's own output.
        normalization: what the model wants done to the pixels; None: they go in as they are.
        versions: of what loaded it.
        notes: what whoever uses the bundle must know.
    """

    labels: tuple[Label, ...]
    preprocess: Preprocess
    size: tuple[int, int]
    layout: Layout
    kind: str
    own_kind: str
    normalization: Normalization | None
    versions: dict[str, str]
    notes: tuple[str, ...] = ()


def open_source(path: Path, options: Options) -> Source:
    """Look at what is to be converted, and at its images.

    Raises:
        InputError: it is nothing that can be converted.
        RunError: a run that can't be used.
        DatasetError: images that can't be used.
    """
    kind = _kind(path)
    if options.scheme == UNCHANGED and kind != "tflite":
        msg = f"--scheme unchanged is refused: {path} is no .tflite; auto or another is expected"
        raise InputError(msg)
    if kind == "run":
        run = open_run(path)
        photos = _photos_of_run(run, options)
        name = name_from(run.info.name)
        return Source(path=run.model_path, kind=kind, name=name, photos=photos, run=run)
    images = _photos(options.data, options) if options.data is not None else None
    return Source(path=path, kind=kind, name=name_from(path.stem), photos=images)


def _kind(path: Path) -> Kind:
    if path.suffix == ".tflite" and path.is_file():
        return "tflite"
    if path.suffix == ".keras" and path.is_file():
        return "keras"
    if (path / "saved_model.pb").is_file():
        return "saved_model"
    if path.is_dir():
        return "run"
    if not path.exists():
        msg = f"{path} is not there"
        raise InputError(msg)
    msg = (
        f"{path} is nothing to convert: a run folder, a SavedModel folder, a .keras or a .tflite "
        "file is expected"
    )
    raise InputError(msg)


def _photos_of_run(run: Run, options: Options) -> Photos:
    root = options.data or Path(run.info.data_root)
    if not root.is_dir():
        msg = f"the photos of {run.path} are not in {root}: say where they are with --images DIR"
        raise RunError(msg)
    info = run.info
    photos = Photos(root, run.split, info.data, info.split, info.seed, tuple(run.metrics.notices))
    for part in PARTS:
        if not photos.part(part):
            msg = f"{run.path}/split.csv has no image in {part}: train it again"
            raise RunError(msg)
    return photos


def _photos(root: Path, options: Options) -> Photos:
    dataset = read_dataset(root)
    rows = split_photos(dataset.photos, options.seed)
    split = hashlib.sha256(encode_split(rows)).hexdigest()
    notices = tuple(notice.message for notice in dataset.notices)
    data = fingerprint(dataset.photos)
    return Photos(dataset.root, rows, data, split, options.seed, notices)


def understand(
    source: Source, loaded: Loaded, options: Options, metadata: FileMetadata | None = None
) -> Subject:
    """Put together what is known: from the run, from the model, and from what was said.

    Args:
        source: what is converted.
        loaded: what its model is.
        options: what was said.
        metadata: of a .tflite.

    Raises:
        ConvertError: the model does not fit its labels, or its run.
        InputError: labels, or a normalization, that are missing or don't fit.
    """
    if source.run is not None:
        return _of_run(source.run, loaded)
    notes: list[str] = []
    labels = _labels(source, loaded, options, metadata, notes)
    normalization = _normalization(source, loaded, options, metadata, notes)
    return Subject(
        labels=labels,
        preprocess=Preprocess(
            resize=options.resize, colour="gray" if loaded.channels == 1 else "rgb"
        ),
        size=(loaded.height, loaded.width),
        layout=loaded.layout,
        kind=loaded.kind,
        own_kind=loaded.own_kind,
        # Into a graph of Keras or TensorFlow it was folded as it was loaded.
        normalization=normalization if source.kind == "tflite" else None,
        versions=loaded.versions,
        notes=tuple(notes),
    )


def _of_run(run: Run, loaded: Loaded) -> Subject:
    info = run.info
    takes = (*info.image_size, info.preprocess.channels)
    found = (loaded.height, loaded.width, loaded.channels)
    if takes != found or loaded.values != len(info.labels):
        msg = (
            f"{run.model_path}: a model from {takes} to {len(info.labels)} values is expected, "
            f"got {found} to {loaded.values}"
        )
        raise ConvertError(msg)
    return Subject(
        labels=tuple(info.labels),
        preprocess=info.preprocess,
        size=info.image_size,
        layout=loaded.layout,
        kind=loaded.kind,
        own_kind=loaded.own_kind,
        normalization=None,
        versions=loaded.versions,
    )


def _labels(
    source: Source,
    loaded: Loaded,
    options: Options,
    metadata: FileMetadata | None,
    notes: list[str],
) -> tuple[Label, ...]:
    found, where = _names(source, options, metadata)
    wanted = 2 if loaded.values == 1 else loaded.values
    if len(found) != wanted:
        msg = (
            f"{where} gives {len(found)} labels, but the model has {wanted} answers: "
            "one line for each, in the order of its outputs, is expected in --labels FILE"
        )
        raise InputError(msg)
    names = _different(found)
    if names != tuple(found):
        notes.append("Labels of the same name were told apart by their line number.")
    if source.photos is not None:
        strange = sorted({row.label for row in source.photos.rows} - set(names))
        if strange:
            msg = (
                f"{source.photos.root}: the model has no label {strange[0]!r}: rename the folder, "
                f"or the line in --labels ({', '.join(names[:10])})"
            )
            raise DatasetError(msg)
    known = any(name.casefold() in label_rules.KNOWN_AS_GOOD for name in names)
    if not options.good and not options.sort and not known:
        notes.append(
            "No label is known to mean a good part, so it sorts: `ok` means confident. Say which "
            "ones are good with --good LABEL."
        )
        return label_rules.mark_labels(names, (), sort=True)
    return label_rules.mark_labels(names, options.good, sort=options.sort)


def _names(
    source: Source, options: Options, metadata: FileMetadata | None
) -> tuple[Sequence[str], str]:
    """The labels' names, and where they come from."""
    if options.labels is not None:
        return _read_labels(options.labels), f"--labels {options.labels}"
    if metadata is not None and metadata.labels:
        return metadata.labels, f"{source.path} ({metadata.labels_from})"
    msg = f"{source.path} does not say its labels: --labels FILE with one line for each is expected"
    raise InputError(msg)


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        text = read_file(path, MAX_LABELS_BYTES).decode("utf-8-sig")
    except InputError as error:
        msg = f"--labels {error}"
        raise InputError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"--labels {path} is no text in UTF-8"
        raise InputError(msg) from error
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    wrong = next((n for n, line in enumerate(lines, 1) if not 0 < len(line) <= 128), None)
    if wrong is not None or not lines:
        msg = f"--labels {path}, line {wrong or 1}: a label of 1 to 128 characters is expected"
        raise InputError(msg)
    return tuple(lines)


def _different(names: Sequence[str]) -> tuple[str, ...]:
    """`crane` in lines 135 and 518 becomes `crane` and `crane (518)`."""
    seen: set[str] = set()
    different = []
    for line, name in enumerate(names, 1):
        own = name if name not in seen else f"{name} ({line})"
        seen.add(own)
        different.append(own)
    return tuple(different)


def _normalization(
    source: Source,
    loaded: Loaded,
    options: Options,
    metadata: FileMetadata | None,
    notes: list[str],
) -> Normalization | None:
    """What the model wants done to the pixels; nothing is ever guessed from them."""
    said = options.normalization
    if said is not None:
        for values in (said.mean, said.std):
            if len(values) not in {1, loaded.channels}:
                msg = (
                    f"--mean and --std: one value, or {loaded.channels}, are expected, "
                    f"got {len(values)}"
                )
                raise InputError(msg)
        return None if (set(said.mean), set(said.std)) == ({0.0}, {1.0}) else said
    if source.kind != "tflite":
        notes.append(
            "The model was taken to expect pixels from 0 to 255; say --mean and --std if it was "
            "trained with others."
        )
        return None
    if loaded.dtype != "float32":
        return None  # stored values are the pixels, whatever metadata say of their range
    if metadata is not None and metadata.mean and metadata.std:
        return Normalization(mean=list(metadata.mean), std=list(metadata.std))
    notes.append(
        "Nothing says how the model wants its pixels: they are divided by 255. Say --mean and "
        "--std if it was trained otherwise (127.5 and 127.5 for -1 to 1, 0 and 1 for 0 to 255)."
    )
    return Normalization(mean=[0.0], std=[255.0])


def digest(path: Path) -> str:
    """The sha256 of a file, or of a folder's files with their names."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    whole = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            whole.update(f"{file.relative_to(path).as_posix()} {content}\n".encode())
    return whole.hexdigest()


def normalization_of(mean: Sequence[float], std: Sequence[float]) -> Normalization | None:
    """What --mean and --std say; None where they were not given.

    Raises:
        InputError: one without the other, a number of values that differs, or a std of 0.
    """
    if not mean and not std:
        return None
    usable = all(map(math.isfinite, (*mean, *std))) and all(value > 0 for value in std)
    if len(mean) != len(std) or not usable:
        msg = f"--mean {list(mean)} --std {list(std)}: as many of each, std above 0, are expected"
        raise InputError(msg)
    return msgspec.convert({"mean": list(mean), "std": list(std)}, type=Normalization)
