from __future__ import annotations

import pytest

from lineside.errors import MessageError
from lineside.topics import Topic, Topics, check_name, name_from, parse_topic


def test_every_topic_is_parsed_as_it_is_made() -> None:
    for prefix in ("lineside", "plant-7/hall_2"):
        topics = Topics("ulm", "press4", prefix)
        made = {
            topics.result("top"): Topic("result", "ulm", "press4", stream="top"),
            topics.status(): Topic("status", "ulm", "press4"),
            topics.health(): Topic("health", "ulm", "press4"),
            topics.event(): Topic("event", "ulm", "press4"),
            topics.command(): Topic("command", "ulm", "press4"),
            topics.response("mes"): Topic("response", "ulm", "press4", requester="mes"),
            topics.replay("mes", "top"): Topic("replay", "ulm", "press4", "top", "mes"),
        }
        assert len(made) == 7
        for text, topic in made.items():
            assert parse_topic(text, prefix) == topic
            assert text.startswith(f"{prefix}/ulm/press4/")


def test_the_filters_of_all_stations() -> None:
    everyone = Topics("+", "+", "plant")
    assert everyone.result("+") == "plant/+/+/result/+"
    assert everyone.status() == "plant/+/+/status"


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "lineside",
        "lineside/ulm/press4",
        "lineside/ulm/press4/result",
        "lineside/ulm/press4/result/top/more",
        "lineside/ulm/press4/status/more",
        "lineside/ulm/press4/unknown",
        "other/ulm/press4/status",
        "linesideX/ulm/press4/status",
        "lineside/ulm//status",
        "lineside/ulm/press 4/status",
        "lineside/+/press4/status",
        "lineside/ulm/press4/result/a#",
    ],
)
def test_other_topics_are_refused(topic: str) -> None:
    with pytest.raises(MessageError, match="topic"):
        parse_topic(topic)


def test_a_name_that_is_refused_is_said_with_what_is_allowed() -> None:
    for name in ("a/b", "press#4", "a+", "", "x" * 65, "ümlaut", "a b", "a\n"):
        with pytest.raises(MessageError, match="A-Z a-z 0-9 _ - are allowed"):
            check_name("station", name)
    assert check_name("station", "Press_4-b") == "Press_4-b"


def test_a_name_from_a_folder_or_a_file() -> None:
    said = {"v2-0.35": "v2-0_35", "Prüfung 1": "Pr_fung_1", "": "model", "x" * 65: "x" * 64}
    for text, name in said.items():
        assert name_from(text) == check_name("name", name)


def test_no_two_stations_have_the_same_name_at_the_broker() -> None:
    stations = [("a-b", "c"), ("a", "b-c"), ("a", "b"), ("a", "b-check"), ("a-b", "check")]
    prefixes = ("lineside", "plant", "plant/a", "plant/a/b")
    made = {Topics(*station, prefix).client_id for station in stations for prefix in prefixes}
    assert len(made) == len(stations) * len(prefixes)
    assert Topics("ulm", "press4").client_id == "lineside:ulm:press4"
