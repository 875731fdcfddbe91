"""What gives a label away without the part being looked at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lineside.dataset import read_dataset
from lineside.image import Frame
from lineside_train.data.findings import Finding
from lineside_train.data.looks import look_at
from lineside_train.data.shortcuts import border_shortcut, file_shortcuts
from tests.support.photos import change
from tests.support.shared import shared


def border(root: Path) -> list[Finding]:
    looks = look_at(read_dataset(root))
    return border_shortcut(looks, np.arange(len(looks.files)))


def files(root: Path) -> dict[str, str]:
    looks = look_at(read_dataset(root))
    findings = file_shortcuts(looks, np.arange(len(looks.files)))
    assert all(one.level == "warning" for one in findings)
    return {one.kind: one.message for one in findings}


def with_tape(frame: Frame) -> Frame:
    frame[:6, : frame.shape[1] // 3] = (200, 80, 30)
    return frame


def test_a_blue_tape_in_the_pictures_of_one_label(folder: Path) -> None:
    assert [one for one in border(folder) if one.level == "warning"] == []
    change(folder, "functional", with_tape)
    (finding,) = border(folder)
    assert finding.level == "warning"
    assert finding.message.startswith("the border of the picture alone tells the label with a")
    assert float(finding.values["at_least"]) > 0.85


def test_the_tray_of_the_cookies() -> None:
    (finding,) = border(shared("data/cookies/train"))
    assert finding.level == "warning"


def test_real_cells_have_none_in_their_files(cells: Path) -> None:
    assert files(cells) == {}


def test_sizes(folder: Path) -> None:
    change(folder, "functional", lambda frame: frame[:280])
    message = files(folder)["size_shortcut"]
    assert message == (
        "the size of the picture alone tells the label with a balanced accuracy of 1.00 (guessing: "
        "0.50): '300x300' in 100% of 'defective', '300x280' in 100% of 'functional'"
    )


@pytest.mark.parametrize("kind", ["format", "jpeg", "camera"])
def test_how_the_files_were_saved(folder: Path, kind: str) -> None:
    for number, label in enumerate(("defective", "functional")):
        for path in sorted((folder / label).iterdir()):
            with Image.open(path) as image:
                pixels = image.convert("L")
            path.unlink()
            exif = Image.Exif()
            exif[0x010F] = ["Alpha", "Beta"][number] if kind == "camera" else "Alpha"
            if kind == "format" and number:
                pixels.save(path)
                continue
            quality = 95 - 20 * number if kind == "jpeg" else 95
            pixels.save(path.with_suffix(".jpg"), quality=quality, exif=exif)
    assert f"{kind}_shortcut" in files(folder)
    if kind == "camera":
        assert files(folder)["camera_shortcut"].endswith(
            "'Alpha' in 100% of 'defective', 'Beta' in 100% of 'functional'"
        )


def test_too_few_images_are_no_evidence(folder: Path) -> None:
    for label in ("defective", "functional"):
        for path in sorted((folder / label).iterdir())[3:]:
            path.unlink()
    change(folder, "functional", with_tape)
    assert border(folder) == []


def test_what_is_in_all_pictures_is_no_shortcut(folder: Path) -> None:
    for label in ("defective", "functional"):
        change(folder, label, with_tape)
        change(folder, label, lambda frame: cv2.resize(frame, (200, 200)))
    assert [one for one in border(folder) if one.level == "warning"] == []
    assert files(folder) == {}
