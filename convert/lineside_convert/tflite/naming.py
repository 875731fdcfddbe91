"""Short names for operators: which layer of the original model an operator stands for.

A converter names the tensors after all that was fused into an operator, such as

    functional_1/plain_1/re_lu_1/Relu;functional_1/plain_1/conv2d_1/convolution;…

where people know the layer as `conv2d_1`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

MAX_LENGTH: Final = 64
"""Characters of a short name."""

_WEIGHTED: Final = {
    "CONV_2D": {"convolution", "Conv2D", "conv2d"},
    "DEPTHWISE_CONV_2D": {"depthwise"},
    "TRANSPOSE_CONV": {"conv_transpose", "conv2d_transpose"},
    "FULLY_CONNECTED": {"MatMul", "Tensordot"},
}
"""What the arithmetic of these operators is called at the end of a path: its layer gives the name,
not that of the activation or the normalization which was fused into it."""

_VARIABLE: Final = re.compile(r"(ReadVariableOp|resource|Cast|kernel|bias)(_?\d+)?(:\d+)?")
"""The ends of paths that name a layer's variable, not its result."""

_NO_LAYER: Final = re.compile(
    r"(StatefulPartitionedCall|PartitionedCall|Identity)([_:].*)?|tfl\..*|.*_int8"
)
"""Names that a converter gives to inputs and outputs of the whole model."""


def layer_name(op: str, tensor: str) -> str:
    """The layer that an operator stands for.

    Args:
        op: the operator's name, such as CONV_2D.
        tensor: the name of what it makes.

    Returns:
        Letters, digits, `_`, `-` and `.`, at most 64 of them; the operator's own name in small
        letters where the tensor's does not say.
    """
    paths = list(_paths(tensor))
    mentions = Counter(layer for layer, _ in paths)
    weighted = _WEIGHTED.get(op, set())
    named = [layer for layer, leaf in paths if re.sub(r"_?\d*$", "", leaf) in weighted]
    if named:
        # A constant that two layers share brings the other one's name in: once, and before ours.
        best = max(reversed(named), key=lambda layer: mentions[layer])
    else:
        best = paths[0][0] if paths else ""
    return _tidy(best) or op.lower()


def unique(names: Iterable[str]) -> Iterator[str]:
    """The names again, the later one of two equal ones with `.2`, `.3`, … behind it."""
    taken: set[str] = set()
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        mine = name if seen[name] == 1 else f"{name}.{seen[name]}"
        while mine in taken:
            seen[name] += 1
            mine = f"{name}.{seen[name]}"
        taken.add(mine)
        yield mine


def _paths(tensor: str) -> Iterator[tuple[str, str]]:
    """Layer and last part of each path in a tensor's name."""
    for path in tensor.split(";"):
        parts = [part for part in path.split("/") if part]
        while len(parts) > 1 and _VARIABLE.fullmatch(parts[-1]):
            parts.pop()
        if len(parts) > 1:
            yield parts[-2], parts[-1]
        elif parts and not _NO_LAYER.fullmatch(parts[0]):
            yield parts[0], parts[0]


def _tidy(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.")[:MAX_LENGTH]
