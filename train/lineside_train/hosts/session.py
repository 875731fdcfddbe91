"""A training on several machines, from start to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import msgspec

from lineside.progress import working
from lineside_train.fitting.fit import Control, train_network
from lineside_train.fitting.machines import Alone
from lineside_train.fitting.progress import Ended
from lineside_train.hosts.facts import installed
from lineside_train.hosts.fork import part_ways
from lineside_train.hosts.options import Roster
from lineside_train.hosts.together import join
from lineside_train.outcome import Outcome
from lineside_train.session import train_run
from lineside_train.stopping import stop_on_interrupt
from lineside_train.task import Material, Task, all_examples, asked, check_out, gather
from lineside_train.telling import EXIT_CODES


def train_on_hosts(task: Task, roster: Roster, say: Callable[[Material], None]) -> Outcome:
    """Train together with other hosts; the first one writes the run.

    Args:
        task: what was asked for, the same on all hosts but for its paths.
        roster: who takes part.
        say: tells a person what was found in the photos.

    Returns:
        On the first host only.

    Raises:
        TrainError: the training failed, here or elsewhere, or another host is gone.
        DatasetError: a photo, or the folder, can't be used.
        StorageError: the run can't be written.
        click.exceptions.Exit: on the other hosts, and in the process that watched on the first.
    """
    if roster.index == 0:
        check_out(task.out, task.data)
    ward = part_ways(roster)
    with ward.guarded():
        material = gather(task)
        if roster.index == 0:
            say(material)
        with working("Waiting for the other hosts"):
            ward.agree(_facts(task, material))
        with working("Loading Keras"):
            machines = join(roster, ward.done)
        if roster.index == 0:
            return train_run(task, material, machines)
        ended = _take_part(task, material, machines)
    raise click.exceptions.Exit(EXIT_CODES.get(ended, 0))


def _facts(task: Task, material: Material) -> dict[str, Any]:
    facts = asked(task, material) | installed()
    facts["the hash of all photos and their split"] = facts.pop("split")
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(facts))
    return found


def _take_part(task: Task, material: Material, machines: Alone) -> Ended:
    """What all hosts but the first one do: nothing is read but photos, nothing is written."""
    examples = all_examples(task, material)[1]
    control = Control(machines=machines)
    with stop_on_interrupt(control.stop):
        trained = train_network(
            examples["train"], examples["val"], len(material.labels), task.options, control
        )
    machines.leave()
    for line in (trained.notice, "trained; the first of --hosts writes the run"):
        if line:
            click.echo(line)
    return trained.ended
