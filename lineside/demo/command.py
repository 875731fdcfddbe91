"""The steps of the demo: each is the command that a user would type, in a process of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import click

from lineside.bundle import Bundle, open_bundle
from lineside.demo.cells import GOOD, LICENCE, lay_out_cells, lay_out_line, write_truth
from lineside.demo.summary import Measured, Summary, describe, summarize
from lineside.demo.witness import Witness, listen
from lineside.errors import LinesideError, StorageError
from lineside.extras import require
from lineside.files import write_file
from lineside.run import Run, encode_json, open_run
from lineside.settings import MqttSettings
from lineside.topics import Topics

SITE: Final = "demo"
STATION: Final = "line1"
HOST: Final = "127.0.0.1"
QUIET_S: Final = 1.0
"""After the agent has stopped, how long to listen for what may still be on its way."""

CONFIG: Final = """\
[station]
site = "{site}"
name = "{station}"

[mqtt]
url = "mqtt://{host}:{port}"
protocol = "3.1.1"  # the demo's broker speaks no MQTT 5 on a plain port

[[model]]
name = "cells"
bundle = "bundle"

[[camera]]
name = "cells"
source = "images:line"
rate = {rate}
"""


@click.command(
    epilog="Examples:  lineside demo    lineside demo --seed 3 --out runs/demo3 -- --epochs 5",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/demo"),
    show_default=True,
    help="The folder for everything; an earlier demo in it is replaced.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the split and the training.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 1000),
    default=40.0,
    show_default=True,
    help="Cells a second that come down the line.",
)
@click.argument("train_options", nargs=-1, type=click.UNPROCESSED)
def demo(out: Path, seed: int, rate: float, train_options: tuple[str, ...]) -> None:
    """Do everything, on real images, on this machine.

    Trains on 2,624 photos of solar cells, converts, starts a broker and an agent here, sends the
    test cells down the line, and shows their verdicts as they arrive. TRAIN_OPTIONS, after --, go
    to `lineside train`.
    """
    start = time.monotonic()
    for package in ("elpv_dataset", "iotcore", "paho.mqtt.client"):
        require(package, extra="demo")  # now, and not after minutes of training
    _clear(out)
    _say("1/4  The photos", LICENCE)
    cells = lay_out_cells(out / "cells")
    _say("2/4  Train", f"{cells} -> {out / 'run'}")
    looks = ("--good", GOOD, "--flip", "both")
    options = (*looks, "--seed", str(seed), *train_options)
    _lineside("train", cells, "--out", out / "run", *options)
    _say("3/4  Convert", f"{out / 'run'} -> {out / 'bundle'}")
    _lineside("convert", out / "run", "--out", out / "bundle", "--name", "cells")
    run, bundle = open_run(out / "run"), open_bundle(out / "bundle")
    files = [row.file for row in run.rows("test")]
    truth = lay_out_line(cells, files, out / "line")
    write_truth(truth, out / "truth.csv")
    _say("4/4  The line", f"{len(truth)} test cells, {rate:g} a second")
    witness = _run_line(out, rate, parts=len(truth))
    known = _known(run, bundle, seed=seed, seconds=time.monotonic() - start)
    summary = summarize(truth, witness.heard, known)
    write_file(out / "summary.json", encode_json(summary))
    _show(summary, out)


def _clear(out: Path) -> None:
    """Make room, but only where an earlier demo was."""
    if out.is_dir() and any(out.iterdir()) and not (out / "cells").is_dir():
        msg = f"{out} is not empty and holds no earlier demo: choose another folder with --out"
        raise StorageError(msg)
    for name in ("run", "bundle", "line", "state"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("summary.json", "truth.csv", "station.toml", "agent.log"):
        (out / name).unlink(missing_ok=True)


def _say(title: str, text: str) -> None:
    click.secho(f"\n{title}", bold=True)
    click.echo(text)


def _lineside(*args: str | Path) -> None:
    """Run `lineside ARGS` in the foreground."""
    done = subprocess.run([sys.executable, "-m", "lineside", *map(str, args)], check=False)
    if done.returncode != 0:
        msg = f"the demo stopped: 'lineside {args[0]}' ended with exit code {done.returncode}"
        raise LinesideError(msg)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _run_line(out: Path, rate: float, *, parts: int) -> Witness:
    """Start a broker and an agent, show the verdicts, and return what the witness heard."""
    from lineside.messages import MAX_MESSAGE_BYTES
    from lineside.subscriber import Subscriber
    from lineside.watch import watch_live

    port = _free_port()
    config = out / "station.toml"
    text = CONFIG.format(site=SITE, station=STATION, host=HOST, port=port, rate=rate)
    write_file(config, text.encode())
    topic = Topics(SITE, STATION).result("+")
    mqtt = MqttSettings(url=f"mqtt://{HOST}:{port}", protocol="3.1.1")
    iotcore = require("iotcore", extra="demo")
    log = out / "agent.log"
    with (
        iotcore.Broker(port=port, listen=HOST, max_payload_size=MAX_MESSAGE_BYTES),
        listen(HOST, port, topic) as witness,
        Subscriber(mqtt) as subscriber,
        log.open("wb") as agent_log,
        subprocess.Popen(
            [sys.executable, "-m", "lineside", "agent", "run", str(config)],
            stdout=agent_log,
            stderr=subprocess.STDOUT,
        ) as agent,
    ):
        ended_at: list[float] = []

        def over() -> bool:
            if agent.poll() is not None and not ended_at:
                ended_at.append(time.monotonic())
            all_here = len(witness.heard) >= parts
            return bool(ended_at) and (all_here or time.monotonic() - ended_at[0] > QUIET_S)

        try:
            watch_live(subscriber, until=over)
            time.sleep(QUIET_S)  # what comes twice comes late
        finally:
            agent.terminate()
        if agent.wait() != 0:
            msg = f"the demo stopped: the agent ended with exit code {agent.returncode}, see {log}"
            raise LinesideError(msg)
    return witness


def _known(run: Run, bundle: Bundle, *, seed: int, seconds: float) -> Measured:
    rows, logits = run.rows("test"), run.metrics.logits["test"]
    return Measured(
        seed=seed,
        labels=bundle.manifest.labels,
        decision=bundle.manifest.decision,
        float_logits={
            row.file.partition("/")[2]: values for row, values in zip(rows, logits, strict=True)
        },
        train_seconds=run.info.train_seconds,
        total_seconds=seconds,
    )


def _show(summary: Summary, out: Path) -> None:
    """The summary, for a person, and where to read on."""
    lines = [
        *describe(summary),
        ("Report", str((out / "bundle" / "report.html").absolute())),
        ("Figures", str((out / "summary.json").absolute())),
    ]
    click.secho("\nDone", bold=True)
    width = max(len(title) for title, _ in lines)
    for title, text in lines:
        click.echo(f"  {title:<{width}}  {text}")
