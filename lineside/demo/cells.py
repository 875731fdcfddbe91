"""The solar cells of the demo: 2,624 electroluminescence pictures with a label each."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lineside.errors import DatasetError
from lineside.extras import require
from lineside.files import new_folder

LICENCE: Final = """\
The cells are the elpv dataset by Buerhop-Lutz, Deitsch et al. (2018), under the Creative Commons
licence BY-NC-SA 4.0: name the authors, no commercial use, share alike.\
"""
"""Printed before the pictures are used."""

GOOD: Final = "functional"
BAD: Final = "defective"


def lay_out_cells(folder: Path) -> Path:
    """Lay the cells out as a folder for each label, once.

    The dataset has four probabilities of a defect: 0, 1/3, 2/3 and 1. Every cell counts; a cell
    over 0.5 is `defective`, as in Deitsch et al., Solar Energy 185 (2019).

    Args:
        folder: where; if it is there already, it is left as it is.

    Returns:
        `folder`, with `functional/` and `defective/` in it.

    Raises:
        MissingExtraError: the package elpv-dataset is not installed.
        DatasetError: the package does not hold what it should.
    """
    if folder.is_dir():
        return folder
    package = require("elpv_dataset", extra="demo")
    data = Path(str(package.__file__)).parent / "data"
    try:
        rows = [line.split() for line in (data / "labels.csv").read_text().splitlines()]
        with new_folder(folder) as partial:
            for label in (GOOD, BAD):
                (partial / label).mkdir()
            for file, probability, *_ in rows:
                label = BAD if float(probability) > 0.5 else GOOD
                shutil.copyfile(data / file, partial / label / Path(file).name)
    except (FileNotFoundError, ValueError) as error:
        msg = f"elpv-dataset is damaged ({error}): pip install --force-reinstall elpv-dataset"
        raise DatasetError(msg) from error
    return folder


def lay_out_line(cells: Path, files: Sequence[str], folder: Path) -> dict[str, str]:
    """Put the cells in a row, as they would come down a line.

    Args:
        cells: the folder with a folder for each label.
        files: the cells to take, as paths below `cells`.
        folder: where to put them, without their labels: nothing there tells what they are.

    Returns:
        The truth: name of the file -> label.
    """
    truth = {}
    with new_folder(folder) as partial:
        for file in files:
            label, _, name = file.partition("/")
            shutil.copyfile(cells / file, partial / name)
            truth[name] = label
    return truth


def write_truth(truth: dict[str, str], path: Path) -> None:
    """Keep the truth beside the line, as CSV, for whoever wants to check the summary."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "label"])
        writer.writerows(sorted(truth.items()))
