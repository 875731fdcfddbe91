"""The commands `lineside data check` and `lineside data put-back`."""

from __future__ import annotations

import csv
import io
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from lineside_train.data.check import Checked, DataCheck
    from lineside_train.data.findings import Item
    from lineside_train.data.setting_aside import Move

MAX_FILES: Final = 5
"""Cases of a finding that are printed; all are in the page, and in what --json gives."""

_EPILOG: Final = """\b
Examples:
  lineside data check photos --report check.html
  lineside data check photos --groups 'part(\\d+)_' --split runs/caps/split.csv
  lineside data check photos --fix --write-groups
  lineside data check photos --json --strict
"""

_PATH = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Look at photos before they are trained on."""


@data.command(epilog=_EPILOG)
@click.argument("folder", metavar="DATA", type=_PATH)
@click.option("--split", type=_PATH, help="The split.csv to look at.  [default: as train makes it]")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Of the split that train would make.",
)
@click.option(
    "--groups",
    metavar="FILE.csv|REGEX",
    help="Photos that belong together, as for train.  [default: DATA/groups.csv, if there is one]",
)
@click.option(
    "--run",
    type=_PATH,
    help="Look for wrong labels with what the network of this run sees; best one that was trained "
    "on other photos.",
)
@click.option("--report", type=_PATH, metavar="FILE.html", help="Write a page with the pictures.")
@click.option(
    "--suspects", type=_PATH, metavar="FILE.csv", help="Write the doubtful labels, worst first."
)
@click.option(
    "--fix",
    is_flag=True,
    help="Move unreadable files, extra copies and images under two labels out of DATA, into "
    "DATA.set-aside beside it.",
)
@click.option(
    "--fix-near", is_flag=True, help="Also all but the first of each set of near duplicates."
)
@click.option(
    "--write-groups",
    is_flag=True,
    help="Write DATA/groups.csv, so that the split keeps near duplicates together.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 if there is a warning.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def check(
    folder: Path,
    *,
    report: Path | None,
    suspects: Path | None,
    fix: bool,
    fix_near: bool,
    write_groups: bool,
    strict: bool,
    as_json: bool,
    **asked: Any,  # noqa: ANN401 - as click was told above
) -> None:
    """Say what is wrong with DATA, a folder that holds one folder of photos for each label.

    Files that can't be read, copies and near copies (also across labels and across the split),
    labels that may be wrong, shortcuts such as a background that gives the label away, uneven
    labels, odd sizes. Nothing is changed without --fix or --write-groups, and nothing is deleted.
    """
    import msgspec

    from lineside_train.data.check import Asked, check_data
    from lineside_train.data.setting_aside import set_aside

    checked = check_data(Asked(data=folder, **asked))
    if as_json:
        click.echo(msgspec.json.encode(checked.report))
    else:
        _say(checked.report)
    if report is not None:
        _write_page(report, checked)
    if suspects is not None:
        _write_suspects(suspects, checked.report)
    moves: list[Move] = []
    if fix or fix_near:
        moves = set_aside(folder, checked.to_move(near=fix_near))
        _say_moves(folder, moves)
    if write_groups:
        _write_groups(folder, checked, {move.file for move in moves})
    if strict and checked.report.warnings:
        sys.exit(1)


@data.command("put-back", epilog="Example:  lineside data put-back photos")
@click.argument("folder", metavar="DATA", type=_PATH)
def restore(folder: Path) -> None:
    """Move back what `check --fix` moved out of DATA."""
    from lineside.dataset import set_aside_folder
    from lineside_train.data.setting_aside import MOVED, put_back

    back, left = put_back(folder)
    click.echo(f"moved back: {len(back)}")
    if left:
        where = set_aside_folder(folder) / MOVED
        click.echo(f"still there: {len(left)}, since their old place is taken: see {where}")


def _say(report: DataCheck) -> None:
    """What was found, for people."""
    click.echo(f"{report.images} images of {len(report.labels)} labels")
    for finding in report.findings:
        click.echo(f"\n{finding.level}: {finding.message}")
        for item in finding.items[:MAX_FILES]:
            click.echo(f"  {_case(item)}")
        if len(finding.items) > MAX_FILES:
            click.echo(f"  … and {len(finding.items) - MAX_FILES} more (--report, --json)")
        if finding.advice:
            click.echo(f"  → {finding.advice}")
    if not report.findings:
        click.echo("nothing was found that would spoil a training")


def _case(item: Item) -> str:
    """One case in one line."""
    if item.says:
        return f"{item.files[0]!r} looks like {item.says!r}"
    more = f" and {len(item.files) - 2} more" if len(item.files) > 2 else ""
    return ", ".join(map(repr, item.files[:2])) + more


def _write_page(path: Path, checked: Checked) -> None:
    from lineside.files import write_file
    from lineside_train.data.page import render_check

    made = datetime.now().astimezone().isoformat(timespec="seconds")
    page = render_check(checked.report, checked.dataset, made=made)
    write_file(path, page.encode())
    click.echo(f"Report: {path}", err=True)


def _write_suspects(path: Path, report: DataCheck) -> None:
    from lineside.files import write_file

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "label", "looks_like", "believed"])
    for finding in report.findings:
        if finding.kind == "label_suspects":
            writer.writerows(
                [item.files[0], item.files[0].split("/", 1)[0], item.says, item.score]
                for item in finding.items
            )
    write_file(path, text.getvalue().encode())
    click.echo(f"Suspects: {path}", err=True)


def _say_moves(folder: Path, moves: list[Move]) -> None:
    from lineside.dataset import set_aside_folder

    if not moves:
        click.echo("nothing to move", err=True)
        return
    click.echo(
        f"moved {len(moves)} files to {set_aside_folder(folder)}; lineside data put-back {folder} "
        "moves them back",
        err=True,
    )


def _write_groups(folder: Path, checked: Checked, moved: set[str]) -> None:
    from lineside.dataset import GROUPS_FILE, write_groups
    from lineside.errors import StorageError

    path = folder / GROUPS_FILE
    if path.exists() and checked.grouping.source != str(path):
        msg = (
            f"{path} is there already, and --groups names another: move it away, or leave that out"
        )
        raise StorageError(msg)
    groups = {file: group for file, group in checked.groups().items() if file not in moved}
    write_groups(path, groups)
    told = f"{len(groups)} images in {len(set(groups.values()))} groups"
    click.echo(f"Groups: {path}, {told}", err=True)
