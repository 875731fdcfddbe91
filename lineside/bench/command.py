"""The command `lineside bench`."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from pathlib import Path
from typing import Final

import click
import msgspec

from lineside.bench.measure import Contestant, run_bench
from lineside.bench.record import Bench
from lineside.bundle import Bundle, open_bundle
from lineside.errors import EngineError, MissingExtraError
from lineside.extras import quiet_native
from lineside.inspector import Inspector
from lineside.progress import working
from lineside.runtime import installed_engines
from lineside.runtime.trial import try_bundle

MAX_THREADS: Final = 64
"""The most threads that a station's [[model]] may ask for."""


def runtimes_of(bundle: Bundle, threads: int) -> tuple[list[str], list[str]]:
    """The installed runtimes that run a bundle as it must; each is tried in a child process.

    Args:
        bundle: opened and checked.
        threads: CPU threads for one inference.

    Returns:
        Their names, and a sentence for each other one, where there is one that does.

    Raises:
        MissingExtraError: no runtime is installed.
        EngineError: none of them runs it, or not with the answers that it must give.
    """
    if not installed_engines():
        msg = "no runtime is installed: pip install 'lineside[runtime]'"
        raise MissingExtraError(msg)
    refused = {name: _refusal(bundle, threads, name) for name in installed_engines()}
    passed = [name for name, error in refused.items() if error is None]
    errors = {name: error for name, error in refused.items() if error is not None}
    if not passed:
        raise next(iter(errors.values()))
    return passed, [f"{name} is left out: {error}" for name, error in errors.items()]


def _refusal(bundle: Bundle, threads: int, runtime: str) -> EngineError | None:
    """Why a runtime can't be used for a bundle; None if it can."""
    try:
        trial = try_bundle(bundle.path, threads=threads, runtime=runtime)
    except EngineError as error:
        return error
    if trial.digest != bundle.digest:
        return EngineError(f"{bundle.path} was replaced while it was tried: try again")
    return None


def default_threads() -> list[int]:
    """1, 2, 4 and so on up to the cores that this process may use, and all of them."""
    cores = len(os.sched_getaffinity(0))
    return sorted({cores, *itertools.takewhile(cores.__ge__, (2**n for n in range(7)))})


def _threads(_ctx: click.Context, _param: click.Parameter, value: str | None) -> list[int]:
    """Numbers of threads, as in `1,2,4`."""
    if value is None:
        return default_threads()
    parts = [part.strip() for part in value.split(",")]
    if not all(
        re.fullmatch(r"[0-9]{1,3}", part) and 1 <= int(part) <= MAX_THREADS for part in parts
    ):
        msg = f"numbers from 1 to {MAX_THREADS} are expected, as in 1,2,4, got {value!r}"
        raise click.BadParameter(msg)
    return sorted({int(part) for part in parts})


@click.command(
    epilog="Example:  lineside bench bundles/cells bundles/cells-float --json > pi5.json"
)
@click.argument(
    "bundles", metavar="BUNDLE…", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--threads",
    callback=_threads,
    metavar="N,N…",
    help="CPU threads for one inference; 1, 2, 4 and so on up to the cores if not given.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    show_default=True,
    help="How long each configuration is measured.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def bench(bundles: tuple[Path, ...], *, threads: list[int], seconds: float, as_json: bool) -> None:
    """Find out what is the fastest on this device: runtime, and number of threads.

    BUNDLE is a folder or a zip file that `lineside convert` wrote; each is tried in a process of
    its own first, and one that is refused ends the command. They are timed on their golden images,
    in turns. `lineside convert --device-bench FILE` takes what --json says.
    """
    opened = [open_bundle(path) for path in bundles]
    usable: list[tuple[Bundle, str]] = []
    for bundle in opened:
        with working(f"Trying {bundle.path}"):
            runtimes, notes = runtimes_of(bundle, max(threads))
        usable += [(bundle, runtime) for runtime in runtimes]
        for line in (*(f"{bundle.path}: {text}" for text in bundle.manifest.remarks), *notes):
            click.echo(f"note: {line}", err=True)
    with quiet_native(drop=b"INFO:"):
        contestants = [
            Contestant(Inspector(bundle, threads=count, runtime=runtime), count)
            for bundle, runtime in usable
            for count in threads
        ]
    found = run_bench(contestants, seconds=seconds)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1))
    else:
        _show(found)


def _show(found: Bench) -> None:
    """Say it to a person, on stdout."""
    from rich.console import Console
    from rich.table import Table

    click.echo(f"{found.device}\nmilliseconds; path: from the bytes of an image to the verdict\n")
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("bundle", "scheme", "runtime"):
        table.add_column(name, overflow="fold")
    for name in ("threads", "invoke", "p99", "path"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    names = _names(found)
    for i, row in enumerate(found.rows):
        table.add_row(
            names[row.digest],
            row.scheme,
            f"{row.runtime} {row.runtime_version}{'' if row.xnnpack else ', no XNNPACK'}",
            str(row.threads),
            f"{row.invoke_ms_p50:.3f}",
            f"{row.invoke_ms_p99:.3f}",
            "" if row.path_ms_p50 is None else f"{row.path_ms_p50:.3f}",
            "◀" if i == found.fastest else "",
            style="bold green" if i == found.fastest else "",
        )
    # A scheme may look like rich's markup.
    Console(highlight=False, markup=False, emoji=False).print(table)
    click.echo()
    for row in found.rows:
        if row.path_ms_p50 is not None:
            click.echo(
                f"{names[row.digest]}, {row.scheme}: threads = {row.threads} in its "
                f"[[model]] is the fastest ({row.runtime})"
            )


def _names(found: Bench) -> dict[str, str]:
    """What each bundle is called, by its digest, which is told where several are called alike."""
    called = {row.digest: (row.bundle, row.version, row.scheme) for row in found.rows}
    alike = Counter(called.values())
    return {
        digest: f"{name} {version}"
        + (f" ({digest[:14]}…)" if alike[name, version, scheme] > 1 else "")
        for digest, (name, version, scheme) in called.items()
    }
