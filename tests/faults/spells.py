"""Spells of a camera's fault: when it began, when that was said, when all was well. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any, Final, NamedTuple

from lineside_agent.capture.line import Wish
from tests.faults.counting import lines
from tests.faults.ear import LOST, Heard, Said

SEEN_S: Final = 3.0
RECOVERED_S: Final = 10.0


@dataclass(frozen=True)
class Kind:
    """One fault.

    Attributes:
        wish: what the virtual line is asked for.
        name: what it has to be called; None if there is nothing to be called.
    """

    wish: Wish
    name: str | None


KINDS: Final = {
    "hangs": Kind(Wish(fault="hang"), "no frames"),
    "kills its process": Kind(Wish(fault="crash"), "process ended"),
    "unplugged": Kind(Wish(fault="vanish"), "unplugged"),
    "frozen, stamps stand": Kind(Wish(fault="stall"), "old frames"),
    "frozen, stamps go on": Kind(Wish(fault="freeze"), "frozen"),
    "stale buffer, 10 s old": Kind(Wish(fault="stale", ms=10_000), "old frames"),
    "driver's error flag": Kind(Wish(fault="error"), "marked frames"),
    "damaged JPEG, 200 bits": Kind(Wish(fault="corrupt", bits=200), "damaged frames"),
    "black": Kind(Wish(fault="black"), "black"),
    "over-exposed": Kind(Wish(fault="overexposed"), "overexposed"),
    "blurred": Kind(Wish(fault="blurred"), "blurred"),
    "moved": Kind(Wish(fault="moved"), "moved"),
    # The decoder accepts most of these; what it refuses is too little to call it a fault.
    "damaged JPEG, 1 bit": Kind(Wish(fault="corrupt", bits=1), None),
    # Harmless, if each frame is held to its own stamp.
    "0.5 s late from now on": Kind(Wish(fault="late", ms=500), None),
    "0.5 s of old frames, then late": Kind(Wish(fault="stale", ms=500), None),
}


class Spell(NamedTuple):
    """A fault, from when it was asked for to when the camera was well again; in ns.

    Attributes:
        camera: whose.
        kind: one of KINDS.
        asked_ns: when it was asked for.
        over_ns: when it was taken back.
    """

    camera: str
    kind: str
    asked_ns: int
    over_ns: int


@dataclass(frozen=True)
class Course:
    """What became of a spell.

    Attributes:
        spell: which.
        seen_s: from the first frame with the fault until it was named; None if it was not.
        back_s: from its end until nothing was wrong any more and a verdict rested on a frame
            captured since; None if that did not come before the next spell.
        called: what else it was called by events.
        by_health: whether a health message said so too.
        refused: frames that the strict decoder refused.
        given: frames with the fault.
        verdicts: that rest on them, by verdict.
    """

    spell: Spell
    seen_s: float | None
    back_s: float | None
    called: frozenset[str]
    by_health: bool
    refused: int = 0
    given: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)


def follow(
    spells: Sequence[Spell],
    said: Iterable[Said],
    heard: Sequence[Heard],
    log: Iterable[Mapping[str, Any]],
) -> list[Course]:
    """What became of one camera's spells.

    Args:
        spells: in their order.
        said: of this camera, as it was heard.
        heard: its stream's results, likewise.
        log: of the virtual line, each entry.
    """
    words = sorted(said)
    entries = sorted(log, key=lambda entry: entry["at_ns"])
    given_at = [entry["at_ns"] for entry in entries]
    # A stale frame was given before, when nothing was wrong with it.
    first_at = {entry["mono_ns"]: entry["at_ns"] for entry in reversed(entries)}
    looked = [h for h in heard if h.look.verdict != "no_read"]
    good = sorted((h.at_ns, h.look.stamp_ns) for h in looked if h.look.stamp_ns is not None)
    verdict_on = {h.look.stamp_ns: h.look.verdict for h in looked}
    ends = [spell.asked_ns for spell in spells[1:]] + [2**63]
    courses = []
    for spell, end_ns in zip(spells, ends, strict=True):
        window = words[bisect_left(words, (spell.asked_ns,)) : bisect_left(words, (end_ns,))]
        first, last = bisect_left(given_at, spell.asked_ns), bisect_right(given_at, end_ns)
        fault = KINDS[spell.kind].wish.fault
        mine = [entry for entry in entries[first:last] if entry["fault"] == fault]
        began_ns = mine[0]["at_ns"] if mine else spell.asked_ns
        frames = [entry for entry in mine if entry["shows"] is not None]
        back_ns = _back(spell, window, [g for g in good if g[0] < end_ns])
        name = KINDS[spell.kind].name
        seen_ns = next((s.at_ns for s in window if s.name == name and not s.over), None)
        courses.append(
            Course(
                spell,
                None if seen_ns is None else max(0, seen_ns - began_ns) / 1e9,
                None if back_ns is None else (back_ns - spell.over_ns) / 1e9,
                frozenset(s.name for s in window if not (s.health or s.over)) - {name},
                any(s.health and s.name in {name, _in_health(name)} for s in window),
                refused=sum(entry["refused"] is not None for entry in frames),
                given=len(frames),
                verdicts=Counter(
                    verdict_on[entry["mono_ns"]]
                    for entry in frames
                    if entry["mono_ns"] in verdict_on
                    and first_at[entry["mono_ns"]] == entry["at_ns"]
                ),
            )
        )
    return courses


def _in_health(name: str | None) -> str | None:
    return "lost" if name in LOST else name


def _back(spell: Spell, window: Sequence[Said], good: Sequence[tuple[int, int]]) -> int | None:
    """When the camera was well again, as far as could be heard."""
    wrong: set[str] = set()
    well_ns = spell.over_ns
    for word in window:
        if word.health:
            continue
        before = bool(wrong)
        if not word.over:
            wrong.add(word.name)
        elif word.name == "lost":
            wrong -= LOST
        else:
            wrong.discard(word.name)
        if before and not wrong:
            well_ns = max(well_ns, word.at_ns)
    looked_ns = next((at_ns for at_ns, stamp_ns in good if stamp_ns > spell.over_ns), None)
    if wrong or looked_ns is None:
        return None
    return max(well_ns, looked_ns)


def judge(courses: Sequence[Course]) -> list[str]:
    """What is wrong: not seen, seen late, not well again, or late."""
    wrong: defaultdict[str, list[str]] = defaultdict(list)
    for course in courses:
        spell = course.spell
        what = f"{spell.kind!r} of {spell.camera} at {spell.asked_ns / 1e9:.3f}"
        also = f", called {', '.join(sorted(course.called))}" if course.called else ""
        if KINDS[spell.kind].name is None:
            if course.called:
                wrong["alarm"].append(f"{what}{also}")
        elif course.seen_s is None:
            wrong["unseen"].append(f"{what}{also}")
        elif course.seen_s > SEEN_S:
            wrong["late"].append(f"{what}: seen after {course.seen_s:.2f} s{also}")
        if course.back_s is None:
            wrong["lost"].append(f"{what} is not well again{also}")
        elif course.back_s > RECOVERED_S:
            wrong["lost"].append(f"{what}: well again after {course.back_s:.2f} s{also}")
    return [line for kind, found in wrong.items() for line in lines(kind, found)]


def alarms(said: Iterable[Said], heard: Sequence[Heard], until_ns: int = 2**63) -> list[str]:
    """What was called a fault of one camera while nothing was wrong with it.

    Args:
        said: of it.
        heard: its stream's results, as they came: before the first of them it only starts, and
            on a busy machine that takes longer than the agent waits in silence.
        until_ns: when its first fault begins.
    """
    first_ns = heard[0].at_ns if heard else 0
    false = [s for s in said if not (s.health or s.over) and first_ns < s.at_ns < until_ns]
    return lines("alarm", [f"{s.name} of {s.camera} at {s.at_ns / 1e9:.3f}" for s in false])


HEAD: Final = """\
| fault | times | named | after, s: median, worst | in 3 s | by health too | well again after, s: \
median, worst | in 10 s | also called | frames, refused by the decoder | verdicts on them |
| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | --- |"""


def table(courses: Sequence[Course]) -> str:
    """A row for each kind."""
    rows = [HEAD]
    for kind, one in KINDS.items():
        mine = [course for course in courses if course.spell.kind == kind]
        if not mine:
            continue
        seen = [course.seen_s for course in mine if course.seen_s is not None]
        back = [course.back_s for course in mine if course.back_s is not None]
        called = Counter(name for course in mine for name in course.called)
        verdicts = sum((course.verdicts for course in mine), Counter[str]())
        cells = [
            kind,
            str(len(mine)),
            one.name or "-",
            _times(seen) if one.name else "-",
            str(sum(s <= SEEN_S for s in seen)) if one.name else "-",
            str(sum(course.by_health for course in mine)) if one.name else "-",
            _times(back),
            str(sum(s <= RECOVERED_S for s in back)),
            _counts(called),
            f"{sum(c.given for c in mine):,}, {sum(c.refused for c in mine):,}",
            _counts(verdicts),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _times(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.2f}, {max(seconds):.2f}" if seconds else "-"


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "-"


def in_order(spells: Iterable[Spell]) -> dict[str, list[Spell]]:
    """By camera, each in its order, which must not overlap."""
    found: defaultdict[str, list[Spell]] = defaultdict(list)
    for spell in sorted(spells, key=lambda spell: spell.asked_ns):
        found[spell.camera].append(spell)
    for mine in found.values():
        assert all(a.over_ns < b.asked_ns for a, b in pairwise(mine))
    return dict(found)
