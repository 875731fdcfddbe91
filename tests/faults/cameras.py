"""Verdicts against the virtual line's own log of what it gave.

No `ok`, `ng` or `review` may rest on a frame that was captured before its trigger, that the driver
marked as damaged, that the strict decoder refused, or that repeats a picture that the same boot has
given a verdict on. Where the picture was spoiled in a way that only the picture tells, verdicts are
counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.counting import lines


def read_log(folder: Path) -> dict[int, dict[str, Any]]:
    """What a virtual line gave: stamp in ns -> the last entry with it."""
    path = folder / ".line" / "log.jsonl"
    found = {}
    if path.exists():
        for line in path.read_bytes().split(b"\n"):
            # A line that is cut off belongs to a child that was killed: nobody has got its frame.
            if line.endswith(b"}"):
                entry = json.loads(line)
                found[entry["mono_ns"]] = entry
    return found


def check(results: Sequence[dict[str, Any]], folder: Path) -> tuple[list[str], Counter[str]]:
    """Look at every verdict of a stream.

    Args:
        results: of the stream.
        folder: of its camera.

    Returns:
        Violations, and verdicts by what the line did to their frame.
    """
    given = read_log(folder)
    looked: dict[tuple[str, int], int] = {}
    wrong: dict[str, list[str]] = {"older": [], "flagged": [], "repeated": [], "unknown": []}
    counts: Counter[str] = Counter()
    for result in results:
        if result["verdict"] == "no_read":
            continue
        stamp = result["inputs"][0]["mono_ns"]
        what = f"{result['stream']} {result['boot'][:8]} {result['seq']}"
        if stamp < result["trigger"]["mono_ns"] and result["trigger"]["kind"] != "frame":
            wrong["older"].append(what)
        entry = given.get(stamp)
        if entry is None:
            wrong["unknown"].append(f"{what}: no frame of the line has its stamp {stamp}")
            continue
        counts[entry["fault"] or "healthy"] += 1
        if entry["fault"] == "error" or entry["refused"] is not None:
            wrong["flagged"].append(f"{what}: {entry}")
        before = looked.setdefault((result["boot"], entry["shows"]), result["seq"])
        if before != result["seq"]:
            wrong["repeated"].append(f"{what}: the picture {entry['shows']} of {before} again")
    return [line for kind, found in wrong.items() for line in lines(kind, found)], counts
