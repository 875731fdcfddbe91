"""Damaged .tflite files: real ones with flipped bits, cut off, or with words changed."""

from __future__ import annotations

import io
import queue
import random
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lineside_convert.tflite.examine import Examiner, Outcome

WAYS: Final = ("flips", "cut", "word", "words")
STAGES: Final = ("graph", "engine", "killed", "hung", "accepted")

_WORDS: Final = (0, 1, 2, 3, 4, 8, 127, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
_PIECE: Final = 256
"""Bytes. A piece of a file with fewer zeros than a quarter of it is taken for weights."""
_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Mutant:
    """A damaged file: which one, how, and what the chance of it is drawn from."""

    source: str
    way: str
    seed: int


@dataclass
class Tally:
    """What became of the mutants.

    Attributes:
        outcomes: (way, stage) -> how many.
        reasons: of the ones that were refused, their lines.
        killers: those that killed or hung their process.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)
    killers: list[tuple[Mutant, Outcome]] = field(default_factory=list)

    def count(self, mutant: Mutant, outcome: Outcome) -> None:
        """One more."""
        self.outcomes[mutant.way, outcome.stage] += 1
        if outcome.stage != "accepted":
            self.reasons.append(outcome.reason)
        if outcome.stage in {"killed", "hung"}:
            self.killers.append((mutant, outcome))

    def of_stage(self, stage: str) -> int:
        """How many ended there."""
        return sum(count for (_, at), count in self.outcomes.items() if at == stage)


class Mutations:
    """Makes mutants of some files.

    Args:
        models: name -> the bytes of a .tflite file.
    """

    def __init__(self, models: Mapping[str, bytes]) -> None:
        self._models = dict(models)
        self._structure = {name: _structure(model) for name, model in models.items()}

    def draw(self, count: int, *, seed: int) -> Iterator[Mutant]:
        """So many, the same ones for the same seed; of each file and in each way as many."""
        names = sorted(self._models)
        for number in range(count):
            way, name = WAYS[number % len(WAYS)], names[number // len(WAYS) % len(names)]
            yield Mutant(name, way, seed * 1_000_003 + number)

    def model(self, mutant: Mutant) -> bytes:
        """The damaged file."""
        rng = random.Random(mutant.seed)  # noqa: S311 - no secret
        source = mutant.source
        return _mutate(self._models[source], self._structure[source], mutant.way, rng)

    def examine(self, mutants: Iterable[Mutant], folder: Path, *, workers: int = 2) -> Tally:
        """Examine them as `examine` does, so many at a time, one after the other in each process.

        Args:
            mutants: of these files.
            folder: to write them to.
            workers: how many processes.
        """
        idle: queue.SimpleQueue[tuple[Examiner, Path]] = queue.SimpleQueue()
        examiners = [Examiner(seconds=_SECONDS) for _ in range(workers)]
        for number, examiner in enumerate(examiners):
            idle.put((examiner, folder / f"{number}.tflite"))

        def look(mutant: Mutant) -> tuple[Mutant, Outcome]:
            examiner, path = idle.get()
            try:
                path.write_bytes(self.model(mutant))
                return mutant, examiner.look(path)
            finally:
                idle.put((examiner, path))

        tally = Tally()
        try:
            with ThreadPoolExecutor(workers) as pool:
                for mutant, outcome in pool.map(look, mutants):
                    tally.count(mutant, outcome)
        finally:
            for examiner in examiners:
                examiner.close()
        return tally


def _structure(model: bytes) -> list[int]:
    """Where words may lie that are no weights: offsets and counts are small, and mostly zeros."""
    places = []
    for start in range(0, len(model) - _PIECE, _PIECE):
        piece = model[start : start + _PIECE]
        if piece.count(0) > _PIECE // 4:
            places += range(start, start + _PIECE, 4)
    return places


def _end_of_model(model: bytes) -> int:
    """Where the archive of labels begins that may lie behind a model: it can do without that."""
    if not zipfile.is_zipfile(io.BytesIO(model)):
        return len(model)
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        return min(entry.header_offset for entry in archive.infolist())


def _mutate(model: bytes, structure: Sequence[int], way: str, rng: random.Random) -> bytes:
    changed = bytearray(model)
    if way == "cut":
        return bytes(changed[: rng.randrange(_end_of_model(model))])
    if way == "flips":
        for _ in range(rng.choice((1, 1, 2, 4, 16))):
            at = rng.randrange(len(changed)) if rng.random() < 0.3 else rng.choice(structure)
            changed[at] ^= 1 << rng.randrange(8)
        return bytes(changed)
    for _ in range(1 if way == "word" else rng.choice((2, 3, 8))):
        at = rng.choice(structure)
        old = int.from_bytes(changed[at : at + 4], "little")
        near = old + rng.choice((-8, -4, -1, 1, 4, 8))
        new = rng.choice((rng.choice(_WORDS), near % 2**32, rng.randrange(2**32)))
        changed[at : at + 4] = new.to_bytes(4, "little")
    return bytes(changed)
