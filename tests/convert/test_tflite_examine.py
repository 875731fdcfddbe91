"""Files that nobody here made, looked at in a process of their own: what they are, or why not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lineside.errors import ConvertError
from lineside_convert.tflite.examine import Examiner, TensorFacts, examine
from lineside_convert.tflite.metadata import with_metadata
from tests.support.bundles import crash
from tests.support.shared import shared
from tests.support.tiny import behind_a_picture, pack, repeated, tiny_model, tiny_tree

SURE = {"weights": np.zeros((2, 64)), "bias": [200.0, -200.0]}


@pytest.fixture(scope="module")
def examiner() -> Iterator[Examiner]:
    with Examiner() as one:
        yield one


def _write(folder: Path, model: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(model)
    return path


def _reason(examiner: Examiner, folder: Path, model: bytes, stage: str) -> str:
    outcome = examiner.look(_write(folder, model))
    assert outcome.stage == stage
    assert outcome.examined is None
    assert "\n" not in outcome.reason
    return outcome.reason


def test_a_file_is_described(tmp_path: Path) -> None:
    model = with_metadata(
        tiny_model((1, 8, 16, 3), "uint8", scale=(0.5, 3)),
        name="toys",
        description="Which toy?",
        version="1.0.0",
        labels=["a", "b"],
        kind="class_probabilities",
    )
    found = examine(_write(tmp_path, model))
    assert found.sha256 == hashlib.sha256(model).hexdigest()
    assert found.input == TensorFacts(
        name="picture", shape=(1, 8, 16, 3), dtype="uint8", scale=0.5, zero_point=3
    )
    assert (found.output.shape, found.output.dtype) == ((1, 2), "float32")
    assert (found.layout, found.colour, found.kind) == ("nhwc", "rgb", "class_probabilities")
    assert found.metadata.labels == ("a", "b")
    assert found.runtime.startswith("ai-edge-litert ")
    assert found.xnnpack
    assert 0 <= found.plain_worst < 1e-3
    assert found.notes == ()


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_an_input_without_a_scale_takes_raw_pixels(
    examiner: Examiner, tmp_path: Path, dtype: str
) -> None:
    model = tiny_model(dtype=dtype, weights=np.random.default_rng(0).normal(0, 1e-3, (2, 64)))
    found = examiner.look(_write(tmp_path, model)).examined
    assert found is not None
    assert (found.input.scale, found.input.zero_point, found.colour) == (0.0, 0, "gray")


def test_channels_first(examiner: Examiner, tmp_path: Path) -> None:
    found = examiner.look(_write(tmp_path, tiny_model((1, 3, 8, 16)))).examined
    assert found is not None
    assert (found.layout, found.colour) == ("nchw", "rgb")


def test_what_people_must_know_is_noted(examiner: Examiner, tmp_path: Path) -> None:
    tree = tiny_tree(last="LOGISTIC")
    tree.subgraphs[0].tensors[0].shapeSignature = np.array([-1, 8, 8, 1], np.int32)
    found = examiner.look(_write(tmp_path, pack(tree) + b"PK\5\6" + b"\xff" * 18)).examined
    assert found is not None
    batch, own, said = found.notes
    assert batch == "Its batch size is open, and is taken as 1."
    assert own.startswith("It gives each label a probability of its own")
    assert said.startswith("What the file says of itself is not used: the labels can't be read")


def test_labels_that_are_cut_off_are_noted(examiner: Examiner, tmp_path: Path) -> None:
    said = {"name": "n", "description": "", "version": "1.0.0", "kind": "class_probabilities"}
    model = with_metadata(tiny_model(), labels=["a", "b"], **said)[:-30]
    found = examiner.look(_write(tmp_path, model)).examined
    assert found is not None
    assert found.notes == ("The labels that it lists are not in it: its end may be cut off.",)


@pytest.mark.parametrize(
    ("name", "dtype", "labels", "kind"),
    [
        ("apple_fresh_rotten_quant", "uint8", 2, "class_probabilities"),
        ("mobilenet_v1_0.25_224_1_metadata_1", "float32", 1001, "class_probabilities"),
        ("mobilenet_v1_0.25_224_quant", "uint8", 1001, "class_probabilities"),
        ("pretrainedResnet_quant", "int8", 10, "class_probabilities"),
        ("vww_96_float", "float32", 2, "class_probabilities"),
        ("vww_96_int8", "int8", 2, "class_probabilities"),
    ],
)
def test_real_files_of_others(
    examiner: Examiner, name: str, dtype: str, labels: int, kind: str
) -> None:
    found = examiner.look(shared("models/works") / f"{name}.tflite").examined
    assert found is not None
    assert (found.input.dtype, found.output.shape, found.kind) == (dtype, (1, labels), kind)
    assert (found.layout, found.colour, found.xnnpack) == ("nhwc", "rgb", True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilenet_v1_0.25_128_quant_edgetpu", r"made for the Edge TPU .* before edgetpu_comp"),
        ("person_detect_vela", r"made for an Arm Ethos-U .* before vela"),
        ("model_invoking_error", r"needs the custom operator 'fake-op-double'"),
        ("person_detect", r"invalid quantization: tensor '.*bias' has scales along dimension 3"),
        ("keyword_scrambled_8bit", r"its input is no picture: .* got int16 \[1, 96\]"),
    ],
)
def test_real_files_that_are_refused(name: str, message: str) -> None:
    path = shared("models/refuse") / f"{name}.tflite"
    with pytest.raises(ConvertError, match=message) as caught:
        examine(path)
    assert str(caught.value).startswith(f"{path} is refused: ")
    assert "\n" not in str(caught.value)


def test_a_damaged_heap_is_noticed_each_time(examiner: Examiner, tmp_path: Path) -> None:
    model = (shared("models/refuse") / "keyword_scrambled_8bit.tflite").read_bytes()
    path = _write(tmp_path, behind_a_picture(model))
    outcomes = [examiner.look(path) for _ in range(10)]
    assert {outcome.stage for outcome in outcomes} == {"killed"}
    assert outcomes[0].reason.startswith("it kills the process that runs it (SIG")


def test_a_model_that_kills_its_process(examiner: Examiner, tmp_path: Path) -> None:
    tree = tiny_tree()
    crash(tree)
    reason = _reason(examiner, tmp_path, pack(tree), "killed")
    assert reason == "it kills the process that runs it (SIGSEGV)"
    assert examiner.look(_write(tmp_path, tiny_model())).stage == "accepted"  # and on it goes


def test_a_model_that_takes_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"refused: it did not answer within 0.001 s$"):
        examine(_write(tmp_path, tiny_model()), seconds=0.001)


def test_answers_that_are_not_finite(examiner: Examiner, tmp_path: Path) -> None:
    model = tiny_model(bias=[float("nan"), 0.0], last=None)
    reason = _reason(examiner, tmp_path, model, "engine")
    assert reason == "its output is not finite (NaN or infinite) for test pattern 0"


def test_the_same_answer_for_everything(examiner: Examiner, tmp_path: Path) -> None:
    model = tiny_model(weights=np.zeros((2, 64)), bias=[1.0, 0.0])
    reason = _reason(examiner, tmp_path, model, "engine")
    assert reason == "it gives the same answer for each of 11 test patterns: 0.7311, 0.2689"


def test_patterns_may_all_get_an_answer_as_sure_as_can_be(tmp_path: Path) -> None:
    path = _write(tmp_path, tiny_model(**SURE))
    assert examine(path).kind == "class_probabilities"
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype(np.float32)
    with pytest.raises(ConvertError, match=r"the same answer for each of 5 images: 1, 0$"):
        examine(path, images=images)


def test_real_images_are_run_too(tmp_path: Path) -> None:
    path = _write(tmp_path, tiny_model(last=None))
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    assert examine(path, images=images).kind == "class_logits"
    images[1] = np.inf
    with pytest.raises(ConvertError, match=r"not finite \(NaN or infinite\) for image 1$"):
        examine(path, images=images)


def test_an_engine_that_refuses(examiner: Examiner, tmp_path: Path) -> None:
    tree = tiny_tree(last=None)
    graph = tree.subgraphs[0]
    graph.tensors[graph.operators[-1].inputs[1]].shape = np.array([2, 60], np.int32)
    reason = _reason(examiner, tmp_path, pack(tree), "engine")
    assert reason.startswith("ai-edge-litert refuses the model: ")


def test_files_that_are_no_models(examiner: Examiner, tmp_path: Path) -> None:
    assert _reason(examiner, tmp_path, b"", "graph") == "the file is empty"
    assert "it is no TFLite file" in _reason(examiner, tmp_path, b"\x89PNG" * 99, "graph")
    half = tiny_model()[:-300]
    assert "the end of the file is missing" in _reason(examiner, tmp_path, half, "graph")
    large = tmp_path / "large.tflite"
    with large.open("wb") as file:
        file.truncate((128 << 20) + 1)
    assert examiner.look(large).reason == "it is larger than 128 MiB (128 MiB)"


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"none.tflite can't be read: No such file"):
        examine(tmp_path / "none.tflite")
    with pytest.raises(ConvertError, match=r"is no file$"):
        examine(tmp_path)


def test_the_current_folder_is_not_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')\n")
    monkeypatch.chdir(tmp_path)
    assert examine(_write(tmp_path, tiny_model())).colour == "gray"


def test_memory_is_limited(examiner: Examiner, tmp_path: Path) -> None:
    assert examiner.look(_write(tmp_path, repeated(32))).stage == "accepted"
    told = r"it is too large for a device: tensor 't3' has shape [1, 2048000000]"
    assert _reason(examiner, tmp_path, repeated(32_000_000), "graph") == told
    # The graph says less than what is then asked for: address space runs out.
    reason = _reason(examiner, tmp_path, repeated(32_000_000, said=32), "engine")
    assert reason.startswith("ai-edge-litert refuses the model")
    assert reason.endswith("(a tensor of impossible size, or more than 6 GiB)")
