"""How the long forms of the harness end: the report, what is wrong, and the exit code."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import click

from bench.page import ROOT, write_section
from tests.faults import report
from tests.faults.trial import Outcome

OUT: Final = ROOT / "build" / "faults"


class LongForm(NamedTuple):
    """A script that runs the harness in a long form.

    Attributes:
        script: its name in this folder.
        key: of its section in docs/benchmarks.md.
        title: of that section.
        report: the name of its report in build/faults/.
        log: what is kept there of the runs, as a path in their folder.
        full: the arguments of a run in full, and their values.
        preface: markdown that its report begins with.
    """

    script: str
    key: str
    title: str
    report: str
    log: str
    full: Mapping[str, float]
    preface: str = ""


def end(
    form: LongForm,
    asked: argparse.Namespace,
    folder: Path,
    outcomes: Sequence[Outcome],
    also_wrong: Sequence[str] = (),
) -> NoReturn:
    """Report, and say with the exit code whether all is well: 1 where anything is wrong.

    The report goes to build/faults/ and, for a run in full, to docs/benchmarks.md.

    Args:
        form: whose end it is.
        asked: its arguments: `seed`, `only`, `keep` and those of `form.full`.
        folder: of the runs; removed where all is well, unless it is to be kept.
        outcomes: of the runs.
        also_wrong: what is wrong beside their violations, one line each.
    """
    OUT.mkdir(parents=True, exist_ok=True)
    if (folder / form.log).exists():
        shutil.copy(folder / form.log, OUT)
    body = form.preface + report.whole(outcomes)
    (OUT / form.report).write_text(body)
    click.echo(body)
    if asked.only is None and all(getattr(asked, k) == v for k, v in form.full.items()):
        command = f"python tests/faults/{form.script} --seed {asked.seed}"
        write_section(form.key, form.title, command, body)
    wrong = [line for outcome in outcomes for line in outcome.violations] + [*also_wrong]
    for line in wrong:
        click.echo(f"WRONG {line}", err=True)
    if wrong or asked.keep:
        click.echo(f"the runs are in {folder}", err=True)
    else:
        shutil.rmtree(folder)
    sys.exit(1 if wrong else 0)
