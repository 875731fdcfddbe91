"""Messages to test with."""

from __future__ import annotations

from typing import Any

from lineside.messages import (
    Input,
    Latency,
    Ledger,
    Limits,
    LoadedModel,
    ModelRef,
    Part,
    Result,
    Status,
    Trigger,
)

BOOT = "0198f1c2-0000-4000-8000-000000000001"
MODEL = ModelRef(role="main", name="cells", version="1.0.0", digest="sha256:" + "0" * 64)

LOADED = LoadedModel(
    role="main", name="cells", version="1.0.0", digest="sha256:" + "0" * 64, parity="measured"
)


def result(seq: int = 1, **changes: object) -> Result:
    """A result as a station would send it."""
    fields: dict[str, Any] = {
        "site": "ulm",
        "station": "press4",
        "stream": "top",
        "boot": BOOT,
        "seq": seq,
        "part": Part(n=seq, id=f"{seq:03}.png"),
        "trigger": Trigger(kind="frame", mono_ns=1000),
        "captured_at": None,
        "clock_synced": True,
        "inputs": [Input(name="cam0", mono_ns=1000, stamp="read", size=(300, 300))],
        "task": "classify",
        "verdict": "ok",
        "reasons": ["score<review"],
        "label": "ok",
        "score": 0.125,
        "limits": Limits(review=0.35, ng=0.6),
        "scores": [("ok", 0.875), ("crack", 0.125)],
        "models": [MODEL],
        "latency_ms": Latency(queue=0.1, preprocess=0.2, invoke=0.3, total=0.7),
    }
    return Result(**(fields | changes))


def status(first: int, last: int, through: int, **changes: object) -> Status:
    """A status whose ledger has one line."""
    boot = changes.get("boot", BOOT)
    line = Ledger(boot=boot, stream="top", first=first, last=last, published_through=through)
    fields: dict[str, Any] = {
        "site": "ulm",
        "station": "press4",
        "boot": boot,
        "state": "online",
        "version": "0.1.0",
        "models": [LOADED],
        "ledger": [line],
    }
    return Status(**(fields | changes))
