"""Shortcuts to the converter's inside, in the test's own process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lineside.bundle import Bundle
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
