from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lineside.decision import defect_scores, softmax
from lineside.image import Frame, decode
from lineside.manifest import DecisionSpec, Label, LimitSpec
from lineside.metrics import figures, verdict_figures
from lineside.report import ModelScores, ReportData, render_report
from tests.lineside.report.page import Page, decoded
from tests.lineside.report.scored import DECISION, Scored, report_of


@pytest.fixture(scope="session")
def html(scored: Scored) -> str:
    return render_report(report_of(scored))


@pytest.fixture(scope="session")
def page(html: str) -> Page:
    return Page(html)


def as_sorting(scored: Scored) -> Scored:
    return replace(scored, labels=tuple(Label(name=x.name, good=True) for x in scored.labels))


# What a reader sees


def test_headline_and_cards_say_what_the_metrics_say(page: Page, scored: Scored) -> None:
    verdicts = verdict_figures(scored.truth, scored.int8, scored.labels, DECISION)
    main = figures(scored.truth, scored.int8, scored.labels)
    head = page.said("")
    bad = verdicts.bad_parts
    assert f"On {verdicts.images} test images, the int8 model" in head
    assert f"let {verdicts.escapes} of {bad} bad parts" in head
    assert f"stopped {verdicts.false_rejects} of {verdicts.images - bad} good parts" in head
    assert f"left {verdicts.review} parts" in head
    assert f"Balanced accuracy {100 * main.balanced_accuracy:.1f} %" in head
    assert f"AUROC {main.auroc:.3f}" in head
    assert "0.31 ms one inference, int8; a test machine, 2 cores" in head


def test_verdicts_of_each_label_add_up(page: Page, scored: Scored) -> None:
    verdicts = verdict_figures(scored.truth, scored.int8, scored.labels, DECISION)
    rows = re.findall(
        r"(?:defective|functional) \((?:bad|good)\)"
        r" ?(\d+) [\d.]+ % ?(\d+) [\d.]+ % ?(\d+) [\d.]+ % ?(\d+)",
        page.said("verdicts"),
    )
    ok, review, ng, images = np.array(rows, int).sum(axis=0)
    assert (ok, review, ng) == (verdicts.ok, verdicts.review, verdicts.ng)
    assert images == len(scored.files)


def test_limits_are_in_the_plots_and_in_the_text(page: Page, scored: Scored) -> None:
    plots = page.plots()
    assert "review limit at 0.3, ng limit at 0.6" in plots["Histogram"]
    bad = np.array([not scored.labels[k].good for k in scored.truth])
    scores = defect_scores(softmax(scored.int8, DECISION.temperature), scored.labels)
    for name, limit in (("review", 0.3), ("ng", 0.6)):
        above = scores >= limit
        caught, stopped = above[bad].mean(), above[~bad].mean()
        assert (
            f"at the {name} limit {limit:g} {caught:.1%} of bad parts are caught "
            f"and {stopped:.1%} of good parts are stopped" in plots["ROC"]
        )
        assert (
            f"at the {name} limit {limit:g} recall {caught:.1%} "
            f"and precision {bad[above].mean():.1%}" in plots["Precision/recall"]
        )
        assert f"rom {limit:g} the verdict is" in page.said("verdicts")
    assert "with costs of 10 for escape and 1 for reject" in page.said("verdicts")
    assert "the temperature is 0.4" in page.said("verdicts")


def test_curves_of_both_models(page: Page, scored: Scored) -> None:
    for name, logits in (("float", scored.logits), ("int8", scored.int8)):
        auroc = figures(scored.truth, logits, scored.labels).auroc
        assert f"{name}: AUROC {auroc:.3f}" in page.plots()["ROC"]
        assert f"{name}: AUROC {auroc:.3f}" in page.said("curves")


def test_confusion_matrix(page: Page, scored: Scored) -> None:
    (a, b), (c, d) = figures(scored.truth, scored.int8, scored.labels).confusion
    assert f"defective functional defective {a} {b} functional {c} {d}" in page.said("labels")


def test_worst_mistakes_come_first(page: Page, scored: Scored) -> None:
    scores = defect_scores(softmax(scored.int8, DECISION.temperature), scored.labels)
    bad = np.array([not scored.labels[k].good for k in scored.truth])
    escapes = np.flatnonzero(bad & (scores < 0.3))
    rejects = np.flatnonzero(~bad & (scores >= 0.6))
    assert len(escapes) > 1
    assert len(rejects) > 1
    text = page.said("mistakes")
    assert f"Escapes: {len(escapes)}" in text
    assert f"False rejects: {len(rejects)}" in text
    order = [
        *escapes[np.argsort(scores[escapes], kind="stable")][:12],
        *rejects[np.argsort(-scores[rejects], kind="stable")][:12],
    ]
    places = [text.index(scored.files[i]) for i in order]
    assert places == sorted(places)
    shown = [img["alt"] for img in page.all("img")][: len(order)]
    assert shown == [
        f"{scored.files[i]}: {scored.labels[scored.truth[i]].name}, "
        f"verdict {'ok' if bad[i] else 'ng'}, score {scores[i]:.3f}"
        for i in order
    ]


def test_both_models_beside_each_other(page: Page, scored: Scored) -> None:
    text = page.said("models")
    one, other = (
        defect_scores(softmax(z, DECISION.temperature), scored.labels)
        for z in (scored.logits, scored.int8)
    )
    zones = [np.digitize(scores, [0.3, 0.6]) for scores in (one, other)]
    flips = np.flatnonzero(zones[0] != zones[1])
    assert 0 < len(flips) <= 20
    assert f"{len(flips)} test image" in text
    for i in flips:
        assert f"{scored.files[i]} " in text
    assert f"largest difference of a score is {np.abs(one - other).max():.4f}" in text
    assert "Measured against keras: on 60 val images 1 changed the verdict" in text
    assert "Of new images, 2.1 % are to be expected to change it" in text
    assert "no score moved by more than 0.0123" in text


def test_everything_else_is_there(page: Page, scored: Scored) -> None:
    bad = int(np.sum(scored.truth == 0))
    good = len(scored.truth) - bad
    assert f"defective (bad) {bad} {bad} {bad} {3 * bad}" in page.said("images")
    assert f"functional (good) {good} {good} {good} {3 * good}" in page.said("images")
    assert "'a.png' and 'b.png' are the same image under two labels" in page.said("images")
    assert "model.tflite, int8 212.3 kB" in page.said("speed")
    assert "one inference, int8 0.31 ms a test machine, 2 cores" in page.said("speed")
    assert "arch compact" in page.said("made")
    assert "keras 3.15.0" in page.said("made")
    assert "seed 7" in page.said("made")
    assert "sha256:" + "ab" * 32 in page.said("made")
    alts = [svg["aria-label"] for svg in page.all("svg") if "aria-label" in svg]
    assert "loss over 3 epochs: training from 0.7 to 0.4, validation from 0.72 to 0.58" in alts
    assert "lr over 3 epochs: training from 0.001 to 0.001" in alts
    for term in ("Escape", "False reject", "Review", "Balanced accuracy", "AUROC"):
        assert term in page.said("glossary")


# What makes it one file that lasts


def test_nothing_comes_from_outside(html: str, page: Page) -> None:
    assert not re.search(r"https?:", html)
    assert "@import" not in html
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, values in page.elements:
        assert not any(name.startswith("on") for name in values)
        if "src" in values:
            assert values["src"].startswith("data:image/jpeg;base64,")
        for name in ("href", "xlink:href"):
            assert values.get(name, "#").startswith("#"), tag
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))
    policy = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_pictures_can_be_decoded(page: Page) -> None:
    pictures = page.all("img")
    assert len(pictures) > 12
    for img in pictures:
        pixels = decoded(img["src"])
        assert pixels.shape == (int(img["height"]), int(img["width"]), 3)
        assert max(pixels.shape) <= 160


def test_anchors_lead_somewhere_and_ids_are_unique(page: Page) -> None:
    ids = [values["id"] for _, values in page.elements if "id" in values]
    assert len(ids) == len(set(ids))
    anchors = [a["href"][1:] for a in page.all("a")]
    assert anchors == [section["id"] for section in page.all("section")]
    used = [use["xlink:href"][1:] for use in page.all("use")]
    assert used
    assert set(used) <= set(ids)


def test_it_can_be_read_aloud(page: Page) -> None:
    assert page.all("html") == [{"lang": "en"}]
    assert all(th.get("scope") in {"col", "row", "colgroup"} for th in page.all("th"))
    assert all(img["alt"] for img in page.all("img"))
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or (svg["role"] == "img" and svg["aria-label"])


def test_the_same_data_give_the_same_bytes(html: str, scored: Scored) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "path", "axes.facecolor": "red", "font.size": 30}):
        before = dict(mpl.rcParams)
        assert render_report(report_of(scored)) == html
        assert dict(mpl.rcParams) == before


def test_colours_are_names_of_the_style(html: str) -> None:
    used = set(re.findall(r"var\(--([\w-]+)\)", html))
    defined = set(re.findall(r"--([\w-]+):", html))
    assert {"ok", "ng", "review", "accent"} <= used
    assert used <= defined
    assert "#0102" not in html


def test_size_with_the_most_pictures_of_pure_noise(scored_30: Scored) -> None:
    generator = np.random.default_rng(0)

    def noise(_: str) -> Frame:
        return generator.integers(0, 256, (480, 640, 3), dtype=np.uint8)

    data = report_of(scored_30, load_frame=noise)
    assert len(render_report(data).encode()) < 3_000_000


# Odd data


def test_odd_names_are_text(scored: Scored, tmp_path: Path) -> None:
    odd = "<script>alert(1)</script> Prüfling №5 划痕 \"'&amp;.png"
    label = "Kratzer <b>groß</b> & 划痕"
    files = [odd if i == 0 else f"{i}.png" for i in range(len(scored.files))]
    for i, file in enumerate(files):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes((scored.root / scored.files[i]).read_bytes())
    labels = [Label(name=label, good=False), scored.labels[1]]
    data = report_of(
        scored,
        title="<i>cells</i>",
        labels=labels,
        files=files,
        load_frame=lambda file: decode((tmp_path / file).read_bytes()),
        # Passing everything: the first bad part is among the escapes.
        decision=DecisionSpec(
            score="p_not_good", temperature=1.0, limits=LimitSpec(review=None, ng=1.0)
        ),
        models=[ModelScores("float", np.zeros((len(files), 2)))],
        counts={"test": {label: 3, "functional": 4}},
        notices=[f"{odd!r} is odd"],
        history={"<u>loss</u>": [1.0, 0.5], "划痕": [0.1]},
        parity=None,
    )
    page = Page(render_report(data))
    assert not {tag for tag, _ in page.elements} & {"script", "i", "u"}
    assert odd in page.said("mistakes")
    assert label in page.said("mistakes")
    assert label in page.said("labels")
    assert odd in page.said("images").replace("\\", "")
    assert "<i>cells</i>" in page.said("")
    assert "<u>loss</u>" in page.said("training")
    assert any(img["alt"].startswith(odd) for img in page.all("img"))


def test_a_name_that_is_no_text_can_be_written(scored: Scored) -> None:
    files = [f"{i}\udcff.png" for i in range(len(scored.files))]
    by_name = dict(zip(files, scored.files, strict=True))
    data = report_of(scored, files=files, load_frame=lambda file: scored.load(by_name[file]))
    html = render_report(data)
    assert "\\udcff.png" in html.encode("utf-8").decode("utf-8")


def test_a_picture_that_is_gone(scored: Scored, tmp_path: Path) -> None:
    def load(file: str) -> Frame:
        return decode((tmp_path / file).read_bytes())

    page = Page(render_report(report_of(scored, load_frame=load)))
    assert page.all("img") == []
    assert "picture not found" in page.said("examples")


def test_sorting(scored: Scored) -> None:
    decision = DecisionSpec(
        score="uncertainty", temperature=0.4, limits=LimitSpec(review=0.3, ng=None)
    )
    data = report_of(as_sorting(scored), decision=decision)
    page = Page(render_report(data))
    verdicts = verdict_figures(scored.truth, scored.int8, data.labels, decision)
    right = verdicts.images - verdicts.bad_parts
    head = page.said("")
    assert f"Of {verdicts.images} test images, the int8 model gave {right} (" in head
    assert f"It was sure of {verdicts.ok}," in head
    assert f"{verdicts.review} ({100 * verdicts.review_rate:.1f} %) are left" in head
    assert f"{verdicts.escapes} of {verdicts.images} images wrong and yet sure" in head
    assert f"Wrong and yet sure: {verdicts.escapes}" in page.said("mistakes")
    plots = page.plots()
    assert "review limit at 0.3" in plots["Histogram"]
    assert f"at the review limit 0.3 {verdicts.ok / verdicts.images:.1%}" in plots["Right"]
    assert "False reject" not in "".join(page.text.values())


def test_thirty_labels(scored_30: Scored) -> None:
    page = Page(render_report(report_of(scored_30)))
    main = figures(scored_30.truth, scored_30.int8, scored_30.labels)
    assert f"AUROC of good against bad {main.auroc:.3f}" in page.said("")
    for label in scored_30.labels:
        assert f"{label.name} ({'good' if label.good else 'bad'})" in page.said("labels")
    assert "The 6 labels that are hardest to tell apart are coloured" in page.said("curves")
    assert "Wrong labels" in page.said("mistakes")
    assert len([td for td in page.all("td") if "--share" in td.get("style", "")]) == 900


def test_a_label_without_test_images(scored: Scored) -> None:
    data = report_of(
        scored,
        labels=[*scored.labels, Label(name="never seen", good=False)],
        models=[ModelScores("float", np.pad(scored.logits, ((0, 0), (0, 1))))],
        parity=None,
    )
    page = Page(render_report(data))
    assert "No test image shows never seen: nothing is known of that." in page.said("")
    assert "never seen (bad) no test image" in page.said("examples")
    assert "never seen (bad) 0 \N{EN DASH} " in page.said("labels")


@pytest.mark.parametrize(("kept", "missing"), [(0, "stopped"), (1, "bad parts pass")])
def test_only_bad_or_only_good_test_images(scored: Scored, kept: int, missing: str) -> None:
    which = np.flatnonzero(scored.truth == kept)
    one_kind = replace(
        scored,
        files=tuple(scored.files[i] for i in which),
        truth=scored.truth[which],
        logits=scored.logits[which],
    )
    page = Page(render_report(report_of(one_kind)))
    assert missing not in page.said("").split("Neither training")[0]
    assert "ROC" not in page.plots()
    assert "Histogram" in page.plots()


def test_one_test_image(scored: Scored) -> None:
    one = replace(scored, files=scored.files[:1], truth=scored.truth[:1], logits=scored.logits[:1])
    page = Page(render_report(report_of(one)))
    assert "On 1 test image, the int8 model" in page.said("")


def test_a_run_has_one_model_and_perhaps_no_limits(scored: Scored) -> None:
    data = ReportData(
        title="run",
        subject="run",
        created="today",
        labels=scored.labels,
        files=scored.files,
        truth=scored.truth,
        models=[ModelScores("float", scored.logits)],
        load_frame=scored.load,
    )
    page = Page(render_report(data))
    assert [section["id"] for section in page.all("section")] == [
        *("verdicts", "mistakes", "examples", "labels", "curves", "reliability", "made"),
        "glossary",
    ]
    bad = scored.truth == 0
    escapes = int(np.sum(bad & (scored.logits.argmax(axis=1) == 1)))
    assert f"the model let {escapes} of {bad.sum()} bad parts" in page.said("")
    assert "No limits were chosen: the most probable label decides." in page.said("verdicts")
    assert "limit" not in page.plots()["ROC"]
    assert "what the model learned from is not known here" in page.said("")


@pytest.mark.parametrize(
    ("review", "ng"), [(0.0, 0.0), (1.0, 1.0), (0.4, None), (None, 0.5), (None, None), (0.5, 0.501)]
)
def test_any_limits(scored: Scored, review: float | None, ng: float | None) -> None:
    decision = DecisionSpec(
        score="p_not_good", temperature=1.0, limits=LimitSpec(review=review, ng=ng)
    )
    plots = Page(render_report(report_of(scored, decision=decision))).plots()
    for name, limit in (("review", review), ("ng", ng)):
        assert (f"{name} limit at" in plots["Histogram"]) is (limit is not None)
        assert (f"at the {name} limit" in plots["ROC"]) is (limit is not None)


def test_history_of_one_epoch(scored: Scored) -> None:
    page = Page(render_report(report_of(scored, history={"loss": [0.5], "val_loss": [0.6]})))
    alts = [svg["aria-label"] for svg in page.all("svg") if "aria-label" in svg]
    assert "loss over 1 epoch: training from 0.5 to 0.5, validation from 0.6 to 0.6" in alts
