"""A network that learns from another one's answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from lineside.dataset import load_tensors
from lineside.errors import RunError, TrainError
from lineside.run import open_run
from lineside_train.backend import load_keras
from lineside_train.fitting.examples import Examples, predict
from lineside_train.fitting.fit import train_network
from lineside_train.fitting.teaching import SHARE, TEMPERATURE, check_teacher, load_teacher, taught
from lineside_train.networks import build_network
from lineside_train.options import TrainOptions

pytestmark = pytest.mark.train


def test_the_loss_is_the_divergence_from_the_teacher(run_folder: Path) -> None:
    keras = load_keras()
    student = build_network(TrainOptions(image_size=64, width=0.5), 1, 2)
    teacher = load_teacher(str(run_folder), student)
    model = keras.Model(student.input, taught(student.output, student.input, teacher))
    pixels = np.random.default_rng(0).uniform(0, 255, (8, 64, 64, 1)).astype(np.float32)
    said = model(pixels)
    logits = [keras.ops.convert_to_numpy(one(pixels)) for one in (student, teacher)]
    assert np.allclose(said, logits[0], atol=1e-5)
    q, p = (np.exp(one / TEMPERATURE) for one in logits)
    q, p = (one / one.sum(axis=1, keepdims=True) for one in (q, p))
    expected = SHARE * TEMPERATURE**2 * (p * np.log(p / q)).sum(axis=1).mean()
    (loss,) = model.losses
    assert float(loss) == pytest.approx(expected, rel=1e-3)
    assert not teacher.trainable_variables


def test_a_student_comes_to_answer_as_its_teacher(run_folder: Path) -> None:
    run = open_run(run_folder)
    rows = run.rows("train")
    names = [label.name for label in run.info.labels]
    tensors = load_tensors(
        Path(run.info.data_root),
        [row.file for row in rows],
        run.info.preprocess,
        (32, 32),  # the teacher sees 64 x 64
        what="Reading",
    )
    truth = np.array([names.index(row.label) for row in rows])
    # Labels by chance: whatever the student knows, it knows from the teacher.
    wrong = Examples(tensors, np.random.default_rng(0).permutation(truth))
    teacher = load_teacher(str(run_folder), build_network(TrainOptions(image_size=64), 1, 2))
    large = load_tensors(
        Path(run.info.data_root),
        [row.file for row in rows],
        run.info.preprocess,
        (64, 64),
        what="Reading",
    )
    answers = predict(teacher, large)
    right = Examples(tensors, answers.argmax(axis=1))

    def likeness(teacher_run: str | None) -> float:
        options = TrainOptions(
            image_size=32, epochs=20, patience=20, augment="none", teacher=teacher_run
        )
        network = train_network(wrong, right, 2, options).network
        margins = [one @ (-1, 1) for one in (predict(network, tensors), answers)]
        return float(np.corrcoef(margins)[0, 1])

    assert likeness(str(run_folder)) > likeness(None) + 0.2


def test_teachers_that_are_refused(run_folder: Path, tmp_path: Path) -> None:
    network = build_network(TrainOptions(image_size=64), 3, 5)
    with pytest.raises(TrainError, match="sees 1 channels and knows 2 labels, 3 and 5 "):
        load_teacher(str(run_folder), network)
    damaged = tmp_path / "damaged"
    shutil.copytree(run_folder, damaged)
    (damaged / "model.keras").write_bytes(b"no zip file")
    with pytest.raises(RunError, match=r"model\.keras can't be loaded: .*; train it again"):
        load_teacher(str(damaged), network)
    with pytest.raises(RunError, match="is no run"):
        load_teacher(str(tmp_path / "nowhere"), network)
    with pytest.raises(TrainError, match=r"was trained on another split, .*: give --split "):
        check_teacher(str(run_folder), "0" * 64)
    check_teacher(str(run_folder), open_run(run_folder).info.split)
