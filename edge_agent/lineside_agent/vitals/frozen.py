"""Frozen: stamps that stand still, or pictures that repeat on a camera which does not repeat.

By stamp: the timestamp, or the frame number with an identical picture, is the one of the frame
before, five times in a row. A number counts only if it has advanced on this camera: some drivers
always say 0.

By picture: a still scene before a camera with sensor noise never gives the same picture twice. A
noiseless one (a virtual line, a codec that skips) does so whenever the belt stops, and is healthy.
The two differ only in one thing that can be seen: what does *not* move. So a few times a second
two looks are compared cell by cell (10 x 6 of them). A cell is still if it has structure, and its
gradients correlate by 0.9 with those of the look before. With six still cells or more the look
bears witness: the scene fluctuates, if samples changed in 80 % of the still cells (a part that
passes changes few), else it repeats. A moving belt bears no witness, for its gradients don't
correlate.

The rule: an identical picture is suspected, unless the camera is known to repeat (three witnesses
or more, and more than 1 % of them, say so), or the spell of identical pictures is not longer than
three times the longest that it is known for (half of it is forgotten in an hour). It is held
against the camera, as a fault, only once that is known for its noise: after 100 witnesses of which
at most 1 % say that a still scene repeats.

Before that, in the first half minute of a new camera or for as long as nothing in its picture has
changed, a repeated picture is suspected and no fault. A camera that froze repeats all of its
picture, so what tells in its favour is only what a frozen one can't do: a picture that changed
while what is still in it did not, or a spell that ended. One that ended sooner than a fault
begins is known as one of the camera's, a longer one counts as one witness.

False alarms. With noise: a sample repeats by chance with p <= 0.9 or so, and all of at least 2,000
unsaturated ones with p^2000 < 1e-91. Where the picture is black or saturated, noise is clipped:
such looks are not judged. Spells of a codec: n of them with exponential lengths of mean m have a
longest of about m ln n, and one exceeds three times this with exp(-3 ln n) = n^-3: 1e-6 after the
first hundred. Without noise: a camera is never convicted if more than 1 % of its witnesses saw
a still scene repeat; a frame in sight, a rail or an empty background are enough for that.
What can't be told apart: a noiseless camera that sees nothing fixed, or only under a light that
flickers; before its first stop it may look like one with noise. A noiseless camera that shows the
same still scene from its start: it is suspected until something moves. And one that is known to
repeat and froze, with stamps that go on, looks healthy: it is not called frozen.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lineside_agent.vitals.findings import HOLD_S
from lineside_agent.vitals.sketch import Bytes, Floats, Sketcher

STALLED_LOOKS: Final = 5
STALLED_STEP_S: Final = 0.2
"""A look whose stamp stands still counts for so many seconds: five for a fault."""

WITNESSES: Final = 100
REPEATING: Final = 0.01
KNOWN: Final = 2.5
"""Witnesses from which a camera is known to repeat: three, a little faded."""
SPELL_FACTOR: Final = 3.0
STILL_CORRELATION: Final = 0.9
STILL_CELLS: Final = 6
STRUCTURE: Final = 1e-4
"""Mean square of the log slope from which a cell has structure: an edge of 5 % or so."""
FORGET: Final = 0.5 ** (1 / 18_000)  # half in an hour at five looks a second
ADVANCES: Final = 10


class Frozen:
    """Repetition on one camera.

    Args:
        facts: of an earlier one's `facts`, to go on with.

    Attributes:
        sure: whether what is suspected of the newest frame is to be held against the camera.
    """

    def __init__(self, facts: dict[str, Any] | None = None) -> None:
        facts = facts or {}
        self._fluctuating = float(facts.get("fluctuating", 0.0))
        self._repeating = float(facts.get("repeating", 0.0))
        self._longest_s = float(facts.get("longest_s", 0.0))
        self._advances = 0
        self._sample: Bytes | None = None
        self._id: int | None = None
        self._mono_ns: int | None = None
        self._spell_s = 0.0
        self._spell_repeats = 0.0
        self._accused = False
        self.sure = False
        self._before: tuple[Bytes, Floats, Floats, Floats] | None = None

    def look(
        self, sample: Bytes, *, mono_ns: int, frame_id: int | None, clipped: bool
    ) -> str | None:
        """Compare a frame with the one before.

        Args:
            sample: uint8, h x w x 3.
            mono_ns: the frame's timestamp.
            frame_id: the driver's number, if it gives one.
            clipped: the picture is black or over-exposed, and shows no noise.

        Returns:
            Why it is suspected to be a repeated one.
        """
        self.sure = True
        before, last_ns, last_id = self._sample, self._mono_ns, self._id
        self._sample, self._mono_ns, self._id = sample, mono_ns, frame_id
        if before is None or last_ns is None:
            return None
        same = before.shape == sample.shape and bool(np.array_equal(before, sample))
        numbered = frame_id is not None and last_id is not None
        self._advances += numbered and frame_id != last_id
        if mono_ns == last_ns:
            return f"the timestamp stands at {mono_ns} ns"
        if numbered and frame_id == last_id and same and self._advances >= ADVANCES:
            return f"the frame number stands at {frame_id}"
        if not same or clipped:
            self._end_spell()
            return None
        self._spell_s += max(0, mono_ns - last_ns) / 1e9
        if self._repeats or self._spell_s <= SPELL_FACTOR * self._longest_s:
            return None
        self.sure = self._proven
        self._accused |= self.sure
        seen = f"the picture has been the same for {self._spell_s:.1f} s"
        return f"{seen}, and this camera has noise" if self.sure else seen

    @property
    def _total(self) -> float:
        return self._fluctuating + self._repeating

    @property
    def _repeats(self) -> bool:
        """Whether this camera is known to repeat a still scene."""
        return self._repeating >= max(KNOWN, REPEATING * self._total)

    @property
    def _proven(self) -> bool:
        """Whether it is known not to."""
        return self._total >= WITNESSES and not self._repeats

    def _end_spell(self) -> None:
        if self._spell_s and not self._accused:
            if self._proven or self._spell_s <= HOLD_S:
                self._longest_s = max(self._longest_s, self._spell_s)
                self._repeating += self._spell_repeats
            else:
                self._repeating += 1
        self._spell_s = self._spell_repeats = 0.0
        self._accused = False

    def witness(self, sketcher: Sketcher, value: Bytes, gx: Floats, gy: Floats) -> None:
        """Compare a healthy look with the one before it, cell by cell.

        Args:
            sketcher: of these frames.
            value: uint8, h x w.
            gx: float32, h x w, as `Sketcher.gradient` has it.
            gy: likewise.
        """
        energy = sketcher.cells(gx * gx + gy * gy)
        before, self._before = self._before, (value, gx, gy, energy)
        if before is None:
            return
        product = sketcher.cells(gx * before[1] + gy * before[2])
        strong = (energy > STRUCTURE) & (before[3] > STRUCTURE)
        still = strong & (product > STILL_CORRELATION * np.sqrt(energy * before[3]))
        count = int(still.sum())
        if count < STILL_CELLS:
            return
        changed = sketcher.cells((value != before[0]).astype(np.float32)) > 0
        fluctuates = int((changed & still).sum()) >= 0.8 * count
        self._fluctuating = self._fluctuating * FORGET + fluctuates
        self._repeating *= FORGET
        self._longest_s *= FORGET
        if not fluctuates:
            # Whether a spell speaks against the camera or for it is known when it has ended.
            if self._spell_s and not self._repeats:
                self._spell_repeats += 1
            else:
                self._repeating += 1

    @property
    def facts(self) -> dict[str, float]:
        """What was learned, for saving."""
        return {
            "fluctuating": round(self._fluctuating, 3),
            "repeating": round(self._repeating, 3),
            "longest_s": round(self._longest_s, 3),
        }
