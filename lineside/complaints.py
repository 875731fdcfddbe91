"""What is wrong with a configuration or a command, as its writer needs it: key, expected, found.

The words are made from the complaints of msgspec, which say a pattern where people need an
example. A type may bring its own: `Meta(extra={"expected": "frame, command or …"})`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from lineside.logins import hide_login
from lineside.topics import NAME_PATTERN, PREFIX_PATTERN

MAX_SHOWN: Final = 60
"""Characters of a value that are shown of it."""

_NAME: Final = "1 to 64 of the characters A-Z a-z 0-9 _ -"
_PATTERNS: Final = {
    NAME_PATTERN: _NAME,
    PREFIX_PATTERN: f"one to four names, each {_NAME}, with / between",
}
_TYPES: Final = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a table of keys",
    "array": "a list",
    "null": "null",
}
_BOUNDS: Final = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}
_NOWHERE: Final = object()


def readable(text: str, raw: Any, root: type[Struct]) -> str:  # noqa: ANN401 - of any kind
    """A complaint of msgspec with the key in front, the value found, and the key that was meant.

    Args:
        text: the complaint: `REASON - at `$.table[0].key``.
        raw: what was to become a `root`.
        root: the struct of the topmost table.
    """
    reason, _, path = text.partition(" - at `")
    steps = re.findall(r"\w+|\[\d+\]|\[\.\.\.\]", path.removeprefix("$").rstrip("`"))
    key = re.sub(r"\.\[", "[", ".".join(steps))
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", reason)
    if unknown is not None:
        known = [name for table in _structs(root, steps) for name in table.__struct_fields__]
        return f"unknown key {unknown[1]!r}{f' in {key}' if key else ''}{meant(unknown[1], known)}"
    missing = re.fullmatch(r"Object missing required field `(.*)`", reason)
    if missing is not None:
        return f"{f'{key}: ' if key else ''}{missing[1]!r} is missing"
    if reason == "Expected `array`, got `object`" and key in root.__struct_fields__:
        return f"{key}: a list is expected, so it is written [[{key}]] with two brackets"
    said = _expected(reason, list(_at(root, steps)))
    if said is not None:
        reason = f"{said} is expected{_got(_follow(raw, steps))}"
    return f"{key}: {reason}" if key else reason


def readable_json(error: msgspec.ValidationError, payload: bytes, root: type[Struct]) -> str:
    """The same of JSON that was to become a `root`."""
    try:
        raw = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # further on it is no JSON
        return str(error)
    return readable(str(error), raw, root)


def meant(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'NAME'?` where one of the known names is close to `name`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _expected(reason: str, kinds: Sequence[Any]) -> str | None:
    """What is expected, in words; None where there are none for this reason.

    Args:
        reason: of msgspec.
        kinds: the annotations that hold where it complains.
    """
    if reason.startswith("Invalid enum value"):
        allowed = [
            value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)
        ]
        return f"{'one of ' if len(allowed) > 1 else ''}{', '.join(map(str, allowed))}" or None
    found = re.match(r"Expected `([^`]*)`(?: of length)?(?: ([<>]=?) ([\d.e+]+))?", reason)
    if found is None:
        return None
    for kind in kinds:
        if isinstance(kind, Meta) and kind.pattern is not None and repr(kind.pattern) in reason:
            return str((kind.extra or {}).get("expected") or _PATTERNS.get(kind.pattern, reason))
    names, sign, bound = found.groups()
    given = [name for name in names.split(" | ") if name != "null"] or ["null"]
    said = " or ".join(_TYPES.get(name, name) for name in given)
    if sign is None:
        length = re.search(r" of length (\d+)", reason)
        return f"{said} of {length[1]}" if length else said
    if " of length" in reason:
        unit = "characters" if names == "str" else "entries"
        return f"{said} of {_BOUNDS[sign]} {bound} {unit}"
    limits = {sign: float(bound)}
    for kind in kinds:  # both limits are of use, though only one was broken
        if isinstance(kind, Meta):
            both = {">=": kind.ge, ">": kind.gt, "<=": kind.le, "<": kind.lt}
            if both[sign] == limits[sign]:
                limits |= {s: value for s, value in both.items() if value is not None}
    words = [f"{_BOUNDS[s]} {limits[s]:.15g}" for s in _BOUNDS if s in limits]
    return f"{said} of {' and '.join(words)}"


def _got(found: object) -> str:
    """`, got VALUE`, as it was written and without a password, where it is short."""
    if found is _NOWHERE:
        return ""
    if isinstance(found, dict):
        return ", got a table"
    if isinstance(found, list):
        return f", got a list of {len(found)}"
    if isinstance(found, bool) or found is None:
        return f", got {msgspec.json.encode(found).decode()}"
    shown = repr(hide_login(found) if isinstance(found, str) else found)
    return f", got {shown if len(shown) <= MAX_SHOWN else shown[: MAX_SHOWN - 1] + '…'}"


def _follow(raw: Any, steps: Sequence[str]) -> object:  # noqa: ANN401 - of any kind
    """What is at `steps`, or _NOWHERE."""
    found = raw
    try:
        for step in steps:
            found = found[int(step[1:-1])] if step.startswith("[") else found[step]
    except (LookupError, TypeError, ValueError):
        return _NOWHERE
    return found


def _structs(root: type[Struct], steps: Sequence[str]) -> list[type[Struct]]:
    """The tables that may be at `steps`."""
    return [
        kind for kind in _at(root, steps) if isinstance(kind, type) and issubclass(kind, Struct)
    ]


def _at(root: type[Struct], steps: Sequence[str]) -> Iterator[Any]:
    """The annotations that hold at `steps`, with what they are made of."""
    kinds: list[Any] = [root]
    for step in steps:
        if not step.startswith("["):
            tables = [k for k in kinds if isinstance(k, type) and issubclass(k, Struct)]
            kinds = [
                kind
                for table in tables
                for field in msgspec.structs.fields(table)
                if field.encode_name == step
                for kind in _parts(field.type)
            ]
    yield from kinds


def _parts(kind: Any) -> Iterator[Any]:  # noqa: ANN401 - an annotation
    """`kind` and what it is made of: list[Annotated[T, ...]] gives T and its Meta too."""
    yield kind
    if get_origin(kind) is not Literal:
        yield from getattr(kind, "__metadata__", ())
        for part in get_args(kind):
            yield from _parts(part)
