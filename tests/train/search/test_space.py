"""What a search varies."""

from __future__ import annotations

import msgspec
import pytest

from lineside.errors import TrainError
from lineside_train.options import TrainOptions
from lineside_train.search.proposal import propose
from lineside_train.search.space import SMALL_WIDTHS, Drawn, Space, make_space
from tests.support.shared import shared

V1 = "weights/mobilenet_v1_0.25_224_imagenet_notop_from_float_tflite.weights.h5"


def space_of(*fixed: str, **options: object) -> Space:
    return make_space(TrainOptions(**options), frozenset(fixed), 3)  # type: ignore[arg-type]


def test_the_first_trial_is_what_the_training_does_by_itself() -> None:
    space = space_of()
    started = space.options(space.start())
    assert started == TrainOptions(learning_rate=TrainOptions().peak_learning_rate)


def test_what_is_given_stays() -> None:
    given = {"arch": "separable", "width": 0.6, "image_size": 100, "flip": "both", "mix": "none"}
    space = space_of(*given, **given)
    assert set(space.choices) | set(space.numbers) == {"augment", "rate"}
    for seed in range(8):
        options = space.options(propose(space, [], seed))
        assert {key: getattr(options, key) for key in given} == given
    assert space_of("learning_rate", learning_rate=0.1).options({}).learning_rate == 0.1


def test_without_weights_only_own_networks_are_tried() -> None:
    space = space_of()
    assert space.choices["arch"] == ("plain", "separable")
    widest = space.options({"arch": "separable", "wide": 1.0, "rate": 0.5})
    assert (widest.width, widest.learning_rate) == (SMALL_WIDTHS[-1], 0.001)
    fastest = [space.options(one) for one in space.fastest()]
    assert [(one.arch, one.width, one.image_size) for one in fastest] == [
        ("plain", 0.5, 64),
        ("separable", 0.5, 64),
    ]


def test_downloaded_weights_bring_the_networks_that_they_are_of() -> None:
    space = space_of(weights="imagenet")
    assert space.choices["arch"] == ("plain", "separable", "mobilenet_v1", "mobilenet_v2")
    own = space.options({"arch": "plain", "wide": 0.4})
    assert (own.weights, own.width) == (None, 1.0)
    theirs = space.options({"arch": "mobilenet_v2", "wide": 0.0, "rate": 1.0})
    assert (theirs.weights, theirs.width) == ("imagenet", 0.35)
    assert theirs.learning_rate == theirs.peak_learning_rate < TrainOptions().peak_learning_rate
    assert space_of("width", weights="imagenet", width=0.25).choices["arch"] == (
        "plain",
        "separable",
        "mobilenet_v1",
    )


@pytest.mark.train
def test_a_file_of_weights_says_itself_what_it_is_of() -> None:
    file = str(shared(V1))
    space = space_of(weights=file)
    assert space.networks == {
        "plain": SMALL_WIDTHS,
        "separable": SMALL_WIDTHS,
        "mobilenet_v1": (0.25,),
    }
    assert space.options({"arch": "mobilenet_v1", "wide": 0.7}).weights == file
    fixed = space_of("arch", weights=file, arch="mobilenet_v1", width=0.25)
    assert fixed.networks == {"mobilenet_v1": (0.25,)}
    with pytest.raises(TrainError, match=r"--weights nowhere\.h5: there is no such file"):
        space_of(weights="nowhere.h5")


def test_proposals_depend_on_nothing_but_what_was_tried() -> None:
    space = space_of()
    tried: list[tuple[Drawn, tuple[float, float]]] = [(space.start(), (0.5, 1.0))]
    for n in range(12):
        drawn = propose(space, tried, seed=3)
        assert drawn == propose(space, tried, seed=3)
        assert set(drawn) == {*space.choices, *space.numbers}
        size = space.options(drawn).image_size
        assert 64 <= size <= 192
        assert size % 32 == 0
        tried.append((drawn, (1 / (n + 1), 1.0)))
    others = {msgspec.json.encode(propose(space, tried, seed)) for seed in range(5)}
    assert len(others) == 5


def test_the_sampler_goes_where_it_is_better() -> None:
    space = space_of("arch", "flip", "mix", "augment", "learning_rate", arch="plain")

    def loss(drawn: Drawn) -> float:
        return abs(float(drawn["wide"]) - 0.2) + abs(int(drawn["image_size"]) - 160) / 128

    tried: list[tuple[Drawn, tuple[float, float]]] = []
    for _ in range(30):
        drawn = propose(space, tried, seed=0)
        tried.append((drawn, (loss(drawn), 1.0)))
    losses = [values[0] for _, values in tried]
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
