"""What a run of the harness came to, as markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.faults.trial import Outcome


def table(head: str, rows: Mapping[str, float]) -> str:
    """Names and figures."""
    lines = [f"| {head} | |", "| --- | ---: |"]
    lines += [f"| {name} | {value:,} |" for name, value in rows.items()]
    return "\n".join(lines) + "\n"


def section(outcome: Outcome) -> str:
    """One run."""
    parts = [f"### {outcome.title}\n", f"{outcome.seconds / 60:.1f} minutes.\n"]
    if outcome.table:
        parts.append(outcome.table)
    for head, rows in (
        ("faults", dict(sorted(outcome.faults.items()))),
        ("counts", outcome.figures),
        ("verdicts", outcome.verdicts),
        ("no_read, by reason", outcome.reasons),
        ("verdicts, by what the camera did", outcome.cameras),
        ("triggers refused", outcome.refused),
        ("events, as the independent subscriber heard them", outcome.events),
    ):
        if rows:
            parts.append(table(head, rows))
    if outcome.violations:
        parts.append("Violations:\n")
        parts.append("".join(f"- {line}\n" for line in outcome.violations))
    else:
        parts.append("No violation.\n")
    return "\n".join(parts)


def whole(outcomes: Sequence[Outcome]) -> str:
    """All runs."""
    return "\n".join(section(outcome) for outcome in outcomes)
