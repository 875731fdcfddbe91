"""The command `lineside convert`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import click

from lineside.bench import read_bench
from lineside.bundle import Bundle
from lineside.decision import is_sorting
from lineside.errors import InputError
from lineside.escapes import said as escapes_said
from lineside.intervals import said as interval_said
from lineside.limit_rules import OPTIONS, LimitRules, limit_options
from lineside.signature import SIGNATURE
from lineside.topics import check_name
from lineside_convert.options import Options
from lineside_convert.scheme import AUTO, UNCHANGED, parse_scheme
from lineside_convert.signing import check_private_key
from lineside_convert.source import normalization_of, open_source

VERSION_PATTERN: Final = r"\d{1,6}\.\d{1,6}\.\d{1,6}"

_EXAMPLES: Final = """\b
Examples:
  lineside convert runs/cells --out bundles/cells --version 1.1.0
  lineside convert theirs.tflite --labels labels.txt --images photos --out bundles/theirs
  lineside convert runs/cells --device-bench pi.json --sign plant.pem --out bundles/cells
"""

_PATH: Final = click.Path(path_type=Path)


@click.command(epilog=_EXAMPLES)
@click.argument("model", metavar="RUN|MODEL", type=_PATH)
@click.option("--out", required=True, type=_PATH, help="The bundle's folder; a new one.")
@click.option("--name", help="The bundle's name.  [default: the run's, or the file's]")
@click.option("--version", default="1.0.0", show_default=True, help="The bundle's version.")
@click.option(
    "--scheme",
    default=AUTO,
    show_default=True,
    help="float32, float16, weights_wi8_af32, static_wi8_ai8, static_wi8_ai8+float(LAYER,…), "
    "unchanged (a .tflite as it is), or auto.",
)
@click.option(
    "--images",
    "--data",
    "data",
    type=_PATH,
    help="Photos to calibrate and measure with, a folder for each label.  [default for a run: "
    "where they were in training]",
)
@click.option("--labels", type=_PATH, help="For a model of others: its labels, one a line.")
@click.option("--good", multiple=True, help="A label that means a good part; for each of them.")
@click.option("--sort", is_flag=True, help="No label means a bad part: only sort.")
@click.option(
    "--mean", multiple=True, type=float, help="For a model of others: it wants (pixel-mean)/std."
)
@click.option("--std", multiple=True, type=float, help="The same; one value, or one a channel.")
@click.option(
    "--resize",
    type=click.Choice(["stretch", "letterbox"]),
    default="stretch",
    show_default=True,
    help="For a model of others: how a picture gets its size.",
)
@click.option(
    "--calibration",
    type=click.IntRange(1, 100_000),
    default=200,
    show_default=True,
    help="Training images that choose the ranges of int8, balanced by label.",
)
@click.option(
    "--max-flips",
    type=click.FloatRange(0, 100),
    default=0.5,
    show_default=True,
    help="Percent of val whose verdict may differ from the original's; one image always may.",
)
@click.option(
    "--max-loss",
    type=click.FloatRange(0, 100),
    default=0.3,
    show_default=True,
    help="Points of balanced accuracy on val that auto may give away; one image always.",
)
@click.option(
    "--device-bench", type=_PATH, help="What `lineside bench --json` said on the device: for auto."
)
@click.option("--candidates", type=_PATH, help="Also write a bundle of each scheme that auto made.")
@click.option(
    "--runtime",
    type=click.Choice(["ai-edge-litert", "tflite-runtime"]),
    help="Refuse a model that this runtime does not answer the same with, on x86-64 and arm64.",
)
@click.option(
    "--check-python",
    "pythons",
    multiple=True,
    type=_PATH,
    help="The Python of another environment with lineside and a runtime, to try the model in.",
)
@click.option("--sign", "key", type=_PATH, help="A private key to sign with: see lineside keys.")
@click.option("--password-file", type=_PATH, help="Holds only that key's password.")
@limit_options
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31),
    default=0,
    show_default=True,
    help="For a model of others: how --images are split.",
)
@click.option("--zip", "as_zip", is_flag=True, help="Write OUT.zip as well: the same as one file.")
def convert(model: Path, out: Path, *, as_zip: bool, **said: Any) -> None:  # noqa: ANN401 - click's
    """Convert a model into a bundle for a station.

    RUN is a folder that `lineside train` wrote; MODEL is a .keras file, a SavedModel folder or a
    .tflite file of others. Limits are chosen on val, and a model whose verdicts differ too often
    from the original's is refused.
    """
    from lineside_convert.convert import convert as convert_source

    options = _options(said)
    source = open_source(model, options)
    zip_to = out.with_name(out.name + ".zip") if as_zip else None
    _show(convert_source(source, out, options, zip_to=zip_to), zip_to)


def _options(said: dict[str, Any]) -> Options:
    """Check what can be checked before the work begins.

    Raises:
        InputError: something that can't be used.
    """
    if said["name"] is not None:
        check_name("--name", said["name"])
    if not re.fullmatch(VERSION_PATTERN, said["version"]):
        msg = f"--version {said['version']!r} is refused: three numbers as in 1.4.0 are expected"
        raise InputError(msg)
    if said["scheme"] not in {AUTO, UNCHANGED}:
        parse_scheme(said["scheme"])
    if said["good"] and said["sort"]:
        msg = "--good and --sort contradict each other: when sorting, no label means a bad part"
        raise InputError(msg)
    key, bench = said["key"], said["device_bench"]
    kept = (
        *("name", "version", "scheme", "data", "labels", "good", "sort", "resize", "calibration"),
        *("max_flips", "max_loss", "candidates", "runtime", "pythons", "key", "seed"),
    )
    return Options(
        rules=LimitRules(**{name: said[name] for name in OPTIONS}),
        normalization=normalization_of(said["mean"], said["std"]),
        device_bench=read_bench(bench) if bench is not None else None,
        key_password=(
            check_private_key(key, password_file=said["password_file"]) if key is not None else None
        ),
        **{name: said[name] for name in kept},
    )


def _show(bundle: Bundle, zip_to: Path | None) -> None:
    """Say on stdout what was made."""
    manifest = bundle.manifest
    if manifest.metrics is not None:
        _show_figures(bundle)
    model, parity = manifest.model, manifest.parity
    click.echo(f"scheme: {model.scheme}, {len(bundle.model) / 1000:.0f} kB")
    if "choice" in manifest.provenance:
        click.echo(f"why: {manifest.provenance['choice']}")
    limits = manifest.decision.limits
    said = f"limits: review {_number(limits.review)}, ng {_number(limits.ng)}"
    if parity.status == "unknown":
        click.echo(f"{said}; parity unknown")
    else:
        share = 100 * (parity.expected_flips or 0.0)
        click.echo(
            f"{said}; verdict flips on val: {parity.flips} of {parity.images}, "
            f"{share:.2f} % are to be expected of other images"
        )
    if manifest.decision.escapes is not None:
        sorting = is_sorting(manifest.labels)
        click.echo(f"escapes: {escapes_said(manifest.decision.escapes, sorting=sorting)}")
    measured = manifest.measured
    if measured["invoke_ms_p50"] is not None:
        click.echo(f"speed: {measured['invoke_ms_p50']:.3g} ms on {measured['device']}")
    for record in model.runtimes:
        what = "same answers" if record.same_answers else record.note
        xnnpack = "with" if record.xnnpack else "without"
        click.echo(
            f"runtime: {record.name} {record.version}, {record.arch}, {xnnpack} XNNPACK: {what}"
        )
    for note in manifest.notes:
        click.echo(f"note: {note}")
    also = f" and {zip_to}" if zip_to else ""
    signed = ", signed" if SIGNATURE in bundle.files else ""
    click.echo(f"{bundle.path}{also}: {manifest.name} {manifest.version}, {bundle.digest}{signed}")
    click.echo(f"Next: lineside inspect {bundle.path} IMAGE…, or read {bundle.path}/report.html")


def _show_figures(bundle: Bundle) -> None:
    from rich.console import Console
    from rich.table import Table

    from lineside_convert.record import short_name

    manifest = bundle.manifest
    metrics = manifest.metrics
    assert metrics is not None  # noqa: S101 - the caller has looked
    name = short_name(manifest.model.scheme)
    table = Table("on test", "original", name, box=None, pad_edge=False)
    for key in ("images", "accuracy", "balanced_accuracy", "auroc", "macro_auroc"):
        both = metrics.float_, metrics.quantized
        if None not in [figures.get(key) for figures in both]:
            said = [
                _number(figures[key]) + interval_said(figures["intervals"].get(key), "{:.3f}")
                for figures in both
            ]
            table.add_row(key.replace("_", " "), *said)
    for key in ("ok", "ng", "review", "escapes", "false_rejects"):
        row = [figures["verdicts"][key] for figures in (metrics.float_, metrics.quantized)]
        table.add_row(key.replace("_", " "), *(_number(value) for value in row))
    Console(highlight=False).print(table)
    click.echo("in brackets: 95 % confidence intervals")
    verdicts = metrics.quantized["verdicts"]
    if not verdicts["ok"] or not (verdicts["ng"] or manifest.decision.limits.ng is None):
        click.echo("Note: it can hardly tell good from bad; train with more photos or longer.")


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    return str(value) if isinstance(value, int) else f"{value:.4g}"
