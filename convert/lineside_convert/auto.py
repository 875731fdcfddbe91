"""`--scheme auto`: make all that the target can run, measure each on `val`, take the fastest.

Fast on which machine is said by the device's own bench file. Without one, speed on the device is
unknown: then int8 is taken if it is within the allowance, with those operators left in float that
XNNPACK does not run in int8.

Where int8 is outside of it, the layers that cause it are found: each layer is quantized alone,
and the noise that this makes in the logits is its own (noise of different layers adds up nearly
like independent noise, so the rest is blamed on nobody). The noisiest stay in float, more and
more of them, until the allowance is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lineside.bench import Bench, Row
from lineside.errors import ConvertError
from lineside.progress import track
from lineside.report import LayerError, SchemeRow
from lineside.report.summary import counted
from lineside.runtime.device import device_name
from lineside_convert.scheme import AUTO, SCHEMES, STATIC, UNCHANGED, parse_scheme
from lineside_convert.tflite.graph import read_graph
from lineside_convert.trials import Candidate, Trials

_MOVES_DATA: Final = frozenset({"QUANTIZE", "DEQUANTIZE"})
"""Operators at the ends of a model that XNNPACK leaves out, at no cost worth a float layer."""

_STEPS: Final = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)
"""How many layers stay in float, one try after the other."""


@dataclass(frozen=True)
class Failure:
    """A scheme that could not be made."""

    scheme: str
    why: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Choice:
    """What was chosen, and from what.

    Attributes:
        candidate: the one.
        tried: all that was made, or could not be, in that order.
        why: a sentence or two for people.
        on_device: how fast it is on the device, where that is known.
        noise: for each layer the dB that quantizing it alone leaves; empty where nobody looked.
    """

    candidate: Candidate
    tried: Sequence[Candidate | Failure]
    why: str
    on_device: Row | None = None
    noise: dict[str, float]


Refusal = Callable[[Candidate], str | None]
"""Says why a candidate is out of the question; None where it is not."""


def choose(trials: Trials, scheme: str, refusal: Refusal) -> Choice:
    """Make a scheme, or choose one.

    Args:
        trials: that make and measure.
        scheme: which, or `auto`.
        refusal: what else a chosen scheme has to pass, such as another runtime.

    Raises:
        ConvertError: it can't be made, or nothing keeps the allowance.
    """
    if scheme != AUTO:
        return Choice(candidate=trials.make(scheme), tried=(), why="", noise={})
    return _Search(trials, refusal).choose()


class _Search:
    """The search for a scheme."""

    def __init__(self, trials: Trials, refusal: Refusal) -> None:
        self._trials, self._refusal = trials, refusal
        self._tried: list[Candidate | Failure] = []
        self._noise: dict[str, float] = {}

    def choose(self) -> Choice:
        for scheme in self._plain():
            self._try(scheme)
        static = self._made(STATIC)
        best = static
        if static is not None:
            self._leave_in_float(static)
            best = self._made(self._slow_in_float(static)) or static
        # All layers in int8 may be nonsense, and some of them fine.
        if self._trials.maker.calibrated and (best is None or not self._holds(best)):
            self._search(best)
        holding = [one for one in self._tried if isinstance(one, Candidate) and self._holds(one)]
        if not holding:
            raise ConvertError(self._nothing())
        chosen, row = self._first_accepted(self._ranked(holding))
        return Choice(
            candidate=chosen,
            tried=tuple(self._tried),
            why=self._why(chosen, row, static),
            on_device=row,
            noise=self._noise,
        )

    def _plain(self) -> Iterator[str]:
        """The schemes to make in any case."""
        trials = self._trials
        if trials.source.kind == "tflite":
            yield UNCHANGED
            if trials.photos is None or not trials.maker.is_float:
                return
        for scheme in SCHEMES:
            if scheme != STATIC or trials.photos is not None:
                yield scheme

    def _try(self, scheme: str) -> None:
        if any(one.scheme == scheme for one in self._tried):
            return
        try:
            self._tried.append(self._trials.make(scheme))
        except ConvertError as error:
            self._tried.append(Failure(scheme, str(error)))

    def _made(self, scheme: str) -> Candidate | None:
        found = (one for one in self._tried if one.scheme == scheme)
        return next((one for one in found if isinstance(one, Candidate)), None)

    def _holds(self, candidate: Candidate) -> bool:
        return self._trials.photos is None or self._trials.holds(candidate)

    # ---- what the runtime does not run in int8

    def _slow(self, static: Candidate) -> list[str]:
        """Kinds of operators that XNNPACK runs in float only."""
        own = {op.op for op in read_graph(static.model).operators}
        as_trained = self._made("float32")
        never = set(as_trained.undelegated) if as_trained is not None else set()
        return sorted(own & (set(static.undelegated) - _MOVES_DATA - never))

    def _slow_in_float(self, static: Candidate) -> str:
        slow = self._slow(static)
        return f"{STATIC}+float({','.join(slow)})" if slow else STATIC

    def _leave_in_float(self, static: Candidate) -> None:
        if self._slow(static):
            self._try(self._slow_in_float(static))

    # ---- what hurts

    def _search(self, static: Candidate | None) -> None:
        """Leave more and more of the noisiest layers in float, until that holds."""
        kept = parse_scheme(static.scheme).in_float if static is not None else ()
        self._noise = self._own_noise()
        worst = sorted(self._noise, key=lambda layer: self._noise[layer])
        steps = [count for count in _STEPS if count < len(worst)]
        for count in steps:
            layers = sorted({*kept, *worst[:count]})
            scheme = f"{STATIC}+float({','.join(layers)})"
            self._try(scheme)
            made = self._made(scheme)
            if made is not None and self._holds(made):
                return

    def _own_noise(self) -> dict[str, float]:
        """For each layer the signal-to-noise ratio of the logits, in dB, if it alone is int8."""
        trials = self._trials
        layers = [op.layer for op in trials.maker.original_graph.operators]
        signal = max(trials.maker.signal(), 1e-12)
        found = {}
        for layer in track(layers, what="Finding what int8 hurts"):
            others = ",".join(other for other in layers if other != layer)
            try:
                noise = trials.maker.noise(f"{STATIC}+float({others})")
            except ConvertError:  # it can't be int8 by itself: no reason to blame it
                continue
            found[layer] = round(20 * math.log10(signal / max(noise, 1e-9)), 2)
        return found

    # ---- the choice

    def _ranked(self, holding: Sequence[Candidate]) -> list[tuple[Candidate, Row | None]]:
        """The best first: by the device's bench file those that it knows, then by kind."""
        bench = self._trials.options.device_bench
        rows = {one.file: fastest_row(bench, one) if bench else None for one in holding}

        def order(one: Candidate) -> tuple[float, tuple[int, int]]:
            row = rows[one.file]
            return (row.invoke_ms_p50 if row is not None else math.inf), self._rank(one)

        return [(one, rows[one.file]) for one in sorted(holding, key=order)]

    def _first_accepted(
        self, ranked: Sequence[tuple[Candidate, Row | None]]
    ) -> tuple[Candidate, Row | None]:
        why = ""
        for candidate, row in ranked:
            refused = self._refusal(candidate)
            if refused is None:
                return candidate, row
            why = why or refused
        raise ConvertError(why)

    def _rank(self, candidate: Candidate) -> tuple[int, int]:
        """Without a bench file: int8 first, then the smaller file.

        A mixed scheme is int8 as long as it saves more than float16 does.
        """
        half = self._made("float16")
        is_small = half is None or len(candidate.model) < len(half.model)
        if candidate.scheme == UNCHANGED:
            order = 2
        elif candidate.scheme.startswith(STATIC) and is_small:
            order = 1 if self._slow(candidate) else 0
        else:
            order = 3
        return order, len(candidate.model)

    def _why(self, chosen: Candidate, row: Row | None, static: Candidate | None) -> str:
        options, bench = self._trials.options, self._trials.options.device_bench
        if self._trials.photos is None:
            return (
                f"{chosen.scheme} was taken without measuring: there were no images. Its speed on "
                "the device is unknown."
            )
        within = (
            f"within {options.max_flips:g} % of flipped verdicts and {options.max_loss:g} points "
            "of balanced accuracy (or one image) on val"
        )
        if row is not None and bench is not None:
            threads = counted(row.threads, "thread")
            return (
                f"{chosen.scheme} is the fastest of those that the bench file knows, {within}: "
                f"{row.invoke_ms_p50:.3g} ms with {row.runtime} and {threads} on {bench.device}."
            )
        said = f"{chosen.scheme} was taken since it is {within}."
        if static is not None and chosen is not static and not self._holds(static):
            said += " With all layers in int8 it is not."
        if bench is not None:
            said += " The bench file knows none of the schemes."
        return said + " Its speed on the device is unknown: see lineside bench."

    def _nothing(self) -> str:
        tried = "; ".join(
            f"{one.scheme}: {one.why}"
            if isinstance(one, Failure)
            else f"{one.scheme}: {_flips(one)} flips"
            for one in self._tried
        )
        return f"no scheme keeps the verdicts of the original ({tried}); raise --max-flips"


def _flips(candidate: Candidate) -> str:
    return str(len(candidate.measured.flips)) if candidate.measured else "unknown"


def fastest_row(bench: Bench, candidate: Candidate) -> Row | None:
    """The fastest way to run a candidate's graph, of those that were timed; None if none was."""
    rows = [row for row in bench.rows if row.graph == candidate.graph]
    return min(rows, key=lambda row: row.invoke_ms_p50, default=None)


def scheme_rows(choice: Choice, bench: Bench | None) -> list[SchemeRow]:
    """The table for the report."""
    rows = []
    for one in choice.tried or (choice.candidate,):
        if isinstance(one, Failure):
            rows.append(SchemeRow(scheme=one.scheme, note=one.why))
            continue
        timed = fastest_row(bench, one) if bench is not None else None
        measured = one.measured
        rows.append(
            SchemeRow(
                scheme=one.scheme,
                chosen=one is choice.candidate,
                size=len(one.model),
                accuracy=measured.figures.accuracy if measured else None,
                balanced_accuracy=measured.figures.balanced_accuracy if measured else None,
                flips=len(measured.flips) if measured else None,
                expected_flips=measured.parity.expected_flips if measured else None,
                worst=measured.parity.worst if measured else None,
                invoke_ms=timed.invoke_ms_p50 if timed else one.invoke_ms,
                device=_timed_on(bench, timed),
                note=f"not by XNNPACK: {', '.join(one.undelegated)}" if _slow_ops(one) else "",
            )
        )
    return rows


def _slow_ops(candidate: Candidate) -> bool:
    return bool(set(candidate.undelegated) - _MOVES_DATA)


def _timed_on(bench: Bench | None, row: Row | None) -> str:
    if bench is not None and row is not None:
        threads = counted(row.threads, "thread")
        return f"{bench.device}, {row.runtime} {row.runtime_version}, {threads}"
    return f"where it was converted, 1 thread ({device_name()}); unknown on the device"


def layer_errors(trials: Trials, choice: Choice) -> list[LayerError]:
    """What int8 does to each layer, for the report; empty where nothing was quantized so."""
    chosen = choice.candidate
    if not chosen.scheme.startswith(STATIC) or trials.photos is None:
        return []
    inside = parse_scheme(chosen.scheme).in_float
    return [
        LayerError(
            layer=one.layer,
            op=one.op,
            snr_db=one.snr_db,
            own_snr_db=choice.noise.get(one.layer),
            in_float=one.layer in inside or one.op in inside,
            delegated=one.delegated,
        )
        for one in trials.layers(chosen)
    ]
