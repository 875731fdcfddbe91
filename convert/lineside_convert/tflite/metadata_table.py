"""The flatbuffer that holds a model's metadata, after TensorFlow Lite Support's schema, M001.

No package that is still kept up brings code generated of that schema, and lineside wants a few
fields of it: they are read and written by their numbers, in the order in which
`metadata_schema.fbs` declares them. A union takes two numbers, first of its type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lineside.errors import ConvertError
from lineside.extras import require

IDENTIFIER: Final = b"M001"
PARSER_VERSION: Final = "1.0.0"
"""The oldest parser that understands what is written here."""

AXIS_LABELS: Final = 2
"""AssociatedFileType: a line for each value of the tensor."""
DESCRIPTIONS: Final = 1
"""AssociatedFileType: a text for people."""
NORMALIZATION: Final = 1
"""ProcessUnitOptions."""
FEATURE: Final = 1
"""ContentProperties."""
IMAGE: Final = 2
"""ContentProperties."""
COLOUR: Final = {3: 1, 1: 2}
"""ColorSpaceType of so many channels: RGB and GRAYSCALE."""

_Table = Any
"""A flatbuffers.table.Table: the package ships no types."""

_Builder = Any
"""A flatbuffers.Builder."""

_MAX_TEXT: Final = 4096
_MAX_ENTRIES: Final = 64


class Model:
    """Fields of ModelMetadata."""

    NAME, DESCRIPTION, VERSION, SUBGRAPHS, AUTHOR, LICENSE, FILES, PARSER = range(8)


class Subgraph:
    """Fields of SubGraphMetadata, the first four."""

    NAME, DESCRIPTION, INPUTS, OUTPUTS = range(4)


class Tensor:
    """Fields of TensorMetadata."""

    NAME, DESCRIPTION, DIMENSIONS, CONTENT, UNITS, STATS, FILES = range(7)


class Content:
    """Fields of Content, the first two; of ImageProperties the first is the colour."""

    TYPE, PROPERTIES = range(2)


class Unit:
    """Fields of ProcessUnit."""

    TYPE, OPTIONS = range(2)


class Options:
    """Fields of NormalizationOptions."""

    MEAN, STD = range(2)


class Stats:
    """Fields of Stats."""

    MAX, MIN = range(2)


class File:
    """Fields of AssociatedFile, the first three."""

    NAME, DESCRIPTION, TYPE = range(3)


@dataclass(frozen=True, kw_only=True)
class TensorNote:
    """What is said of an input or an output.

    Attributes:
        name: for people.
        description: a sentence.
        channels: 1 or 3 of an image; 0 where it is none.
        mean: of the normalization, (value - mean) / std; empty where none is said.
        std: of the normalization.
        least: the least value that it takes; empty where none is said.
        most: the largest one.
        label_files: names of files with a line for each value.
        texts: names of files for people.
    """

    name: str = ""
    description: str = ""
    channels: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    least: tuple[float, ...] = ()
    most: tuple[float, ...] = ()
    label_files: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelNote:
    """What is said of a model.

    Attributes:
        name: for people.
        description: a sentence.
        version: as its maker counts.
        author: who made it.
        source: the first input.
        output: the first output.
    """

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    source: TensorNote = TensorNote()
    output: TensorNote = TensorNote()


def read_table(block: bytes) -> ModelNote:
    """Read a metadata flatbuffer.

    Raises:
        ConvertError: it is damaged, or of another version.
        MissingExtraError: flatbuffers is not installed.
    """
    require("flatbuffers", extra="convert")
    if block[4:8] != IDENTIFIER:
        msg = f"metadata of version {IDENTIFIER!r} are expected, got {block[4:8]!r}"
        raise ConvertError(msg)
    try:
        return _read_model(_root(block))
    except Exception as error:  # the parser trusts the data, and raises anything
        msg = f"the metadata are damaged ({type(error).__name__})"
        raise ConvertError(msg) from error


def write_table(note: ModelNote) -> bytes:
    """The metadata flatbuffer; the same bytes for the same note.

    Raises:
        MissingExtraError: flatbuffers is not installed.
    """
    flatbuffers = require("flatbuffers", extra="convert")
    writer = _Writer(flatbuffers.Builder(1024))
    subgraph = writer.table(
        4,
        {
            Subgraph.INPUTS: writer.tables([writer.tensor(note.source)]),
            Subgraph.OUTPUTS: writer.tables([writer.tensor(note.output)]),
        },
    )
    root = writer.table(
        8,
        {
            Model.NAME: writer.text(note.name),
            Model.DESCRIPTION: writer.text(note.description),
            Model.VERSION: writer.text(note.version),
            Model.SUBGRAPHS: writer.tables([subgraph]),
            Model.AUTHOR: writer.text(note.author),
            Model.PARSER: writer.text(PARSER_VERSION),
        },
    )
    writer.builder.Finish(root, IDENTIFIER)
    return bytes(writer.builder.Output())


class _Writer:
    """Packs tables. What is 0 is left out, as flatbuffers do; children are packed first."""

    def __init__(self, builder: _Builder) -> None:
        self.builder = builder

    def text(self, text: str) -> int:
        return int(self.builder.CreateString(text)) if text else 0

    def floats(self, values: Sequence[float]) -> int:
        return self._vector(values, self.builder.PrependFloat32)

    def tables(self, offsets: Sequence[int]) -> int:
        return self._vector(offsets, self.builder.PrependUOffsetTRelative)

    def _vector(self, items: Sequence[Any], put: Callable[[Any], None]) -> int:
        if not items:
            return 0
        self.builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            put(item)
        return int(self.builder.EndVector())

    def table(
        self, fields: int, offsets: dict[int, int], small: dict[int, int] | None = None
    ) -> int:
        self.builder.StartObject(fields)
        for field, offset in offsets.items():
            self.builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        for field, value in (small or {}).items():
            self.builder.PrependUint8Slot(field, value, 0)
        return int(self.builder.EndObject())

    def tensor(self, note: TensorNote) -> int:
        if note.channels:
            properties = self.table(1, {}, {0: COLOUR[note.channels]})
        else:
            properties = self.table(0, {})
        kind = IMAGE if note.channels else FEATURE
        content = self.table(3, {Content.PROPERTIES: properties}, {Content.TYPE: kind})
        units = []
        if note.mean:
            options = {
                Options.MEAN: self.floats(note.mean),
                Options.STD: self.floats(note.std),
            }
            unit = {Unit.OPTIONS: self.table(2, options)}
            units = [self.table(2, unit, {Unit.TYPE: NORMALIZATION})]
        stats = {Stats.MAX: self.floats(note.most), Stats.MIN: self.floats(note.least)}
        files = [self.file(name, AXIS_LABELS) for name in note.label_files]
        files += [self.file(name, DESCRIPTIONS) for name in note.texts]
        return self.table(
            7,
            {
                Tensor.NAME: self.text(note.name),
                Tensor.DESCRIPTION: self.text(note.description),
                Tensor.CONTENT: content,
                Tensor.UNITS: self.tables(units),
                Tensor.STATS: self.table(2, stats),
                Tensor.FILES: self.tables(files),
            },
        )

    def file(self, name: str, kind: int) -> int:
        says = self.text("The labels, one on each line.")
        offsets = {File.NAME: self.text(name), File.DESCRIPTION: says}
        return self.table(4, offsets, {File.TYPE: kind})


def _root(block: bytes) -> _Table:
    table: Any = require("flatbuffers.table", extra="convert")
    start: Any = require("flatbuffers.encode", extra="convert")
    packer: Any = require("flatbuffers.packer", extra="convert")
    return table.Table(block, start.Get(packer.uoffset, block, 0))


def _field(table: _Table, field: int) -> int:
    """Where a field lies, relative to its table; 0 where it is left out."""
    return int(table.Offset(4 + 2 * field))


def _text(table: _Table, field: int) -> str:
    at = _field(table, field)
    return table.String(at + table.Pos).decode("utf-8", "replace")[:_MAX_TEXT] if at else ""


def _small(table: _Table, field: int) -> int:
    at = _field(table, field)
    return int(table.Bytes[at + table.Pos]) if at else 0


def _child(table: _Table, field: int) -> _Table:
    at = _field(table, field)
    return type(table)(table.Bytes, table.Indirect(at + table.Pos)) if at else None


def _children(table: _Table, field: int) -> list[_Table]:
    at = _field(table, field)
    if not at:
        return []
    first, count = table.Vector(at), min(table.VectorLen(at), _MAX_ENTRIES)
    return [type(table)(table.Bytes, table.Indirect(first + 4 * n)) for n in range(count)]


def _floats(table: _Table, field: int) -> tuple[float, ...]:
    types: Any = require("flatbuffers.number_types", extra="convert")
    at = _field(table, field)
    if not at:
        return ()
    first, count = table.Vector(at), min(table.VectorLen(at), _MAX_ENTRIES)
    return tuple(table.Get(types.Float32Flags, first + 4 * n) for n in range(count))


def _read_model(table: _Table) -> ModelNote:
    subgraph = next(iter(_children(table, Model.SUBGRAPHS)), None)
    tensors = [TensorNote(), TensorNote()]
    if subgraph is not None:
        for place, field in enumerate((Subgraph.INPUTS, Subgraph.OUTPUTS)):
            tensors[place] = next(map(_read_tensor, _children(subgraph, field)), TensorNote())
    return ModelNote(
        name=_text(table, Model.NAME),
        description=_text(table, Model.DESCRIPTION),
        version=_text(table, Model.VERSION),
        author=_text(table, Model.AUTHOR),
        source=tensors[0],
        output=tensors[1],
    )


def _read_tensor(table: _Table) -> TensorNote:
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    for unit in _children(table, Tensor.UNITS):
        options = _child(unit, Unit.OPTIONS)
        if options is not None and _small(unit, Unit.TYPE) == NORMALIZATION:
            mean, std = _floats(options, Options.MEAN), _floats(options, Options.STD)
    stats = _child(table, Tensor.STATS)
    files = [(_text(f, File.NAME), _small(f, File.TYPE)) for f in _children(table, Tensor.FILES)]
    return TensorNote(
        name=_text(table, Tensor.NAME),
        description=_text(table, Tensor.DESCRIPTION),
        channels=_read_channels(_child(table, Tensor.CONTENT)),
        mean=mean if _usable(mean, std) else (),
        std=std if _usable(mean, std) else (),
        least=() if stats is None else _floats(stats, Stats.MIN),
        most=() if stats is None else _floats(stats, Stats.MAX),
        label_files=tuple(name for name, kind in files if kind == AXIS_LABELS),
        texts=tuple(name for name, kind in files if kind == DESCRIPTIONS),
    )


def _read_channels(content: _Table) -> int:
    if content is None or _small(content, Content.TYPE) != IMAGE:
        return 0
    image = _child(content, Content.PROPERTIES)
    colour = 0 if image is None else _small(image, 0)
    return next((count for count, number in COLOUR.items() if number == colour), 0)


def _usable(mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    """Whether a normalization can be meant: one value for all channels, or one for each."""
    return (
        {len(mean), len(std)} <= {1, 3}
        and all(map(math.isfinite, mean + std))
        and all(s > 0 for s in std)
    )
