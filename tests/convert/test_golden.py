"""Golden images: each label, both sides of each limit, and none that hangs on one step."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from lineside.bundle import Bundle, open_bundle
from lineside.image import MIN_SIDE, Decode, Frame, shrink, to_tensor
from lineside.manifest import DecisionSpec, Label, LimitSpec
from lineside.runtime import Engine, TensorInfo, open_engine
from lineside.runtime.golden import golden_frame
from lineside_convert.golden import (
    FLOAT_STEP,
    JPEG_STEPS,
    MAX_GOLDEN_PIXELS,
    STEPS,
    Answering,
    Judge,
    choose_golden,
    make_golden,
)
from lineside_convert.golden import test_pictures as pictures_to_test

LABELS = (Label(name="crack", good=False), Label(name="ok", good=True))
SORTING = tuple(Label(name=name, good=True) for name in ("glass", "metal", "paper"))
OUTPUT = TensorInfo((1, 2), "int8", 0.05, 0)


def judge(limits: LimitSpec, labels: tuple[Label, ...] = LABELS) -> Judge:
    decision = DecisionSpec(score="p_not_good", temperature=1.0, limits=limits)
    return Judge(OUTPUT, "class_logits", decision, labels)


def val(seed: int = 0, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the values that OUTPUT stores."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, count)
    odds = np.where(truth == 0, 1.0, -1.0) + 1.5 * rng.standard_normal(count)
    return truth, np.round(np.stack([odds / 2, -odds / 2], axis=1) / OUTPUT.scale)


def test_each_label_and_both_sides_of_each_limit() -> None:
    truth, values = val()
    one = judge(LimitSpec(review=0.3, ng=0.6))
    choice = choose_golden(truth, [values], one)
    assert {int(truth[i]) for i in choice.safe} == {0, 1}
    verdicts = [one.verdict(values[i]) for i in choice.near]
    assert verdicts == ["ok", "review", "review", "ng"]
    scores = one.scores(values)
    for index, limit in zip(choice.near, [0.3, 0.3, 0.6, 0.6], strict=True):
        assert abs(scores[index] - limit) < 0.06
    away = np.minimum(abs(scores - 0.3), abs(scores - 0.6))
    right = values.argmax(axis=1) == truth
    assert away[choice.safe[0]] == away[right].max()


def test_what_hangs_on_one_step_is_not_taken() -> None:
    truth, values = val()
    one = judge(LimitSpec(review=None, ng=0.5))
    near = choose_golden(truth, [values], one).near
    assert len(near) == 2
    for index in near:
        for off in ([STEPS, -STEPS], [-STEPS, STEPS], [STEPS, STEPS]):
            assert one.verdict(values[index] + off) == one.verdict(values[index])


def test_both_kinds_of_kernels_must_agree() -> None:
    truth, values = val()
    plain = values + np.random.default_rng(1).integers(-6, 7, values.shape)
    one = judge(LimitSpec(review=0.3, ng=0.6))
    near = choose_golden(truth, [values, plain], one).near
    assert near
    for index in near:
        assert one.verdict(values[index]) == one.verdict(plain[index])


def test_one_value_that_stands_for_two_labels() -> None:
    """The same odds as one int8 probability: 1/256 a step, as a quantized sigmoid has them."""
    truth, values = val()
    odds = (values[:, 1] - values[:, 0]) * OUTPUT.scale
    stored = np.round(256 / (1 + np.exp(-odds)) - 128).clip(-128, 127)[:, np.newaxis]
    one = Judge(
        TensorInfo((1, 1), "int8", 1 / 256, -128),
        "binary_probability",
        DecisionSpec(score="p_not_good", temperature=1.0, limits=LimitSpec(review=0.3, ng=0.6)),
        LABELS,
    )
    np.testing.assert_allclose(
        one.scores(stored), judge(LimitSpec(review=0.3, ng=0.6)).scores(values), atol=1 / 256
    )
    choice = choose_golden(truth, [stored], one)
    assert {int(truth[i]) for i in choice.safe} == {0, 1}
    assert [one.verdict(stored[i]) for i in choice.near] == ["ok", "review", "review", "ng"]
    for index in choice.near:
        for off in (-STEPS, STEPS):
            assert one.verdict(stored[index] + off) == one.verdict(stored[index])


def test_a_float_output_has_no_steps() -> None:
    one = Judge(
        TensorInfo((1, 2), "float32", 0.0, 0),
        "class_logits",
        DecisionSpec(score="p_not_good", temperature=1.0, limits=LimitSpec(review=None, ng=0.5)),
        LABELS,
    )
    assert one.step(np.array([-40.0, 8.0])) == 40 * FLOAT_STEP
    assert one.step(np.array([0.1, -0.2])) == FLOAT_STEP
    assert one.is_stable(np.array([1.0, 0.0]))
    assert not one.is_stable(np.array([FLOAT_STEP, 0.0]))


@pytest.mark.parametrize("size", [(16, 16), (64, 96), (224, 224)])
def test_pictures_where_there_are_no_photos(size: tuple[int, int]) -> None:
    pictures = pictures_to_test(size)
    for one, again in zip(pictures, pictures_to_test(size), strict=True):
        assert one.dtype == np.uint8
        assert one.shape == (*(max(MIN_SIDE, side) for side in size), 3)
        assert np.array_equal(one, again)
        assert np.ptp(one) > 100


def test_when_sorting() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    values = (2.0 * np.eye(3)[truth] + rng.normal(0, 1, (300, 3))) / OUTPUT.scale
    one = judge(LimitSpec(review=0.4, ng=None), SORTING)
    choice = choose_golden(truth, [values], one)
    assert {int(truth[i]) for i in choice.safe} == {0, 1, 2}
    assert {one.verdict(values[i]) for i in choice.near} == {"ok", "review"}


def test_one_image_of_one_label() -> None:
    choice = choose_golden(
        np.array([1]), [np.array([[-20.0, 20.0]])], judge(LimitSpec(review=None, ng=0.5))
    )
    assert choice.safe == (0,)
    assert choice.near == ()


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return open_bundle(bundle_folder)


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return open_engine(bundle.model)


def of(bundle: Bundle, engine: Engine) -> Judge:
    manifest = bundle.manifest
    return Judge(engine.outputs[0], "class_logits", manifest.decision, manifest.labels)


def answering(bundle: Bundle, engine: Engine) -> Answering:
    """From a frame to stored values; the bundle's model takes raw pixels."""
    spec, size = bundle.manifest.preprocess, bundle.manifest.input_size
    return lambda frame: engine.invoke(to_tensor(frame, spec, size))[0].reshape(-1).astype(float)


def scene(height: int, width: int) -> Frame:
    """A picture with colours, edges and noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    picture = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1)
    return np.asarray((picture + rng.integers(0, 20, picture.shape)) % 256, np.uint8)


@pytest.mark.parametrize("colour", [False, True])
def test_a_png_is_the_picture_itself(bundle: Bundle, engine: Engine, *, colour: bool) -> None:
    frame = scene(90, 70)
    if not colour:
        frame = np.repeat(frame[..., :1], 3, axis=2)
    spec = bundle.manifest.preprocess
    entries, files = make_golden(
        [frame], [], frame, [answering(bundle, engine)], spec, of(bundle, engine)
    )
    assert [entry.file for entry in entries] == ["golden/000.png", "golden/000.jpg"]
    assert np.array_equal(golden_frame("x.png", files["golden/000.png"], spec), frame)
    expected = engine.invoke(to_tensor(frame, spec, bundle.manifest.input_size))[0].reshape(-1)
    assert entries[0].outputs == [expected.tolist()]
    assert entries[0].max_steps == STEPS
    assert entries[1].max_steps == STEPS + JPEG_STEPS


def test_a_picture_after_decoding_is_not_reduced_again(bundle: Bundle, engine: Engine) -> None:
    whole = scene(382, 255)
    frame = shrink(whole, 4)
    spec = msgspec.structs.replace(bundle.manifest.preprocess, decode=Decode(reduce=4))
    entries, files = make_golden(
        [frame], [], whole, [answering(bundle, engine)], spec, of(bundle, engine)
    )
    as_png, as_jpeg = (golden_frame(e.file, files[e.file], spec) for e in entries)
    assert np.array_equal(as_png, frame)
    assert as_jpeg.shape == (96, 64, 3)
    assert np.abs(as_jpeg.astype(int) - frame).mean() < 3


def test_the_plain_kernels_make_room(bundle: Bundle, engine: Engine) -> None:
    plain = open_engine(bundle.model, xnnpack=False)
    spec = bundle.manifest.preprocess
    both = [answering(bundle, one) for one in (engine, plain)]
    entries, files = make_golden([scene(80, 80)], [], scene(80, 80), both, spec, of(bundle, engine))
    frame = golden_frame("x.png", files["golden/000.png"], spec)
    tensor = to_tensor(frame, spec, bundle.manifest.input_size)
    values = [one.invoke(tensor)[0].astype(int) for one in (engine, plain)]
    assert entries[0].max_steps == np.abs(values[0] - values[1]).max() + STEPS


def test_a_large_picture_is_shrunk(bundle: Bundle, engine: Engine) -> None:
    frame = scene(3000, 2000)
    spec = bundle.manifest.preprocess
    entries, files = make_golden(
        [frame], [frame], frame, [answering(bundle, engine)], spec, of(bundle, engine)
    )
    height, width = golden_frame("x.png", files["golden/000.png"], spec).shape[:2]
    assert height * width <= MAX_GOLDEN_PIXELS < 1.05 * height * width
    assert height / width == pytest.approx(1.5, rel=0.01)
    assert entries[0].file in files
