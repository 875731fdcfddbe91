"""`lineside evaluate`: figures of a bundle or a run on a labelled folder."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

pytest.importorskip("sklearn", reason="figures need the extra 'report'")

from lineside.bundle import open_bundle
from lineside.dataset import Dataset, read_dataset
from lineside.errors import DatasetError, EngineError, InputError
from lineside.evaluate import BundlePredictor, evaluate, evaluate_folder, open_predictor
from lineside.image import Preprocess
from lineside.inspector import Inspector
from lineside.manifest import PARITY_UNKNOWN, DecisionSpec, Label
from tests.support.bundles import unmeasured
from tests.support.command import lineside


@pytest.fixture
def some(cells: Path, tmp_path: Path) -> Path:
    """20 cells of each label."""
    for label in ("defective", "functional"):
        (tmp_path / "some" / label).mkdir(parents=True)
        for file in sorted((cells / label).iterdir())[:20]:
            shutil.copy(file, tmp_path / "some" / label)
    return tmp_path / "some"


def predictor_of(bundle_folder: Path) -> BundlePredictor:
    return BundlePredictor(Inspector(open_bundle(bundle_folder)))


def test_a_bundle_as_json(bundle_folder: Path, some: Path) -> None:
    double = next((some / "functional").iterdir())
    for label in ("functional", "defective"):
        shutil.copy(double, some / label / "again.png")
    double.unlink()
    done = lineside("evaluate", bundle_folder, some, "--json")
    assert "are the same image under two labels: all 2 copies are left out" in done.stderr
    found = json.loads(done.stdout)
    assert found["images"] == 39
    assert found["labels"] == ["defective", "functional"]
    confusion = np.array(found["confusion"])
    assert confusion.sum(axis=1).tolist() == [20, 19]
    assert found["accuracy"] == pytest.approx(np.trace(confusion) / 39)
    recalls = np.diag(confusion) / [20, 19]
    assert found["balanced_accuracy"] == pytest.approx(recalls.mean())
    assert [one["recall"] for one in found["per_label"].values()] == pytest.approx(recalls)
    assert 0.5 < found["auroc"] <= 1
    assert "macro_auroc" not in found
    assert (found["parity"], found["notes"]) == ("measured", [])
    verdicts = found["verdicts"]
    assert verdicts["ok"] + verdicts["ng"] + verdicts["review"] == 39
    assert found["intervals"].keys() == {"accuracy", "balanced_accuracy", "auroc"}
    assert verdicts["intervals"].keys() == {"escape_rate", "false_reject_rate", "review_rate"}
    for figures in (found, verdicts):
        for name, (low, high) in figures["intervals"].items():
            assert 0 <= low <= figures[name] <= high <= 1
            assert 0.05 < high - low < 0.6


def test_what_there_is_to_know_of_a_bundle(bundle_folder: Path, some: Path, tmp_path: Path) -> None:
    bundle = unmeasured(bundle_folder, tmp_path / "b", "the labels were guessed")
    done = lineside("evaluate", bundle, some, "--json")
    assert done.stderr.splitlines() == [
        "note: the labels were guessed",
        f"note: {PARITY_UNKNOWN}",
    ]
    found = json.loads(done.stdout)
    assert (found["parity"], found["notes"]) == ("unknown", ["the labels were guessed"])


def test_a_bundle_for_people(bundle_folder: Path, some: Path) -> None:
    said = CliRunner().invoke(evaluate, [str(bundle_folder), str(some)]).stdout
    assert "40 images: accuracy" in said
    assert "(in brackets: 95 % confidence intervals)" in said
    assert "defective   20" in said
    assert re.search(r"\d+ of 20 bad parts pass as ok \([\d.]+% to [\d.]+%\), ", said)


def test_a_run_by_its_entry_point(run_folder: Path, bundle_folder: Path, some: Path) -> None:
    pytest.importorskip("tensorflow", reason="a run's model needs the extra 'train'")
    found = json.loads(lineside("evaluate", run_folder, some, "--json").stdout)
    converted = evaluate_folder(predictor_of(bundle_folder), read_dataset(some)).figures
    assert found["images"] == 40
    assert found["verdicts"]["ok"] + found["verdicts"]["ng"] + found["verdicts"]["review"] == 40
    assert (found["parity"], found["notes"]) == (None, [])
    assert found["auroc"] == pytest.approx(converted.auroc, abs=0.05)


def test_one_label_is_enough(bundle_folder: Path, some: Path) -> None:
    shutil.rmtree(some / "defective")
    dataset = read_dataset(some, min_labels=1)
    found = evaluate_folder(predictor_of(bundle_folder), dataset).figures
    assert (found.images, found.auroc) == (20, None)
    assert found.per_label["defective"].recall is None
    assert found.accuracy == found.per_label["functional"].recall


def test_a_label_that_the_model_does_not_know(bundle_folder: Path, some: Path) -> None:
    (some / "functional").rename(some / "scratch")
    expected = r"does not know the label 'scratch'; it knows 'defective', 'functional'"
    with pytest.raises(DatasetError, match=expected):
        evaluate_folder(predictor_of(bundle_folder), read_dataset(some))


def test_an_image_that_changes_meanwhile(bundle_folder: Path, some: Path) -> None:
    dataset = read_dataset(some)
    one, other = sorted((some / "functional").iterdir())[:2]
    shutil.copy(one, other)
    with pytest.raises(DatasetError, match="was changed: sha256"):
        evaluate_folder(predictor_of(bundle_folder), dataset)


def test_what_is_neither_a_bundle_nor_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is neither a bundle \(manifest.json\) nor a run"):
        open_predictor(tmp_path)


def test_a_folder_without_images(bundle_folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(evaluate, [str(bundle_folder), str(tmp_path)])
    assert isinstance(done.exception, DatasetError)
    assert "holds no image" in str(done.exception)


class Means:
    """A predictor of three labels: which of three levels the mean grey is nearest to."""

    labels: Sequence[Label] = tuple(
        Label(name=name, good=True) for name in ("dark", "light", "mid")
    )
    preprocess = Preprocess(colour="gray", resize="stretch")
    image_size = (16, 16)
    decision: DecisionSpec | None = None

    def logits(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating]:
        means = tensors.mean(axis=(1, 2, 3))
        return -np.abs(means[:, np.newaxis] - np.array([20.0, 230.0, 120.0])) / 20


@pytest.fixture
def greys(tmp_path: Path) -> Dataset:
    """12 pictures of three labels, each of its own grey."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV comes with the extra 'runtime'")
    for label, level in (("dark", 10), ("mid", 110), ("light", 220)):
        (tmp_path / label).mkdir()
        for n in range(4):
            picture = np.full((20, 20), level + 5 * n, np.uint8)
            cv2.imwrite(str(tmp_path / label / f"{n}.png"), picture)
    return read_dataset(tmp_path)


def test_more_labels_have_a_macro_auroc(greys: Dataset) -> None:
    evaluation = evaluate_folder(Means(), greys)
    found = json.loads(evaluation.to_json())
    assert found["labels"] == ["dark", "light", "mid"]
    assert found["confusion"] == [[4, 0, 0], [0, 4, 0], [0, 0, 4]]
    assert found["macro_auroc"] == 1.0
    assert "auroc" not in found


def test_an_answer_that_is_no_number(greys: Dataset) -> None:
    class Broken(Means):
        def logits(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating]:
            logits = super().logits(tensors)
            logits[3:5] = np.nan
            return logits

    expected = r"the model's answer to 'dark/3.png' is no number \(and 1 more\)"
    with pytest.raises(EngineError, match=expected):
        evaluate_folder(Broken(), greys)
