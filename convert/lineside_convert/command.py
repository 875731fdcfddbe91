"""The command `lineside convert`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import click

from lineside.bundle import Bundle
from lineside.errors import InputError
from lineside.limits import Costs
from lineside.run import open_run
from lineside.topics import check_name
from lineside_convert.convert import Options, convert_run

VERSION_PATTERN: Final = r"\d{1,6}\.\d{1,6}\.\d{1,6}"


@click.command(
    epilog="Example:  lineside convert runs/cells --out bundles/cells --version 1.1.0",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The bundle's folder; a new one."
)
@click.option("--name", help="The bundle's name.  [default: the run's]")
@click.option("--version", default="1.0.0", show_default=True, help="The bundle's version.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Where the photos are.  [default: where they were in training]",
)
@click.option(
    "--calibration",
    type=click.IntRange(1, 100_000),
    default=200,
    show_default=True,
    help="Training images that the converter sees, balanced by label.",
)
@click.option(
    "--max-flips",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Percent of val whose verdict may differ between Keras and int8; one image always may.",
)
@click.option(
    "--escape-cost",
    type=float,
    default=2.0,
    show_default=True,
    help="What a bad part passed as ok costs.",
)
@click.option(
    "--reject-cost",
    type=float,
    default=1.0,
    show_default=True,
    help="What a good part refused as ng costs.",
)
@click.option(
    "--review-cost",
    type=float,
    default=0.5,
    show_default=True,
    help="What a part that a person must look at costs.",
)
@click.option("--zip", "as_zip", is_flag=True, help="Write OUT.zip as well: the same as one file.")
def convert(run: Path, out: Path, *, as_zip: bool, **said: Any) -> None:  # noqa: ANN401 - click's
    """Convert RUN, a folder that `lineside train` wrote, into a bundle for a station.

    The model becomes full int8, with raw pixels in. Limits are chosen on val. It is refused
    where its verdicts differ too often from the Keras model's.
    """
    options = _options(said)
    zip_to = out.with_name(out.name + ".zip") if as_zip else None
    bundle = convert_run(open_run(run), out, options, zip_to=zip_to)
    _show(bundle, zip_to)


def _options(said: dict[str, Any]) -> Options:
    """Check what can be checked before the work begins.

    Raises:
        InputError: a name, a version or a cost that can't be used.
    """
    if said["name"] is not None:
        check_name("--name", said["name"])
    if not re.fullmatch(VERSION_PATTERN, said["version"]):
        msg = f"--version {said['version']!r} is refused: three numbers as in 1.4.0 are expected"
        raise InputError(msg)
    costs = Costs(said["escape_cost"], said["reject_cost"], said["review_cost"])
    kept = ("name", "version", "data", "calibration", "max_flips")
    return Options(costs=costs, **{key: said[key] for key in kept})


def _show(bundle: Bundle, zip_to: Path | None) -> None:
    """Say on stdout what was made."""
    from rich.console import Console
    from rich.table import Table

    manifest = bundle.manifest
    metrics, parity = manifest.metrics, manifest.parity
    table = Table("on test", "Keras", "int8", box=None, pad_edge=False)
    assert metrics is not None  # noqa: S101 - convert has just written them
    for key in ("images", "accuracy", "balanced_accuracy", "auroc", "macro_auroc"):
        row = [figures.get(key) for figures in (metrics.float_, metrics.quantized)]
        if None not in row:
            table.add_row(key.replace("_", " "), *(_number(value) for value in row))
    for key in ("ok", "ng", "review", "escapes", "false_rejects"):
        row = [figures["verdicts"][key] for figures in (metrics.float_, metrics.quantized)]
        table.add_row(key.replace("_", " "), *(_number(value) for value in row))
    Console(highlight=False).print(table)
    limits = manifest.decision.limits
    click.echo(
        f"limits: review {_number(limits.review)}, ng {_number(limits.ng)}; "
        f"verdict flips on val: {parity.flips} of {parity.images}; "
        f"{len(bundle.model) / 1000:.0f} kB, {manifest.measured['invoke_ms_p50']:.2f} ms here"
    )
    verdicts = metrics.quantized["verdicts"]
    if not verdicts["ok"] or not (verdicts["ng"] or limits.ng is None):
        click.echo("Note: it can hardly tell good from bad; train with more photos or longer.")
    if not all(record.same_answers for record in manifest.model.runtimes):
        click.echo("Only for devices with XNNPACK: without it too many verdicts differ.")
    also = f" and {zip_to}" if zip_to else ""
    click.echo(f"{bundle.path}{also}: {manifest.name} {manifest.version}, {bundle.digest}")
    click.echo(f"Next: lineside inspect {bundle.path} IMAGE…, or read {bundle.path}/report.html")


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    return str(value) if isinstance(value, int) else f"{value:.4g}"
