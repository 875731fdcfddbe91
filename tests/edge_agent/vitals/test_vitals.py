from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest

from lineside.errors import StorageError
from lineside.image import Frame, shrink
from lineside_agent.vitals import KINDS, Kind, Vitals
from tests.support.belt import blurred, moved, times
from tests.support.hours import FAULTS, PERIOD_NS, Sets, Watcher, healthy
from tests.support.shared import shared

LEARN = 600


@pytest.fixture(scope="module")
def sets() -> Sets:
    return Sets(shared("data"))


@pytest.fixture(scope="module")
def learned(sets: Sets) -> bytes:
    watcher = Watcher(sets.belt(1))
    for _ in range(LEARN):
        assert not watcher.watch(watcher.belt.frame())
    kept = watcher.vitals.learned()
    assert kept is not None
    return kept


@pytest.fixture
def watcher(sets: Sets, learned: bytes) -> Watcher:
    """A camera whose vitals were saved and restored, and some looks since."""
    watcher = Watcher(sets.belt(1, seed=5), learned)
    for _ in range(30):
        watcher.watch(watcher.belt.frame())
    return watcher


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_seen_within_3_s_and_gone_within_10_s(watcher: Watcher, name: str) -> None:
    random = np.random.default_rng(1)
    for _ in range(3):
        course = watcher.suffer(FAULTS[name], random)
        assert course.seen_s is not None, course
        assert course.seen_s <= 3
        assert course.gone_s is not None
        assert course.gone_s <= 10


@pytest.mark.parametrize(
    "scene",
    [
        "belt beside a wall: flicker of 35 %",
        "belt beside a wall: light from 0.6 to 1.4",
        "table: noiseless, stops often",
        "black and white parts, half of the picture",
        "never a part, never a move",
        "belt that fills the picture, stopped between",
    ],
)
def test_a_healthy_camera_has_no_fault(sets: Sets, scene: str) -> None:
    vitals = Vitals()
    for index, frame in enumerate(healthy(sets, 1000)[scene]()):
        vitals.look(frame, mono_ns=index * PERIOD_NS)
        assert not vitals.findings, index
        assert vitals.suspicion is None


def test_a_belt_that_stops_and_goes_on_is_no_fault(sets: Sets) -> None:
    vitals = Vitals()
    for index, frame in enumerate(healthy(sets, 2700)["table: stopped with a part in sight"]()):
        vitals.look(frame, mono_ns=index * PERIOD_NS)
        assert not vitals.findings, index


def test_the_first_repeated_picture_of_a_camera_with_noise_is_suspected(watcher: Watcher) -> None:
    frame = watcher.belt.frame()
    watcher.watch(frame)
    assert watcher.vitals.suspicion is None
    assert not watcher.watch(frame)
    assert watcher.vitals.suspicion == "frozen"
    watcher.watch(watcher.belt.frame())
    assert watcher.vitals.suspicion is None


def test_a_black_frame_is_suspected_before_it_is_a_fault(watcher: Watcher) -> None:
    watcher.belt.spoil = times(0.01)
    assert not watcher.watch(watcher.belt.frame())
    assert watcher.vitals.suspicion == "black"


def test_a_noiseless_camera_is_frozen_by_its_frame_number_only(sets: Sets) -> None:
    vitals, belt = Vitals(), sets.belt(1, noise=0)
    for number in range(200):
        vitals.look(belt.frame(), mono_ns=number * PERIOD_NS, frame_id=number)
    still = belt.frame()
    for number in range(200, 300):
        assert vitals.look(still, mono_ns=number * PERIOD_NS, frame_id=number) is None
    found = [
        vitals.look(still, mono_ns=number * PERIOD_NS, frame_id=299) for number in range(300, 330)
    ]
    assert found[-1] is not None
    assert found[-1].kind == "frozen"
    assert found[-1].reason == "the frame number stands at 299"


def test_a_driver_that_never_numbers_its_frames_is_not_frozen(watcher: Watcher) -> None:
    for index in range(50):
        frame = watcher.belt.frame()
        watcher.vitals.look(frame, mono_ns=10**13 + index * PERIOD_NS, frame_id=0)
        assert watcher.vitals.suspicion is None


def test_a_codec_that_repeats_pictures_is_known_for_its_spells(sets: Sets) -> None:
    vitals, belt = Vitals(), sets.belt(1)
    frame = belt.frame()
    for index in range(600):
        if index % 5 < 2:
            frame = belt.frame()
        vitals.look(frame, mono_ns=index * PERIOD_NS)
        assert (vitals.suspicion is None) == (index not in {2, 3, 4})  # the first spell
        assert not vitals.findings


def test_a_new_camera_that_froze_is_suspected_from_the_first_repeated_picture(sets: Sets) -> None:
    for before in (1, 10, 60):
        watcher = Watcher(sets.belt(1, seed=before))
        for _ in range(before):
            watcher.watch(watcher.belt.frame())
            assert watcher.vitals.suspicion is None
        frozen = watcher.belt.frame()
        watcher.watch(frozen)
        for _ in range(600):
            assert not watcher.watch(frozen)  # that it has noise is not known: no fault yet
            assert watcher.vitals.suspicion == "frozen"
        for _ in range(LEARN):
            assert not watcher.watch(watcher.belt.frame())
            assert watcher.vitals.suspicion is None
        watcher.watch(frozen)
        for index in range(30):
            assert bool(watcher.watch(frozen)) == (index >= 9)
            assert watcher.vitals.suspicion == "frozen"


def test_a_still_scene_without_noise_is_suspected_until_something_moves_in_it(sets: Sets) -> None:
    belt = sets.belt(1, noise=0)
    watcher = Watcher(belt)
    belt.moving = belt.loaded = False
    watcher.watch(belt.frame())
    for _ in range(100):
        assert not watcher.watch(belt.frame())
        assert watcher.vitals.suspicion == "frozen"
    belt.moving = belt.loaded = True
    for _ in range(50):
        watcher.watch(belt.frame())
    belt.moving = False
    for _ in range(100):
        assert not watcher.watch(belt.frame())
        assert watcher.vitals.suspicion is None


@pytest.mark.parametrize("kinds", [(), ("blurred",), ("black", "frozen")])
def test_only_what_is_watched_is_found(kinds: tuple[Kind, ...]) -> None:
    vitals = Vitals(watched=kinds)
    for index in range(30):  # the time stands still in the end
        vitals.look(np.zeros((180, 320, 3), np.uint8), mono_ns=min(index, 15) * PERIOD_NS)
    assert [finding.kind for finding in vitals.findings] == [
        kind for kind in KINDS if kind in kinds and kind != "blurred"
    ]


def test_the_time_a_fault_began_is_that_of_its_first_frame(watcher: Watcher) -> None:
    watcher.belt.spoil = times(0.0)
    looks = 1
    while not watcher.watch(watcher.belt.frame()):
        looks += 1
    [finding] = watcher.vitals.findings
    assert finding.reason.startswith("the brightest 1 % of the picture is at")
    assert finding.kind == "black"
    assert finding.since_ns == watcher.now - (looks - 1) * PERIOD_NS


def test_slow_cameras_need_three_looks(sets: Sets, learned: bytes) -> None:
    vitals, belt = Vitals(learned), sets.belt(1, seed=7)
    now = 0
    for spoil, kind in ((times(0.0), "black"), (blurred(4), "blurred"), (moved(40, 30), "moved")):
        for spoiled in (None, spoil):
            belt.spoil = spoiled
            for _ in range(8):
                now += 60 * 10**9
                finding = vitals.look(belt.frame(), mono_ns=now)
            assert (finding and finding.kind) == (kind if spoiled else None)


def test_frames_of_another_size_begin_anew(watcher: Watcher) -> None:
    watcher.belt.spoil = moved(40, 30)
    for step in range(40):
        larger = np.repeat(np.repeat(watcher.belt.frame(), 2, axis=0), 2, axis=1)
        assert watcher.vitals.look(larger, mono_ns=10**13 + step * PERIOD_NS) is None


def small(frame: Frame) -> Frame:
    """A frame at half its size."""
    return shrink(frame, 2)


def test_what_is_known_of_a_size_is_known_again_when_that_is_back(
    sets: Sets, learned: bytes
) -> None:
    watcher = Watcher(sets.belt(1, seed=5), learned)
    for _ in range(30):  # as until a model is loaded
        assert not watcher.watch(small(watcher.belt.frame()))
    kept = watcher.vitals.learned()
    assert kept is not None
    for vitals in (watcher.vitals, Vitals(kept)):  # the same process, and the next
        watcher.vitals, watcher.belt.spoil = vitals, None
        for _ in range(30):
            assert not watcher.watch(watcher.belt.frame())
        watcher.belt.spoil = moved(40, 30)
        found = [watcher.watch(watcher.belt.frame()) for _ in range(30)]
        assert found[-1] == {"moved"}


def test_what_is_known_of_two_sizes_is_saved(sets: Sets, learned: bytes) -> None:
    watcher = Watcher(sets.belt(1, seed=5), learned)
    for _ in range(LEARN):
        assert not watcher.watch(small(watcher.belt.frame()))
    for change in (small, lambda frame: frame, small):
        kept = watcher.vitals.learned()
        watcher.vitals, watcher.belt.spoil = Vitals(kept), None
        for _ in range(30):
            assert not watcher.watch(change(watcher.belt.frame()))
        watcher.belt.spoil = moved(40, 30)
        found = [watcher.watch(change(watcher.belt.frame())) for _ in range(30)]
        assert found[-1] == {"moved"}
    for side in range(100, 110):  # no more than two are kept
        watcher.watch(np.zeros((side, side, 3), np.uint8))
        kept = watcher.vitals.learned()
        assert kept is not None
        assert len(kept) < 600_000


@pytest.mark.parametrize("kind", ["moved", "blurred"])
def test_a_fault_lasts_in_pictures_of_another_size(watcher: Watcher, kind: Kind) -> None:
    watcher.belt.spoil = moved(40, 30) if kind == "moved" else blurred(4)
    for _ in range(40):
        found = watcher.watch(watcher.belt.frame())
    assert found == {kind}
    for _ in range(LEARN):  # what is fixed is not known in it, so nothing says that it is over
        assert watcher.watch(small(watcher.belt.frame())) == {kind}
    watcher.belt.spoil = None
    for _ in range(200):
        found = watcher.watch(watcher.belt.frame())
    assert not found
    for _ in range(LEARN):
        assert not watcher.watch(small(watcher.belt.frame()))


def test_a_camera_that_was_aimed_anew_on_purpose_can_be_forgotten(watcher: Watcher) -> None:
    watcher.belt.spoil = moved(40, 30)
    for _ in range(30):
        found = watcher.watch(watcher.belt.frame())
    assert found == {"moved"}
    watcher.vitals.forget()
    for _ in range(300):
        assert not watcher.watch(watcher.belt.frame())


def test_what_was_learned_is_small_and_comes_back_as_it_was(learned: bytes) -> None:
    assert len(learned) < 300_000
    again = Vitals(learned).learned()
    assert again is not None
    assert Vitals(again).learned() == again


def spoiled(learned: bytes) -> Iterator[bytes]:
    yield b""
    yield b"no zip"
    yield learned[: len(learned) // 2]
    middle = len(learned) // 2
    yield learned[:middle] + bytes(200) + learned[middle + 200 :]


def test_damage_to_what_was_learned_of_the_size_before_is_found_at_once(
    sets: Sets, learned: bytes
) -> None:
    vitals = Vitals(learned)
    vitals.look(small(sets.belt(1).frame()), mono_ns=1)
    kept = vitals.learned()
    assert kept is not None
    with np.load(io.BytesIO(kept)) as arrays:
        entries = dict(arrays)
    entries["before/means"] = entries["before/means"][:, 1:]
    packed = io.BytesIO()
    np.savez_compressed(packed, **entries)
    with pytest.raises(StorageError, match=r"expected means of \(3, 90, 160\), got \(3, 89, 160\)"):
        Vitals(packed.getvalue())


def test_what_was_learned_and_is_damaged_is_refused_in_one_line(learned: bytes) -> None:
    for bad in spoiled(learned):
        with pytest.raises(
            StorageError, match=r"^what was learned of a camera is damaged: .+; del"
        ):
            Vitals(bad)
