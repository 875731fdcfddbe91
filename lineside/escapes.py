"""A limit on escapes: bad parts that pass as `ok`, and what labelled images can show of them.

Of n bad parts of `val`, with scores in rising order b_1 … b_n, at most k pass where the limit lies
at or below b_(k+1). A new part, one more of the same kind, is as likely to come in any of the n + 1
places between them, so that it passes with a probability of at most (k + 1) / (n + 1). Keeping

    (k + 1) / (n + 1) <= the rate that was asked for

therefore keeps the rate, on average over such sets of images, whatever the scores look like:
split conformal prediction (Vovk et al., Algorithmic Learning in a Random World, 2005), as a limit
on a risk in Angelopoulos et al., Conformal Risk Control, ICLR 2024. It takes n >= 1 / rate - 1.

With fewer bad parts nothing can be promised. Then none of them may pass, and the share that is
expected to pass by the logistic curve through all scores, those of good parts as well (see
`lineside.limits`), may not be higher than the rate: an estimate, and it is called one.

What the images show is another question: the highest true rate at which so few escapes are still
to be expected in one of twenty cases (Clopper and Pearson, 1934, one-sided, 95 %). None of n shows
about 3 / n.

When sorting, an escape is an image that passes as `ok` with a wrong label, and the rate is its
share of all images.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.errors import InputError
from lineside.extras import require
from lineside.manifest import EscapeEvidence

CONFIDENCE: Final = 0.95

Floats = npt.NDArray[np.float64]


def check_rate(rate: float) -> None:
    """Refuse a rate that no limit can keep.

    Raises:
        InputError: it does not lie above 0 and up to 1.
    """
    if not 0 < rate <= 1:
        msg = (
            f"a limit on escapes must lie above 0 and up to 1, such as 0.01 for 1 %, got {rate:g}: "
            "no limit can promise that none escapes"
        )
        raise InputError(msg)


def within_rate(
    counted: npt.NDArray[np.integer], parts: int, expected: Floats, rate: float
) -> npt.NDArray[np.bool_]:
    """Which limits keep escapes within a rate; see above.

    Args:
        counted: for each possible limit, how many of the parts pass as `ok`.
        parts: how many there are.
        expected: for each possible limit, the share that is expected to pass.
        rate: how large that share may be.
    """
    allowed = math.floor(rate * (parts + 1) + 1e-9) - 1
    if allowed >= 0:
        return np.asarray(counted <= allowed)
    return np.asarray((counted == 0) & (expected <= rate))


def evidence(escapes: int, parts: int, rate: float) -> EscapeEvidence:
    """What it shows that `escapes` of `parts`, at least one, pass as `ok`."""
    stats = require("scipy.stats", extra="report")
    found = stats.binomtest(escapes, parts, alternative="less")
    upper = found.proportion_ci(CONFIDENCE, method="exact").high
    return EscapeEvidence(max_rate=rate, parts=parts, escapes=escapes, upper=round(float(upper), 6))


def parts_needed(rate: float) -> int:
    """How many parts, none of which escapes, show with 95 % confidence that the rate is kept."""
    return 1 if rate >= 1 else math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-rate))


def said(found: EscapeEvidence, *, sorting: bool) -> str:
    """What is known of escapes, for people, a few short sentences."""
    what = "images" if sorting else "bad parts"
    how = "pass as ok with a wrong label" if sorting else "pass as ok"
    asked, upper = (f"{100 * share:.3g} %" for share in (found.max_rate, found.upper))
    text = f"At most {asked} of the {what} are to {how}: on val {found.escapes} of {found.parts} do"
    if found.upper <= found.max_rate:
        return f"{text}, which shows it: with 95 % confidence no more than {upper} will."
    few = found.parts + 1 < 1 / found.max_rate - 1e-9
    kept = (
        "With so few the limit is an estimate, nothing more."
        if few
        else "On average over such sets of images it is kept."
    )
    needed = f"{parts_needed(found.max_rate):,}"
    return (
        f"{text}. That leaves up to {upper} possible (95 % confidence); to show {asked} takes "
        f"{needed} {what} of which none does. {kept}"
    )
