"""What the demo found, counted from what the witness heard. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from msgspec import Struct

from lineside.decision import Decision
from lineside.manifest import DecisionSpec, Label
from lineside.messages import Result
from lineside.metrics import figures


class Summary(Struct, kw_only=True):
    """summary.json. Figures are of the test cells, over the verdicts that arrived."""

    seed: int
    parts: int
    """Cells that went down the line."""
    results_received: int
    """Messages that the witness heard."""
    missing: int
    """Cells without a result."""
    duplicates: int
    """Results beyond the first for a cell."""
    verdicts: dict[str, int]
    accuracy: float
    balanced_accuracy: float
    auroc: float
    float_balanced_accuracy: float
    """The same of the Keras model, before conversion."""
    float_auroc: float
    flips: int
    """Cells whose verdict the conversion to int8 changed."""
    escapes: int
    """Defective cells that were called ok."""
    false_rejects: int
    """Functional cells that were called ng."""
    train_seconds: float
    invoke_ms_p50: float
    end_to_end_ms_p50: float
    """From the capture of a cell to the arrival of its result at the witness."""
    end_to_end_ms_p99: float
    total_seconds: float


class Measured(Struct, kw_only=True):
    """What the rest of the demo knows and the witness doesn't."""

    seed: int
    labels: list[Label]
    decision: DecisionSpec
    float_logits: dict[str, list[float]]
    """The Keras model's logits for each cell, by file name."""
    train_seconds: float
    total_seconds: float


def summarize(
    truth: Mapping[str, str], heard: Sequence[tuple[bytes, int]], known: Measured
) -> Summary:
    """Count what arrived against the list of cells.

    Args:
        truth: file name -> label, of every cell that went down the line.
        heard: payload and arrival (ns, monotonic) of each result.
        known: the rest.
    """
    arrived = [(msgspec.json.decode(payload, type=Result), at) for payload, at in heard]
    times = Counter(result.part.id or "" for result, _ in arrived)
    first = {result.part.id or "": result for result, _ in reversed(arrived)}
    found = {name: first[name] for name in truth if name in first}
    read = [name for name, result in found.items() if len(result.scores) == len(known.labels)]
    decide = Decision(known.decision, known.labels)
    in_float = {name: decide(known.float_logits[name]) for name in found}
    names = [label.name for label in known.labels]
    target = np.array([names.index(truth[name]) for name in read])
    logits = np.array([known.float_logits[name] for name in read])
    # The probabilities of a result are its softmax; their logarithm has the same softmax.
    probability = [dict(found[name].scores) for name in read]
    said = np.log(np.maximum([[p[name] for name in names] for p in probability], 1e-12))
    as_int8, as_float = figures(target, said, known.labels), figures(target, logits, known.labels)
    good = {label.name for label in known.labels if label.good}
    delays = [(at - result.inputs[0].mono_ns) / 1e6 for result, at in arrived if result.inputs]
    verdicts = Counter(result.verdict for result in found.values())
    return Summary(
        seed=known.seed,
        parts=len(truth),
        results_received=len(arrived),
        missing=len(truth) - len(found),
        duplicates=sum(count - 1 for count in times.values()),
        verdicts=dict(sorted(verdicts.items())),
        accuracy=as_int8.accuracy,
        balanced_accuracy=as_int8.balanced_accuracy,
        auroc=as_int8.auroc or 0.0,
        float_balanced_accuracy=as_float.balanced_accuracy,
        float_auroc=as_float.auroc or 0.0,
        flips=sum(found[name].verdict != in_float[name].verdict for name in found),
        escapes=sum(r.verdict == "ok" and truth[n] not in good for n, r in found.items()),
        false_rejects=sum(r.verdict == "ng" and truth[n] in good for n, r in found.items()),
        train_seconds=known.train_seconds,
        invoke_ms_p50=float(np.median([r.latency_ms.invoke for r in found.values()])),
        end_to_end_ms_p50=float(np.percentile(delays, 50)),
        end_to_end_ms_p99=float(np.percentile(delays, 99)),
        total_seconds=known.total_seconds,
    )


def describe(summary: Summary) -> list[tuple[str, str]]:
    """The summary for a person: titles and sentences."""
    s = summary
    lost = f"{s.missing} cells have none, {s.duplicates} results came twice"
    if not s.missing and not s.duplicates:
        lost = "every cell has its one verdict"
    balanced = f"{s.balanced_accuracy:.3f} as int8, {s.float_balanced_accuracy:.3f} as float"
    delay = f"{s.end_to_end_ms_p50:.0f} ms, the slowest 1 % from {s.end_to_end_ms_p99:.0f} ms"
    return [
        ("Parts", f"{s.parts} cells went down the line; {lost}"),
        ("Verdicts", ", ".join(f"{count} {verdict}" for verdict, count in s.verdicts.items())),
        ("Wrong", f"{s.escapes} defective called ok, {s.false_rejects} functional called ng"),
        ("Balanced accuracy", balanced),
        ("AUROC", f"{s.auroc:.3f} as int8, {s.float_auroc:.3f} as float"),
        ("Conversion", f"changed the verdict of {s.flips} of {s.parts} cells"),
        ("One inference", f"{s.invoke_ms_p50:.2f} ms"),
        ("Frame to subscriber", delay),
        ("Training", f"{s.train_seconds:.0f} s, all together {s.total_seconds:.0f} s"),
    ]
