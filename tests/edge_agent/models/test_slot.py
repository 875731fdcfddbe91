"""Between two frames: real models, and a real thread that looks with them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from msgspec.structs import replace
from typing_extensions import Self

from lineside.bundle import open_bundle
from lineside.errors import ImageError
from lineside.image import Decode, Frame
from lineside.inspector import Inspector
from lineside.messages import Limits
from lineside.runtime.golden import run_golden
from lineside.settings import CameraSettings, StationSettings
from lineside_agent.models.loading import Place
from lineside_agent.models.slot import Post, Report, Slot
from lineside_agent.models.watch import JUDGED, WATCHED
from tests.support import models
from tests.support.broker import wait_for
from tests.support.examples import BOOT

PLACE = Place(
    StationSettings(site="ulm", name="press4"),
    BOOT,
    "top",
    CameraSettings(name="cam0", source="images:x"),
)
MEASURED = {"device": "a workstation", "threads": 1, "invoke_ms_p50": 0.01}


def post(folder: Path) -> Post:
    """A model, loaded and warm."""
    inspector = Inspector(open_bundle(folder))
    times = [result.invoke_ms for _ in range(5) for result in run_golden(inspector)]
    return PLACE.post(inspector, sorted(times)[len(times) // 2])


@pytest.fixture
def plain(tmp_path: Path) -> Post:
    models.plain(tmp_path / "plain", measured=MEASURED)
    return post(tmp_path / "plain")


@pytest.fixture
def two(tmp_path: Path) -> tuple[Post, Post]:
    """A model that says `ng` of a grey 90, and one that says `review`."""
    models.plain(tmp_path / "one", version="1.0.0")
    models.speechless(tmp_path / "two", version="2.0.0")
    return post(tmp_path / "one"), post(tmp_path / "two")


@pytest.fixture
def reports() -> list[Report]:
    return []


def begin(old: Post, new: Post, reports: list[Report]) -> Slot:
    """A slot that has looked at some frames with the old one, and then takes the new one."""
    slot = Slot(old, None, reports.append)
    for _ in range(JUDGED):
        slot.inspect(models.flat(90))
    slot.offer(new, old)
    assert slot.post is old
    slot.turn()
    assert slot.post is new
    assert slot.old is not None
    return slot


def test_a_good_one_passes(plain: Post, tmp_path: Path, reports: list[Report]) -> None:
    models.plain(tmp_path / "two", version="2.0.0", measured=MEASURED)
    new = post(tmp_path / "two")
    slot = begin(plain, new, reports)
    for n in range(WATCHED):
        assert reports == []
        assert slot.inspect(models.flat(n % 256)).answer.score is not None
        slot.turn()
    assert reports == [Report("top", new.digest, None, WATCHED)]
    assert (slot.post, slot.old) == (new, None)
    assert slot.context.models[0].version == "2.0.0"


def test_no_answer_and_the_old_one_is_back(
    plain: Post, tmp_path: Path, reports: list[Report]
) -> None:
    models.speechless(tmp_path / "two", measured=MEASURED)
    new = post(tmp_path / "two")
    slot = begin(plain, new, reports)
    assert slot.inspect(models.flat(90)).answer.verdict == "review"
    assert slot.context is new.context
    found = slot.inspect(models.flat(0))
    # The part has its verdict all the same, and the result says whose it is.
    assert (found.answer.verdict, slot.context, slot.post) == ("review", plain.context, plain)
    why = "it gives no answer: outputs_not_finite"
    assert reports == [Report("top", new.digest, why, 1)]
    for _ in range(WATCHED + 1):
        slot.inspect(models.flat(0))
    assert (len(reports), slot.post) == (1, plain)


def test_an_exception_and_the_old_one_is_back(
    plain: Post, tmp_path: Path, reports: list[Report]
) -> None:
    models.plain(tmp_path / "two", crop=(150, 150, 50, 50), measured=MEASURED)
    new = post(tmp_path / "two")
    slot = begin(plain, new, reports)
    assert slot.inspect(models.flat(90)).answer.verdict == "ng"
    found = slot.inspect(models.flat(90, side=100))  # smaller than its golden images
    assert (found.answer.verdict, slot.context) == ("ng", plain.context)
    (report,) = reports
    assert report.why is not None
    assert report.why.startswith("it fails: ImageError: frame: the region (150, 150, 50, 50)")


def test_a_frame_that_both_fail_on_is_nobodys_fault(tmp_path: Path, reports: list[Report]) -> None:
    models.plain(tmp_path / "one", crop=(100, 100, 50, 50))
    models.plain(tmp_path / "two", crop=(150, 150, 50, 50))
    old, new = post(tmp_path / "one"), post(tmp_path / "two")
    slot = begin(old, new, reports)
    with pytest.raises(ImageError, match="100x100 frame"):
        slot.inspect(models.flat(90, side=100))
    assert (slot.post, slot.old, reports) == (new, old, [])


def test_no_answer_from_either_is_nobodys_fault(tmp_path: Path, reports: list[Report]) -> None:
    models.speechless(tmp_path / "one")
    models.speechless(tmp_path / "two", version="2.0.0")
    slot = begin(post(tmp_path / "one"), post(tmp_path / "two"), reports)
    assert slot.inspect(models.flat(0)).answer.reasons == ("outputs_not_finite",)
    assert slot.context.models[0].version == "2.0.0"
    assert reports == []


def test_a_slow_one_goes(plain: Post, tmp_path: Path, reports: list[Report]) -> None:
    # It says that it is as fast as the old one, as one does whose kernels are missing here.
    models.slow(tmp_path / "two", measured=MEASURED)
    new = post(tmp_path / "two")
    slot = begin(plain, new, reports)
    for _ in range(JUDGED):
        assert reports == []
        found = slot.inspect(models.flat(90))
        assert slot.context is new.context  # who answered
        assert found.invoke_ms > 2
    (report,) = reports
    assert report.frames == JUDGED
    assert report.why is not None
    assert "ms were expected here" in report.why
    slot.turn()
    assert (slot.post, slot.old) == (plain, None)


def test_a_slow_one_that_says_so_stays(plain: Post, tmp_path: Path, reports: list[Report]) -> None:
    models.slow(tmp_path / "two", measured={})
    slot = begin(plain, post(tmp_path / "two"), reports)
    for _ in range(2 * JUDGED):
        slot.inspect(models.flat(90))
    assert reports == []
    assert slot.old is not None


def test_a_known_one_is_not_watched(plain: Post, tmp_path: Path, reports: list[Report]) -> None:
    models.speechless(tmp_path / "two")
    slot = Slot(post(tmp_path / "two"), None, reports.append)
    assert slot.inspect(models.flat(0)).answer.verdict == "no_read"
    slot.offer(plain)
    slot.turn()
    assert (slot.post, slot.old, reports) == (plain, None, [])


def test_what_is_withdrawn_is_not_taken(plain: Post, tmp_path: Path, reports: list[Report]) -> None:
    models.plain(tmp_path / "two", version="2.0.0")
    models.plain(tmp_path / "three", version="3.0.0")
    two, three = post(tmp_path / "two"), post(tmp_path / "three")
    two.taken.clear()
    slot = Slot(plain, None, reports.append)
    slot.offer(two)
    slot.withdraw()
    slot.turn()
    assert slot.post is plain
    slot.offer(two)
    slot.offer(three)  # the last word
    slot.turn()
    slot.turn()
    assert slot.post is three
    assert not two.taken.is_set()


def test_limits_stay_with_the_model(two: tuple[Post, Post], reports: list[Report]) -> None:
    one, speechless = two
    slot = Slot(one, None, reports.append)
    assert slot.inspect(models.flat(90)).answer.verdict == "ng"
    slot.set_limits(None, None)
    assert slot.inspect(models.flat(90)).answer.verdict == "ok"
    assert slot.context.limits == Limits(review=None, ng=None, origin="command")
    slot.offer(speechless, one)
    slot.turn()
    assert slot.inspect(models.flat(90)).answer.verdict == "review"
    assert slot.context.limits == Limits(review=0.5, ng=0.9)
    slot.set_limits(0.1, 0.2)
    assert slot.inspect(models.flat(90)).answer.verdict == "ng"
    # The old one comes back as it went.
    assert slot.inspect(models.flat(0)).answer.verdict == "ok"
    assert (slot.post, slot.context.limits.origin) == (one, "command")
    assert slot.inspect(models.flat(90)).answer.verdict == "ok"


def test_nobody_says_so(reports: list[Report]) -> None:
    slot = Slot(PLACE.vacancy(), None, reports.append)
    assert slot.vacant
    answer = slot.inspect(models.flat(90)).answer
    assert (answer.verdict, answer.reasons) == ("no_read", ("no_model",))
    assert slot.context.models == ()
    slot.set_limits(0.1, 0.2)
    assert slot.inspect(models.flat(90)).answer.reasons == ("no_model",)


class Line:
    """A thread that looks at frames as a stream does, and notes who answered."""

    def __init__(self, slot: Slot, frame: Frame) -> None:
        self.slot = slot
        self.seen: list[tuple[str, str]] = []
        self._frame = frame
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.slot.turn()
            found = self.slot.inspect(self._frame)
            self.seen.append((found.answer.verdict, self.slot.context.models[0].version))


def test_a_result_never_names_the_wrong_model(
    two: tuple[Post, Post], reports: list[Report]
) -> None:
    slot = Slot(two[0], None, reports.append)
    with Line(slot, models.flat(90)) as line:
        for n in range(1, 400):
            wanted = two[n % 2]
            wanted.taken.clear()
            slot.offer(wanted, two[(n + 1) % 2] if n % 3 else None)
            assert wanted.taken.wait(10)
        wait_for(lambda: slot.post is wanted)
    assert set(line.seen) == {("ng", "1.0.0"), ("review", "2.0.0")}
    assert len(line.seen) > 400


def test_who_looks_already_is_taken_at_once(plain: Post, reports: list[Report]) -> None:
    """It came back by itself, and then a command asks for it: that waits for nothing."""
    slot = Slot(plain, None, reports.append)
    plain.taken.clear()
    slot.offer(plain)
    slot.turn()
    assert plain.taken.is_set()
    assert slot.post is plain


def test_the_newest_offer_counts(
    plain: Post, two: tuple[Post, Post], reports: list[Report]
) -> None:
    slot = Slot(plain, None, reports.append)
    for post in two:
        slot.offer(post)
    slot.turn()
    assert slot.post is two[1]
    slot.turn()
    assert slot.post is two[1]


def test_while_two_may_look_jpegs_are_reduced_for_both(
    two: tuple[Post, Post], reports: list[Report]
) -> None:
    old, new = two
    for one, reduce in ((old, 2), (new, 8)):
        assert one.manifest is not None
        (source,) = one.manifest.inputs
        spec = replace(source.preprocess, decode=Decode(reduce))  # type: ignore[arg-type]
        one.manifest = replace(one.manifest, inputs=[replace(source, preprocess=spec)])
    slot = Slot(old, None, reports.append)
    assert slot.reduce == 2
    slot.offer(new, old)
    assert slot.reduce == 2
    slot.turn()
    assert slot.post is new
    assert slot.reduce == 2  # the old one may come back at any frame
    assert Slot(new, None, reports.append).reduce == 8
    assert Slot(PLACE.vacancy(), None, reports.append).reduce == 1
