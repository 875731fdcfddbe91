"""What limits are to be chosen by, as people say it: to `train`, and again to `convert`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
import msgspec
from msgspec import Struct

from lineside.errors import InputError
from lineside.escapes import check_rate
from lineside.limits import Costs

OPTIONS: Final = ("escape_cost", "reject_cost", "review_cost", "max_escapes")
"""The names of the options below, as click passes them on."""

Command = TypeVar("Command", bound=Callable[..., Any])


class LimitRules(Struct, frozen=True, kw_only=True):
    """What limits are chosen by; None where nothing was said.

    Raises:
        InputError: a cost that is not above 0, or a limit on escapes that none can keep.
    """

    escape_cost: float | None = None
    """Of a bad part passed as `ok`; when sorting, of a wrong label passed as `ok`."""
    reject_cost: float | None = None
    """Of a good part refused as `ng`."""
    review_cost: float | None = None
    """Of a part that a person has to look at."""
    max_escapes: float | None = None
    """The share of bad parts that may pass as `ok`; see `lineside.escapes`."""

    def __post_init__(self) -> None:
        """Check what was said, before any work is done."""
        _ = self.costs
        if self.max_escapes is not None:
            check_rate(self.max_escapes)

    @property
    def costs(self) -> Costs:
        """The costs; the default where nothing was said."""
        said = {"escape": self.escape_cost, "reject": self.reject_cost, "review": self.review_cost}
        return Costs(**{name: cost for name, cost in said.items() if cost is not None})

    def over(self, other: LimitRules) -> LimitRules:
        """What was said here, and otherwise what was said there."""
        said = msgspec.structs.asdict(self).items()
        return msgspec.structs.replace(other, **{k: v for k, v in said if v is not None})

    def texts(self) -> list[tuple[str, str]]:
        """What was said, for people."""
        said = msgspec.structs.asdict(self).items()
        return [(name, f"{value:g}") for name, value in said if value is not None]


def limit_options(command: Command) -> Command:
    """The options of a command that chooses limits: click passes them on as `OPTIONS` says."""
    for option in reversed(_CLICK):
        command = option(command)
    return command


_CLICK: Final = (
    click.option(
        "--escape-cost",
        type=float,
        help="What a bad part passed as ok costs; when sorting, a wrong label.  [default: 2]",
    ),
    click.option(
        "--reject-cost",
        type=float,
        help="What a good part refused as ng costs; when sorting none is.  [default: 1]",
    ),
    click.option(
        "--review-cost", type=float, help="What a part to look at again costs.  [default: 0.5]"
    ),
    click.option(
        "--max-escapes",
        type=float,
        metavar="RATE",
        help="The share of bad parts that may pass as ok, such as 0.01: the cheapest limits that "
        "keep it on val, and how sure that is. When sorting, the share of all images that may "
        "with a wrong label. 1: no limit.",
    ),
)


def check_sorting(rules: LimitRules) -> None:
    """Refuse what means nothing when sorting.

    Raises:
        InputError: a cost of false rejects.
    """
    if rules.reject_cost is not None:
        msg = "--reject-cost means nothing when sorting, where no part is ng: leave it out"
        raise InputError(msg)
