"""Schemes: how a model's weights and activations are stored. A written grammar, one line each.

    SCHEME  = BASE [ "+float(" LAYER { "," LAYER } ")" ] | "auto" | "unchanged"
    BASE    = float32 | float16 | weights_wi8_af32 | static_wi8_ai8
    LAYER   = the name of a layer, such as dense or conv2d_3, or of an operator, such as HARD_SWISH

`wi8` is int8 weights, `ai8` int8 activations, `af32` float activations; `static` means that the
activations' ranges are fixed by calibration. Only a static scheme leaves layers in float.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from typing_extensions import override

from lineside.errors import InputError

AUTO: Final = "auto"
UNCHANGED: Final = "unchanged"
STATIC: Final = "static_wi8_ai8"
WEIGHTS: Final = "weights_wi8_af32"

SCHEMES: Final = {  # name -> (function that makes it, what it is)
    "float32": ("lineside_convert.worker.quantize:float32", "as trained; the largest"),
    "float16": (
        "lineside_convert.worker.quantize:float16",
        "weights in 16 bits; computes in float32",
    ),
    WEIGHTS: ("lineside_convert.worker.quantize:weights", "weights int8; computes in float32"),
    STATIC: ("lineside_convert.worker.quantize:static", "weights and activations int8, calibrated"),
}

_LAYER: Final = r"[A-Za-z0-9_./:;-]{1,200}"
_GRAMMAR: Final = re.compile(rf"([a-z0-9_]+)(?:\+float\(({_LAYER}(?:,{_LAYER})*)\))?")


@dataclass(frozen=True)
class Scheme:
    """A scheme, taken apart.

    Attributes:
        base: a name in `SCHEMES`.
        in_float: layers and operators that stay in float; only with a static base.
    """

    base: str
    in_float: tuple[str, ...] = ()

    @property
    def calibrated(self) -> bool:
        """Whether making it needs images."""
        return self.base == STATIC

    @property
    def rounded(self) -> bool:
        """Whether its weights are int8, and gain from being rounded by images."""
        return self.base in {STATIC, WEIGHTS}

    @override
    def __str__(self) -> str:
        return f"{self.base}+float({','.join(self.in_float)})" if self.in_float else self.base


def parse_scheme(text: str) -> Scheme:
    """Take a scheme's name apart.

    Raises:
        InputError: it is not in the grammar; the message lists what is.
    """
    found = _GRAMMAR.fullmatch(text)
    if found is None or found[1] not in SCHEMES:
        msg = f"--scheme {text!r} is refused: {', '.join(SCHEMES)}, {STATIC}+float(LAYER,…) or auto"
        raise InputError(msg + " is expected")
    layers = tuple(dict.fromkeys(found[2].split(","))) if found[2] else ()
    if layers and found[1] != STATIC:
        msg = f"--scheme {text!r} is refused: only {STATIC} leaves layers in float"
        raise InputError(msg)
    return Scheme(found[1], layers)
