"""A thousand damaged .tflite files: nothing crashes, and every refusal is one clear line.

`make fuzz` does the same with ten thousand, and writes the table of docs/benchmarks.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.bundle import open_bundle
from lineside.errors import EngineError
from lineside.runtime.trial import try_bundle
from tests.support.bundles import with_model
from tests.support.mutations import WAYS, Mutations, Tally
from tests.support.tiny import tiny_model

COUNT = 1000


@pytest.fixture(scope="module")
def mutations(bundle_folder: Path) -> Mutations:
    return Mutations(
        {
            "cells": open_bundle(bundle_folder).model,
            "tiny": tiny_model((1, 16, 16, 1), "int8", scale=(1.0, -128)),
        }
    )


@pytest.fixture(scope="module")
def tally(mutations: Mutations, tmp_path_factory: pytest.TempPathFactory) -> Tally:
    folder = tmp_path_factory.mktemp("mutants")
    return mutations.examine(mutations.draw(COUNT, seed=0), folder)


def test_every_damaged_file_has_an_outcome(tally: Tally) -> None:
    assert sum(tally.outcomes.values()) == COUNT
    # What is cut off is never accepted; a changed weight is still a model.
    assert tally.outcomes["cut", "accepted"] == 0
    for way in set(WAYS) - {"cut"}:
        assert tally.outcomes[way, "graph"] > 0
        assert tally.outcomes[way, "accepted"] > 0
    assert tally.of_stage("engine") > 0


def test_every_refusal_is_one_clear_line(tally: Tally) -> None:
    for reason in tally.reasons:
        assert 10 < len(reason) < 450, reason
        assert reason.isprintable(), reason
        assert "Traceback" not in reason
    assert len(tally.reasons) == COUNT - tally.of_stage("accepted")


def test_the_same_seed_gives_the_same_files(mutations: Mutations) -> None:
    first, again, other = (
        [mutations.model(mutant) for mutant in mutations.draw(8, seed=seed)] for seed in (1, 1, 2)
    )
    assert first == again
    assert not set(first) & set(other)


def test_no_damaged_file_harms_an_agent(
    mutations: Mutations, bundle_folder: Path, tmp_path: Path
) -> None:
    """The trial that the agent makes of every bundle: it passes, or says why not in one line."""
    said = []
    for number, mutant in enumerate(mutations.draw(12, seed=3)):
        with_model(bundle_folder, tmp_path / str(number), mutations.model(mutant))
        try:
            try_bundle(tmp_path / str(number))
        except EngineError as error:
            said.append(str(error))
    assert len(said) >= 3  # the three that are cut off
    assert all(line.isprintable() and " is refused: " in line for line in said), said
