from __future__ import annotations

import pytest

from lineside.errors import DatasetError
from lineside.labels import mark_labels


def good_of(names: list[str], good: tuple[str, ...] = (), *, sort: bool = False) -> list[str]:
    return [label.name for label in mark_labels(names, good, sort=sort) if label.good]


@pytest.mark.parametrize("name", ["ok", "OK", "Good", "normal", "functional"])
def test_some_labels_are_known_as_good(name: str) -> None:
    assert good_of(["crack", name]) == [name]


def test_labels_keep_their_order() -> None:
    labels = mark_labels(["a", "b", "ok"], (), sort=False)
    assert [(label.name, label.good) for label in labels] == [
        ("a", False),
        ("b", False),
        ("ok", True),
    ]


def test_good_labels_can_be_named() -> None:
    assert good_of(["crack", "fine", "ok"], ("fine",)) == ["fine"], "instead of those known"
    assert good_of(["crack", "fine", "ok"], ("fine", "ok")) == ["fine", "ok"]


def test_when_sorting_no_label_is_bad() -> None:
    assert good_of(["glass", "metal"], sort=True) == ["glass", "metal"]


def test_no_label_known_as_good_says_how_to_name_one() -> None:
    with pytest.raises(DatasetError) as refused:
        mark_labels(["glass", "two words"], (), sort=False)
    assert str(refused.value) == (
        "none of the labels 'glass', 'two words' is known to mean a good part: name it with "
        "--good LABEL, such as --good 'glass', or use --sort if none means a bad one"
    )


def test_a_good_label_that_is_not_there_is_named() -> None:
    with pytest.raises(DatasetError, match=r"^--good 'okay' is none of the labels: 'crack', 'ok'$"):
        mark_labels(["crack", "ok"], ("okay",), sort=False)


@pytest.mark.parametrize("good", [(), ("good", "ok")])
def test_labels_that_are_all_good_are_refused(good: tuple[str, ...]) -> None:
    with pytest.raises(DatasetError, match="all of the labels 'good', 'ok' mean a good part: name"):
        mark_labels(["good", "ok"], good, sort=False)


def test_a_thousand_labels_are_not_all_listed() -> None:
    with pytest.raises(DatasetError) as refused:
        mark_labels([f"l{k}" for k in range(1000)], (), sort=False)
    assert "'l18', 'l19' and 980 more is known to mean a good part" in str(refused.value)
    assert len(str(refused.value)) < 400
