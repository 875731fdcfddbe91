"""Asking a runtime elsewhere what a model answers: whatever happens there, the parent says it."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from lineside.bundle import Bundle, open_bundle
from lineside.errors import EngineError
from lineside.inspector import Inspector
from lineside.runtime import ENGINES, installed_engines
from lineside.runtime.answers import ask
from lineside.runtime.child import last_line, signal_name
from lineside.runtime.golden import golden_frame
from tests.support.bundles import crash, edit_model


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return open_bundle(bundle_folder)


@pytest.fixture(scope="module")
def tensors(bundle: Bundle) -> npt.NDArray[np.uint8]:
    """The golden images as the model's input."""
    inspector, manifest = Inspector(bundle), bundle.manifest
    return np.stack(
        [
            inspector.tensor(golden_frame(g.file, bundle.files[g.file], manifest.preprocess))
            for g in manifest.golden
        ]
    )


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], list[str]]:
    """What a command around this Python may do; "$@" is what it was asked, $5 the output file."""

    def write(lines: str) -> list[str]:
        path = tmp_path / "script.sh"
        path.write_text(lines)
        return ["/bin/sh", str(path), sys.executable]

    return write


def test_the_answers_are_those_of_the_golden_images(
    bundle: Bundle, tensors: npt.NDArray[np.uint8]
) -> None:
    answers = ask(bundle.model, tensors)
    report, golden = answers.report, bundle.manifest.golden
    assert (report.runtime, report.error) == (installed_engines()[0], None)
    assert (report.arch, report.python) == (platform.machine(), platform.python_version())
    assert answers.loads
    assert answers.values is not None
    assert answers.values.shape == (len(golden), len(bundle.manifest.labels))
    assert answers.values.dtype == np.float64
    for found, one in zip(answers.values, golden, strict=True):
        assert np.abs(found - one.outputs[0]).max() <= one.max_steps
    assert report.invoke_ms_p50 is not None
    assert 0 < report.invoke_ms_p50 < 1000


def test_without_xnnpack(bundle: Bundle, tensors: npt.NDArray[np.uint8]) -> None:
    answers = ask(bundle.model, tensors, xnnpack=False, threads=2)
    assert answers.report.xnnpack is False
    assert answers.values is not None


def test_a_model_that_kills_its_process(bundle: Bundle, tensors: npt.NDArray[np.uint8]) -> None:
    answers = ask(edit_model(bundle.model, crash), tensors)
    assert answers.values is None
    assert answers.report.runtime == installed_engines()[0]
    assert answers.report.error is not None
    assert answers.report.error.startswith("the model killed its process (SIGSEGV)")


def test_a_model_that_is_none(tensors: npt.NDArray[np.uint8]) -> None:
    answers = ask(b"no model", tensors)
    assert not answers.loads
    assert answers.report.error is not None
    assert "refuses the model" in answers.report.error


def test_tensors_that_do_not_fit(bundle: Bundle, tensors: npt.NDArray[np.uint8]) -> None:
    answers = ask(bundle.model, tensors.astype(np.float32))
    assert answers.loads
    assert answers.values is None
    assert str(answers.report.error).startswith("the model takes uint8 [1, 64, 64, 1], got float32")


def test_garbage_around_the_answer(
    bundle: Bundle, tensors: npt.NDArray[np.uint8], script: Callable[[str], list[str]]
) -> None:
    noise = "head -c 300000 /dev/urandom; printf '{\"runtime\": 3}\\n{'\n"
    answers = ask(bundle.model, tensors, command=script(f'{noise}"$@"\n{noise}'))
    assert answers.report.error is None
    assert answers.values is not None


def test_a_process_that_hangs_is_ended_with_all_it_started(
    bundle: Bundle, tensors: npt.NDArray[np.uint8], script: Callable[[str], list[str]]
) -> None:
    start = time.monotonic()
    answers = ask(bundle.model, tensors, command=script('"$@"\nsleep 98.7654\n'), timeout=4)
    assert time.monotonic() - start < 30
    assert answers.report.error == "the model did not answer within 4 s"
    assert answers.values is None
    deadline = time.monotonic() + 5
    while _runs(b"sleep\x0098.7654\x00"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(command: bytes) -> bool:
    """Whether a process has this command line, each argument ending in a zero byte."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if path.read_bytes() == command:
                return True
    return False


@pytest.mark.parametrize("damage", ['rm "$5"', 'echo junk > "$5"', 'truncate -s 140 "$5"'])
def test_answers_that_cannot_be_read(
    bundle: Bundle,
    tensors: npt.NDArray[np.uint8],
    script: Callable[[str], list[str]],
    damage: str,
) -> None:
    around = '"$@"; shift; ' + damage
    answers = ask(bundle.model, tensors, command=script(around))
    assert answers.values is None
    assert answers.report.error == "the model left no answers that can be read"


def test_an_end_that_is_no_good_one(
    bundle: Bundle, tensors: npt.NDArray[np.uint8], script: Callable[[str], list[str]]
) -> None:
    answers = ask(bundle.model, tensors, command=script('"$@"; echo so it was >&2; exit 3'))
    assert answers.report.error == "the model ended its process with 3: so it was"
    answers = ask(bundle.model, tensors, command=script('"$@" 2>/dev/null; exit 139'))
    assert answers.report.error == "the model killed its process (SIGSEGV)"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("echo nothing", "can't be asked for a model's answers: it said nothing; a Python is"),
        (
            "echo 'no such thing' >&2; exit 1",
            "model's answers: no such thing; a Python is",
        ),
        ("sleep 60", "model's answers: no word within 1 s; a Python is expected in which lineside"),
    ],
)
def test_what_cannot_be_asked(script: Callable[[str], list[str]], lines: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        ask(b"", np.zeros((1, 1)), command=script(lines), timeout=1)


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="nobody can't be started: No such file"):
        ask(b"", np.zeros((1, 1)), command=[str(tmp_path / "nobody")])


def test_a_runtime_that_is_not_there() -> None:
    missing = [name for name in ENGINES if name not in installed_engines()]
    if not missing:
        pytest.skip("every runtime is installed, and the test needs one that is not")
    with pytest.raises(EngineError, match=f"answers: {missing[0]} is not installed there; a"):
        ask(b"", np.zeros((1, 1)), runtime=missing[0])


def test_another_pythons_modules_are_not_taken_along(
    bundle: Bundle,
    tensors: npt.NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert ask(bundle.model, tensors, command=[sys.executable]).values is not None


def test_it_needs_little() -> None:
    code = (
        "import sys, lineside.runtime.answers\n"
        "print({'cv2', 'click', 'rich', 'cryptography', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_how_a_process_ended() -> None:
    assert [signal_name(code) for code in (-11, 139, 0, 1, 128, -63)] == [
        "SIGSEGV", "SIGSEGV", None, None, None, "signal 63",
    ]  # fmt: skip
    assert last_line("one\nINFO: two\n\n") == "one"
    assert last_line("") == ""
