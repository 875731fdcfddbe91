"""The converter's worker may die, hang or babble: the parent says so, and goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lineside.errors import ConvertError
from lineside_convert.worker.protocol import Ask, Load, Loaded, Scored
from lineside_convert.workshop import Workshop
from tests.support.bundles import crash
from tests.support.tiny import pack, tiny_model, tiny_tree


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Workshop]:
    """A workshop with a small model in it; it needs no TensorFlow."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "tiny.tflite").write_bytes(tiny_model())
    with Workshop(tmp_path / "shop") as one:
        yield one


def load(own: Workshop, path: Path | None = None) -> Loaded:
    given = path or own.folder.parent / "tiny.tflite"
    return own.ask(Load(path=str(given)), Loaded)


def children() -> set[int]:
    """The processes that this one started and that are not over."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
        except OSError:  # it ended meanwhile
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.add(int(stat.parent.name))
    return found


def worker(before: set[int]) -> int:
    (pid,) = children() - before
    return pid


def test_it_starts_when_it_is_needed_and_ends(tmp_path: Path) -> None:
    before = children()
    (tmp_path / "tiny.tflite").write_bytes(tiny_model())
    (tmp_path / "shop").mkdir()
    with Workshop(tmp_path / "shop") as own:
        assert children() == before
        told = load(own)
        assert (told.height, told.width, told.channels, told.values) == (8, 8, 1, 2)
        assert len(children() - before) == 1
    assert children() == before


def test_one_that_was_killed_between_requests(own: Workshop) -> None:
    before = children()
    load(own)
    os.kill(worker(before), signal.SIGKILL)
    with pytest.raises(ConvertError, match=r"^its process was killed by SIGKILL: ") as caught:
        load(own)
    assert "\n" not in str(caught.value)
    assert children() == before
    assert load(own).kind == "class_logits"  # a new one


def test_a_request_that_kills_it(own: Workshop) -> None:
    before = children()
    tree = tiny_tree()
    crash(tree)
    (own.folder / "wrong.tflite").write_bytes(pack(tree))
    own.save("val.npy", np.zeros((2, 8, 8, 1), np.uint8))
    ask = Ask(model="wrong.tflite", part="val", out="scores/x.npy", kind="class_logits")
    with pytest.raises(ConvertError, match=r"^its process was killed by SIG(SEGV|ABRT|BUS): "):
        own.ask(ask, Scored)
    assert children() == before
    (own.folder / "right.tflite").write_bytes(tiny_model())
    own.save("val.npy", np.arange(128, dtype=np.uint8).reshape(2, 8, 8, 1))
    right = Ask(model="right.tflite", part="val", out="scores/x.npy", kind="class_logits")
    assert own.ask(right, Scored) == Scored()
    assert own.load("scores/x.npy").shape == (2, 2)


def test_one_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    before = children()
    (tmp_path / "tiny.tflite").write_bytes(tiny_model())
    (tmp_path / "shop").mkdir()
    with Workshop(tmp_path / "shop", seconds=0.01) as own:
        start = time.monotonic()
        with pytest.raises(ConvertError) as caught:
            load(own)
        assert str(caught.value) == "it did not end within 0.01 s, and was stopped"
        assert time.monotonic() - start < 10
        assert children() == before


def test_one_that_was_stopped_by_hand_is_ended(tmp_path: Path) -> None:
    before = children()
    (tmp_path / "tiny.tflite").write_bytes(tiny_model())
    (tmp_path / "shop").mkdir()
    with Workshop(tmp_path / "shop", seconds=60) as own:
        load(own)
        os.kill(worker(before), signal.SIGSTOP)
    assert children() == before


def test_what_libraries_print_does_not_matter(
    own: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    babble = "import os, sys; print('hello, I am a library'); os.write(1, b'no newline')\n"
    (tmp_path / "site" / "sitecustomize.py").write_text(babble)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    assert load(own).values == 2
    assert "hello, I am a library" in (own.folder / "worker.log").read_text()
    assert load(own).values == 2


def test_one_that_does_not_start(
    own: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    broken = "raise SystemExit('no worker here')\n"
    (tmp_path / "site" / "msgspec.py").write_text(broken)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    with pytest.raises(ConvertError) as caught:
        load(own)
    assert str(caught.value) == "its process ended with 1; the last it said: no worker here"


def test_what_can_not_be_done_is_said_and_it_goes_on(own: Workshop) -> None:
    before = children()
    load(own)
    pid = worker(before)
    bad = own.folder / "bad.tflite"
    bad.write_bytes(b"\0" * 64)
    with pytest.raises(ConvertError, match="ai-edge-litert refuses the model: "):
        load(own, bad)
    assert load(own).values == 2
    assert worker(before) == pid


def test_the_current_folder_is_not_imported_from(
    own: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')\n")
    monkeypatch.chdir(tmp_path)
    assert load(own).values == 2
