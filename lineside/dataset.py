"""A folder of photos, one folder for each label: read, checked, split and turned into tensors.

Nothing is dropped in silence: what is left out, and what is treated specially, is a `Notice`.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from lineside.errors import DatasetError, ImageError
from lineside.extras import require
from lineside.image import MAX_PIXELS, Preprocess, decode, to_tensor
from lineside.progress import track
from lineside.run import PARTS, SplitRow

_In = TypeVar("_In")
_Out = TypeVar("_Out")

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""What the name of a photo ends with, in any case."""

MAX_FILE_BYTES: Final = 500_000_000
"""A file larger than this is left out without being read."""

MIN_IMAGES: Final = 3
"""Different images that each label needs: one for each part of the split."""

_PECULIAR: Final = {  # kind -> what it is, and what is done about it
    "16-bit": ("images of more than 8 bits a channel", "they are reduced to 8"),
    "cmyk": ("CMYK images", "they are converted to RGB"),
    "alpha": ("images with transparency", "it is dropped (in a TIFF: blended on black)"),
    "exif": ("images with an EXIF rotation", "it is applied"),
}


@dataclass(frozen=True)
class Photo:
    """One usable image.

    Attributes:
        file: path below the root, with `/`; its first level is the label.
        sha256: of the file's bytes, in hex.
    """

    file: str
    sha256: str

    @property
    def label(self) -> str:
        """The label: the first level of the path."""
        return self.file.split("/", 1)[0]


@dataclass(frozen=True)
class Notice:
    """Something about the images that a person should know.

    Attributes:
        kind: `unreadable`, `conflict`, `duplicates`, `links`, `others`, `empty`, or a
            peculiarity: `16-bit`, `cmyk`, `alpha`, `exif`.
        message: one line.
        files: which ones, below the root.
    """

    kind: str
    message: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """What a folder of photos holds.

    Attributes:
        root: the folder.
        labels: sorted; at least two.
        photos: the usable images, sorted by file.
        notices: what was left out or is treated specially.
        gray: whether no image holds any colour.
    """

    root: Path
    labels: tuple[str, ...]
    photos: tuple[Photo, ...]
    notices: tuple[Notice, ...]
    gray: bool


@dataclass(frozen=True)
class _Checked:
    """What one file turned out to be; `problem` says why it can't be used."""

    file: str
    sha256: str = ""
    gray: bool = False
    peculiarities: frozenset[str] = frozenset()
    problem: str = ""


def read_dataset(root: Path, *, min_labels: int = 2) -> Dataset:
    """Walk a folder of photos, hash each image and check that it can be decoded.

    Hidden files are ignored. Links are followed where they lead to a file inside the root.

    Args:
        root: holds one folder for each label; photos may lie in folders below that.
        min_labels: how many labels there must be at least.

    Raises:
        DatasetError: no such folder, no images, too few labels, or a label that can't be
            used as one.
    """
    files, notices = _walk(root)
    checked = _in_threads(lambda file: _check(root, file), files, "Checking the images")
    notices += [Notice("unreadable", one.problem, (one.file,)) for one in checked if one.problem]
    usable = [one for one in checked if not one.problem]
    notices += _peculiar(usable)
    conflicts, doubles = _doubles(usable)
    notices += conflicts + doubles
    left_out = {file for notice in conflicts for file in notice.files}
    usable = [one for one in usable if one.file not in left_out]
    photos = tuple(Photo(one.file, one.sha256) for one in usable)
    labels = tuple(sorted({photo.label for photo in photos}))
    for empty in sorted(_folders(root) - set(labels)):
        message = f"the label {empty!r} has no usable image and is left out"
        notices.append(Notice("empty", message, ()))
    if len(labels) < min_labels:
        raise DatasetError(_too_few(root, labels, notices))
    return Dataset(root, labels, photos, tuple(notices), all(one.gray for one in usable))


def _too_few(root: Path, labels: Sequence[str], notices: Sequence[Notice]) -> str:
    found = f"only the label {labels[0]!r}" if labels else "no image"
    why = f"; {notices[0].message}" if notices else ""
    more = f" ({len(notices) - 1} more such notices)" if len(notices) > 1 else ""
    return (
        f"{root} holds {found}: a folder for each of two labels or more is expected, "
        f"such as {root / 'good'} and {root / 'scratch'}, with images in them{why}{more}"
    )


def check_label(name: str) -> str:
    """Return `name` if it may be a label: the name of a plain folder.

    Raises:
        DatasetError: it is empty, `.`, `..` or hidden, holds a slash or a control character, or
            is longer than 128 characters.
    """
    if not name or name.startswith(".") or "/" in name or "\\" in name or not name.isprintable():
        msg = f"the label {name!r} is refused: the name of a plain folder is expected; rename it"
        raise DatasetError(msg)
    if len(name) > 128:
        msg = f"the label {name!r} is refused: 128 characters at most, got {len(name)}; rename it"
        raise DatasetError(msg)
    return name


def _walk(root: Path) -> tuple[list[str], list[Notice]]:
    """The files below the labels' folders that may be photos, sorted, and what is ignored."""
    if not root.is_dir():
        msg = f"{root} is no folder: a folder that holds one folder for each label is expected"
        raise DatasetError(msg)
    files: list[str] = []
    links: list[str] = []
    others: list[str] = []
    real_root = root.resolve()
    for path in _entries(root):
        file = path.relative_to(root).as_posix()
        if path.is_symlink() and not (path.is_file() and _is_inside(path, real_root)):
            links.append(file)
        elif "/" not in file or path.suffix.lower() not in SUFFIXES or not _is_utf8(file):
            others.append(file)
        elif path.is_file():
            check_label(file.split("/", 1)[0])
            files.append(file)
    notices = _counted(
        "links", links, "links to folders, or out of the data folder", "they are not followed"
    ) + _counted("others", others, "files that are no photos of a label", "they are left out")
    return sorted(files), notices


def _entries(root: Path) -> Iterator[Path]:
    """Every file and every link below `root` that is not hidden, in no order."""

    def refuse(error: OSError) -> None:
        msg = f"{error.filename} can't be read ({error.strerror})"
        raise DatasetError(msg) from error

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*names, *linked):
            if not name.startswith("."):
                yield Path(folder, name)


def _folders(root: Path) -> set[str]:
    """The names of the labels' folders."""
    return {
        path.name
        for path in root.iterdir()
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
    }


def _is_inside(path: Path, real_root: Path) -> bool:
    return path.resolve().is_relative_to(real_root)


def _is_utf8(name: str) -> bool:
    # The bytes of such a name can't be written to split.csv.
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check(root: Path, file: str) -> _Checked:
    """Read one file and see whether it can be used."""
    path, name = root / file, repr(file)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            problem = f"{name}: {size} bytes is too large, {MAX_FILE_BYTES} is the most"
            return _Checked(file, problem=f"{problem}; it is left out")
        data = path.read_bytes()
        frame = decode(data, name=name)
    except OSError as error:
        return _Checked(file, problem=f"{name}: can't be read ({error.strerror}); it is left out")
    except ImageError as error:
        return _Checked(file, problem=f"{error}; it is left out")
    blue, green, red = frame[..., 0], frame[..., 1], frame[..., 2]
    gray = bool((blue == green).all() and (green == red).all())
    return _Checked(file, hashlib.sha256(data).hexdigest(), gray, _peculiarities(data))


def _peculiarities(data: bytes) -> frozenset[str]:
    """What the header of an image says that a person may not expect: keys of `_PECULIAR`."""
    image: Any = require("PIL.Image", extra="report")
    image.MAX_IMAGE_PIXELS = MAX_PIXELS  # the decoder has refused any larger one already
    try:
        with image.open(io.BytesIO(data)) as picture:
            found = {
                # Pillow opens 16-bit RGB as RGB, only its raw mode tells.
                "16-bit": picture.mode.startswith("I") or ";16" in str(picture.tile),
                "cmyk": picture.mode == "CMYK",
                "alpha": picture.has_transparency_data,
                "exif": picture.getexif().get(0x0112, 1) != 1,  # the tag Orientation
            }
    except (OSError, ValueError, SyntaxError):
        return frozenset()  # OpenCV reads it and Pillow does not: it is usable all the same
    return frozenset(kind for kind, is_so in found.items() if is_so)


def _peculiar(usable: Sequence[_Checked]) -> list[Notice]:
    notices = []
    for kind, (what, done) in _PECULIAR.items():
        files = [one.file for one in usable if kind in one.peculiarities]
        notices += _counted(kind, files, what, done)
    return notices


def _counted(kind: str, files: Sequence[str], what: str, done: str) -> list[Notice]:
    """One notice about all these files; none if there is no file."""
    if not files:
        return []
    message = f"{what}: {len(files)} (first: {files[0]!r}); {done}"
    return [Notice(kind, message, tuple(files))]


def _doubles(usable: Sequence[_Checked]) -> tuple[list[Notice], list[Notice]]:
    """Images that come twice: under two labels (a conflict), or within one."""
    groups: dict[str, list[str]] = defaultdict(list)
    for one in usable:
        groups[one.sha256].append(one.file)
    conflicts: list[Notice] = []
    copies: list[str] = []
    for files in (tuple(files) for files in groups.values() if len(files) > 1):
        if len({file.split("/", 1)[0] for file in files}) > 1:
            message = (
                f"{files[0]!r} and {files[-1]!r} are the same image under two labels: "
                f"all {len(files)} copies are left out"
            )
            conflicts.append(Notice("conflict", message, files))
        else:
            copies += files[1:]
    done = "copies stay together in one part of the split"
    return conflicts, _counted("duplicates", copies, "copies of other images", done)


def split_photos(
    photos: Sequence[Photo], seed: int, fractions: tuple[float, float, float] = (0.6, 0.15, 0.25)
) -> tuple[SplitRow, ...]:
    """Divide photos into train, val and test: by content, stratified, copies kept together.

    For each label, its images (identical ones as one) are put in the order of
    sha256(seed:sha256), those with most copies first, and each goes to the part that lacks the
    largest share of its quota. Names, dates and the machine play no part in it.

    Args:
        photos: of all labels.
        seed: another seed gives another split.
        fractions: of train, val and test; they add up to 1.

    Returns:
        One row for each photo, sorted by file. Each part has an image of each label at least.

    Raises:
        DatasetError: a label has fewer than three different images.
    """
    by_label: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for photo in photos:
        by_label[photo.label][photo.sha256].append(photo.file)
    rows = []
    for label, groups in by_label.items():
        if len(groups) < MIN_IMAGES:
            msg = (
                f"the label {label!r} has {len(groups)} different images, {MIN_IMAGES} are the "
                "least (one each to train, choose and test on) and 100 a sensible start: add some"
            )
            raise DatasetError(msg)
        left = quotas = _quotas(sum(map(len, groups.values())), fractions)
        for sha256 in sorted(groups, key=lambda h: (-len(groups[h]), _shuffled(seed, h))):
            part = int(np.argmax(left / quotas))
            left = left - np.eye(len(PARTS))[part] * len(groups[sha256])
            rows += [SplitRow(file, sha256, PARTS[part]) for file in groups[sha256]]
    return tuple(sorted(rows, key=lambda row: row.file))


def _shuffled(seed: int, sha256: str) -> str:
    return hashlib.sha256(f"{seed}:{sha256}".encode()).hexdigest()


def _quotas(images: int, fractions: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """How many images train, val and test should get: rounded, and one at least."""
    val, test = (max(1, int(images * fraction + 0.5)) for fraction in fractions[1:])
    return np.array([max(1, images - val - test), val, test], np.float64)


def fingerprint(photos: Sequence[Photo]) -> str:
    """The sha256 of the photos' hashes and files, sorted, in hex."""
    lines = sorted(f"{photo.sha256} {photo.file}\0" for photo in photos)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_tensors(
    root: Path,
    files: Sequence[str],
    spec: Preprocess,
    size: tuple[int, int],
    *,
    what: str,
    sha256: Sequence[str] | None = None,
) -> npt.NDArray[np.uint8]:
    """What a model sees of each file.

    Args:
        root: the data folder.
        files: paths below it, with `/`.
        spec: how bytes become a tensor.
        size: height and width of the model's input, in pixels.
        what: what to call the work in the progress bar.
        sha256: the hash that each file must have, in hex, where it is known.

    Returns:
        uint8, n x height x width x channels, in the order of `files`.

    Raises:
        DatasetError: a file is not there, was changed, or lies outside `root`.
        ImageError: a file is no usable image.
    """
    tensors = np.empty((len(files), *size, spec.channels), np.uint8)
    real_root = root.resolve()

    def load(index: int) -> None:
        file = files[index]
        path = root / file
        if not _is_inside(path, real_root):
            msg = f"{file!r} lies outside of {root}, and is refused"
            raise DatasetError(msg)
        try:
            data = path.read_bytes()
        except OSError as error:
            msg = f"{file!r} can't be read from {root} ({error.strerror})"
            raise DatasetError(msg) from error
        if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256[index]:
            msg = f"{file!r} was changed: sha256 {sha256[index]} is expected, got {found}"
            raise DatasetError(msg)
        tensors[index] = to_tensor(decode(data, spec.decode, name=repr(file)), spec, size)

    _in_threads(load, range(len(files)), what)
    return tensors


def _in_threads(work: Callable[[_In], _Out], items: Sequence[_In], what: str) -> list[_Out]:
    """Do `work` on each item, on all cores: decoding and hashing release the interpreter lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(track(pool.map(work, items), total=len(items), what=what))
