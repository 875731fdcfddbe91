"""What the command line says of a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

Command = TypeVar("Command", bound=Callable[..., Any])

VARIED: Final = (*("arch", "width", "image_size", "learning_rate", "augment", "flip", "mix"),)
"""Options that a search varies, where they are not given."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a search is told.

    Attributes:
        trials: how many trainings.
        fixed: names of the options of the training that were given by hand.
        max_latency: what the model may not be slower than, in ms; None: no limit.
        device_bench: what `lineside bench --json` said on the device; None: this machine counts.
        device_bundles: bundles that it is about.
    """

    trials: int
    fixed: frozenset[str] = frozenset()
    max_latency: float | None = None
    device_bench: Path | None = None
    device_bundles: tuple[Path, ...] = ()


def search_options(command: Command) -> Command:
    """The options of a search; `pop_plan` takes them."""
    for option in reversed(_CLICK):
        command = option(command)
    return command


_CLICK: Final = (
    click.option(
        "--search",
        type=click.IntRange(1, 1000),
        metavar="N",
        help="Train N times, with other networks, image sizes, augmentation and learning rates, "
        "and keep the best; what is given by hand stays as it is. `test` plays no part in it.",
    ),
    click.option(
        "--max-latency",
        type=click.FloatRange(0.0, min_open=True),
        metavar="MS",
        help="What --search may choose: one inference in int8 by one thread takes no longer.",
    ),
    click.option(
        "--device-bench",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="What `lineside bench --json` said on the device: --search estimates latencies there.",
    ),
    click.option(
        "--device-bundle",
        "device_bundles",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="BUNDLE",
        help="A bundle that --device-bench is about; it is timed here, too. May be given again.",
    ),
)


def pop_plan(options: dict[str, Any]) -> Plan | None:
    """Take the options of a search out of all; None where no search was asked for.

    Args:
        options: as click passes them on; of the command that is being run.

    Raises:
        click.UsageError: they contradict each other.
    """
    trials = options.pop("search")
    names = ("max_latency", "device_bench", "device_bundles")
    said = {name: options.pop(name) for name in names}
    if trials is None:
        given = [name for name in names if said[name]]
        if given:
            option = given[0].removesuffix("s").replace("_", "-")
            msg = f"--{option} means nothing without --search"
            raise click.UsageError(msg)
        return None
    if (said["device_bench"] is None) != (not said["device_bundles"]):
        msg = (
            "--device-bench and --device-bundle go together: how fast the device is, is told from "
            "a bundle that was timed there and can be timed here"
        )
        raise click.UsageError(msg)
    context = click.get_current_context()
    fixed = {
        name for name in VARIED if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    return Plan(trials=trials, fixed=frozenset(fixed), **said)
