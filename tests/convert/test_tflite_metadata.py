"""Standard TFLite metadata: read from files of others, written so that nothing else changes."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lineside.errors import ConvertError
from lineside.manifest import Normalization
from lineside.runtime.litert import LiteRtEngine
from lineside_convert.tflite.metadata import MAX_LABELS, FileMetadata, read_metadata, with_metadata
from lineside_convert.tflite.metadata_table import (
    ModelNote,
    TensorNote,
    read_table,
    write_table,
)
from tests.support.shared import shared
from tests.support.tiny import tiny_model

NORMALIZATION = Normalization(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])


def _with(model: bytes, kind: str = "class_probabilities", **changes: object) -> bytes:
    fields = {
        "name": "cells",
        "description": "Is a cell cracked?",
        "version": "1.2.3",
        "labels": ["ok", "größer 2 mm"],
        "author": "the quality room",
    } | changes
    return with_metadata(model, kind=kind, **fields)  # type: ignore[arg-type]


def test_what_is_written_is_read_again() -> None:
    model = _with(tiny_model((1, 8, 8, 3)), normalization=NORMALIZATION)
    assert read_metadata(model) == FileMetadata(
        present=True,
        name="cells",
        description="Is a cell cracked?",
        version="1.2.3",
        author="the quality room",
        labels=("ok", "größer 2 mm"),
        labels_from="labels.txt",
        mean=(1.0, 2.0, 3.0),
        std=(4.0, 5.0, 6.0),
    )


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
def test_the_model_answers_the_same(dtype: str) -> None:
    model = tiny_model(dtype=dtype, scale=None if dtype == "float32" else (1.0, 0))
    before, after = LiteRtEngine(model), LiteRtEngine(_with(model))
    rng = np.random.default_rng(0)
    for _ in range(3):
        picture = rng.integers(0, 127, (1, 8, 8, 1)).astype(dtype)
        assert np.array_equal(before.invoke(picture)[0], after.invoke(picture)[0])
    assert (before.inputs, before.outputs) == (after.inputs, after.outputs)


def test_the_bytes_do_not_depend_on_the_process() -> None:
    code = (
        "import hashlib; from tests.convert.test_tflite_metadata import _with; "
        "from tests.support.tiny import tiny_model; "
        "print(hashlib.sha256(_with(tiny_model())).hexdigest())"
    )
    expected = hashlib.sha256(_with(tiny_model())).hexdigest()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo"},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
            text=True,
        )
        assert done.stdout.strip() == expected


def test_the_labels_are_a_plain_file_in_an_archive_of_no_date() -> None:
    with zipfile.ZipFile(io.BytesIO(_with(tiny_model()))) as archive:
        (info,) = archive.infolist()
        assert archive.read(info) == "ok\ngrößer 2 mm\n".encode()
    assert info.filename == "labels.txt"
    assert info.compress_type == zipfile.ZIP_STORED
    assert info.date_time == (1980, 1, 1, 0, 0, 0)


def test_the_words_of_others_stay_as_they_are() -> None:
    model = _with(tiny_model())
    assert _with(model, name="another", labels=["a", "b"]) == model


def test_two_labels_of_one_value() -> None:
    model = _with(tiny_model(last="LOGISTIC", bias=[0.0]), kind="binary_probability")
    found = read_metadata(model)
    # A reader that wants one line for each value must not find them in the tensor's list.
    assert found.labels == ("ok", "größer 2 mm")


def test_a_label_of_two_lines_is_refused() -> None:
    with pytest.raises(ConvertError, match=r"the label 'a\\nb' holds a line break"):
        _with(tiny_model(), labels=["a\nb", "c"])


def test_a_file_without_metadata() -> None:
    assert read_metadata(tiny_model()) == FileMetadata()


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v1_0.25_224_quant.tflite", "mobilenet_v1_0.25_224_1_metadata_1.tflite"],
)
def test_metadata_that_others_wrote(name: str) -> None:
    found = read_metadata((shared("models/works") / name).read_bytes())
    assert found.present
    assert found.name.startswith("MobileNetV1 image classifier")
    assert found.author == "TensorFlow"
    assert found.labels is not None
    assert (len(found.labels), found.labels[0], found.labels[-1]) == (
        1001,
        "background",
        "toilet tissue",
    )
    assert found.labels_from == "labels.txt"
    assert (found.mean, found.std) == ((127.5,), (127.5,))


def test_labels_that_are_listed_but_cut_off() -> None:
    found = read_metadata(_with(tiny_model())[:-30])
    assert (found.labels, found.labels_from, found.name) == (None, "labels.txt", "cells")


def _zipped(files: dict[str, bytes]) -> bytes:
    whole = io.BytesIO(tiny_model())
    with zipfile.ZipFile(whole, "a") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return whole.getvalue()


def test_labels_without_metadata_are_those_of_the_only_likely_file() -> None:
    found = read_metadata(_zipped({"readme.txt": b"hello", "my_labels.txt": b"a\r\n\r\nc\n\n"}))
    assert (found.labels, found.labels_from) == (("a", "", "c"), "my_labels.txt")
    assert not found.present
    two = _zipped({"labels_de.txt": b"a\n", "labels_en.txt": b"b\n"})
    assert read_metadata(two).labels is None


def test_too_many_labels() -> None:
    model = _zipped({"labels.txt": b"x" * (MAX_LABELS + 1)})
    with pytest.raises(ConvertError, match=r"labels.txt in its archive is larger than 1048576"):
        read_metadata(model)


def test_a_damaged_archive() -> None:
    model = bytearray(_zipped({"labels.txt": b"ok\nbad\n"}))
    at = model.rindex(b"ok\nbad")
    model[at] ^= 1
    with pytest.raises(ConvertError, match=r"can't be read from its archive \(BadZipFile: Bad CRC"):
        read_metadata(bytes(model))


def test_damaged_metadata() -> None:
    with pytest.raises(ConvertError, match=r"version b'M001' are expected, got b'M002'"):
        read_table(write_table(ModelNote()).replace(b"M001", b"M002"))
    block = write_table(ModelNote(name="cells"))
    with pytest.raises(ConvertError, match=r"the metadata are damaged"):
        read_table(b"\xff\xff\xff\x7f" + block[4:])


@pytest.mark.parametrize(
    ("mean", "std"), [((1.0,), (0.0,)), ((float("nan"),), (1.0,)), ((1.0, 2.0), (1.0, 2.0))]
)
def test_a_normalization_that_nobody_can_mean(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    note = read_table(write_table(ModelNote(source=TensorNote(mean=mean, std=std))))
    assert (note.source.mean, note.source.std) == ((), ())


def test_the_table_keeps_what_it_is_told() -> None:
    note = ModelNote(
        name="n",
        description="d",
        version="v",
        author="a",
        source=TensorNote(name="image", channels=1, least=(0.0,), most=(255.0,)),
        output=TensorNote(name="logit", label_files=("a.txt", "b.txt"), texts=("c.txt",)),
    )
    assert read_table(write_table(note)) == note
