"""`lineside watch`: a live table of verdicts, or one message a line for programs."""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast

import click
import msgspec
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lineside.errors import BrokerError
from lineside.link import Link
from lineside.messages import Result, Status
from lineside.settings import MqttSettings
from lineside.subscriber import Received, Subscriber
from lineside.tracker import Gap, Since, Tracker

COLOURS: Final = {"ok": "green", "ng": "bold red", "review": "yellow", "no_read": "magenta"}
STATES: Final = {"online": "green", "degraded": "yellow", "offline": "red"}

RATE_S: Final = 10
"""Seconds over which a rate is counted."""

SETTLE_S: Final = 0.5
"""Seconds that a connection may take before there is something to say about it."""

REDRAW_S: Final = 0.2
"""Seconds between two pictures of the table, at least."""

WIDE: Final = 100
"""Characters from which the table has room for all its columns."""

NEWEST: Final = 100
"""Verdicts that are kept for the table; it shows as many as there is room for."""


@dataclass
class Line:
    """What the table says of one stream.

    Attributes:
        verdicts: how many of each.
        buckets: second of the monotonic clock -> live results that came in it, the newest last.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    buckets: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=RATE_S + 1))

    def add(self, verdict: str, now: float, *, replayed: bool) -> None:
        """Count a result; a replayed one says nothing of the rate."""
        self.verdicts[verdict] += 1
        if replayed:
            return
        second = int(now)
        if self.buckets and self.buckets[-1][0] == second:
            self.buckets[-1] = (second, self.buckets[-1][1] + 1)
        else:
            self.buckets.append((second, 1))

    def rate_hz(self, now: float) -> float:
        """Live results a second, over the last RATE_S whole seconds or as long as it lasted."""
        this = int(now)
        counted = [(s, n) for s, n in self.buckets if this - RATE_S <= s < this]
        if not counted:
            return 0.0
        return sum(n for _, n in counted) / (this - counted[0][0])


class Board:
    """All that the table shows. It is told of messages and draws itself.

    Attributes:
        results: how many results came.
    """

    def __init__(self) -> None:
        self.results = 0
        self._lines: dict[tuple[str, str, str], Line] = {}
        self._states: dict[tuple[str, str], Status] = {}
        self._newest: deque[Result] = deque(maxlen=NEWEST)
        self._link = Link()

    def take(self, received: Received | Gap) -> None:
        """Note a message. What is lost the table learns from the tracker."""
        if isinstance(received, Gap):
            self._lines.setdefault((received.site, received.station, received.stream), Line())
            return
        message = received.message
        if isinstance(message, Result):
            self.results += 1
            key = (message.site, message.station, message.stream)
            line = self._lines.setdefault(key, Line())
            replayed = received.topic.kind == "replay"
            line.add(message.verdict, received.mono_ns / 1e9, replayed=replayed)
            self._newest.appendleft(message)
        elif isinstance(message, Status):
            self._states[message.site, message.station] = message
            for entry in message.ledger:
                if entry.boot == message.boot:
                    key = (message.site, message.station, entry.stream)
                    self._lines.setdefault(key, Line())

    def draw(
        self,
        tracker: Tracker,
        *,
        error: str | None,
        rows: int,
        columns: int,
        troubles: Mapping[tuple[str, str], str] | None = None,
    ) -> RenderableType:
        """The table.

        Args:
            tracker: what is missing, repaired and lost, and what came twice.
            error: why there is no connection; None while there is one.
            rows: how many lines there is room for.
            columns: how many characters a line has; below WIDE, some columns are left out.
            troubles: why a site's station can't be asked for what is missing.
        """
        parts: list[RenderableType] = []
        said = self._link.say(error, time.monotonic(), shown=bool(self._lines))
        if said is not None:
            parts.append(Text(said, style="green" if error is None else "bold red"))
        elif not self._lines:
            parts.append(Text("connected; no station has said anything yet", style="dim"))
        if self._lines:
            parts.append(self._streams(tracker, troubles or {}, wide=columns >= WIDE))
        if self._newest:
            room = max(3, rows - len(self._lines) - 11)
            parts.append(self._verdicts(itertools.islice(self._newest, room)))
        return Group(*parts)

    def _streams(
        self, tracker: Tracker, troubles: Mapping[tuple[str, str], str], *, wide: bool
    ) -> Table:
        now = time.monotonic()
        table = _table("Streams")
        table.add_column("stream", overflow="fold", ratio=2, min_width=16)
        table.add_column("state", overflow="fold", ratio=2, min_width=10)
        names = ["per s", *COLOURS, "missing", "repaired", "lost"]
        if wide:
            names = ["results", *names, "twice"]
        for name in names:
            table.add_column(name, justify="right", style=COLOURS.get(name, ""), no_wrap=True)
        missing, lost = _by_stream(tracker.gaps()), _by_stream(tracker.lost())
        lost += tracker.dropped
        repaired: Counter[tuple[str, str, str]] = Counter()
        twice: Counter[tuple[str, str, str]] = Counter()
        for (site, station, _, stream), track in tracker.tracks.items():
            repaired[site, station, stream] += track.repaired
            twice[site, station, stream] += track.duplicates
        for key, line in sorted(self._lines.items()):
            state = self._state(*key[:2])
            if missing[key] and key[:2] in troubles:
                state.append(f", no repair: {troubles[key[:2]]}", style="yellow")
            cells: list[str | Text] = [
                f"{line.rate_hz(now):.1f}",
                *(f"{line.verdicts[verdict]:,}" for verdict in COLOURS),
                Text(f"{missing[key]:,}", style="yellow" if missing[key] else ""),
                f"{repaired[key]:,}",
                Text(f"{lost[key]:,}", style="bold red" if lost[key] else ""),
            ]
            if wide:
                cells = [f"{line.verdicts.total():,}", *cells, f"{twice[key]:,}"]
            table.add_row(Text("/".join(key)), state, *cells)
        return table

    def _state(self, site: str, station: str) -> Text:
        status = self._states.get((site, station))
        if status is None:
            return Text("unknown", style="dim")
        words = [status.state, *status.reasons]
        if status.delivery == "unconfirmed":
            words.append("delivery unconfirmed")
        if any(model.parity == "unknown" for model in status.models):
            words.append("parity unknown")
        return Text(", ".join(words), style=STATES[status.state])

    def _verdicts(self, results: Iterable[Result]) -> Table:
        table = _table("Newest verdicts")
        table.add_column("captured", no_wrap=True)
        for name in ("stream", "part"):
            table.add_column(name, overflow="ellipsis", no_wrap=True, ratio=2)
        table.add_column("verdict", no_wrap=True)
        table.add_column("why", overflow="ellipsis", no_wrap=True, ratio=2)
        for name in ("score", "ms"):
            table.add_column(name, justify="right", no_wrap=True)
        for result in results:
            when = result.captured_at
            table.add_row(
                Text(when.astimezone().strftime("%H:%M:%S.%f")[:-5] if when else "-"),
                Text(f"{result.site}/{result.station}/{result.stream}"),
                Text(result.part.id or f"#{result.part.n}"),
                Text(result.verdict, style=COLOURS[result.verdict]),
                Text(result.label or ", ".join(result.reasons)),
                "-" if result.score is None else f"{result.score:.2f}",
                f"{result.latency_ms.total:.1f}",
            )
        return table


def _by_stream(gaps: Iterable[Gap]) -> Counter[tuple[str, str, str]]:
    """How many results they are about, for each site, station and stream."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for gap in gaps:
        counted[gap.site, gap.station, gap.stream] += len(gap)
    return counted


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        expand=True,
        pad_edge=False,
        collapse_padding=True,
    )


def watch_live(
    subscriber: Subscriber,
    *,
    until: Callable[[], bool],
    on_received: Callable[[Received], None] | None = None,
    console: Console | None = None,
) -> Board:
    """Show the table in the foreground until `until()` is true.

    Args:
        subscriber: where messages come from.
        until: asked several times a second.
        on_received: also told of each message.
        console: where to draw; standard output if None. On what is no terminal only the last
            table is printed.

    Returns:
        The table's last state.

    Raises:
        BrokerError: the broker refuses us.
    """
    board, screen = Board(), console or Console()

    def picture() -> RenderableType:
        return board.draw(
            subscriber.tracker,
            error=subscriber.error,
            rows=screen.size.height,
            columns=screen.size.width,
            troubles=subscriber.troubles,
        )

    # Drawn here and not by a thread of Live's, which would read the board while it changes.
    with Live(
        get_renderable=picture, console=screen, auto_refresh=False, vertical_overflow="crop"
    ) as live:
        drawn = time.monotonic()

        def over() -> bool:
            nonlocal drawn
            if time.monotonic() - drawn >= REDRAW_S:
                live.refresh()
                drawn = time.monotonic()
            return until()

        for received in subscriber.received(over):
            board.take(received)
            if on_received is not None and isinstance(received, Received):
                on_received(received)
    if not screen.is_terminal:
        screen.line()  # Live leaves the last line open there
    return board


def watch_json(subscriber: Subscriber, *, until: Callable[[], bool]) -> int:
    """Print each message on a line of its own, as it was published, until `until()` is true.

    What did not come and is not kept any more is a line of schema `lineside.gap/1`, which no
    station has published.

    Returns:
        How many results there were, replayed ones included.

    Raises:
        BrokerError: the broker refuses us.
    """
    for received in subscriber.received(until):
        if isinstance(received, Gap):
            line = msgspec.json.encode({"schema": "lineside.gap/1", **asdict(received)})
        else:
            line = msgspec.json.format(received.payload, indent=-1)
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.flush()
    return _results(subscriber)


def _results(subscriber: Subscriber) -> int:
    return subscriber.counts["result"] + subscriber.counts["replay"]


@click.command(
    epilog="""\b
Examples:
  lineside watch mqtt://localhost --repair
  lineside watch mqtt://localhost --json --count 100 --timeout 60
  lineside watch mqtt://localhost --json --repair --since kept >> results.jsonl
""",
)
@click.argument("url")
@click.option("--prefix", default="lineside", show_default=True, help="First levels of the topics.")
@click.option("--site", default="+", help="Only this site.")
@click.option("--station", default="+", help="Only this station.")
@click.option("--protocol", type=click.Choice(["5", "3.1.1"]), default="5", show_default=True)
@click.option("--username", default="", help="Name at the broker.")
@click.option("--password-file", default="", help="A file that holds only the password.")
@click.option("--ca-file", default="", help="PEM of the authority that signed the broker.")
@click.option("--cert-file", default="", help="PEM of a client certificate.")
@click.option("--key-file", default="", help="PEM of its private key.")
@click.option("--repair", is_flag=True, help="Ask the stations for results that are missing.")
@click.option(
    "--since",
    type=click.Choice(["now", "kept"]),
    default="now",
    show_default=True,
    help="With --repair, kept: also all results from before that the stations still keep.",
)
@click.option("--json", "as_json", is_flag=True, help="One message a line, as published.")
@click.option("--count", type=click.IntRange(1), help="Stop after so many results.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Stop after S seconds.")
def watch(
    url: str,
    *,
    site: str,
    station: str,
    repair: bool,
    since: Since,
    as_json: bool,
    count: int | None,
    timeout: float | None,
    **broker: str,
) -> None:
    """Show the verdicts of all stations at the broker URL, live.

    URL is mqtt://HOST[:1883], or mqtts://HOST[:8883] for TLS. A broker that is not there is
    waited for. With --count it exits with 0 only if so many results came.

    What was published and did not come is counted as missing. With --repair it is asked for
    again until it comes, or until the station says that it is lost: that it does not keep it
    any more (in --json a line of schema lineside.gap/1).
    """
    mqtt = MqttSettings(url=url, **cast("dict[str, Any]", broker))
    # What is wrong is in the table, or said below: not a third time by the client.
    logging.getLogger("lineside.mqtt").setLevel(logging.ERROR)
    began = time.monotonic()
    subscribing = Subscriber(mqtt, site=site, station=station, repair=repair, since=since)
    with subscribing as subscriber:
        said: str | None = None

        def over() -> bool:
            nonlocal said
            if as_json and subscriber.error != said and time.monotonic() - began > SETTLE_S:
                said = subscriber.error
                click.echo(f"waiting: {said}" if said else "connected", err=True)
            enough = count is not None and _results(subscriber) >= count
            return enough or (timeout is not None and time.monotonic() - began >= timeout)

        if as_json:
            watch_json(subscriber, until=over)
        else:
            watch_live(subscriber, until=over)
        results, error = _results(subscriber), subscriber.error
    if count is not None and results < count:
        why = f": {error}" if error else ""
        msg = f"{results} of {count} results came within {timeout:g} s{why}"
        raise BrokerError(msg)
    if error is not None:
        raise BrokerError(error)
