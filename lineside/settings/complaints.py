"""What is wrong with a configuration, said as its writer needs it: key, expected, found."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import msgspec
from msgspec import Struct

from lineside.settings.logins import hide_login
from lineside.topics import NAME_PATTERN


def readable(text: str, raw: Any, root: type[Struct]) -> str:  # noqa: ANN401 - TOML of any kind
    """A complaint of msgspec with the key in front, the value found, and the key that was meant.

    Args:
        text: the complaint: `REASON - at `$.table[0].key``.
        raw: what was to become a `root`.
        root: the struct of the topmost table.
    """
    reason, _, path = text.partition(" - at `")
    steps = re.findall(r"\w+|\[\d+\]", path.removeprefix("$").rstrip("`"))
    found = raw
    for step in steps:
        found = found[int(step[1:-1])] if step.startswith("[") else found[step]
    key = re.sub(r"\.\[", "[", ".".join(steps))
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", reason)
    if unknown is not None:
        meant = difflib.get_close_matches(unknown[1], _keys(root, steps), n=1)
        hint = f", did you mean {meant[0]!r}?" if meant else ""
        return f"unknown key {unknown[1]!r}{f' in {key}' if key else ''}{hint}"
    if reason == "Expected `array`, got `object`":
        return f"{key}: a list is expected, so it is written [[{key}]] with two brackets"
    if repr(NAME_PATTERN) in reason:
        reason = "1 to 64 of the characters A-Z a-z 0-9 _ - are expected"
    if not isinstance(found, (dict, list)):
        shown = hide_login(found) if isinstance(found, str) else found
        reason = f"{reason.split(', got')[0]}, got {shown!r}"
    return f"{key}: {reason}" if key else reason


def _keys(root: type[Struct], steps: Sequence[str]) -> list[str]:
    """The keys that the table at `steps` may hold."""
    table: type[Struct] = root
    for step in steps:
        if step.startswith("["):
            continue
        kind = next(f.type for f in msgspec.structs.fields(table) if f.name == step)
        table = next(t for t in _types(kind) if isinstance(t, type) and issubclass(t, Struct))
    return list(table.__struct_fields__)


def _types(kind: Any) -> Iterator[Any]:  # noqa: ANN401 - an annotation
    """`kind` and what it is made of: list[Annotated[T, ...]] gives T too."""
    yield kind
    for part in get_args(kind):
        yield from _types(part)
