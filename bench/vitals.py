"""What a look at a 1080p frame costs: `python bench/vitals.py`. Takes a minute."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
from page import ROOT, write_section

from lineside_agent.vitals import Vitals
from tests.support.belt import Belt, parts_of, video

SHARED = ROOT.parent / "shared" / "data"
REPEATS = 5
MEANING = """\
Frames of 1920 x 1080 of a simulated belt with parts and noise, ten a second, all in memory; after
{learned} looks to learn. One thread (OpenCV told so), {repeats} repeats of {count} looks, the
median of the repeats, in CPU time of the thread. Every second look is for what is fixed, every
other one for its sharpness. Of a core at ten frames a second: {share:.2f} %."""


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--learned", type=int, default=1500)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    background = video(SHARED / "videos" / "bottle-detection.mp4")[::40]
    belt = Belt(
        np.median(background, axis=0).astype(np.float32), parts_of(SHARED / "trashnet", 6), top=60
    )
    frames = [cv2.resize(belt.frame(), (1920, 1080)) for _ in range(100)]
    vitals, now, rows = Vitals(), 0, []
    for index in range(args.learned):
        now += 100_000_000
        vitals.look(frames[index % len(frames)], mono_ns=now)
    for _ in range(REPEATS):
        taken = []
        for index in range(args.count):
            now += 100_000_000
            begun = time.thread_time()
            vitals.look(frames[index % len(frames)], mono_ns=now)
            taken.append((time.thread_time() - begun) * 1e3)
        rows.append([np.mean(taken), *np.percentile(taken, (50, 90, 99))])
    mean, *others = np.median(rows, axis=0)
    text = MEANING.format(
        learned=args.learned, repeats=REPEATS, count=args.count, share=mean * 10 / 1000 * 100
    )
    text += "\n\n| mean, ms | median | 90 % | 99 % |\n| --- | --- | --- | --- |\n| "
    text += " | ".join(f"{value:.3f}" for value in (mean, *others)) + " |"
    print(text)
    write_section("vitals", "A look at a camera's picture", "python bench/vitals.py", text)


if __name__ == "__main__":
    main()
