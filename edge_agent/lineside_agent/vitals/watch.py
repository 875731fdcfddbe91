"""The vitals of one camera.

Each look costs a sample of 160 x 90 pixels and a comparison. Five times a second what is fixed is
looked for too, and in the look behind that its sharpness is measured, so that no look costs both.
Learning stops while anything is suspected, so that no fault becomes usual.

A camera's pictures have another size while its model has them reduced: what was learned of the
size before is kept, and is known again when that size is back.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt

from lineside.errors import StorageError
from lineside.image import Frame
from lineside_agent.vitals.exposure import Exposure
from lineside_agent.vitals.findings import Fault, Finding, Kind
from lineside_agent.vitals.fixed import Fixed, Sight
from lineside_agent.vitals.frozen import STALLED_STEP_S, Frozen
from lineside_agent.vitals.sharpness import Sharpness
from lineside_agent.vitals.sketch import Sketcher

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

THOROUGH_S: Final = 0.19
"""Seconds between looks for what is fixed: every second frame of ten a second."""
SLOW_S: Final = 0.15
"""Of a camera that gives frames to trust more slowly than that, each look is for everything."""

ALIGNED: Final = 0.46
"""Alignment below which what is fixed was displaced; above it has lost its sharpness."""

SCHEMA: Final = "lineside.vitals/1"
MAX_LEARNED_BYTES: Final = 4 * 1024 * 1024
BEFORE: Final = "before/"
"""What the names of the arrays of the size before begin with."""

_Known = tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]
"""Facts and arrays of what was learned of the pictures of one size."""


class Vitals:
    """Told of each frame of a camera; says which fault lasts. Used by one thread.

    Args:
        learned: what `learned()` of an earlier one gave.
        watched: the kinds of fault that are looked for.
        suspected: kinds that single pictures are suspected of beside these, and that are no fault
            however long they last, such as the dark between two flashes. What is suspected is not
            learned from.

    Attributes:
        suspicion: why the newest frame alone can't be trusted, before it is a fault: `frozen`,
            `black` or `overexposed`; None if it can.

    Raises:
        StorageError: what was learned is damaged; begin without it.
    """

    def __init__(
        self,
        learned: bytes | None = None,
        *,
        watched: Collection[Kind] = KINDS,
        suspected: Collection[Kind] = (),
    ) -> None:
        self._faults = {kind: Fault(kind) for kind in KINDS if kind in watched}
        self._suspected = frozenset((*watched, *suspected))
        self._others: list[_Known] = [] if learned is None else _unpack(learned)
        self._shape: tuple[int, ...] | None = None
        self._last_ns: int | None = None
        self._placed_ns: int | None = None
        self._measured_ns: int | None = None
        self._trusted_ns: int | None = None
        self._sight: Sight | None = None
        self._dull = False
        self.suspicion: Kind | None = None
        for facts, _ in reversed(self._others):  # each, so that damage is found here
            self._begin(tuple(facts["shape"]))

    def look(self, frame: Frame, *, mono_ns: int, frame_id: int | None = None) -> Finding | None:
        """Look at a frame.

        Args:
            frame: uint8, height x width x 3, BGR; nothing of it is kept.
            mono_ns: when it was captured, in ns of the monotonic clock.
            frame_id: the driver's number of it, if it gives one.

        Returns:
            The gravest fault that lasts.
        """
        if frame.shape[:2] != self._shape:
            self._begin(frame.shape[:2])
        sample = self._sketcher.sample(frame)
        value = self._sketcher.value(sample)
        self._exposure.measure(value)
        raw: dict[Kind, str | None] = {
            "black": self._exposure.black(already=self._lasts("black")),
            "overexposed": self._exposure.overexposed(already=self._lasts("overexposed")),
        }
        clipped = any(raw.values())
        raw["frozen"] = self._frozen.look(
            sample, mono_ns=mono_ns, frame_id=frame_id, clipped=clipped
        )
        self.suspicion = next(
            (kind for kind in KINDS if raw.get(kind) and kind in self._suspected), None
        )
        last_ns = mono_ns if self._last_ns is None else self._last_ns
        self._last_ns = mono_ns
        step_s = max(0.0, (mono_ns - last_ns) / 1e9)
        if not self._frozen.sure:
            raw["frozen"] = None
        for kind, reason in raw.items():
            stalled = kind == "frozen" and mono_ns == last_ns and reason is not None
            self._weigh(kind, reason, mono_ns, STALLED_STEP_S if stalled else step_s)
        if self.suspicion is None:
            self._look_on(frame, value, mono_ns)
        return self.finding

    @property
    def finding(self) -> Finding | None:
        """The gravest fault that lasts."""
        return next(iter(self.findings), None)

    @property
    def findings(self) -> list[Finding]:
        """All faults that last, the gravest first."""
        return [fault.finding for fault in self._faults.values() if fault.finding is not None]

    def learned(self) -> bytes | None:
        """What was learned, to be saved: a zip of one JSON and a few .npy, some 200 kB a size.

        None before the first look.
        """
        known = self._known()
        if not known:
            return None
        packed = io.BytesIO()
        entries: dict[str, Any] = {}
        for prefix, (facts, arrays) in zip(("", BEFORE), known, strict=False):
            entries |= {f"{prefix}{name}": array for name, array in arrays.items()}
            entries[f"{prefix}facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        np.savez_compressed(packed, **entries)
        return packed.getvalue()

    def forget(self) -> None:
        """Begin anew: the camera was mounted, focused or lit anew on purpose."""
        self._faults = {kind: Fault(kind) for kind in self._faults}
        self._others = []
        self._shape = self.suspicion = None

    def _known(self) -> list[_Known]:
        """What was learned of the size now and of the one before, as far as there is any."""
        if self._shape is None:
            return self._others
        facts = {
            "schema": SCHEMA,
            "shape": list(self._shape),
            "exposure": self._exposure.facts,
            "frozen": self._frozen.facts,
            "fixed": self._fixed.facts,
            "sharpness": self._sharpness.facts,
        }
        return [(facts, {**self._fixed.arrays, **self._sharpness.arrays}), *self._others]

    def _begin(self, shape: tuple[int, ...]) -> None:
        """Get ready for frames of this height and width."""
        known = self._known()
        facts, arrays = next((one for one in known if tuple(one[0]["shape"]) == shape), ({}, {}))
        try:
            self._sketcher = Sketcher(*shape)
            self._exposure = Exposure(facts.get("exposure"))
            self._frozen = Frozen(facts.get("frozen"))
            self._fixed = Fixed(self._sketcher, facts.get("fixed"), arrays or None)
            self._sharpness = Sharpness(facts.get("sharpness"), arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(error) from error
        self._shape = shape
        self._others = [one for one in known if tuple(one[0]["shape"]) != shape][:1]
        self._sight = self._placed_ns = self._measured_ns = None
        self._dull = False

    def _lasts(self, kind: Kind) -> bool:
        return kind in self._faults and self._faults[kind].finding is not None

    def _weigh(self, kind: Kind, reason: str | None, mono_ns: int, step_s: float) -> None:
        if kind in self._faults:
            self._faults[kind].weigh(reason, mono_ns=mono_ns, step_s=step_s)

    def _look_on(self, frame: Frame, value: npt.NDArray[np.uint8], mono_ns: int) -> None:
        """Look for what is fixed, or at its sharpness, when it is time."""
        rare = self._since(self._trusted_ns, mono_ns) > SLOW_S
        self._trusted_ns = mono_ns
        since_s = self._since(self._placed_ns, mono_ns)
        placing = since_s >= THOROUGH_S
        if placing:
            self._placed_ns = mono_ns
            self._look_for_place(value, mono_ns, since_s)
        since_s = self._since(self._measured_ns, mono_ns)
        if since_s >= THOROUGH_S and (not placing or rare):
            self._measured_ns = mono_ns
            self._look_for_sharpness(frame, mono_ns, since_s)

    @staticmethod
    def _since(last_ns: int | None, mono_ns: int) -> float:
        """Seconds since then; THOROUGH_S if there was no such look, or time went back."""
        if last_ns is None or mono_ns < last_ns:
            return THOROUGH_S
        return (mono_ns - last_ns) / 1e9

    def _look_for_place(self, value: npt.NDArray[np.uint8], mono_ns: int, since_s: float) -> None:
        gx, gy = self._sketcher.gradient(value)
        self._sight = sight = self._fixed.see(gx, gy)
        moved = self._moved(sight)
        self._weigh("moved", moved, mono_ns, since_s)
        # A blur must have gone, or it would be learned as what is usual.
        if moved or sight.lost or self._dull or self.findings:
            return
        self._frozen.witness(self._sketcher, value, gx, gy)
        if self._fixed.learn(gx, gy, sight):
            self._sharpness.place(self._fixed.edges, self._sketcher.scale)

    def _moved(self, sight: Sight) -> str | None:
        if sight.shift >= 1.0:
            by = sight.shift * self._sketcher.scale
            return f"what is fixed in the picture has moved by {by:.0f} pixels"
        if sight.alignment < ALIGNED and (sight.lost or self._dull):
            return "what was fixed in the picture is not where it was"
        # Where nothing is known of pictures of this size, they don't show that it is back.
        if self._lasts("moved") and (sight.place is None or not sight.back):
            return "what is fixed in the picture is not seen back where it was"
        return None

    def _look_for_sharpness(self, frame: Frame, mono_ns: int, since_s: float) -> None:
        sight = self._sight
        sharpness = self._sharpness.measure(frame, self._sketcher)
        self._dull = self._sharpness.blurred(sharpness, already=self._lasts("blurred"))
        blurred = None
        if sight is None or sight.alignment < ALIGNED or self._moved(sight):
            pass  # the tiles are not on the edges that they were put onto
        elif sight.lost:
            blurred = "the fixed edges of the picture are nearly gone"
        elif self._dull:
            blurred = f"fixed edges have {sharpness:.0%} of their learned sharpness"
        elif self._lasts("blurred") and sight.place is None:
            blurred = "fixed edges are not seen to be sharp again"
        self._weigh("blurred", blurred, mono_ns, since_s)
        if blurred or self._dull or self.findings or sight is None:
            return
        self._exposure.learn()
        if sight.place is None or sight.place > 0.7:
            self._sharpness.learn(sharpness)


def _damaged(error: Exception) -> StorageError:
    msg = f"what was learned of a camera is damaged: {' '.join(str(error).split())}; delete it"
    return StorageError(msg)


def _unpack(learned: bytes) -> list[_Known]:
    """What `Vitals.learned` has packed: of the size of then, and of the one before.

    Raises:
        StorageError: too large, or no such thing.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(learned)) as packed:
            size = sum(entry.file_size for entry in packed.infolist())
        entries: dict[str, npt.NDArray[Any]] = {}
        if size <= MAX_LEARNED_BYTES:
            with np.load(io.BytesIO(learned), allow_pickle=False) as loaded:
                entries = {name: loaded[name] for name in loaded.files}
        before = {
            name.removeprefix(BEFORE): entries.pop(name)
            for name in [*entries]
            if name.startswith(BEFORE)
        }
        return [_of_one_size(entries), *([_of_one_size(before)] if before else [])]
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise _damaged(error) from error


def _of_one_size(arrays: dict[str, npt.NDArray[Any]]) -> _Known:
    facts = json.loads(arrays.pop("facts").tobytes())
    if facts["schema"] != SCHEMA or len(facts["shape"]) != 2:
        msg = f"expected schema {SCHEMA} and a shape of two"
        raise ValueError(msg)
    return facts, arrays
