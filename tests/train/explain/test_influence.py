"""Which training images are to blame: on real cells, some of which were taught the wrong label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lineside.dataset import load_tensors
from lineside.decision import softmax
from lineside.run import open_run
from lineside_train.backend import load_keras
from lineside_train.explain.influence import harm, most_common, most_harmful, residuals, whiten
from lineside_train.explain.layers import LastLayers
from lineside_train.fitting.examples import predict


def test_residuals_are_the_gradient_of_the_loss_by_the_logits() -> None:
    random = np.random.default_rng(0)
    logits, truth = random.normal(size=(5, 3)), random.integers(3, size=5)
    found = residuals(logits, truth)
    for label in range(3):
        step = np.zeros((1, 3))
        step[0, label] = 1e-6
        losses = [-np.log(softmax(z)[np.arange(5), truth]) for z in (logits + step, logits - step)]
        assert np.allclose((losses[0] - losses[1]) / 2e-6, found[:, label], atol=1e-6)


def test_whitened_features_have_unit_covariance() -> None:
    features = np.random.default_rng(0).normal(size=(500, 4)) @ np.diag([1.0, 2.0, 3.0, 4.0]) + 5
    mean, matrix = whiten(features)
    white = (features - mean) @ matrix
    assert np.allclose(white.T @ white / 500, np.eye(4), atol=0.08)


def test_harm_foretells_what_a_step_of_learning_does() -> None:
    """In white features a step of gradient descent on one image changes the loss of another so."""
    random = np.random.default_rng(1)
    features, weights = random.normal(size=(6, 4)), random.normal(size=(4, 3))
    truth = random.integers(3, size=6)
    logits = features @ weights
    off = residuals(logits, truth)
    found = harm(features, off, features, off)
    for image in range(6):
        step = 1e-5 * np.outer(np.append(features[image], 1.0), off[image])
        after = logits - (features @ step[:4] + step[4])
        rise = np.log(softmax(logits)) - np.log(softmax(after))
        assert np.allclose(rise[np.arange(6), truth], 1e-5 * found[:, image], rtol=1e-2, atol=1e-8)


def test_only_images_of_another_label_that_did_harm() -> None:
    random = np.random.default_rng(2)
    features, truth = random.normal(size=(40, 5)), random.integers(2, size=40)
    logits = features @ random.normal(size=(5, 2))
    train, asked = (
        (features[:30], logits[:30], truth[:30]),
        (features[30:], logits[30:], truth[30:]),
    )
    ones = np.ones(2)
    found = most_harmful(train, asked, ones)
    assert len(found) == 10
    for image, worst in enumerate(found):
        assert len(worst) == 3
        assert all(truth[index] != asked[2][image] for index in worst)


def test_most_common() -> None:
    assert most_common([[1, 2], [2, 3], [2, 1], [5]], 8) == [(2, 3), (1, 2)]
    assert most_common([], 8) == []


@pytest.mark.train
def test_wrong_labels_are_found_out(run_folder: Path) -> None:
    """A tenth of the cells are taught wrongly to the last layer; its errors lead to them."""
    linear_model = pytest.importorskip(
        "sklearn.linear_model", reason="scikit-learn comes with the extra 'train'"
    )
    run = open_run(run_folder)
    rows = run.rows("train")
    names = [label.name for label in run.info.labels]
    files = [row.file for row in rows]
    where = Path(run.info.data_root)
    tensors = load_tensors(where, files, run.info.preprocess, run.info.image_size, what="Reading")
    network = load_keras().models.load_model(run.model_path, compile=False)
    features = LastLayers(network).embed(tensors)
    right = predict(network, tensors).argmax(axis=1)
    truth = np.array([names.index(row.label) for row in rows])
    sure = np.flatnonzero(right == truth)  # what the network itself holds for wrong is left out
    random = np.random.default_rng(0)
    shares = []
    for _ in range(5):
        order = random.permutation(sure)
        learned, asked = order[: len(order) * 2 // 3], order[len(order) * 2 // 3 :]
        taught = truth.copy()
        wrong = random.choice(learned, len(learned) // 10, replace=False)
        taught[wrong] = 1 - taught[wrong]
        head = linear_model.LogisticRegression(C=100.0, max_iter=5000)
        head.fit(features[learned], taught[learned])
        z = head.decision_function(features)
        logits = np.stack([-z / 2, z / 2], axis=1)
        errors = asked[logits[asked].argmax(axis=1) != truth[asked]]
        found = most_harmful(
            (features[learned], logits[learned], taught[learned]),
            (features[errors], logits[errors], truth[errors]),
            np.ones(2),
        )
        shares += [np.isin(learned[one], wrong).mean() for one in found if one]
    assert len(shares) > 5
    assert np.mean(shares) > 0.3  # by chance 0.1
