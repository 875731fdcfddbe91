"""What the page says of a conversion, and of a model that nothing was measured of."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from lineside.decision import defect_scores, softmax
from lineside.manifest import Label, Parity
from lineside.report import LayerError, ModelScores, ReportData, SchemeRow, render_report
from lineside.report.reliability import reliability
from tests.lineside.report.page import Page
from tests.lineside.report.scored import DECISION, DEVICES, LAYERS, SCHEMES, Scored, report_of

NONE = " \N{EN DASH}"  # a cell without a figure


@pytest.fixture(scope="session")
def page(scored: Scored) -> Page:
    return Page(render_report(report_of(scored)))


def foreign(labels: int) -> ReportData:
    """A model of others, taken as it is, without a single image."""

    def load(file: str) -> np.ndarray:
        raise FileNotFoundError(file)

    return ReportData(
        title="mobilenet 1.0.0",
        subject="bundle",
        created="2026-11-21T17:03:11Z",
        labels=[Label(name=f"thing {number}", good=True) for number in range(labels)],
        files=(),
        truth=np.zeros(0, np.intp),
        models=[ModelScores("tflite", np.zeros((0, labels)))],
        load_frame=load,
        decision=DECISION,
        parity=Parity(status="unknown"),
        schemes=[SchemeRow(scheme="unchanged", chosen=True, size=4276352)],
        choice="The file is taken as it is.",
        notes=["No images: what it answers was not measured."],
    )


# Schemes


def test_each_scheme_has_a_row(page: Page) -> None:
    text = page.said("schemes")
    assert "Two layers are kept in float: without them 24 of 60 verdicts flip." in text
    rows = (
        "float32 876.1 kB 80.0 % 78.0 % 0 0.0 % 0.0000 1.02 ms1",
        "weights_wi8_af32 286.0 kB 79.0 % 77.0 % 2 1.1 % 0.0192 14.1 ms2",
        "static_wi8_ai8 212.3 kB 61.0 % 50.0 % 24 40.0 % 0.4321 0.31 ms1",
        "Refused: 24 of 60 verdicts flip, 1 is allowed.",
        f"{SCHEMES[3].scheme} ✓ chosen 241.0 kB 80.0 % 77.5 % 1 0.4 % 0.0123 unknown",
        f"float16{7 * NONE} Could not be made: signal 11 killed the conversion.",
        f"1 Time: {DEVICES[0]}",
        f"2 Time: {DEVICES[1]}",
    )
    places = [text.index(row) for row in rows]
    assert places == sorted(places)
    assert text.count("chosen ") == 1
    kinds = [row["class"] for row in page.all("tr") if "class" in row]
    assert kinds == ["plain", "plain", "plain noted", "why", "chosen", "missing noted", "why"]


def test_a_device_is_said_once(page: Page, scored: Scored) -> None:
    whole = page.said("schemes")
    assert [whole.count(device) for device in DEVICES] == [1, 1]
    untimed = replace(SCHEMES[3], device="nowhere yet")
    one = Page(render_report(report_of(scored, schemes=[SCHEMES[0], untimed])))
    text = one.said("schemes")
    assert f" Time: {DEVICES[0]}" in text
    assert "1.02 ms " in text
    assert one.all("sup") == []
    assert "nowhere yet" not in text


def test_untimed_schemes_are_of_unknown_speed(scored: Scored) -> None:
    text = Page(render_report(report_of(scored, schemes=SCHEMES[3:]))).said("schemes")
    assert "0.0123 unknown" in text
    assert "How quick the schemes are on the device is unknown: none was timed." in text


def test_what_a_converter_says_is_text(scored: Scored) -> None:
    odd = "<script>alert(1)</script> & 划痕"
    row = replace(SCHEMES[4], scheme=f"{odd}+float(a,b/c)", note=odd)
    layer = LayerError(layer=odd, op="<b>", snr_db=3.0)
    data = report_of(
        scored, schemes=[SCHEMES[3], row], choice=odd, notes=[odd], layers=[layer], parity=None
    )
    page = Page(render_report(data))
    assert not {tag for tag, _ in page.elements} & {"script"}
    assert page.said("schemes").count(odd) == 3
    assert odd in page.said("layers")
    assert odd in page.said("")


# Reliability


def test_reliability_of_both_models(page: Page, scored: Scored) -> None:
    text, plots = page.said("reliability"), page.plots()
    alts = [svg["aria-label"] for svg in page.all("svg") if svg.get("role") == "img"]
    found = []
    for name, logits in (("float", scored.logits), ("int8", scored.int8)):
        scores = defect_scores(softmax(logits, DECISION.temperature), scored.labels)
        one = reliability(scores, scored.truth == 0)
        found.append(one)
        (alt,) = (alt for alt in alts if alt.startswith(f"Reliability of {name}: "))
        for each in one.bins:
            images = f"{each.images} image" + "s" * (each.images != 1)
            said = f"{images} from {each.low:.1f} to {each.high:.1f}: predicted "
            assert f"{said}{each.predicted:.1%}, observed {each.observed:.1%}" in alt
            row = f"{each.low:.1f} to {each.high:.1f} {each.images} "
            assert f"{row}{100 * each.predicted:.1f} % {100 * each.observed:.1f} %" in text
        assert f"Expected calibration error {100 * one.error:.1f} %." in text
        assert 0 < one.few < len(one.bins)
        assert f"{one.few} of {len(one.bins)} bins hold" in text
    errors = " ".join(f"{100 * one.error:.1f} %" for one in found)
    chances = " ".join(f"{100 * one.by_chance:.1f} %" for one in found)
    assert f"expected calibration error {errors}" in text
    assert f"of perfect probabilities, by chance {chances}" in text
    assert "Of the parts with a score near 0.8, 80 % should be bad." in text
    assert "Reliability" in plots


def test_reliability_of_one_image(scored: Scored) -> None:
    one = replace(scored, files=scored.files[:1], truth=scored.truth[:1], logits=scored.logits[:1])
    text = Page(render_report(report_of(one))).said("reliability")
    assert "1 of 1 bin holds fewer than 10 images (hollow): they say little." in text


def test_reliability_when_sorting(scored: Scored) -> None:
    labels = tuple(Label(name=label.name, good=True) for label in scored.labels)
    page = Page(render_report(report_of(scored, labels=labels)))
    assert "80 % sure of, 80 % should have their right label" in page.said("reliability")
    bins = re.findall(r"from (\d\.\d) to", page.plots()["Reliability"])
    assert min(map(float, bins)) >= 0.4


# Layers


def test_each_layer_has_a_bar_and_a_row(page: Page) -> None:
    text = page.said("layers")
    for layer in LAYERS:
        assert f"{layer.layer} {layer.snr_db:.1f} dB" in text
        by_xnnpack = {True: "yes", False: "no", None: "unknown"}[layer.delegated]
        assert (
            f"{layer.layer} {layer.op} {layer.snr_db:.1f} dB {layer.own_snr_db:.1f} dB "
            f"{'float' if layer.in_float else 'int8'} {by_xnnpack}" in text
        )
    assert "these cost most: block1/hard_swish (HARD_SWISH, 11.5 dB), logits" in text
    assert "21.5 dB float, not XNNPACK" in text
    bars = [span["class"] for span in page.all("span") if span.get("class", "").startswith("bar")]
    samples = ["bar", "bar float", "bar slow"]
    assert bars == [*samples, "bar", "bar", "bar float slow", "bar", "bar float"]


def test_keys_that_nothing_needs_are_left_out(scored: Scored) -> None:
    layers = [LayerError(layer="stem", op="CONV_2D", snr_db=30.0)]
    text = Page(render_report(report_of(scored, layers=layers))).said("layers")
    assert "kept in float" not in text
    assert "not run by XNNPACK" not in text
    assert "only this layer" not in text
    assert f"stem CONV_2D 30.0 dB{NONE} int8 unknown" in text


def test_a_hundred_layers(scored: Scored) -> None:
    layers = [
        LayerError(layer=f"block{number}/conv", op="CONV_2D", snr_db=50.0 - number / 3)
        for number in range(100)
    ]
    html = render_report(report_of(scored, layers=layers))
    page = Page(html)
    (chart,) = (ol for ol in page.all("ol") if "layers" in ol.get("class", ""))
    assert chart["class"] == "layers many"
    text = page.said("layers")
    assert "The 100 layers as a table" in text
    assert all(f" block{number}/conv CONV_2D" in text for number in range(100))
    without = render_report(report_of(scored, layers=()))
    assert len(html) - len(without) < 100_000


# Notes, parity, nothing measured


def test_notes_come_before_any_figure(page: Page) -> None:
    head = page.said("")
    assert head.index("tflite-runtime 2.14 was not asked.") < head.index(
        "test images, the int8 model let"
    )


def test_no_test_images(scored: Scored) -> None:
    none = replace(scored, files=(), truth=scored.truth[:0], logits=scored.logits[:0])
    page = Page(render_report(report_of(none)))
    head = page.said("")
    assert "No labelled test images: only the conversion was measured." in head
    assert "tflite-runtime 2.14 was not asked." in head
    assert [section["id"] for section in page.all("section")] == [
        *("labels", "models", "schemes", "layers", "speed", "images", "training", "made"),
        "glossary",
    ]


def test_nothing_was_measured() -> None:
    page = Page(render_report(foreign(5)))
    head = page.said("")
    assert "No labelled images: nothing was measured." in head
    assert "No images: what it answers was not measured." in head
    assert [section["id"] for section in page.all("section")] == [
        *("labels", "models", "schemes", "made", "glossary")
    ]
    anchors = [a["href"][1:] for a in page.all("a")]
    assert anchors == [section["id"] for section in page.all("section")]
    assert "thing 0 thing 1 thing 2 thing 3 thing 4" in page.said("labels")
    assert [ol["start"] for ol in page.all("ol")] == ["0"]
    assert "From 0.3 the verdict is ? review" in page.said("labels")
    assert "Parity is unknown" in page.said("models")
    assert f"unchanged ✓ chosen 4.3 MB{5 * NONE} unknown" in page.said("schemes")


def test_unknown_parity_of_a_measured_model(scored: Scored) -> None:
    data = report_of(scored, parity=Parity(status="unknown"))
    text = Page(render_report(data)).said("models")
    assert "Parity is unknown: how far the converted model is from the original was not" in text
    assert "changed the verdict by the conversion" not in text


def test_a_thousand_labels_without_images() -> None:
    html = render_report(foreign(1001))
    assert "thing 1000" in Page(html).said("labels")
    assert len(html) < 200_000


def test_a_thousand_labels_with_few_images(scored: Scored) -> None:
    labels = [*scored.labels]
    labels += [Label(name=f"thing {number}", good=True) for number in range(999)]
    wide = np.pad(scored.logits, ((0, 0), (0, 999)), constant_values=-9.0)
    wide[0, 77] = 9.0  # one image is taken for something else
    data = report_of(scored, labels=labels, models=[ModelScores("int8", wide)], parity=None)
    html = render_report(data)
    page = Page(html)
    for section in ("verdicts", "examples", "labels"):
        for label in scored.labels:
            assert label.name in page.said(section)
    assert "thing 500" not in page.said("verdicts") + page.said("examples")
    assert "Of 1001 labels, 3 are shown" in page.said("labels")
    assert "thing 75" in page.said("labels")
    assert len([td for td in page.all("td") if "--share" in td.get("style", "")]) == 9
    assert len(html) < 1_000_000


def test_of_very_many_labels_those_with_the_most_mistakes_are_shown(scored: Scored) -> None:
    # Each image is of a label of its own; of the first thirty, each is taken for its neighbour.
    count = len(scored.files)
    labels = [Label(name=f"thing {number}!", good=True) for number in range(count)]
    truth = np.arange(count)
    called = np.where(truth < 30, truth ^ 1, truth)
    models = [ModelScores("int8", np.eye(count)[called])]
    data = report_of(scored, labels=labels, truth=truth, models=models, parity=None)
    text = Page(render_report(data)).said("labels")
    assert count > 60
    assert f"Of {count} labels, 60 are shown" in text
    assert all(f"thing {number}!" in text for number in range(30))
    assert f"thing {count - 1}!" not in text
