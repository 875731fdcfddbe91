from __future__ import annotations

import pytest

from lineside_train.progress import epoch_progress

pytestmark = pytest.mark.train


def test_without_a_terminal_short_epochs_share_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with epoch_progress(3, 10) as shown:
        for epoch in range(3):
            shown.on_epoch_end(epoch, {"loss": 0.5, "val_loss": 0.25})
    assert capsys.readouterr().err == "epoch 3 of 3, loss 0.500, val loss 0.250\n"


def test_an_epoch_that_was_not_measured_is_shown_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with epoch_progress(1, 10) as shown:
        shown.on_epoch_end(0, {"loss": 0.5})
    assert capsys.readouterr().err == "epoch 1 of 1, loss 0.500, val loss nan\n"
