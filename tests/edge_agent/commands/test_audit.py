"""The audit log: on disk, bounded, and never in the way."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lineside_agent.commands import Audit
from lineside_agent.commands.audit import FILES, MAX_LINE_BYTES, MAX_WAITING
from tests.support.broker import wait_for
from tests.support.disk import tiny_disk
from tests.support.requests import BOOT, Counter, command, incoming


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def last(path: Path) -> int | None:
    """The number of the last line that is whole: another may be being written."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    return json.loads(whole[-1])["number"] if whole else None


@contextmanager
def running(audit: Audit) -> Iterator[Audit]:
    audit.start()
    try:
        yield audit
    finally:
        audit.stop()


def test_what_was_done_and_what_was_refused(tmp_path: Path) -> None:
    counter = Counter(tmp_path, {"echo": lambda _request, reply: reply.ok()})
    with running(counter.audit):
        counter.ask(command(args={"text": "hi"}))
        counter.ask(command(args={"text": "hi"}))
        counter.ask(b'{"requester":"hmi","op":"echo"}')
        counter.ask(command("reboot", id="c-2"))
    (done,) = read(tmp_path / "audit.jsonl")
    assert done.pop("at").endswith("Z")
    assert done == {
        "boot": BOOT,
        "kind": "command",
        "step": "answered",
        "requester": "hmi",
        "id": "c-1",
        "op": "echo",
        "ok": True,
        "reason": None,
        "args": {"text": "hi"},
    }
    refused = read(tmp_path / "audit-refused.jsonl")
    assert [line["step"] for line in refused] == ["repeated", "refused", "refused"]
    assert refused[1]["reason"] == "command is refused: 'id' is missing"
    assert (refused[1]["requester"], refused[1]["id"], refused[1]["bytes"]) == ("hmi", None, 31)
    assert refused[2]["reason"] == "unknown op 'reboot': one of echo is expected"


def test_a_command_that_takes_its_time_is_noted_when_it_begins(tmp_path: Path) -> None:
    held: list[Any] = []
    counter = Counter(tmp_path, {"hold": lambda _request, reply: held.append(reply)})
    with running(counter.audit):
        counter.desk.on_message(incoming(command("hold")))
        wait_for(lambda: len(read(tmp_path / "audit.jsonl")) == 1)
        held[0].refuse("no such bundle")
    lines = read(tmp_path / "audit.jsonl")
    assert [line["step"] for line in lines] == ["accepted", "answered"]
    assert lines[1]["reason"] == "no such bundle"


def test_triggers_are_not_in_it_unless_they_are_refused(tmp_path: Path) -> None:
    answers = iter([True, False])

    def trigger(_request: Any, reply: Any) -> None:  # noqa: ANN401 - as ops are called
        reply.ok() if next(answers) else reply.refuse("no room")

    counter = Counter(tmp_path, {"trigger": trigger})
    with running(counter.audit):
        counter.ask(command("trigger", id="1"))
        counter.ask(command("trigger", id="2"))
    (line,) = read(tmp_path / "audit.jsonl")
    assert (line["id"], line["reason"]) == ("2", "no room")


def test_it_is_bounded_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    with running(Audit(path, BOOT, max_bytes=10_000 * FILES * 2)) as audit:
        for number in range(1000):
            audit.record("model", number=number)
            if number % 50 == 0:  # so that it rotates often
                wait_for(lambda n=number: last(path) == n)  # type: ignore[misc]
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == [
        "audit.jsonl",
        *(f"audit.jsonl.{number}" for number in range(1, FILES)),
    ]
    assert all(file.stat().st_size <= 10_000 for file in files)
    numbers = [line["number"] for file in [*reversed(files[1:]), files[0]] for line in read(file)]
    assert numbers == list(range(numbers[0], 1000))  # the oldest go, whole and in order


def test_it_goes_on_where_it_was_and_mends_a_half_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with running(Audit(path, BOOT)) as audit:
        audit.record("model", number=1)
    with path.open("ab") as file:
        file.write(b'{"at":"2026-')  # the power went
    with running(Audit(path, BOOT)) as audit:
        audit.record("model", number=2)
    assert [line["number"] for line in read(path)] == [1, 2]


def test_a_line_that_is_too_long_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with running(Audit(path, BOOT)) as audit:
        audit.record("command", id="x" * 9000, ok=True, args={"a": ["b" * 9000]})
        audit.record("command", thing=object())
    assert path.stat().st_size < MAX_LINE_BYTES
    first, second = read(path)
    assert (first["id"], first["ok"], first["cut"]) == ("x" * 64, True, True)
    assert second["cut"]


def test_a_full_disk_is_a_line_and_a_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tiny_disk(tmp_path / "disk", kib=1024) as folder:
        path = folder / "audit.jsonl"
        filler = folder / "filler"
        with running(Audit(path, BOOT)) as audit, caplog.at_level(logging.INFO):
            audit.record("model", number=0)
            wait_for(lambda: len(read(path)) == 1)
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(b"x" * 4096):
                    pass
            began = time.monotonic()
            for number in range(1, MAX_WAITING + 1000):
                audit.record("model", number=number)
            assert time.monotonic() - began < 5  # nobody waits for the disk
            wait_for(lambda: audit.problem)
            assert "the disk is full" in (audit.problem or "")
            wait_for(lambda: audit.lost > 0)
            assert caplog.text.count("the audit log waits in memory") == 1
            filler.unlink()
            wait_for(lambda: audit.problem is None)
            audit.record("model", number=-1)
            wait_for(lambda: read(path)[-1].get("number") == -1)
        lines = read(path)
        gaps = [line["lost"] for line in lines if line["kind"] == "gap"]
        numbers = [line["number"] for line in lines if line["kind"] == "model"]
        assert sum(gaps) == audit.lost
        assert len(numbers) + sum(gaps) == MAX_WAITING + 1000 + 1
        assert "the audit log can be written again" in caplog.text


def test_a_folder_in_its_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "audit.jsonl"
    path.mkdir()
    audit = Audit(path, BOOT)
    audit.start()
    audit.record("model", number=1)
    wait_for(lambda: audit.problem)
    audit.stop()
    assert "the end of the audit log is lost" in caplog.text
    wait_for(lambda: not any(thread.name == "audit" for thread in threading.enumerate()))
