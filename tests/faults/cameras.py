"""Verdicts against the virtual line's own log of what it gave.

No `ok`, `ng` or `review` may rest on a frame that was captured before its trigger, that the driver
marked as damaged, that the strict decoder refused, or that repeats a picture that the same boot has
given a verdict on. Where the picture was spoiled in a way that only the picture tells, verdicts are
counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from typing_extensions import Self

from tests.faults.counting import lines


class Look(NamedTuple):
    """As much of a result as is checked here.

    Attributes:
        stream: with `boot` and `seq`, its key.
        boot: likewise.
        seq: likewise.
        verdict: likewise.
        stamp_ns: of its frame; None if it has none.
        trigger: the kind.
        trigger_ns: when that came.
    """

    stream: str
    boot: str
    seq: int
    verdict: str
    stamp_ns: int | None
    trigger: str
    trigger_ns: int

    @classmethod
    def of(cls, result: dict[str, Any]) -> Self:
        """Of a result as it came."""
        inputs, trigger = result["inputs"], result["trigger"]
        stamp_ns = inputs[0]["mono_ns"] if inputs else None
        key = result["stream"], result["boot"], result["seq"]
        return cls(*key, result["verdict"], stamp_ns, trigger["kind"], trigger["mono_ns"])


def read_log(folder: Path) -> dict[int, dict[str, Any]]:
    """What a virtual line gave: stamp in ns -> the last entry with it."""
    return {entry["mono_ns"]: entry for entry in read_entries(folder)}


def read_entries(folder: Path) -> list[dict[str, Any]]:
    """What a virtual line did, as it wrote it down."""
    path = folder / ".line" / "log.jsonl"
    if not path.exists():
        return []
    # A line that is cut off belongs to a child that was killed: nobody has got its frame.
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line.endswith(b"}")]


def check(looks: Iterable[Look], folder: Path) -> tuple[list[str], Counter[str]]:
    """Look at every verdict of a stream.

    Args:
        looks: of the stream, each key once.
        folder: of its camera.

    Returns:
        Violations, and verdicts by what the line did to their frame.
    """
    given = read_log(folder)
    looked: dict[tuple[str, int], int] = {}
    wrong: dict[str, list[str]] = {"older": [], "flagged": [], "repeated": [], "unknown": []}
    counts: Counter[str] = Counter()
    for look in looks:
        if look.verdict == "no_read":
            continue
        what = f"{look.stream} {look.boot[:8]} {look.seq}"
        stamp = look.stamp_ns
        entry = None if stamp is None else given.get(stamp)
        if stamp is None or entry is None:
            wrong["unknown"].append(f"{what}: no frame of the line has its stamp {stamp}")
            continue
        if stamp < look.trigger_ns and look.trigger != "frame":
            wrong["older"].append(what)
        counts[entry["fault"] or "healthy"] += 1
        if entry["fault"] == "error" or entry["refused"] is not None:
            wrong["flagged"].append(f"{what}: {entry}")
        before = looked.setdefault((look.boot, entry["shows"]), look.seq)
        if before != look.seq:
            wrong["repeated"].append(f"{what}: the picture {entry['shows']} of {before} again")
    return [line for kind, found in wrong.items() for line in lines(kind, found)], counts
