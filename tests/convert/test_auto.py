"""`auto`: the fastest scheme within the allowance, and what it finds out where int8 hurts."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lineside.bench import Bench, read_bench
from lineside.bundle import Bundle, open_bundle
from lineside.decision import softmax
from lineside.errors import ConvertError, ParityError
from lineside.report import LayerError
from lineside_convert.auto import Choice, Failure, layer_errors, scheme_rows
from lineside_convert.scheme import SCHEMES, STATIC
from lineside_convert.trials import Candidate, Trials
from lineside_convert.worker.protocol import Ask, Calibrate, Done, Make, Scored
from lineside_convert.workshop import Workshop
from tests.support.command import lineside
from tests.support.converting import chosen_for, converted, prepared

SCALED = ["conv2d", "conv2d_1", "conv2d_2", "max_pooling2d", "max_pooling2d_1"]
"""The layers of the network that int8 ruins whose channels were scaled, and what pools them."""

Prepare = Callable[..., Trials]


@pytest.fixture
def of_network(networks: Path, labels: Path, cells: Path, workshop: Workshop) -> Prepare:
    """Prepares one of `tests.support.networks`, with the cells."""

    def prepare(kind: str, **options: object) -> Trials:
        path = networks / f"{kind}.keras"
        return prepared(workshop, path, labels=labels, data=cells, **options)

    return prepare


def candidate(choice: Choice, scheme: str) -> Candidate:
    return next(c for c in choice.tried if isinstance(c, Candidate) and c.scheme == scheme)


# ---- a network that int8 does no harm


def test_without_a_bench_file_it_is_int8(chosen: tuple[Bundle, Path]) -> None:
    manifest = chosen[0].manifest
    assert manifest.model.scheme == STATIC
    assert "runtime" not in manifest.measured
    assert manifest.measured["threads"] == 1
    report = chosen[0].files["report.html"].decode()
    assert "Its speed on the device is unknown: see lineside bench." in report
    assert "unknown on the device" in report


def test_the_table_is_in_the_report(chosen: tuple[Bundle, Path]) -> None:
    report = chosen[0].files["report.html"].decode()
    for scheme in SCHEMES:
        assert scheme in report
    assert "static_wi8_ai8 was taken since it is within 0.5 % of flipped verdicts" in report


def test_the_candidates_are_bundles_to_be_timed(chosen: tuple[Bundle, Path]) -> None:
    best, folder = chosen
    bundles = {path.name: open_bundle(path) for path in folder.iterdir()}
    assert sorted(bundles) == sorted(SCHEMES)
    assert {name: one.manifest.model.scheme for name, one in bundles.items()} == {
        name: name for name in bundles
    }
    assert bundles[STATIC].model == best.model


@pytest.fixture(scope="module")
def bench_file(chosen: tuple[Bundle, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `lineside bench` says of the candidates on this device."""
    said = lineside(
        "bench", *sorted(chosen[1].iterdir()), "--threads", "1,2", "--seconds", 0.1, "--json"
    ).stdout
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    path.write_text(said)
    return path


def test_the_fastest_on_the_device_is_chosen(
    bench_file: Path, run_folder: Path, workshop: Workshop, tmp_path: Path
) -> None:
    bench = read_bench(bench_file)
    assert {row.scheme for row in bench.rows} == set(SCHEMES)
    bundle = converted(workshop, run_folder, tmp_path / "b", device_bench=bench)
    fastest, manifest = bench.rows[bench.fastest], bundle.manifest
    assert manifest.model.scheme == fastest.scheme
    assert manifest.measured["device"] == bench.device
    assert manifest.measured["runtime"] == fastest.runtime
    assert manifest.measured["threads"] == fastest.threads
    assert manifest.measured["invoke_ms_p50"] == fastest.invoke_ms_p50
    assert manifest.measured["converted_on"]["threads"] == 1
    report = bundle.files["report.html"].decode()
    assert f"{fastest.scheme} is the fastest of those that the bench file" in report
    assert bench.device in report


def slow_but(bench: Bench, scheme: str) -> Bench:
    """The same file of a device on which one scheme is ten times as fast as the others."""
    rows = [
        msgspec.structs.replace(row, invoke_ms_p50=1.0 if row.scheme == scheme else 10.0)
        for row in bench.rows
    ]
    fastest = next(i for i, row in enumerate(rows) if row.scheme == scheme)
    return msgspec.structs.replace(bench, rows=rows, fastest=fastest)


def test_another_device_another_scheme(
    bench_file: Path, run_folder: Path, workshop: Workshop
) -> None:
    bench = slow_but(read_bench(bench_file), "float16")
    choice = chosen_for(prepared(workshop, run_folder, device_bench=bench))
    assert choice.candidate.scheme == "float16"
    assert choice.on_device is not None
    assert choice.why.startswith("float16 is the fastest of those that the bench file")
    assert f"1 ms with ai-edge-litert and {choice.on_device.threads} thread" in choice.why
    rows = {row.scheme: row for row in scheme_rows(choice, bench)}
    assert [row.scheme for row in rows.values() if row.chosen] == ["float16"]
    assert rows[STATIC].invoke_ms == 10.0
    assert bench.device in (rows[STATIC].device or "")


def test_a_bench_file_of_other_models(
    bench_file: Path, run_folder: Path, workshop: Workshop
) -> None:
    bench = read_bench(bench_file)
    rows = [msgspec.structs.replace(row, graph=row.model_sha256) for row in bench.rows]
    bench = msgspec.structs.replace(bench, rows=rows)
    choice = chosen_for(prepared(workshop, run_folder, device_bench=bench))
    assert (choice.candidate.scheme, choice.on_device) == (STATIC, None)
    assert "The bench file knows none of the schemes." in choice.why
    assert choice.why.endswith("Its speed on the device is unknown: see lineside bench.")
    assert {row.device for row in scheme_rows(choice, bench)} == {
        next(row.device for row in scheme_rows(choice, None))
    }


# ---- networks that int8 harms


@pytest.fixture(scope="module")
def brought_back(
    networks: Path,
    run_folder: Path,
    workshop: Workshop,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """The bundle of a run whose network int8 ruins."""
    folder = tmp_path_factory.mktemp("ruined")
    run = Path(shutil.copytree(run_folder, folder / "run"))
    shutil.copy(networks / "outgrown.keras", run / "model.keras")
    return converted(workshop, run, folder / "b")


def test_only_some_layers_stay_in_float(brought_back: Bundle) -> None:
    manifest = brought_back.manifest
    scheme = manifest.model.scheme
    assert scheme.startswith(f"{STATIC}+float(")
    layers = scheme.removeprefix(f"{STATIC}+float(").rstrip(")").split(",")
    assert set(SCALED) <= set(layers)
    assert len(layers) <= 8
    assert manifest.parity.flips <= 1
    assert manifest.metrics is not None
    found = [manifest.metrics.float_, manifest.metrics.quantized]
    assert abs(found[0]["balanced_accuracy"] - found[1]["balanced_accuracy"]) < 0.02
    report = brought_back.files["report.html"].decode()
    assert "With all layers in int8 it is not." in report
    assert scheme in report
    for layer in layers:
        assert layer in report


def test_by_itself_int8_is_refused(
    networks: Path, labels: Path, cells: Path, workshop: Workshop, tmp_path: Path
) -> None:
    with pytest.raises(ParityError) as caught:
        converted(
            workshop, networks / "outgrown.keras", tmp_path / "b",
            labels=labels, data=cells, scheme=STATIC,
        )  # fmt: skip
    message = str(caught.value)
    assert "the converted model's verdict differs from the original's on" in message
    assert "of 36 images of val, at most 1 may: " in message
    assert ".png (" in message
    assert "No bundle was written" in message
    assert "--scheme auto" in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def ruined(
    networks: Path, labels: Path, cells: Path, workshop: Workshop
) -> tuple[Choice, list[LayerError]]:
    trials = prepared(workshop, networks / "outgrown.keras", labels=labels, data=cells)
    choice = chosen_for(trials)
    return choice, layer_errors(trials, choice)


def test_the_layers_that_cause_it_are_the_noisiest(
    ruined: tuple[Choice, list[LayerError]],
) -> None:
    choice, layers = ruined
    worst = sorted(choice.noise, key=lambda layer: choice.noise[layer])
    # conv2d_3 has the last scaling undone in its weights: no int8 holds those either.
    assert set(worst[:6]) == {*SCALED, "conv2d_3"}
    assert choice.noise[worst[5]] + 20 < choice.noise[worst[6]]
    by_name = {one.layer: one for one in layers}
    assert [one.layer for one in layers] == list(choice.noise)
    assert {name for name, one in by_name.items() if one.in_float} >= set(SCALED)
    for name, one in by_name.items():
        assert one.own_snr_db == choice.noise[name]
        assert one.delegated
        assert one.snr_db > 20  # what was ruined is in float now


def test_what_was_tried_is_told(ruined: tuple[Choice, list[LayerError]]) -> None:
    choice, _ = ruined
    rows = scheme_rows(choice, None)
    assert [row.scheme for row in rows if row.chosen] == [choice.candidate.scheme]
    assert [row.scheme for row in rows[:4]] == list(SCHEMES)
    static = next(row for row in rows if row.scheme == STATIC)
    assert (static.flips or 0) > 5
    sizes = {row.scheme: row.size or 0 for row in rows}
    assert sizes[STATIC] < sizes[choice.candidate.scheme] < sizes["float32"]


def test_what_xnnpack_leaves_out_stays_in_float(of_network: Prepare) -> None:
    choice = chosen_for(of_network("swish"))
    assert choice.candidate.scheme == f"{STATIC}+float(HARD_SWISH)"
    assert "HARD_SWISH" not in choice.candidate.undelegated
    assert "HARD_SWISH" in candidate(choice, STATIC).undelegated
    rows = {row.scheme: row for row in scheme_rows(choice, None)}
    assert "not by XNNPACK: HARD_SWISH" in rows[STATIC].note


def test_where_int8_gives_one_answer_to_all(of_network: Prepare) -> None:
    choice = chosen_for(of_network("constant"))
    # Which of them is the fastest, a busy machine decides.
    assert choice.candidate.scheme in {"float32", "float16", "weights_wi8_af32"}
    failed = {one.scheme: one.why for one in choice.tried if isinstance(one, Failure)}
    assert "it gives the same answer for every image" in failed[STATIC]
    notes = {row.scheme: row.note for row in scheme_rows(choice, None)}
    assert notes[STATIC] == failed[STATIC]
    with pytest.raises(ConvertError, match="the same answer for every image: its scales"):
        chosen_for(of_network("constant", scheme=STATIC))


def test_a_loop_is_not_calibrated(of_network: Prepare) -> None:
    choice = chosen_for(of_network("recurrent"))
    # Which of them is the fastest, a busy machine decides.
    assert choice.candidate.scheme in {"float32", "float16", "weights_wi8_af32"}
    failed = {one.scheme: one.why for one in choice.tried if isinstance(one, Failure)}
    assert list(failed) == [STATIC]
    with pytest.raises(ConvertError, match="GRU and LSTM need unroll=True") as caught:
        chosen_for(of_network("recurrent", scheme=STATIC))
    assert "\n" not in str(caught.value)


# ---- how ranges are chosen


def distance(workshop: Workshop, trials: Trials, method: str) -> float:
    """How far int8 with these ranges is from the original: in the mean, of the probabilities."""
    workshop.ask(Make(scheme=STATIC, out="made/own.tflite", ranges=method), Done)
    ask = Ask(model="made/own.tflite", part="val", out="scores/own.npy", kind=trials.subject.kind)
    try:
        workshop.ask(ask, Scored)
    except ConvertError as error:
        assert "the same answer for every image" in str(error)  # noqa: PT017 - one of two ways
        return math.inf
    own, original = workshop.load("scores/own.npy"), trials.original("val")
    return float(np.abs(softmax(own) - softmax(original)).mean())


def test_an_outlier_is_cut_off(of_network: Prepare, workshop: Workshop) -> None:
    trials = of_network("outlier")
    workshop.ask(Calibrate(), Done)
    found = {m: distance(workshop, trials, m) for m in ("minmax", "percentile", "mse")}
    assert found["percentile"] < 0.02 < found["minmax"]
    made = chosen_for(of_network("outlier", scheme=STATIC)).candidate
    assert made.how["ranges"] == min(found, key=lambda method: found[method]) == "percentile"
    assert made.measured is not None
    assert len(made.measured.flips) <= 1


def test_the_manifest_says_how(chosen: tuple[Bundle, Path], brought_back: Bundle) -> None:
    for bundle in (chosen[0], brought_back):
        said = bundle.manifest.provenance["calibration"]
        assert said["ranges"] in {"minmax", "percentile", "mse"}
        assert len(said["sha256"]) == said["images"] == 144
        report = bundle.files["report.html"].decode()
        assert "int8: ranges" in report
        assert said["ranges"] in report
    raw = json.loads(chosen[0].files["manifest.json"])
    assert "calibration" in raw["provenance"]
    floats = open_bundle(chosen[1] / "float32").manifest
    assert "calibration" not in floats.provenance
