"""Which runtimes give a bundle's answers: found out by running real models on real images.

What tflite-runtime does is shown where LINESIDE_TFLITE_RUNTIME names a Python that has it (`make
test-tflite-runtime` makes one, and runs these tests with it).
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert comes with the extra 'runtime'")

from lineside.bundle import Bundle, open_bundle
from lineside.dataset import load_tensors
from lineside.errors import ConvertError, EngineError, InputError
from lineside.manifest import RuntimeRecord
from lineside.runtime import open_engine
from lineside.runtime.answers import ask
from lineside_convert.compatibility import (
    PYTHON_VARIABLE,
    Checked,
    Place,
    Question,
    check,
    is_noise,
    places,
    require_runtime,
)
from tests.support.bundles import crash, edit_model

ROOT = Path(__file__).parents[2]

RECORD = RuntimeRecord(
    name="tflite-runtime", version="2.14.0", arch="x86_64", xnnpack=False, same_answers=True
)


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return open_bundle(bundle_folder)


@pytest.fixture(scope="module")
def tensors(cells: Path, bundle: Bundle) -> npt.NDArray[np.uint8]:
    """40 cells, as many of each label, as the model's input."""
    files = [
        str(path.relative_to(cells))
        for label in ("defective", "functional")
        for path in sorted((cells / label).iterdir())[:20]
    ]
    manifest = bundle.manifest
    return load_tensors(cells, files, manifest.preprocess, manifest.input_size, what="cells")


def question(bundle: Bundle, model: bytes, tensors: npt.NDArray[Any]) -> Question:
    """Whether a model answers elsewhere what it answers here."""
    output = open_engine(model).outputs[0]
    values = ask(model, tensors).values
    assert values is not None
    return Question(
        model=model,
        tensors=tensors,
        reference=output.dequantize(values),
        output=output,
        kind="class_logits",
        decision=bundle.manifest.decision,
        labels=bundle.manifest.labels,
        max_flips=1.0,
    )


def set_version(tree: Any, name: str, version: int) -> None:  # noqa: ANN401 - generated, no types
    """Let a model ask for another version of an operator."""
    schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    for code in tree.operatorCodes:
        if code.builtinCode == getattr(schema.BuiltinOperator, name):
            code.version = version


@pytest.fixture(scope="module")
def int8(bundle: Bundle, tensors: npt.NDArray[np.uint8]) -> Question:
    return question(bundle, bundle.model, tensors)


# ---- here


def test_here_with_and_without_xnnpack(int8: Question) -> None:
    first, second = check(int8, [Place(), Place(xnnpack=False)])
    assert first.record.name == second.record.name == "ai-edge-litert"
    assert (first.record.xnnpack, second.record.xnnpack) == (True, False)
    assert first.record.same_answers
    assert (first.record.images, first.record.flips, first.record.note) == (40, 0, "")
    assert first.logits is not None
    assert np.array_equal(first.logits, int8.reference)
    assert first.invoke_ms_p50 is not None
    assert second.logits is not None
    assert second.record.images == 40


def test_a_device_without_xnnpack_is_asked_once(int8: Question) -> None:
    found = check(int8, [Place(xnnpack=False), Place(xnnpack=False)])
    assert [checked.record.xnnpack for checked in found] == [False]


def test_other_verdicts_are_counted(int8: Question) -> None:
    turned = replace(int8, reference=-int8.reference)
    (found,) = check(turned, [Place()])
    assert found.record.loads
    assert not found.record.same_answers
    assert found.record.flips > 20
    assert found.record.note.startswith(
        f"it loads, but gives another verdict for {found.record.flips} of 40 images, at most 1 may"
    )


def test_a_model_that_kills_its_process_names_the_signal(int8: Question) -> None:
    deadly = replace(int8, model=edit_model(int8.model, crash))
    (found,) = check(deadly, [Place()])
    assert (found.logits, found.record.same_answers, found.record.images) == (None, False, 0)
    assert found.record.note.startswith("the model killed its process (SIGSEGV)")


def test_an_operator_that_nobody_knows(int8: Question) -> None:
    model = edit_model(int8.model, lambda tree: set_version(tree, "CONV_2D", 99))
    found = check(replace(int8, model=model), [Place(), Place(xnnpack=False)])
    assert [(x.record.loads, x.record.note) for x in found] == [
        (False, "it has no operator CONV_2D in version 99")
    ]


def test_an_output_of_another_size(int8: Question) -> None:
    wide = np.concatenate([int8.reference, int8.reference], axis=1)
    (found,) = check(replace(int8, reference=wide), [Place()])
    assert (found.logits, found.record.loads, found.record.same_answers) == (None, True, False)
    assert found.record.note == "it gives 2 values for an image, 4 are expected"


def test_noise_is_known_where_all_verdicts_are_the_same() -> None:
    signal = np.random.default_rng(0).normal(size=(200, 2))
    assert not is_noise(signal, signal)
    assert not is_noise(signal, signal + 0.1 * signal[::-1])
    assert is_noise(signal, signal[::-1].copy())
    assert is_noise(signal, -signal)
    assert is_noise(signal, np.full_like(signal, 0.01) + signal.mean(axis=0))
    assert is_noise(signal, np.where(signal > 3, np.nan, signal) * np.nan)
    # What a softmax does not see, and what is too certain to matter, is no noise.
    assert not is_noise(signal, signal + 100.0)
    assert not is_noise(signal * 1000, signal * 2000)


# ---- elsewhere


def test_where_a_model_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    here = (Place(), Place(xnnpack=False))
    assert places() == here
    python = Path(sys.executable)
    assert places([python]) == (*here, Place(command=(str(python),)))
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    assert places() == (*here, Place(command=(str(python),), runtime="tflite-runtime"))


def test_a_python_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    with pytest.raises(InputError, match=r"--check-python .*gone is refused: it is no program"):
        places([tmp_path / "gone"])
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=rf"^{PYTHON_VARIABLE} .* is refused: it is no program"):
        places()


def test_a_python_without_lineside(int8: Question, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True
    )
    place = places([tmp_path / "bare" / "bin" / "python"])[-1]
    with pytest.raises(EngineError, match=r"bare/bin/python can't be asked .*No module named"):
        check(int8, [place])


# ---- what --runtime demands


def test_what_is_asked_for_is_there() -> None:
    require_runtime([RECORD], "tflite-runtime")
    off = msgspec.structs.replace(RECORD, name="ai-edge-litert", same_answers=False, note="far off")
    on = msgspec.structs.replace(off, xnnpack=True, same_answers=True)
    require_runtime([on, off], "ai-edge-litert")
    with pytest.raises(ConvertError, match="far off"):
        require_runtime([off], "ai-edge-litert")


@pytest.mark.parametrize(
    ("changes", "dense", "message"),
    [
        ({"name": "other"}, (), r"there is none to run the model with\. Make .* 'lineside\[tflite"),
        (
            {"same_answers": False, "note": "it has no operator GELU in version 2"},
            (),
            r"tflite-runtime 2\.14\.0 on x86_64 can't run this model: it has no operator GELU in v",
        ),
        ({}, ("dense_1",), r"the FULLY_CONNECTED operators dense_1 have weights with a scale for"),
        ({}, tuple("abcd"), r"operators a, b, c, … have weights with a scale for each channel, a"),
    ],
)
def test_what_is_asked_for_cannot_be_had(
    changes: dict[str, Any], dense: tuple[str, ...], message: str
) -> None:
    record = msgspec.structs.replace(RECORD, **changes)
    with pytest.raises(ConvertError, match=message):
        require_runtime([record], "tflite-runtime", per_channel_dense=dense)


# ---- tflite-runtime 2.14


@pytest.fixture(scope="module")
def old() -> list[Place]:
    """The other environment."""
    if PYTHON_VARIABLE not in os.environ:
        pytest.skip(f"{PYTHON_VARIABLE} names no Python: make test-tflite-runtime makes one")
    return [place for place in places() if place.runtime == "tflite-runtime"]


@pytest.fixture(scope="module")
def float_model(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The run's network, not quantized."""
    out = tmp_path_factory.mktemp("float") / "model.tflite"
    command = [sys.executable, "-m", "tests.support.float_model", str(run_folder), str(out)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return out.read_bytes()


def ask_old(question: Question, old: list[Place]) -> Checked:
    (found,) = check(question, old)
    assert (found.record.name, found.record.version) == ("tflite-runtime", "2.14.0")
    return found


def test_old_full_int8_is_right(int8: Question, old: list[Place]) -> None:
    found = ask_old(int8, old)
    assert found.record.same_answers
    assert found.record.flips <= 1
    require_runtime([found.record], "tflite-runtime")


def test_old_float_is_right_and_weights_in_int8_alone_are_garbage(
    bundle: Bundle,
    tensors: npt.NDArray[np.uint8],
    float_model: bytes,
    old: list[Place],
    tmp_path: Path,
) -> None:
    quantizer = pytest.importorskip(
        "litert_quantizer.quantizer", reason="litert-quantizer comes with the extra 'convert'"
    )
    recipe = importlib.import_module("litert_quantizer.recipe")
    pixels = tensors.astype(np.float32)
    assert ask_old(question(bundle, float_model, pixels), old).record.same_answers
    source = tmp_path / "float.tflite"
    source.write_bytes(float_model)
    made = quantizer.Quantizer(str(source), recipe.dynamic_wi8_afp32()).quantize()
    garbage = question(bundle, bytes(made.quantized_model), pixels)
    assert check(garbage, [Place()])[0].record.same_answers
    found = ask_old(garbage, old)
    assert found.record.loads
    assert not found.record.same_answers
    with pytest.raises(
        ConvertError,
        match=r"can't run this model: it loads, but .*; weights in int8 with .*: CONV_2D \w+, CONV",
    ):
        require_runtime([found.record], "tflite-runtime")


def test_old_refuses_a_newer_operator_by_name(int8: Question, old: list[Place]) -> None:
    model = edit_model(int8.model, lambda tree: set_version(tree, "CONV_2D", 8))
    newer = replace(int8, model=model)
    assert check(newer, [Place()])[0].record.same_answers
    found = ask_old(newer, old)
    assert not found.record.loads
    with pytest.raises(ConvertError, match="it has no operator CONV_2D in version 8"):
        require_runtime([found.record], "tflite-runtime")


def test_old_killed_by_a_model_names_the_signal(int8: Question, old: list[Place]) -> None:
    found = ask_old(replace(int8, model=edit_model(int8.model, crash)), old)
    with pytest.raises(ConvertError, match=r"the model killed its process \(SIGSEGV\)"):
        require_runtime([found.record], "tflite-runtime")
