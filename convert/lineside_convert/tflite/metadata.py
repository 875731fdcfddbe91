"""Standard TFLite metadata: what a .tflite says of itself to people and to other tools.

A file's metadata are a flatbuffer in the buffer called TFLITE_METADATA (`metadata_table`) and,
for the labels, a zip archive behind the model's own bytes. Netron and the TFLite task libraries
read them. As with `graph`, files from outside are read in a child process only.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lineside.errors import ConvertError
from lineside.extras import require
from lineside.manifest import Normalization
from lineside_convert.tflite.graph import Graph, GraphTensor, read_graph
from lineside_convert.tflite.metadata_table import ModelNote, TensorNote, read_table, write_table

BUFFER: Final = "TFLITE_METADATA"
LABELS: Final = "labels.txt"
"""What the file of labels is called that is written here."""

MAX_LABELS: Final = 1 << 20
"""Bytes of a file of labels."""
_MAX_FILES: Final = 64
_RAW: Final = {"uint8": (0.0, 255.0), "int8": (-128.0, 127.0)}
"""What an input takes that is stored so."""


@dataclass(frozen=True, kw_only=True)
class FileMetadata:
    """What a file says of itself.

    Attributes:
        present: whether it has metadata at all.
        name: of the model; empty where nothing is said.
        description: of the model; empty where nothing is said.
        version: as its maker counts; empty where nothing is said.
        author: who made it; empty where nothing is said.
        labels: in the order of the outputs; None where there are none. A line of the file for
            each, as it is: there may be empty ones, or the same one twice.
        labels_from: the file within the model's archive that they come from; where there are no
            labels, the one that is listed but not there, as after a cut.
        mean: of the input's normalization (pixel - mean) / std, one value or three; None where
            nothing is said. Quantized files may declare the float model's: what they are then
            good for is the caller's to decide.
        std: of the same.
    """

    present: bool = False
    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    labels: tuple[str, ...] | None = None
    labels_from: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def read_metadata(model: bytes) -> FileMetadata:
    """Read what a .tflite file says of itself.

    Labels are those that the metadata list for the output; if they list none, those of the only
    file in the archive with `label` in its name.

    Raises:
        ConvertError: the metadata or the archive are damaged, or too large.
        MissingExtraError: ai-edge-litert is not installed.
    """
    block = _block(model)
    note = ModelNote() if block is None else read_table(block)
    labels_from, labels = _labels(model, note.output.label_files)
    if labels is None:
        labels_from = next(iter(note.output.label_files), None)
    return FileMetadata(
        present=block is not None,
        name=note.name,
        description=note.description,
        version=note.version,
        author=note.author,
        labels=labels,
        labels_from=labels_from,
        mean=note.source.mean or None,
        std=note.source.std or None,
    )


def with_metadata(
    model: bytes,
    *,
    name: str,
    description: str,
    version: str,
    labels: Sequence[str],
    kind: str,
    normalization: Normalization | None = None,
    author: str = "",
) -> bytes:
    """The same model with metadata; it answers the same.

    A file that has metadata already is given back as it is: they are its maker's words.

    Args:
        model: a .tflite file that can be trusted, with one image as input and one output.
        name: of the model.
        description: a sentence.
        version: of the bundle.
        labels: in the order of the outputs; two where one value stands for the second.
        kind: of the output, as in the manifest, such as `class_logits`.
        normalization: what is done to the pixels; None: they are taken as they are.
        author: who made it.

    Returns:
        A file whose bytes depend on nothing but the arguments and the version of ai-edge-litert.

    Raises:
        ConvertError: the model can't be read, or a label holds a line break.
        MissingExtraError: ai-edge-litert is not installed.
    """
    if _block(model) is not None:
        return model
    bad = next((label for label in labels if "\n" in label or "\r" in label), None)
    if bad is not None:
        msg = f"the label {bad!r} holds a line break, and can't be written into the metadata"
        raise ConvertError(msg)
    graph = read_graph(model)
    note = ModelNote(
        name=name,
        description=description,
        version=version,
        author=author,
        source=_source_note(graph, normalization),
        output=_output_note(graph.outputs[0], kind, labels),
    )
    return _with_labels(_with_block(model, write_table(note)), labels)


def _source_note(graph: Graph, normalization: Normalization | None) -> TensorNote:
    source = graph.inputs[0]
    channels = source.shape[-1] if source.shape[-1] in {1, 3} else source.shape[1]
    mean = (0.0,) if normalization is None else tuple(normalization.mean)
    std = (1.0,) if normalization is None else tuple(normalization.std)
    if source.dtype in _RAW:
        least, most = ((value,) for value in _RAW[source.dtype])
    else:
        least, most = (
            tuple(((value - np.array(mean)) / np.array(std)).tolist()) for value in (0.0, 255.0)
        )
    return TensorNote(
        name="image",
        description=f"The picture to be judged, {' x '.join(map(str, source.shape[1:]))}.",
        channels=channels,
        mean=mean,
        std=std,
        least=least,
        most=most,
    )


def _output_note(output: GraphTensor, kind: str, labels: Sequence[str]) -> TensorNote:
    probability = kind.endswith(("probability", "probabilities"))
    each = int(np.prod(output.shape)) == len(labels)
    of = "of each label" if each else f"of {labels[-1]}"
    return TensorNote(
        name="probability" if probability else "logit",
        description=f"The {'probability' if probability else 'logit'} {of} ({kind}).",
        least=(0.0,) if probability else (),
        most=(1.0,) if probability else (),
        # A reader would take one line for each value: two labels of one value are but a text.
        label_files=(LABELS,) if each else (),
        texts=() if each else (LABELS,),
    )


def _with_block(model: bytes, block: bytes) -> bytes:
    tools: Any = require("ai_edge_litert.tools.flatbuffer_utils", extra="convert")
    schema: Any = require("ai_edge_litert.schema_py_generated", extra="convert")
    tree = tools.read_model_from_bytearray(model)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(block, np.uint8)
    entry.name, entry.buffer = BUFFER, len(tree.buffers)
    tree.buffers.append(buffer)
    tree.metadata = [*(tree.metadata or []), entry]
    return bytes(tools.convert_object_to_bytearray(tree))


def _with_labels(model: bytes, labels: Sequence[str]) -> bytes:
    whole = io.BytesIO(model)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        # The oldest date that a zip can hold, and the same rights on every system.
        info = zipfile.ZipInfo(LABELS, (1980, 1, 1, 0, 0, 0))
        info.create_system, info.external_attr = 3, 0o644 << 16
        archive.writestr(info, "".join(f"{label}\n" for label in labels))
    return whole.getvalue()


def _block(model: bytes) -> bytes | None:
    """The metadata flatbuffer of a file; None where it has none."""
    schema = require("ai_edge_litert.schema_py_generated", extra="convert")
    try:
        root = schema.Model.GetRootAs(model)
        for index in range(min(root.MetadataLength(), _MAX_FILES)):
            entry = root.Metadata(index)
            if entry.Name() == BUFFER.encode():
                buffer = root.Buffers(entry.Buffer())
                return bytes(buffer.DataAsNumpy().tobytes())
    except Exception as error:  # the parser trusts the file, and raises anything
        msg = f"the list of its metadata is damaged ({type(error).__name__})"
        raise ConvertError(msg) from error
    return None


def _labels(model: bytes, listed: Sequence[str]) -> tuple[str, tuple[str, ...]] | tuple[None, None]:
    """The name of the file of labels within the archive, and its lines."""
    if not zipfile.is_zipfile(io.BytesIO(model)):
        return None, None
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            names = archive.namelist()[:_MAX_FILES]
            wanted = [name for name in listed if name in names]
            likely = [name for name in names if "label" in name.lower()]
            if not wanted and len(likely) != 1:
                return None, None
            name = (wanted or likely)[0]
            with archive.open(name) as file:
                text = file.read(MAX_LABELS + 1)
    except Exception as error:  # zipfile raises many things on damaged archives
        msg = f"the labels can't be read from its archive ({type(error).__name__}: {error})"
        raise ConvertError(msg) from error
    if len(text) > MAX_LABELS:
        msg = f"{name} in its archive is larger than {MAX_LABELS} bytes"
        raise ConvertError(msg)
    lines = [line.strip() for line in text.decode("utf-8-sig", "replace").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return (name, tuple(lines)) if lines else (None, None)
