"""Damaged JPEGs: what the strict decoder refuses, what OpenCV refuses, what passes both.

    python bench/corrupt_jpegs.py [--count N] [--seed N]

The photos are those of ../shared. Takes two minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
from page import ROOT, write_section

from lineside.errors import ImageError
from lineside.extras import quiet_native
from lineside.image import Frame
from lineside.jpeg import decode_strict
from tests.support.corruption import RESTART_WAYS, WAYS, Corrupt, difference, with_restarts

VISIBLE = 2.0
LONG_SIDES = (320, 1280)
MEANING = """\
{photos} photos of trashnet, cookies, aliens and frames of the bottle video, written again as a
camera's Motion JPEG is (quality 85, 4:2:0, long side {sides}), half of them with a restart marker
every 8 blocks (those of the last three rows all). Each is damaged in one way; damage that leaves
the bytes as they were isn't counted. Visible: the mean absolute difference from the whole picture
is above {visible:g} of 255, over all pixels, or its size is another one. Strict is
`lineside.jpeg.decode_strict`, OpenCV is `imdecode`. A JPEG has no checksum: what is left are codes
that were changed into other valid ones, and tables of the header that were."""


def main() -> None:
    """Damage, decode, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="pictures for each way")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    photos = _photos()
    random = np.random.default_rng(args.seed)
    heads = ["damaged", "pictures", "refused by strict", "refused by OpenCV"]
    heads += ["visible, passes OpenCV", "visible, passes strict", "visible, passes both"]
    rows = [" | ".join(heads), " | ".join(["---"] * len(heads))]
    total: Counter[str] = Counter()
    for name, way in {**WAYS, **RESTART_WAYS}.items():
        with quiet_native():  # OpenCV's decoder writes a line for each
            tally = _try(way, photos, random, args.count, restarts=name in RESTART_WAYS)
        total += tally
        rows.append(_row(name, tally))
        print(rows[-1], flush=True)
    rows.append(_row("all", total))
    text = MEANING.format(
        photos=len(photos), sides=" or ".join(map(str, LONG_SIDES)), visible=VISIBLE
    )
    table = "\n".join(f"| {row} |" for row in rows)
    write_section(
        "corrupt-jpegs", "Damaged JPEGs", "python bench/corrupt_jpegs.py", f"{text}\n\n{table}"
    )


def _photos() -> list[Frame]:
    shared = ROOT.parent / "shared" / "data"
    files = sorted(shared.rglob("*.jpg"))[::8]
    frames = [cv2.imread(str(file)) for file in files]
    capture = cv2.VideoCapture(str(shared / "videos" / "bottle-detection.mp4"))
    for index in range(400):
        there, frame = capture.read()
        if there and index % 20 == 0:
            frames.append(frame)
    return frames


def _try(
    way: Corrupt, photos: list[Frame], random: np.random.Generator, count: int, *, restarts: bool
) -> Counter[str]:
    tally: Counter[str] = Counter()
    while tally["pictures"] < count:
        photo = photos[int(random.integers(len(photos)))]
        scale = random.choice(LONG_SIDES) / max(photo.shape[:2])
        photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        marked = restarts or bool(random.integers(2))
        data = with_restarts(photo, every=8 if marked else 0)
        damaged = way(data, random)
        if damaged != data:
            tally["pictures"] += 1
            _judge(damaged, data, tally)
    return tally


def _judge(damaged: bytes, data: bytes, tally: Counter[str]) -> None:
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    try:
        strict: Frame | None = decode_strict(damaged)
    except ImageError:
        strict = None
    try:
        lax = cv2.imdecode(np.frombuffer(damaged, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        lax = None
    wrong_strict = strict is not None and difference(strict, whole) > VISIBLE
    wrong_lax = lax is not None and difference(lax, whole) > VISIBLE
    tally["strict"] += strict is None
    tally["opencv"] += lax is None
    tally["wrong_opencv"] += wrong_lax
    tally["wrong_strict"] += wrong_strict
    tally["wrong_both"] += wrong_strict and wrong_lax


def _row(name: str, tally: Counter[str]) -> str:
    names = ("pictures", "strict", "opencv", "wrong_opencv", "wrong_strict", "wrong_both")
    return " | ".join((name, *(str(tally[key]) for key in names)))


if __name__ == "__main__":
    main()
