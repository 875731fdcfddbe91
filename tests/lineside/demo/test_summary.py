from __future__ import annotations

from datetime import datetime, timezone

import msgspec
import numpy as np
import pytest

from lineside.decision import Decision
from lineside.demo.summary import Measured, Summary, describe, summarize
from lineside.manifest import DecisionSpec, Label, LimitSpec
from lineside.messages import Input, Latency, Limits, ModelRef, Part, Result, Trigger, encode

LABELS = [Label(name="defective", good=False), Label(name="functional", good=True)]
DECISION = DecisionSpec(score="p_not_good", temperature=1.0, limits=LimitSpec(review=0.4, ng=0.6))
TRUTH = {"a.png": "defective", "b.png": "functional", "c.png": "defective", "d.png": "functional"}
LOGITS = {"a.png": [2.0, 0.0], "b.png": [0.0, 2.0], "c.png": [0.0, 1.0], "d.png": [0.1, 0.0]}


def heard(name: str, logits: list[float], *, seq: int, delay_ms: float = 10.0) -> tuple[bytes, int]:
    """A result as a station would send it, and when it arrived."""
    answer = Decision(DECISION, LABELS)(logits)
    mono = seq * 1_000_000_000
    result = Result(
        site="demo",
        station="line1",
        stream="cells",
        boot="b",
        seq=seq,
        part=Part(n=seq, id=name),
        trigger=Trigger(kind="frame", mono_ns=mono),
        captured_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
        clock_synced=True,
        inputs=[Input(name="cells", mono_ns=mono, stamp="read", size=(300, 300))],
        task="classify",
        verdict=answer.verdict,
        reasons=list(answer.reasons),
        label=answer.label,
        score=answer.score,
        limits=Limits(review=0.4, ng=0.6),
        scores=list(answer.scores),
        models=[ModelRef(role="main", name="cells", version="1.0.0", digest="sha256:0")],
        latency_ms=Latency(queue=0.1, preprocess=0.2, invoke=0.5, total=0.9),
    )
    return encode(result), mono + int(delay_ms * 1e6)


def known() -> Measured:
    return Measured(
        seed=0,
        labels=LABELS,
        decision=DECISION,
        float_logits=LOGITS,
        train_seconds=100.0,
        total_seconds=120.0,
    )


def test_all_arrived_once() -> None:
    messages = [heard(n, LOGITS[n], seq=i, delay_ms=10 * i) for i, n in enumerate(TRUTH, 1)]
    summary = summarize(TRUTH, messages, known())
    assert (summary.parts, summary.results_received) == (4, 4)
    assert (summary.missing, summary.duplicates, summary.flips) == (0, 0, 0)
    # a right, b right, c (defective) said functional, d (functional) said defective by a hair
    assert summary.balanced_accuracy == pytest.approx(0.5)
    assert summary.balanced_accuracy == summary.float_balanced_accuracy
    # Of the four pairs of a defective and a functional cell, c below d is the one wrong.
    assert summary.auroc == pytest.approx(0.75)
    assert summary.verdicts == {"ng": 1, "ok": 2, "review": 1}
    assert (summary.escapes, summary.false_rejects) == (1, 0)
    assert summary.end_to_end_ms_p50 == pytest.approx(25.0)
    assert summary.invoke_ms_p50 == 0.5


def test_missing_duplicates_and_flips_are_counted_from_what_arrived() -> None:
    messages = [
        heard("a.png", LOGITS["a.png"], seq=1),
        heard("a.png", LOGITS["a.png"], seq=1),
        heard("a.png", LOGITS["a.png"], seq=1),
        heard("b.png", [2.0, 0.0], seq=2),  # int8 says ng where float says ok
    ]
    summary = summarize(TRUTH, messages, known())
    assert summary.results_received == 4
    assert (summary.missing, summary.duplicates, summary.flips) == (2, 2, 1)
    text = dict(describe(summary))
    assert text["Parts"] == ("4 cells went down the line; 2 cells have none, 2 results came twice")
    assert text["Conversion"] == "changed the verdict of 1 of 4 cells"


def test_figures_are_those_of_the_probabilities_that_arrived() -> None:
    rng = np.random.default_rng(0)
    truth = {f"{i}.png": ("defective", "functional")[i % 2] for i in range(40)}
    logits = {name: rng.normal(size=2).tolist() for name in truth}
    messages = [heard(name, logits[name], seq=i) for i, name in enumerate(truth, 1)]
    summary = summarize(truth, messages, msgspec.structs.replace(known(), float_logits=logits))
    assert summary.auroc == pytest.approx(summary.float_auroc)
    assert summary.accuracy == pytest.approx(
        np.mean([(v[0] > v[1]) == (truth[n] == "defective") for n, v in logits.items()])
    )
    assert msgspec.json.decode(msgspec.json.encode(summary), type=Summary) == summary
