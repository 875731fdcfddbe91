"""The command `lineside inspect`: one verdict for each image."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec
from msgspec import Struct

from lineside.dataset import SUFFIXES
from lineside.decision import Answer, no_read
from lineside.errors import ImageError, InputError
from lineside.extras import quiet_native
from lineside.image import decode
from lineside.inspector import Inspector
from lineside.keys import read_public_key
from lineside.messages import Verdict
from lineside.runtime.trial import load_bundle

_COLOURS = {"ok": "green", "ng": "red", "review": "yellow", "no_read": "magenta"}


class LatencyMs(Struct, frozen=True, kw_only=True):
    """Where the time went, in milliseconds."""

    decode: float
    preprocess: float
    invoke: float


class Line(Struct, frozen=True, kw_only=True):
    """What `lineside inspect --json` says of one image."""

    file: str
    verdict: Verdict
    reasons: tuple[str, ...]
    """Why; for `no_read` what is wrong with the image."""
    label: str | None
    """The most probable one."""
    score: float | None
    """The defect score, 0 to 1; higher is worse."""
    scores: tuple[tuple[str, float], ...]
    """The five most probable labels."""
    latency_ms: LatencyMs | None


def inspect_files(inspector: Inspector, files: Sequence[Path]) -> Iterator[Line]:
    """One line for each image, as they are asked for.

    Args:
        inspector: the bundle, loaded.
        files: image files. One that can't be read gives `no_read`.

    Raises:
        EngineError: the engine fails.
    """
    for file in files:
        yield _inspect(inspector, file)


def _inspect(inspector: Inspector, file: Path) -> Line:
    # A name need not be UTF-8, but a line of JSON must be.
    name = os.fsencode(file).decode("utf-8", "backslashreplace")
    start = time.perf_counter_ns()
    try:
        frame = decode(file.read_bytes(), inspector.bundle.manifest.preprocess.decode, name=name)
        decoded = time.perf_counter_ns()
        found = inspector.inspect(frame)
    except OSError as error:
        return _line(name, no_read(f"{name}: {error.strerror or error}"), None)
    except ImageError as error:
        return _line(name, no_read(str(error)), None)
    latency = LatencyMs(
        decode=(decoded - start) / 1e6,
        preprocess=found.preprocess_ms,
        invoke=found.invoke_ms,
    )
    return _line(name, found.answer, latency)


def _line(name: str, answer: Answer, latency: LatencyMs | None) -> Line:
    return Line(
        file=name,
        verdict=answer.verdict,
        reasons=answer.reasons,
        label=answer.label,
        score=answer.score,
        scores=answer.scores,
        latency_ms=latency,
    )


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The image files that `paths` mean: files as they are, folders with all that is in them.

    Raises:
        InputError: a folder without an image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(
            file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()
        )
        if not inside:
            msg = f"{path} holds no image: {', '.join(sorted(SUFFIXES))} are looked for"
            raise InputError(msg)
        found += inside
    return found


@click.command(epilog="Example:  lineside inspect bundles/cells photos/new/*.png --json")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument(
    "images", metavar="IMAGE…", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="CPU threads for one inference.",
)
@click.option(
    "--trust",
    metavar="PUB",
    type=click.Path(path_type=Path),
    help="The public key (.pub.pem) that must have signed the bundle.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
def inspect(
    bundle: Path, images: tuple[Path, ...], *, threads: int, trust: Path | None, as_json: bool
) -> None:
    """Give one verdict for each IMAGE, a file or a folder of them.

    An image that can't be read gives no_read, and the exit code is 1 at the end. What there is to
    know of the bundle itself is said on stderr, with --json too: `note: …`.
    """
    files = find_images(images)
    key = None if trust is None else read_public_key(trust)
    with quiet_native(drop=b"INFO:"):
        inspector = load_bundle(bundle, threads=threads, trust=key)
    for remark in inspector.bundle.manifest.remarks:
        click.echo(f"note: {remark}", err=True)
    if not as_json:
        click.echo(f"{'verdict':8} {'score':>6}  {'label':20} file")
    unread = 0
    for line in inspect_files(inspector, files):
        unread += line.verdict == "no_read"
        click.echo(msgspec.json.encode(line) if as_json else _text(line))
    if unread:
        msg = f"{unread} of {len(files)} images gave no_read"
        raise InputError(msg)


def _text(line: Line) -> str:
    verdict = click.style(f"{line.verdict:8}", fg=_COLOURS[line.verdict])
    if line.score is None:
        return f"{verdict} {'-':>6}  {'-':20} {'; '.join(line.reasons)}"
    return f"{verdict} {line.score:6.3f}  {line.label or '-':20} {line.file}"
