"""The command `lineside train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from lineside.limit_rules import OPTIONS, LimitRules, check_sorting, limit_options
from lineside_train.hosts.options import host_options, pop_roster
from lineside_train.options import (
    IMAGENET,
    MIN_IMAGENET_SIZE,
    Arch,
    Augment,
    FineTune,
    Flip,
    Mix,
    Optimizer,
    Precision,
    Reduce,
    TrainOptions,
)
from lineside_train.search.options import pop_plan, search_options

if TYPE_CHECKING:
    from lineside_train.outcome import Outcome
    from lineside_train.search.options import Plan
    from lineside_train.task import Material, Task

MAX_LISTED: Final = 20
"""Labels that are listed with their images."""

MAX_NOTICES: Final = 20
"""Lines of notices that are printed; all of them are in metrics.json and in the report."""

_EPILOG: Final = """\b
Examples:
  lineside train photos --out runs/first
  lineside train photos --out runs/second --good intact --flip both
  lineside train fruit --out runs/fruit --sort --colour rgb
  lineside train photos --out runs/few --arch mobilenet_v2 --weights imagenet --folds 5
  lineside train photos --out runs/few --resume              # after a crash, with the same options
  lineside train photos --out runs/fast --reduce auto
  lineside train photos --out runs/baseline --arch mlp --units 32
  lineside train photos --out runs/best --search 20 --max-latency 1.5
"""


def _choice(literal: Any) -> click.Choice[str]:  # noqa: ANN401 - Literal[…] has no type of its own
    return click.Choice(get_args(literal))


@click.command(epilog=_EPILOG)
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The run folder to write; it must not be there yet.",
)
@click.option(
    "--good",
    multiple=True,
    metavar="LABEL",
    help="A label that means a good part; may be given again.  "
    "[default: those named ok, good, normal or functional]",
)
@click.option("--sort", is_flag=True, help="No label means a bad part: sort into all of them.")
@click.option(
    "--split",
    type=click.Path(path_type=Path),
    help="Take over the split of another run: its split.csv.",
)
@click.option(
    "--groups",
    metavar="FILE.csv|REGEX",
    help="Photos that belong together, such as all frames of one part, are not divided by the "
    "split: a file of file,group, or a pattern such as 'part(\\d+)_'.  [default: DATA/groups.csv, "
    "if there is one]",
)
@click.option(
    "--arch",
    type=_choice(Arch),
    default="plain",
    show_default=True,
    help="plain: 3x3 convolutions. separable: depthwise ones, smaller. mlp: no convolutions. "
    "The others are networks that others have trained on ImageNet: see --weights.",
)
@click.option(
    "--weights",
    metavar="imagenet|FILE",
    help="Start from trained weights: downloaded, or a file of the same architecture: .weights.h5, "
    ".h5, .keras (such as another run's model.keras), or timm's .safetensors of "
    "efficientnet_lite0.  [default: from scratch]",
)
@click.option(
    "--fine-tune",
    type=_choice(FineTune),
    default="all",
    show_default=True,
    help="Which layers learn, if the network starts from --weights.",
)
@click.option(
    "--teacher",
    metavar="RUN",
    help="Learn from the answers of a larger model, too: a run of the same photos and split.",
)
@click.option(
    "--image-size",
    type=click.IntRange(16, 1024),
    default=128,
    show_default=True,
    help="Height and width of the model's input, in pixels.",
)
@click.option(
    "--width",
    type=click.FloatRange(0.1, 8.0),
    help="Multiplies the channels of every network but mlp and efficientnet_lite0.  [default: 1.0]",
)
@click.option(
    "--units",
    type=click.IntRange(1, 4096),
    help="Size of the hidden layer of mlp.  [default: 32]",
)
@click.option(
    "--colour",
    type=click.Choice(["gray", "rgb"]),
    help="What the model sees.  [default: gray if no image holds any colour, else rgb]",
)
@click.option(
    "--resize",
    type=click.Choice(["letterbox", "stretch"]),
    default="letterbox",
    show_default=True,
    help="Keep the aspect and fill up, or don't.",
)
@click.option(
    "--reduce",
    type=_choice(Reduce),
    default="1",
    show_default=True,
    help="Decode JPEGs at 1/2, 1/4 or 1/8 of their size, here and on the device: several times "
    "faster. auto: the most that leaves every photo at least 1.2 times as large as the model's "
    "input.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1, 10_000),
    help="How often each image is seen at most.  "
    "[default: enough for 3,600 batches, 1,200 with --weights]",
)
@click.option("--batch-size", type=click.IntRange(1, 4096), default=32, show_default=True)
@click.option(
    "--balance/--no-balance",
    default=True,
    show_default=True,
    help="Weigh images so that each label counts the same, however many it has.",
)
@click.option("--optimizer", type=_choice(Optimizer), default="adamw", show_default=True)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0.0, 10.0, min_open=True),
    help="At its peak.  [default: 0.002; sgd 0.02, rmsprop 0.0005]",
)
@click.option(
    "--precision",
    type=_choice(Precision),
    default="auto",
    show_default=True,
    help="What the network computes in while it is trained.  auto: float16 on a GPU, else float32.",
)
@click.option(
    "--augment",
    type=_choice(Augment),
    default="light",
    show_default=True,
    help="How much the training images are turned, shifted, zoomed and changed in contrast.",
)
@click.option(
    "--flip",
    type=_choice(Flip),
    default="none",
    show_default=True,
    help="Mirror the training images, where a mirrored part is the same part.",
)
@click.option(
    "--mix",
    type=_choice(Mix),
    default="none",
    show_default=True,
    help="Mix images of a batch with each other, and their labels.",
)
@click.option(
    "--smoothing",
    type=click.FloatRange(0.0, 0.5),
    default=0.0,
    show_default=True,
    help="Share of each target that is spread over all labels.",
)
@click.option(
    "--patience",
    type=click.IntRange(1, 10_000),
    help="Epochs to go on without a better loss on val.  "
    "[default: half of all, at least 10; all of them with --weights]",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Of the split, the weights and the augmentation.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    envvar="LINESIDE_CACHE",
    show_envvar=True,
    help="Where decoded photos are kept, so that they are decoded once; 'none': nowhere.  "
    "[default: ~/.cache/lineside/tensors]",
)
@click.option(
    "--resume", is_flag=True, help="Go on with a training into --out that died, if there is one."
)
@click.option(
    "--folds",
    type=click.IntRange(3, 20),
    metavar="K",
    help="Train K models besides, each without a K-th of the photos, and ask each about these: "
    "figures of the recipe on all photos, for small data sets. Takes K times as long.",
)
@click.option(
    "--curve",
    is_flag=True,
    help="Train with a quarter and a half of the photos besides, twice each: do more photos help?",
)
@search_options
@host_options
@limit_options
def train(
    data: Path,
    out: Path,
    *,
    good: tuple[str, ...],
    sort: bool,
    split: Path | None,
    groups: str | None,
    cache: Path | None,
    resume: bool,
    **options: Any,  # noqa: ANN401 - as click was told above
) -> None:
    """Train a classifier on DATA, a folder that holds one folder of photos for each label."""
    if good and sort:
        msg = "--good and --sort contradict each other: when sorting, no label means a bad part"
        raise click.UsageError(msg)
    folds, curve = options.pop("folds"), options.pop("curve")
    rules = LimitRules(**{name: options.pop(name) for name in OPTIONS})
    plan, roster = pop_plan(options), pop_roster(options)
    if roster is not None and (folds or curve or plan or options["teacher"]):
        msg = "--folds, --curve, --search and --teacher are for one machine: leave --hosts out"
        raise click.UsageError(msg)
    if sort:
        check_sorting(rules)
    _check_arch(options)
    if options["teacher"] is not None and (folds or curve):
        msg = "--teacher has seen the photos that --folds and --curve keep aside: leave it out"
        raise click.UsageError(msg)
    given = {key: value for key, value in options.items() if value is not None}

    from lineside_train.cache import default_cache
    from lineside_train.task import Task
    from lineside_train.telling import EXIT_CODES, outcome_lines

    task = Task(
        data=data,
        out=out,
        good=good,
        sort=sort,
        split=split,
        groups=groups,
        options=TrainOptions(**given),
        rules=rules,
        cache=None if cache == Path("none") else cache or default_cache(),
        resume=resume,
        folds=folds,
        curve=curve,
    )
    if roster is None:
        outcome = _train_alone(task, plan)
    else:
        from lineside_train.hosts.session import train_on_hosts

        outcome = train_on_hosts(task, roster, _say_material)
    for line in outcome_lines(outcome):
        click.echo(line)
    if outcome.ended in EXIT_CODES:
        click.echo(f"notice: {outcome.run.metrics.notices[0]}")
        click.get_current_context().exit(EXIT_CODES[outcome.ended])


def _train_alone(task: Task, plan: Plan | None) -> Outcome:
    """What most do: on one machine."""
    from lineside.progress import working
    from lineside_train.backend import load_keras
    from lineside_train.session import train_run
    from lineside_train.task import check_out, gather

    check_out(task.out, task.data)
    material = gather(task)
    _say_material(material)
    with working("Loading Keras"):
        load_keras()
    if plan is None:
        return train_run(task, material)
    from lineside_train.search.session import search_run

    return search_run(task, material, plan, click.echo)


def _check_arch(options: dict[str, Any]) -> None:
    """Refuse what the chosen network has no use for."""
    arch = options["arch"]
    unused = ["units"] if arch != "mlp" else ["width", "weights"]
    if arch == "efficientnet_lite0":
        unused.append("width")
    for name in unused:
        if options[name] is not None:
            msg = f"--{name} means nothing to --arch {arch}: leave it out"
            raise click.UsageError(msg)
    if options["fine_tune"] != "all" and options["weights"] is None:
        msg = f"--fine-tune {options['fine_tune']} wants --weights to start from"
        raise click.UsageError(msg)
    if arch in IMAGENET and options["image_size"] < MIN_IMAGENET_SIZE:
        msg = f"--arch {arch} wants an --image-size of {MIN_IMAGENET_SIZE} at least"
        raise click.UsageError(msg)


def _say_material(material: Material) -> None:
    """What was found, before the long work."""
    notices = material.dataset.notices
    for notice in notices[:MAX_NOTICES]:
        click.echo(f"notice: {notice.message}")
    if len(notices) > MAX_NOTICES:
        click.echo(f"notice: … and {len(notices) - MAX_NOTICES} more, all in the report")
    good = [label.name for label in material.labels if label.good]
    reduce = material.preprocess.decode.reduce
    click.echo(
        f"{len(material.rows)} images of {len(material.labels)} labels, "
        + ("sorted into all of them" if len(good) == len(material.labels) else "good: ")
        + ("" if len(good) == len(material.labels) else ", ".join(map(repr, good)))
        + f"; the model sees {material.preprocess.colour}"
        + (f", decoded at 1/{reduce} of its size" if reduce > 1 else "")
    )
    for part, counts in material.counts().items():
        listed = ", ".join(f"{n} {name!r}" for name, n in list(counts.items())[:MAX_LISTED])
        if len(counts) > MAX_LISTED:
            listed += f" and {len(counts) - MAX_LISTED} more labels"
        click.echo(f"  {part:5} {sum(counts.values()):6}: {listed}")
