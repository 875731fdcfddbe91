"""How far the training is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

from lineside_train.backend import load_keras

QUIET_S: Final = 5.0
"""Seconds between two lines, where there is no terminal."""


@contextlib.contextmanager
def epoch_progress(epochs: int, steps: int, *, done: int = 0, quiet: bool = False) -> Iterator[Any]:
    """A Keras callback that shows how far the training is, on stderr.

    Args:
        epochs: how many there will be at most.
        steps: batches in one epoch.
        done: epochs that are done already.
        quiet: whether it shows nothing: another machine does.
    """
    if quiet:
        yield load_keras().callbacks.Callback()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    callback = load_keras().callbacks.Callback
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield load_keras().callbacks.LambdaCallback(on_epoch_end=_Lines(console, epochs))
        return
    with Progress(
        TextColumn("Training"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        said = f"epoch {done + 1} of {epochs}"
        task = progress.add_task(said, total=epochs * steps, completed=done * steps)

        class Bar(callback):  # type: ignore[misc, valid-type] # no types
            # The next step of the training doesn't wait for it.
            async_safe = True

            def on_train_batch_end(self, batch: int, logs: object) -> None:  # noqa: ARG002
                progress.advance(task)

            def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
                progress.update(task, description=_said(epoch, epochs, logs))

        yield Bar()


class _Lines:
    """Prints a line for an epoch, but not for each one where they are short."""

    def __init__(self, console: Any, epochs: int) -> None:  # noqa: ANN401 - rich is imported late
        self._console = console
        self._epochs = epochs
        self._last = time.monotonic()

    def __call__(self, epoch: int, logs: dict[str, float]) -> None:
        now = time.monotonic()
        if now - self._last >= QUIET_S or epoch + 1 == self._epochs:
            self._console.print(_said(epoch, self._epochs, logs))
            self._last = now


def _said(epoch: int, epochs: int, logs: dict[str, float]) -> str:
    return (
        f"epoch {epoch + 1} of {epochs}, loss {logs['loss']:.3f}, "
        f"val loss {logs.get('val_loss', float('nan')):.3f}"
    )
