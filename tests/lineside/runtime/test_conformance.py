"""Every engine that is installed keeps the promises of `lineside.runtime.Engine`.

In an environment of its own this file runs with tflite-runtime, on the bundle that
LINESIDE_TEST_BUNDLE names.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lineside.bundle import Bundle, open_bundle
from lineside.errors import EngineError, MissingExtraError
from lineside.inspector import Inspector
from lineside.runtime import ENGINES, Engine, installed_engines, open_engine
from lineside.runtime.golden import run_golden
from tests.support.shared import shared
from tests.support.ways import channels_first, other_input

NOT_INSTALLED = [name for name in ENGINES if name not in installed_engines()]


@pytest.fixture(params=list(ENGINES))
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name not in installed_engines():
        pytest.skip(f"{name} is not installed: pip install {name}, or make test-tflite-runtime")
    return name


@pytest.fixture(scope="session")
def bundle(bundle_folder: Path) -> Bundle:
    return open_bundle(bundle_folder)


@pytest.fixture
def engine(runtime: str, bundle: Bundle) -> Engine:
    return open_engine(bundle.model, runtime=runtime)


def picture(engine: Engine, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, engine.inputs[0].shape[1:], np.uint8)


def test_the_model_is_as_the_manifest_says(engine: Engine, bundle: Bundle) -> None:
    source, output = bundle.manifest.model.inputs[0], bundle.manifest.model.outputs[0]
    assert [(info.shape, info.dtype) for info in engine.inputs] == [(source.shape, source.dtype)]
    assert (engine.inputs[0].scale, engine.inputs[0].zero_point) == (1.0, 0)
    assert [list(info.shape) for info in engine.outputs] == [output.shape]
    assert engine.outputs[0].scale == pytest.approx(output.scale)
    assert engine.outputs[0].zero_point == output.zero_point


def test_it_says_who_it_is(engine: Engine, runtime: str) -> None:
    assert engine.name == runtime
    assert engine.version.split(".")[0].isdecimal()


def test_the_golden_images_come_out(runtime: str, bundle: Bundle) -> None:
    results = run_golden(Inspector(bundle, runtime=runtime))
    assert [str(result) for result in results if not result.passed] == []
    assert {result.expected for result in results} >= {"ok", "ng"}


def test_outputs_are_the_callers_to_keep(engine: Engine) -> None:
    first = engine.invoke(picture(engine))
    kept = [values.copy() for values in first]
    first[0][...] = 0
    again = engine.invoke(picture(engine))
    assert np.array_equal(again[0], kept[0])
    engine.invoke(picture(engine, seed=1))
    assert np.array_equal(again[0], kept[0])


def test_a_batch_dimension_changes_nothing(engine: Engine) -> None:
    tensor = picture(engine)
    assert np.array_equal(engine.invoke(tensor)[0], engine.invoke(tensor[np.newaxis])[0])


def test_threads_change_nothing(runtime: str, bundle: Bundle, engine: Engine) -> None:
    two = open_engine(bundle.model, runtime=runtime, threads=2)
    assert np.array_equal(two.invoke(picture(two))[0], engine.invoke(picture(engine))[0])


def test_two_engines_do_not_disturb_each_other(runtime: str, bundle: Bundle) -> None:
    engines = [open_engine(bundle.model, runtime=runtime) for _ in range(2)]
    alone = [engine.invoke(picture(engine, seed))[0] for seed, engine in enumerate(engines)]
    found: dict[int, list[np.ndarray]] = {0: [], 1: []}

    def work(seed: int) -> None:
        for _ in range(50):
            found[seed].append(engines[seed].invoke(picture(engines[seed], seed))[0])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, alone[seed]) for seed in found for one in found[seed])
    assert [len(results) for results in found.values()] == [50, 50]


def test_another_shape_or_dtype_is_refused(engine: Engine) -> None:
    size = list(engine.inputs[0].shape)
    with pytest.raises(EngineError, match=rf"takes uint8 \[{size[0]}, {size[1]}.*got uint8 \[8, 8"):
        engine.invoke(np.zeros((8, 8, 1), np.uint8))
    with pytest.raises(EngineError, match=r"takes uint8.*got float32"):
        engine.invoke(picture(engine).astype(np.float32))


def test_no_threads_are_refused(runtime: str, bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="threads must be at least 1, got 0"):
        open_engine(bundle.model, runtime=runtime, threads=0)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\0" * 4096])
def test_what_is_no_model_is_refused(runtime: str, content: bytes) -> None:
    with pytest.raises(EngineError, match=f"{runtime} refuses the model"):
        open_engine(content, runtime=runtime)


def test_without_xnnpack_it_says_so(runtime: str, bundle: Bundle) -> None:
    plain = open_engine(bundle.model, runtime=runtime, xnnpack=False)
    assert not plain.xnnpack
    # tflite-runtime 2.14 runs no int8 model by XNNPACK either.
    assert open_engine(bundle.model, runtime=runtime).xnnpack == (runtime == "ai-edge-litert")


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("float32", lambda p: p.astype(np.float32)), ("int8", lambda p: (p ^ 0x80).view(np.int8))],
)
def test_another_input_gets_the_same_answer(
    runtime: str, engine: Engine, bundle: Bundle, dtype: str, stored: Callable[..., np.ndarray]
) -> None:
    other = open_engine(other_input(bundle.model, dtype), runtime=runtime)
    assert other.inputs[0].dtype == dtype
    pixels = picture(engine)
    assert np.array_equal(other.invoke(stored(pixels))[0], engine.invoke(pixels)[0])
    with pytest.raises(EngineError, match=f"takes {dtype}.*got uint8"):
        other.invoke(pixels)


def test_channels_first(runtime: str, engine: Engine, bundle: Bundle) -> None:
    other = open_engine(channels_first(bundle.model), runtime=runtime)
    pixels = picture(engine)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    assert np.array_equal(other.invoke(planes)[0], engine.invoke(pixels)[0])
    with pytest.raises(EngineError, match=r"takes uint8 \[1, 1, 64, 64\], got uint8 \[64, 64, 1\]"):
        other.invoke(pixels)


@pytest.mark.parametrize("name", NOT_INSTALLED)
def test_an_engine_that_is_not_installed(name: str, bundle: Bundle) -> None:
    with pytest.raises(MissingExtraError, match=f"{name} is not installed: pip install"):
        open_engine(bundle.model, runtime=name)


def test_an_engine_that_nobody_knows(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="runtime 'onnx' is unknown: one of ai-edge-litert"):
        open_engine(bundle.model, runtime="onnx")


@pytest.mark.parametrize(
    ("file", "dtype", "shape", "outputs"),
    [
        ("vww_96_int8.tflite", "int8", (1, 96, 96, 3), 2),
        ("vww_96_float.tflite", "float32", (1, 96, 96, 3), 2),
        ("mobilenet_v1_0.25_224_quant.tflite", "uint8", (1, 224, 224, 3), 1001),
        ("pretrainedResnet_quant.tflite", "int8", (1, 32, 32, 3), 10),
    ],
)
def test_a_model_of_others_runs(
    runtime: str, file: str, dtype: str, shape: tuple[int, ...], outputs: int
) -> None:
    engine = open_engine(shared(f"models/works/{file}").read_bytes(), runtime=runtime)
    assert (engine.inputs[0].shape, engine.inputs[0].dtype) == (shape, dtype)
    values = engine.invoke(np.zeros(shape, dtype))
    probabilities = engine.outputs[0].dequantize(values[0])
    assert probabilities.shape == (1, outputs)
    # They end in a softmax; quantized, what is below 1/512 of each of 1,001 values is lost.
    assert 0.5 < probabilities.sum() < 1.05
