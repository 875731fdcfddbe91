"""What was accepted against what was heard. Pure, and knows nothing of the station's own counting.

A violation is one line that begins with its kind:

    missing      a trigger was accepted, and there is no result
    twice        one trigger has results under two keys
    changed      one key came with two different payloads
    stranger     a result of a trigger that was never sent, or on another stream
    refused      a trigger was refused, and has a result nevertheless
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, str, int]
"""Boot, stream and seq: what makes a duplicate harmless."""

EXAMPLES = 5
"""Violations of one kind that are written out; the others are counted."""


@dataclass
class History:
    """What one subscriber heard.

    Attributes:
        results: key -> hash of the payload, as it came first.
        by_trigger: id of a trigger -> keys of its results.
        stream_of: id of a trigger -> streams of its results.
        verdicts: by verdict, each key once.
        reasons: of `no_read`, each key once.
        seen: the results themselves, each key once, where they are kept.
        duplicates: how many came again.
        changed: keys that came with another payload.
    """

    keep: bool = False
    results: dict[Key, bytes] = field(default_factory=dict)
    by_trigger: dict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    stream_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seen: list[dict[str, Any]] = field(default_factory=list)
    duplicates: int = 0
    changed: list[Key] = field(default_factory=list)

    def take(self, payload: bytes) -> None:
        """Note a result as it came."""
        result = json.loads(payload)
        key = (result["boot"], result["stream"], result["seq"])
        digest = hashlib.sha256(payload).digest()
        known = self.results.get(key)
        if known is not None:
            self.duplicates += 1
            if known != digest:
                self.changed.append(key)
            return
        self.results[key] = digest
        self.verdicts[result["verdict"]] += 1
        if result["verdict"] == "no_read":
            self.reasons[result["reasons"][0].split(":")[0]] += 1
        trigger = result["trigger"].get("id")
        if trigger is not None:
            self.by_trigger[trigger].add(key)
            self.stream_of[trigger].add(result["stream"])
        if self.keep:
            self.seen.append(result)

    def heard(self, ids: Iterable[str]) -> int:
        """How many of these triggers have a result."""
        return sum(trigger in self.by_trigger for trigger in ids)


def judge(
    accepted: Mapping[str, str], refused: Mapping[str, str], sent: Mapping[str, str], of: History
) -> list[str]:
    """What is wrong.

    Args:
        accepted: triggers that the station promised a result for: id -> stream.
        refused: triggers that it refused: id -> why.
        sent: all that were sent: id -> stream.
        of: what was heard.
    """
    wrong: dict[str, list[str]] = defaultdict(list)
    wrong["missing"] = sorted(trigger for trigger in accepted if trigger not in of.by_trigger)
    wrong["twice"] = [
        f"{trigger} has {sorted(keys)}" for trigger, keys in of.by_trigger.items() if len(keys) > 1
    ]
    wrong["changed"] = [str(key) for key in of.changed]
    wrong["stranger"] = [
        f"{trigger} on {sorted(streams)}"
        for trigger, streams in of.stream_of.items()
        if streams != {sent.get(trigger)}
    ]
    wrong["refused"] = [
        f"{trigger} ({why})" for trigger, why in refused.items() if trigger in of.by_trigger
    ]
    return [line for kind, found in wrong.items() for line in lines(kind, found)]


def lines(kind: str, found: list[str]) -> list[str]:
    """Violations of one kind, the first ones written out."""
    more = len(found) - EXAMPLES
    return [f"{kind}: {what}" for what in found[:EXAMPLES]] + (
        [f"{kind}: and {more} more"] if more > 0 else []
    )
