"""What people say limits are to be chosen by."""

from __future__ import annotations

import pytest

from lineside.errors import InputError
from lineside.limit_rules import LimitRules, check_sorting
from lineside.limits import Costs


def test_what_was_not_said_is_the_default() -> None:
    assert LimitRules().costs == Costs()
    assert LimitRules(escape_cost=20.0).costs == Costs(escape=20.0)
    assert LimitRules().texts() == []


def test_what_is_said_later_goes_before() -> None:
    trained = LimitRules(escape_cost=20.0, max_escapes=0.01)
    said = LimitRules(escape_cost=5.0, reject_cost=3.0).over(trained)
    assert said == LimitRules(escape_cost=5.0, reject_cost=3.0, max_escapes=0.01)
    assert said.texts() == [("escape_cost", "5"), ("reject_cost", "3"), ("max_escapes", "0.01")]


def test_what_can_not_be_used() -> None:
    with pytest.raises(InputError, match="the cost 'review' must be a number above 0, got -1"):
        LimitRules(review_cost=-1.0)
    with pytest.raises(InputError, match=r"above 0 and up to 1, such as 0\.01 for 1 %, got 5:"):
        LimitRules(max_escapes=5.0)


def test_a_false_reject_when_sorting() -> None:
    check_sorting(LimitRules(escape_cost=3.0, review_cost=1.0, max_escapes=0.1))
    with pytest.raises(InputError, match="--reject-cost means nothing when sorting, where no part"):
        check_sorting(LimitRules(reject_cost=1.0))
