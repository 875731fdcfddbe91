"""One training on several machines: here two of them, on the loopback interface."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lineside.errors import TrainError
from lineside.run import open_run
from lineside_train.command import train
from lineside_train.fitting.changes import changed
from lineside_train.fitting.checkpoint import FILE
from lineside_train.fitting.draws import Draws
from lineside_train.hosts.facts import difference
from lineside_train.hosts.link import Beat, Ended, Facts, Go, Hello, Link
from lineside_train.hosts.options import Roster, pop_roster
from lineside_train.hosts.watch import Watch
from lineside_train.options import TrainOptions
from lineside_train.unfinished import unfinished_folder
from tests.support.command import lineside

pytestmark = pytest.mark.train

jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="jax comes with the extra 'dev', from Python 3.11 on",
)

JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}

HOW = [
    *("--image-size", "16", "--width", "0.25", "--epochs", "8", "--patience", "8"),
    *("--mix", "mixup", "--batch-size", "16"),
]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in found]


def addresses(count: int = 2) -> str:
    return ",".join(f"127.0.0.1:{port}" for port in free_ports(count))


@pytest.fixture
def few(cells: Path, tmp_path: Path) -> Path:
    """Thirty cells for each label."""
    for label in ("defective", "functional"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for file in sorted((cells / label).iterdir())[:30]:
            shutil.copy(file, tmp_path / "photos" / label)
    return tmp_path / "photos"


@contextlib.contextmanager
def hosts(
    *commands: list[str | Path], env: dict[str, str] | None = None
) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that train together, each by its own command."""
    where = addresses(len(commands))
    started: list[subprocess.Popen[str]] = []
    try:
        for index, command in enumerate(commands):
            words = [*map(str, command), "--hosts", where, "--host-index", str(index)]
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "lineside", "train", *words],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=os.environ | JAX | (env or {}),
                )
            )
        yield started
    finally:
        for one in started:
            one.kill()
            one.communicate()


def said(process: subprocess.Popen[str], code: int, timeout: float = 150) -> tuple[str, str]:
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == code, (process.returncode, out, err)
    assert "Traceback" not in err
    return out, err


def wait_for(path: Path, processes: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + 100
    while not path.exists():
        assert all(one.poll() is None for one in processes), [p.communicate() for p in processes]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@jax
@pytest.mark.timeout(300)
def test_two_hosts_train_as_one_does_and_go_on_after_one_has_died(
    few: Path, tmp_path: Path
) -> None:
    both, alone = tmp_path / "both", tmp_path / "alone"
    command = [few, "--out", both, *HOW]
    with hosts(command, command) as (first, second):
        wait_for(unfinished_folder(both) / FILE, [first, second])
        second.kill()
        _, told = said(first, 1, timeout=60)
        where = first.args[first.args.index("--hosts") + 1].split(",")[1]  # type: ignore[index,union-attr,operator]
    gone = f"error: host 1 ({where}) is gone: its connection was closed"
    assert f"{gone}; start all hosts again with --resume to go on" in told
    assert not both.exists()
    with hosts([*command, "--resume"], [*command, "--resume"]) as (first, second):
        assert f"Run:    {both}" in said(first, 0)[0]
        assert said(second, 0) == ("trained; the first of --hosts writes the run\n", "")
    lineside("train", few, "--out", alone, *HOW, env=JAX)
    one, other = open_run(alone).metrics, open_run(both).metrics
    assert len(one.history["loss"]) == 8
    for name in one.history:
        np.testing.assert_allclose(other.history[name], one.history[name], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(other.logits["test"], one.logits["test"], rtol=1e-3, atol=1e-4)


@jax
@pytest.mark.timeout(200)
def test_ctrl_c_on_one_host_ends_both_with_the_best_so_far(few: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [few, "--out", out, *HOW, "--epochs", "5000", "--patience", "5000"]
    with hosts(command, command) as (first, second):
        wait_for(unfinished_folder(out) / FILE, [first, second])
        second.send_signal(signal.SIGINT)
        assert "notice: stopped by hand in epoch" in said(first, 130)[0]
        assert "stopped by hand in epoch" in said(second, 130)[0]
    assert len(open_run(out).metrics.history["loss"]) < 5000
    assert not unfinished_folder(out).exists()


def test_hosts_that_are_about_to_do_something_else_are_told_what(few: Path, tmp_path: Path) -> None:
    command = [few, "--out", tmp_path / "run", *HOW]
    with hosts(command, [*command, "--seed", "3"]) as (first, second):
        for one in (first, second):
            _, told = said(one, 1)
            assert "error: seed is 3 on host 1 (127.0.0.1:" in told
            assert "and 0 on host 0 (127.0.0.1:" in told
    next((few / "defective").iterdir()).unlink()
    other = tmp_path / "other"
    shutil.copytree(few, other)
    next((other / "functional").iterdir()).unlink()
    with hosts(command, [other, *command[1:]]) as (first, second):
        for one in (first, second):
            assert "error: the hash of all photos and their split is '" in said(one, 1)[1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("index", [0, 1])
def test_hosts_that_do_not_come_up_are_named(few: Path, tmp_path: Path, index: int) -> None:
    where = addresses()
    missing = f"host {1 - index} ({where.split(',')[1 - index]})"
    what = ("--hosts", where, "--host-index", index, "--hosts-wait", 1)
    told = lineside("train", few, "--out", tmp_path / "run", *what, ok=False, env=JAX).stderr
    assert f"error: {missing} did not come up within 1 s: start the same command there" in told


def test_a_port_that_is_taken(few: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        what = ("--hosts", f"127.0.0.1:{port},127.0.0.1:9", "--host-index", 0)
        told = lineside("train", few, "--out", tmp_path / "run", *what, ok=False, env=JAX).stderr
    assert told == f"error: port {port} of --hosts can't be used: Address already in use\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--hosts", "a:1,b:2"], "--hosts wants --host-index as well: 0 to 1 on each machine"),
        (["--host-index", "0"], "--host-index means nothing without --hosts"),
        (["--hosts-wait", "9"], "--hosts-wait means nothing without --hosts"),
        (["--hosts", "a:1,b:2", "--host-index", "2"], "--host-index is 2, and --hosts names 2"),
        (["--hosts", "a:1", "--host-index", "0"], "two different HOST:PORT at least are expected"),
        (["--hosts", "a:1,a:1", "--host-index", "0"], "two different HOST:PORT at least"),
        (["--hosts", "a,b:2", "--host-index", "0"], "--hosts names 'a': HOST:PORT is expected"),
        (["--hosts", "a:0,b:2", "--host-index", "0"], "--hosts names 'a:0': HOST:PORT is"),
        (["--hosts", "a:1,b:65536", "--host-index", "0"], "--hosts names 'b:65536'"),
        (["--hosts", "::1:1,b:2", "--host-index", "0"], "--hosts names '::1:1'"),
        (["--hosts", "a:1,,b:2", "--host-index", "0"], "--hosts names ''"),
        (["--hosts", "a:1,b:2", "--host-index", "0", "--folds", "3"], "leave --hosts out"),
        (
            ["--hosts", "a:1,b:2", "--host-index", "0", "--batch-size", "15"],
            "--batch-size 15 can't be divided among 2 --hosts",
        ),
    ],
)
def test_what_is_refused(
    words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    found = CliRunner().invoke(train, [str(tmp_path), "--out", str(tmp_path / "run"), *words])
    assert found.exit_code == 2
    assert expected in found.output


@pytest.mark.parametrize(("backend", "what"), [("tensorflow", "is 'tensorflow'"), (None, "is not")])
def test_another_backend(backend: str | None, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend is None:
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
    else:
        monkeypatch.setenv("KERAS_BACKEND", backend)
    given = {"hosts": "a:1,b:2", "host_index": 0, "hosts_wait": None}
    with pytest.raises(
        TrainError, match=f"JAX only, and KERAS_BACKEND {what}.*: set KERAS_BACKEND"
    ):
        pop_roster(given)


def test_addresses_as_sockets_take_them() -> None:
    roster = Roster(("gpu1:4200", "[fd00::1]:4201"), 0, 1.0)
    assert [roster.address(index) for index in (0, 1)] == [("gpu1", 4200), ("fd00::1", 4201)]


@pytest.mark.parametrize("mix", ["none", "mixup", "cutmix"])
def test_slices_of_a_batch_are_the_batch(mix: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    options = TrainOptions(batch_size=12, mix=mix)  # type: ignore[arg-type]
    draw = Draws(40, (8, 8), options).draw(0, 1)
    whole = changed(draw, images)
    slices = [changed(draw, images, slice(at, at + 4)) for at in (0, 4, 8)]
    assert np.array_equal(np.concatenate(slices), whole)
    one = draw.some(slice(4, 8)).inputs(images)
    for name, value in draw.inputs(images).items():
        assert np.array_equal(one[name], value[4:8])


def test_what_differs_is_said() -> None:
    assert difference({"a": 1}, {"a": 1}, "x", "y") is None
    assert difference({"a": 1, "b": [2]}, {"a": 1, "b": [3]}, "x", "y") == (
        "b is [3] on y and [2] on x: give all hosts the same photos, options and versions"
    )
    assert "…" in str(difference({"a": "long" * 99}, {}, "x", "y"))


@contextlib.contextmanager
def watched(silence_s: float) -> Iterator[tuple[Watch, Link, Roster]]:
    """The watch of the second of two hosts, whose training sleeps; the first one is the test."""
    ours, childs = socket.socketpair()
    roster = Roster(tuple(addresses().split(",")), 1, 5.0)
    with subprocess.Popen(["sleep", "60"]) as sleeper, contextlib.closing(childs):
        training = Link(childs)
        yield Watch(roster, Link(ours), sleeper.pid, lambda: "", silence_s), training, roster
        sleeper.returncode = 0  # the watch has ended it and taken its exit code


@pytest.mark.parametrize("ends", ["silent", "closed", "ended", "noise"])
def test_a_first_host_that_goes_away_is_named(ends: str) -> None:
    import threading

    with watched(silence_s=1.0) as (watch, training, roster):
        found: list[object] = []
        running = threading.Thread(target=lambda: found.append(watch.run()))
        running.start()
        deadline = time.monotonic() + 5
        first = None
        while first is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                first = socket.create_connection(roster.address(1))
        assert first is not None
        link = Link(first)
        link.send(Hello(list(roster.addresses), 1))
        training.send(Facts({"seed": 0}))
        messages = [m for m in link.wait() if not isinstance(m, Beat)]
        assert messages == [Facts({"seed": 0})]
        link.send(Go())
        assert training.wait() == [Go()]
        if ends == "closed":
            link.close()
        elif ends == "ended":
            link.send(Ended(1))
        elif ends == "noise":
            first.sendall(b"GET / HTTP/1.1\r\n\r\n")
        running.join(timeout=20)
        first.close()
    assert len(found) == 1
    over = found[0]
    why = {
        "silent": "is gone: nothing was heard of it for 1 s",
        "closed": "is gone: its connection was closed",
        "ended": "ended with exit code 1: it says there why",
        "noise": "is gone: it sent 1195725856 bytes at once, which is no message of lineside",
    }
    assert str(over).startswith(f"{roster.name(0)} {why[ends]}")


def test_nobody_is_taken_for_the_first_host_who_is_not() -> None:
    import threading

    with watched(silence_s=30.0) as (watch, _, roster):
        found: list[object] = []
        running = threading.Thread(target=lambda: found.append(watch.run()))
        running.start()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(roster.address(1)) as one:
                Link(one).send(Beat())
                one.settimeout(5)
                assert one.recv(1) == b""
                break
        with socket.create_connection(roster.address(1)) as other:
            link = Link(other)
            link.send(Hello(["a:1", "b:2"], 1))
            told = link.wait()[0]
            running.join(timeout=20)
    assert isinstance(told, Ended)
    assert told.line.startswith("--hosts and --host-index don't agree: a:1,b:2 and 1 on host 0")
    assert str(found[0]) == told.line
