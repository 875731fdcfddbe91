"""How much faster or slower another device is, from what `lineside bench --json` said there.

The file knows bundles, not the networks of a search. So each bundle that is in the file and here
as well is timed here, too; the geometric mean of how much longer the device took is what the
latencies of all networks are multiplied by. That is an estimate: caches, the kernels of a processor
and the mix of a network's operators make the factor differ from network to network, and how far
the bundles' own factors are apart shows how much. With bundles like the networks that are sought,
it is better; what counts in the end is `lineside bench` of the chosen one on the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from lineside.bench import Bench, read_bench
from lineside.bench.measure import Contestant, time_in_turn
from lineside.bundle import Bundle, open_bundle
from lineside.errors import InputError
from lineside.extras import quiet_native
from lineside.inspector import Inspector
from lineside.runtime.device import device_name
from lineside.runtime.trial import try_bundle

SCHEME: Final = "static_wi8_ai8"
"""What networks are timed as: a bundle must be so, too, or most of it."""

SECONDS: Final = 2.0
"""How long each bundle is timed."""


class Device(Struct, frozen=True):
    """Where a search's latencies hold."""

    name: str
    """In words."""
    scale: float = 1.0
    """What latencies of this machine are multiplied by."""
    note: str = ""
    """How that was found; empty for this machine."""


def this_machine() -> Device:
    """The machine that the search runs on."""
    return Device(device_name())


def other_device(file: Path, bundles: Sequence[Path]) -> Device:
    """The device that a file of `lineside bench --json` is of.

    Args:
        file: what it said there.
        bundles: some of those that were timed there; at least one.

    Raises:
        InputError: the file can't be used, or a bundle is not in it, or not int8.
        BundleError: a bundle is refused.
        EngineError: a bundle does not run here.
    """
    bench = read_bench(file)
    opened = [open_bundle(path) for path in bundles]
    there = [_there(bench, bundle, file) for bundle in opened]
    for bundle in opened:
        try_bundle(bundle.path)
    with quiet_native(drop=b"INFO:"):
        works = [Contestant(Inspector(bundle, threads=1), 1).invokes() for bundle in opened]
    here = [np.median(times) for times in time_in_turn(works, seconds=SECONDS, what="Timing")]
    factors = [float(ms / own) for ms, own in zip(there, here, strict=True)]
    scale = math.exp(sum(map(math.log, factors)) / len(factors))
    note = (
        f"estimated: timed on {device_name()} and multiplied by {scale:.3g}, which is how much "
        f"longer {bench.device} took for "
        + ", ".join(bundle.manifest.name for bundle in opened)
        + (f" ({min(factors):.3g} to {max(factors):.3g})" if len(factors) > 1 else "")
    )
    return Device(bench.device, scale, note)


def _there(bench: Bench, bundle: Bundle, file: Path) -> float:
    """Milliseconds of a bundle on the device, by the fastest runtime and number of threads."""
    rows = [row for row in bench.rows if row.digest == bundle.digest]
    if not rows:
        known = sorted({f"{row.bundle} {row.version} ({row.scheme})" for row in bench.rows})
        msg = f"{bundle.path} is not in {file}, which knows {', '.join(known)}: name one of these"
        raise InputError(msg)
    scheme = bundle.manifest.model.scheme
    if not scheme.startswith(SCHEME):
        msg = (
            f"{bundle.path} is {scheme}, and a search times networks in int8: name a bundle of "
            f"{SCHEME} ('lineside convert --scheme {SCHEME}'), and time it on the device"
        )
        raise InputError(msg)
    return min(row.invoke_ms_p50 for row in rows)
