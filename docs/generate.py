"""Writes what of docs/ follows from the code: `python docs/generate.py`.

    docs/configuration.md            every key of a station's configuration
    docs/station.schema.json         the same for editors
    docs/messages/README.md          every field of every message
    docs/messages/*.schema.json      the same as JSON Schema
    docs/bench.schema.json           what `lineside bench --json` writes
    docs/messages/asyncapi.json      topics and messages as AsyncAPI 3.0

A test holds the files in step with the code.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from lineside import bench, commands, messages, settings
from lineside.topics import Topics

HERE: Final = Path(__file__).parent
CONFIGURATION: Final = (
    "One TOML file; `lineside agent check FILE` says whether it is right without starting. "
    "Unknown keys, wrong types and contradictions are refused. Relative paths are relative to "
    "the file. Editors complete and check it by `docs/station.schema.json`.\n\n"
)
MESSAGES: Final = (
    "JSON, UTF-8. Unknown fields are to be ignored. JSON Schemas are beside this file, "
    "`asyncapi.json` holds topics and messages for tools. What a station can be asked to do: "
    "[commands](../commands.md).\n\n"
)
NOTE: Final = "<!-- Written by docs/generate.py from the code: change it there. -->\n\n"


def field_docs(module: str) -> dict[str, dict[str, str]]:
    """The docstrings under the fields of a module's classes: class -> field -> text."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    docs: dict[str, dict[str, str]] = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields = docs.setdefault(node.name, {})
        for field, below in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                fields[field.target.id] = " ".join(str(below.value.value).split())
    return docs


def schema_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of a struct, with the docstrings of its fields as descriptions."""
    docs = field_docs(struct.__module__)
    (top,), components = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    for name, part in components.items():
        encoded = {f.encode_name: f.name for f in _fields(struct.__module__, name)}
        for key, value in part.get("properties", {}).items():
            text = docs.get(name, {}).get(encoded.get(key, key))
            if text:
                value["description"] = text
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": struct.__name__,
        **top,
        "$defs": dict(sorted(components.items())),
    }


def _fields(module: str, name: str) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(getattr(importlib.import_module(module), name))


def _kind(value: dict[str, Any]) -> str:
    """What a field holds, in a few words."""
    if "anyOf" in value:
        return " or ".join(_kind(option) for option in value["anyOf"])
    if "enum" in value or "const" in value:
        return " or ".join(f"`{option}`" for option in value.get("enum", [value.get("const")]))
    if "$ref" in value:
        return str(value["$ref"]).rsplit("/", 1)[-1]
    if value.get("type") == "array":
        return _list_kind(value)
    kind = str(value.get("type", "anything"))
    return kind + _limits(value)


def _limits(value: dict[str, Any]) -> str:
    """From where to where a number goes."""
    low, above, high = (value.get(k) for k in ("minimum", "exclusiveMinimum", "maximum"))
    if above is not None:
        return f" above {above:g}" + ("" if high is None else f", at most {high:g}")
    if low is None:
        return ""
    return f", {low:g} or more" if high is None else f", {low:g} to {high:g}"


def _list_kind(value: dict[str, Any]) -> str:
    if value.get("items"):
        return f"list of {_kind(value['items'])}"
    items = [_kind(item) for item in value.get("prefixItems", [])]
    return f"list of {len(items)}: {', '.join(dict.fromkeys(items))}"


def _default(value: dict[str, Any], *, required: bool) -> str:
    if required:
        return "**required**"
    default = value.get("default")
    if isinstance(default, (dict, list)) or default is None:
        return ""
    return f"`{json.dumps(default)}`" if default != "" else "empty"


def _table(part: dict[str, Any], *, defaults: bool) -> str:
    head = "| key | what | default | meaning |\n| --- | --- | --- | --- |\n"
    if not defaults:
        head = "| field | what | meaning |\n| --- | --- | --- |\n"
    rows = []
    for name, value in part["properties"].items():
        cells = [f"`{name}`", _kind(value)]
        if defaults:
            cells.append(_default(value, required=name in part.get("required", [])))
        cells.append(value.get("description", ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return head + "".join(rows)


def configuration_page(schema: dict[str, Any]) -> str:
    """docs/configuration.md."""
    parts = schema["$defs"]
    text = [
        "# A station's configuration\n\n",
        NOTE,
        CONFIGURATION,
        "```toml\n",
        (HERE / "station.example.toml").read_text(),
        "```\n",
    ]
    for key, value in parts["Settings"]["properties"].items():
        inner = value.get("items", value)
        name = next(
            (
                str(r["$ref"]).rsplit("/", 1)[-1]
                for r in [inner, *inner.get("anyOf", [])]
                if "$ref" in r
            ),
            None,
        )
        if name is None:
            continue
        title = f"[[{key}]]" if value.get("type") == "array" else f"[{key}]"
        about = " ".join(filter(None, [parts[name].get("description"), value.get("description")]))
        text += [f"\n## `{title}`\n\n{about}\n\n", _table(parts[name], defaults=True)]
        for below, field in parts[name]["properties"].items():
            if "$ref" in field:
                part = parts[_kind(field)]
                text += [f"\n### `[{key}.{below}]`\n\n{part['description']}\n\n"]
                text += [_table(part, defaults=True)]
    plain = {
        key: value
        for key, value in parts["Settings"]["properties"].items()
        if value.get("type") in {"number", "integer", "string"}
    }
    text += ["\n## Above all tables\n\n", _table({"properties": plain}, defaults=True)]
    return "".join(text)


def messages_page(schemas: dict[str, dict[str, Any]]) -> str:
    """docs/messages/README.md."""
    text = [
        "# What a station says, and what it is asked\n\n",
        NOTE,
        MESSAGES,
        "| topic | retained | QoS | message |\n| --- | --- | --- | --- |\n",
    ]
    text += [
        f"| `{row.topic}` | {'yes' if row.retained else 'no'} | {row.qos} "
        f"| [{row.message}](#{row.message}){f': {row.note}' if row.note else ''} |\n"
        for row in topic_rows().values()
    ]
    for kind, schema in schemas.items():
        parts = dict(schema["$defs"])
        top = parts.pop(schema["title"])
        text += [f"\n## {kind}\n\n{top['description']}\n\n", _table(top, defaults=False)]
        for name, part in parts.items():
            text += [f"\n### {kind}: {name}\n\n{part['description']}\n\n"]
            text += [_table(part, defaults=False)]
    return "".join(text)


class TopicRow(NamedTuple):
    """One topic of a station.

    Attributes:
        topic: how it is spelled.
        message: the kind of message that is on it.
        retained: whether the broker keeps the last one.
        qos: MQTT's quality of service.
        note: what else is to be known, for the table.
    """

    topic: str
    message: str
    retained: bool = False
    qos: int = 1
    note: str = ""


def topic_rows() -> dict[str, TopicRow]:
    """What `lineside.topics.Topics` calls a topic -> what is on it."""
    topics = Topics("<site>", "<station>", "<prefix>")
    return {
        "result": TopicRow(topics.result("<stream>"), "result"),
        "status": TopicRow(topics.status(), "status", retained=True, note="also the last will"),
        "health": TopicRow(topics.health(), "health", qos=0),
        "event": TopicRow(topics.event(), "event"),
        "command": TopicRow(topics.command(), "command", note="a retained one is refused"),
        "response": TopicRow(topics.response("<requester>"), "response"),
        "replay": TopicRow(
            topics.replay("<requester>", "<stream>"),
            "result",
            note="again, with the same bytes, for the one who asked",
        ),
    }


def asyncapi(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """docs/messages/asyncapi.json: AsyncAPI 3.0."""
    channels, operations = {}, {}
    for kind, row in topic_rows().items():
        address = row.topic.replace("<", "{").replace(">", "}")
        names = [part[1:-1] for part in address.split("/") if part.startswith("{")]
        channels[kind] = {
            "address": address,
            "messages": {row.message: {"$ref": f"#/components/messages/{row.message}"}},
            "parameters": {name: {"description": f"The {name}'s name."} for name in names},
        }
        # AsyncAPI describes an application: here the station.
        action = "receive" if kind == "command" else "send"
        operations[f"{action}_{kind}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{kind}"},
            "bindings": {
                "mqtt": {"qos": row.qos, "retain": row.retained, "bindingVersion": "0.2.0"}
            },
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "lineside station",
            "version": "1",
            "description": "What a station publishes and is asked over MQTT.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {
                kind: {
                    "name": f"lineside.{kind}/1",
                    "contentType": "application/json",
                    "payload": {"$ref": f"./{kind}.schema.json"},
                }
                for kind in schemas
            }
        },
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def pages() -> dict[str, str]:
    """Every generated file: path below docs/ -> text."""
    structs = {**messages.KINDS, "command": commands.Command}
    # In the order of the topics.
    kinds = dict.fromkeys(row.message for row in topic_rows().values())
    schemas = {kind: schema_of(structs[kind]) for kind in kinds}
    station = schema_of(settings.Settings)
    return {
        "configuration.md": configuration_page(station),
        "station.schema.json": _json(station),
        "bench.schema.json": _json(schema_of(bench.Bench)),
        "messages/README.md": messages_page(schemas),
        "messages/asyncapi.json": _json(asyncapi(schemas)),
        **{f"messages/{kind}.schema.json": _json(schema) for kind, schema in schemas.items()},
    }


def main() -> None:
    """Write them."""
    for name, text in pages().items():
        path = HERE / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(HERE.parent))


if __name__ == "__main__":
    main()
