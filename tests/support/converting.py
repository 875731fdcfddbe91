"""Shortcuts to the converter, in the test's own process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from lineside.bundle import Bundle, open_bundle
from lineside.inspect import inspect
from lineside_convert import command
from lineside_convert.auto import Choice, choose
from lineside_convert.convert import convert
from lineside_convert.options import Options
from lineside_convert.prepare import prepare
from lineside_convert.source import open_source
from lineside_convert.trials import Trials
from lineside_convert.workshop import Workshop


def prepared(workshop: Workshop, model: Path, **options: Any) -> Trials:  # noqa: ANN401
    """Load a model into a workshop; `options` are those of `Options`."""
    said = Options(**options)
    return prepare(open_source(model, said), said, workshop)


def chosen_for(trials: Trials) -> Choice:
    """What the trials' own scheme leads to, whatever runtimes there are."""
    return choose(trials, trials.options.scheme, lambda _: None)


def converted(workshop: Workshop, model: Path, out: Path, **options: Any) -> Bundle:  # noqa: ANN401
    """Convert a model into a bundle; `options` are those of `Options`."""
    said = Options(**options)
    return convert(open_source(model, said), out, said, workshop=workshop)


def run(*args: object) -> Result:
    """`lineside convert ARGS`, in this process: a .tflite needs no TensorFlow."""
    return CliRunner().invoke(command.convert, [str(arg) for arg in args])


def bundle_of(*args: object, out: Path) -> Bundle:
    """The bundle that `lineside convert ARGS --out OUT` makes."""
    done = run(*args, "--out", out)
    assert done.exit_code == 0, (done.output, done.exception)
    return open_bundle(out)


def said_of(bundle: Bundle, images: Sequence[Path]) -> list[dict[str, object]]:
    """What `lineside inspect --json` says."""
    done = CliRunner().invoke(inspect, [str(bundle.path), *map(str, images), "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    return [json.loads(line) for line in done.stdout.splitlines()]


def lines(folder: Path, *names: str) -> Path:
    """A file of labels, one a line."""
    path = folder / "labels.txt"
    path.write_text("".join(f"{name}\n" for name in names))
    return path
