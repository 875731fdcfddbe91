"""Every scheme of a real run: a bundle that passes its golden images, and says what it takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from lineside.bundle import Bundle, open_bundle
from lineside.errors import ConvertError, InputError
from lineside.inspect import inspect
from lineside.runtime.trial import try_bundle
from lineside_convert.options import Options
from lineside_convert.scheme import SCHEMES, STATIC
from lineside_convert.source import open_source
from lineside_convert.tflite.graph import Graph, read_graph
from lineside_convert.workshop import Workshop
from tests.support.converting import converted

MIXED = {
    "static_wi8_ai8+float(conv2d_2,logits)": {"conv2d_2", "logits"},
    "static_wi8_ai8+float(MEAN)": {"global_average_pooling2d"},
}


@pytest.fixture(scope="module")
def bundles(
    chosen: tuple[Bundle, Path],
    run_folder: Path,
    workshop: Workshop,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Bundle]:
    """A bundle of each scheme."""
    best, candidates = chosen
    made = [open_bundle(folder) for folder in sorted(candidates.iterdir())]
    out = tmp_path_factory.mktemp("mixed")
    made += [
        converted(workshop, run_folder, out / str(n), scheme=scheme)
        for n, scheme in enumerate(MIXED)
    ]
    return {one.manifest.model.scheme: one for one in [*made, best]}


def in_float(graph: Graph) -> set[str]:
    """Operators that calculate in float32, without those that only convert."""
    return {
        op.layer
        for op in graph.operators
        if op.op not in {"QUANTIZE", "DEQUANTIZE"}
        and graph.tensors[op.outputs[0]].dtype == "float32"
    }


@pytest.mark.parametrize("scheme", [*SCHEMES, *MIXED])
def test_its_golden_images_pass(bundles: dict[str, Bundle], scheme: str) -> None:
    bundle = bundles[scheme]
    trial = try_bundle(bundle.path)
    assert trial.golden == len(bundle.manifest.golden) >= 4
    assert trial.worst_steps <= max(golden.max_steps for golden in bundle.manifest.golden)
    assert trial.digest == bundle.digest


@pytest.mark.parametrize("scheme", [*SCHEMES, *MIXED])
def test_it_inspects(bundles: dict[str, Bundle], cells: Path, scheme: str) -> None:
    bundle = bundles[scheme]
    images = [cells / row for row in ("functional", "defective")]
    files = [str(min(folder.iterdir())) for folder in images]
    done = CliRunner().invoke(inspect, [str(bundle.path), *files, "--json"])
    assert done.exit_code == 0, done.output
    verdicts = [json.loads(line)["verdict"] for line in done.stdout.splitlines()]
    assert len(verdicts) == 2
    assert set(verdicts) <= {"ok", "ng", "review"}


@pytest.mark.parametrize("scheme", [*SCHEMES, *MIXED])
def test_it_says_the_same_as_the_original(bundles: dict[str, Bundle], scheme: str) -> None:
    manifest = bundles[scheme].manifest
    assert manifest.parity.status == "measured"
    assert (manifest.parity.reference, manifest.parity.split) == ("keras", "val")
    assert manifest.parity.flips <= 1
    assert manifest.metrics is not None
    assert manifest.metrics.quantized["auroc"] == pytest.approx(
        manifest.metrics.float_["auroc"], abs=0.03
    )


def test_raw_pixels_go_in(bundles: dict[str, Bundle]) -> None:
    for scheme, bundle in bundles.items():
        source, output = bundle.manifest.model.inputs[0], bundle.manifest.model.outputs[0]
        assert source.normalization is None
        assert output.kind == "class_logits"
        if scheme.startswith("static"):
            assert (source.dtype, source.scale, source.zero_point) == ("uint8", 1.0, 0)
        else:
            assert (source.dtype, output.dtype) == ("float32", "float32")


def test_what_is_in_float(bundles: dict[str, Bundle]) -> None:
    graphs = {scheme: read_graph(bundle.model) for scheme, bundle in bundles.items()}
    assert in_float(graphs["static_wi8_ai8"]) == set()
    for scheme, layers in MIXED.items():
        assert in_float(graphs[scheme]) == layers
        end = "float32" if "logits" in layers else "int8"
        assert bundles[scheme].manifest.model.outputs[0].dtype == end


def test_fewer_bits_fewer_bytes(bundles: dict[str, Bundle]) -> None:
    sizes = {scheme: len(bundle.model) for scheme, bundle in bundles.items()}
    assert sizes["float16"] < 0.6 * sizes["float32"]
    assert sizes["weights_wi8_af32"] < 0.4 * sizes["float32"]
    assert sizes["static_wi8_ai8"] < 0.4 * sizes["float32"]


def test_a_layer_that_is_not_there(run_folder: Path, workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(ConvertError) as caught:
        converted(workshop, run_folder, tmp_path / "b", scheme=f"{STATIC}+float(conv2d,neck)")
    assert str(caught.value) == (
        "no layer and no operator is called 'neck'; there are plain, conv2d, max_pooling2d, "
        "conv2d_1, conv2d_2, max_pooling2d_1, conv2d_3, conv2d_4, max_pooling2d_2, conv2d_5, "
        "global_average_pooling2d, logits"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_run_has_nothing_to_leave_unchanged(run_folder: Path) -> None:
    with pytest.raises(InputError, match=r"unchanged is refused: .* is no \.tflite"):
        open_source(run_folder, Options(scheme="unchanged"))


def test_the_name_of_a_run_becomes_one_that_a_bundle_may_have(
    run_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    info = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps(info | {"name": "width 0.35"}))
    assert open_source(run, Options()).name == "width_0_35"
