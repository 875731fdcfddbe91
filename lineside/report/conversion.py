"""What a report says of the conversion: the schemes to choose from, and what each layer loses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lineside.report.data import LayerError, SchemeRow
from lineside.report.summary import counted, enumerated

NAMED: Final = 3
"""How many of the layers that lose most are named."""

_LOSSLESS: Final = 100.0  # dB; no more than the rounding of float32 is lost
_SCALE: Final = (40.0, 60.0)  # dB; the bars' scale ends between these
_SPACE: Final = "\N{NO-BREAK SPACE}"


def devices(schemes: Sequence[SchemeRow]) -> tuple[str, ...]:
    """What the schemes were timed on, each once, in the order of the rows."""
    return tuple(dict.fromkeys(row.device for row in schemes if row.invoke_ms is not None))


@dataclass(frozen=True)
class LayerBar:
    """A layer as one line of the chart.

    Attributes:
        error: what it shows.
        share: length of the bar, 0 to 1.
        own_share: where the mark of the layer by itself stands, 0 to 1; None without.
        snr: the ratio, as text.
        own_snr: the same of the layer by itself; empty where it was not measured.
        marks: how it is run, where that is anything special.
        is_worst: whether it is one of those named.
    """

    error: LayerError
    share: float
    own_share: float | None
    snr: str
    own_snr: str
    marks: tuple[str, ...]
    is_worst: bool


@dataclass(frozen=True)
class LayerChart:
    """All layers.

    Attributes:
        bars: in the order of the graph.
        said: what is to be seen, a sentence each.
        top: where the scale ends, in dB.
    """

    bars: tuple[LayerBar, ...]
    said: tuple[str, ...]
    top: float


def layer_chart(layers: Sequence[LayerError]) -> LayerChart:
    """The layers, at least one, on one scale.

    The scale goes from 0 dB, where the error is as large as the signal, to the next ten above the
    highest ratio, but no further than where the error is a thousandth; what lies outside is drawn
    at its end.
    """
    ratios = [(one.snr_db, one.own_snr_db) for one in layers]
    highest = max(value for pair in ratios for value in pair if value is not None)
    low, high = _SCALE
    top = 10.0 * math.ceil(min(high, max(low, highest)) / 10.0)
    worst = _worst(layers)
    bars = tuple(
        LayerBar(
            error=one,
            share=_clipped(one.snr_db / top),
            own_share=None if one.own_snr_db is None else _clipped(one.own_snr_db / top),
            snr=decibels(one.snr_db),
            own_snr="" if one.own_snr_db is None else decibels(one.own_snr_db),
            marks=_marks(one),
            is_worst=any(one is other for other in worst),
        )
        for one in layers
    )
    return LayerChart(bars, tuple(_said(layers, worst)), top)


def decibels(value: float) -> str:
    """A ratio in dB: `23.4 dB`."""
    if value > _LOSSLESS:
        return f">{_SPACE}{_LOSSLESS:g}{_SPACE}dB"
    text = "\N{INFINITY}" if math.isinf(value) else f"{abs(value):.1f}"
    sign = "\N{MINUS SIGN}" if value < 0 else ""
    return f"{sign}{text}{_SPACE}dB"


def _clipped(share: float) -> float:
    return min(1.0, max(0.0, share))


def _marks(layer: LayerError) -> tuple[str, ...]:
    marks = ("float",) * layer.in_float
    return marks + ("not XNNPACK",) * (layer.delegated is False)


def _worst(layers: Sequence[LayerError]) -> list[LayerError]:
    """Those that lose most by themselves; where that was not measured, the lowest ratios."""
    alone = [one for one in layers if one.own_snr_db is not None]
    ratios = {id(one): one.snr_db if one.own_snr_db is None else one.own_snr_db for one in layers}
    lossy = [one for one in alone or layers if ratios[id(one)] <= _LOSSLESS]
    return sorted(lossy, key=lambda one: ratios[id(one)])[:NAMED]


def _said(layers: Sequence[LayerError], worst: Sequence[LayerError]) -> list[str]:
    """What the chart shows, in sentences."""
    said = []
    if worst and worst[0].own_snr_db is not None:
        named = [
            f"{one.layer} ({one.op}, {decibels(one.own_snr_db)})"
            for one in worst
            if one.own_snr_db is not None
        ]
        said.append(f"Quantized by themselves, these cost most: {enumerated(named)}.")
    elif worst:
        named = [f"{one.layer} ({one.op}, {decibels(one.snr_db)})" for one in worst]
        said.append(f"The lowest ratios are those of {enumerated(named)}.")
    floats = sum(one.in_float for one in layers)
    if floats:
        stays = "stays" if floats == 1 else "stay"
        said.append(f"{floats} of {counted(len(layers), 'layer')} {stays} in float.")
    slow = sum(one.delegated is False for one in layers)
    if slow:
        is_run = "is" if slow == 1 else "are"
        said.append(
            f"{slow} of {counted(len(layers), 'layer')} {is_run} not run by XNNPACK, the quick way."
        )
    return said
