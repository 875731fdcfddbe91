from __future__ import annotations

import msgspec
import pytest

from lineside.commands import (
    MAX_COMMAND_BYTES,
    MAX_LINE,
    Command,
    Response,
    decode_command,
    encode,
    one_line,
    read_sender,
)
from lineside.errors import MessageError
from lineside.messages import decode

REPLAY = Command(
    id="r-1",
    requester="watch",
    op="replay",
    args={"stream": "top", "boot": "0198f1c2", "ranges": [[3, 9]]},
)
ANSWER = Response(
    site="ulm", station="press4", boot="0198f1c2", id="r-1", op="replay", ok=True, details={"n": 1}
)


def change(**changes: object) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(encode(REPLAY)) | changes)


def test_a_command_is_read_as_it_was_written() -> None:
    assert decode_command(encode(REPLAY)) == REPLAY
    raw = msgspec.json.decode(encode(REPLAY))
    assert raw["schema"] == "lineside.command/1"
    assert raw["expires_s"] == 30.0


def test_an_answer_is_read_as_it_was_written() -> None:
    assert decode("response", encode(ANSWER)) == ANSWER


def test_a_newer_sender_is_understood() -> None:
    assert decode_command(change(priority=3)) == REPLAY


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "truncated"),
        (b"replay!", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[]", "a table of keys is expected, got a list of 0"),
        (
            change(schema="lineside.command/2"),
            "lineside.command/1 is expected, got 'lineside.command/2'",
        ),
        (change(id=7), "id: a text is expected, got 7"),
        (change(id="a b"), "id: 1 to 64 of the characters A-Z a-z 0-9 _ - is expected, got 'a b'"),
        (change(id="r\n"), "id: 1 to 64"),
        (change(id="x" * 65), "id: 1 to 64"),
        (change(requester="a/b"), "requester: 1 to 64"),
        (change(requester="#"), "requester: 1 to 64"),
        (change(op="Rm -rf"), "op: the name of an op, such as replay, is expected, got 'Rm -rf'"),
        (change(expires_s=0), "a number of more than 0 and at most 3600 is expected, got 0"),
        (change(expires_s=1e9), "at most 3600"),
        (change(expires_s=True), "expires_s: a number is expected, got true"),
        (change(args=[1]), "args: a table of keys is expected, got a list of 1"),
        (b'{"id":"a b"', "command is refused: Expected"),
        (b'{"op":"replay"}', "'id' is missing"),
        (b'{"args":{"a":' + b"[" * 7000 + b"]" * 7000 + b"}}", "recursion"),
        (b" " * 10_000_000, "10000000 bytes is refused: at most 16384"),
    ],
)
def test_what_is_no_command_is_refused_in_one_line(payload: bytes, text: str) -> None:
    with pytest.raises(MessageError) as refused:
        decode_command(payload)
    line = str(refused.value)
    assert text in line
    assert line.startswith("command ")
    assert len(line) <= MAX_LINE
    assert "\n" not in line


def test_what_a_refusal_quotes_is_cut_off() -> None:
    with pytest.raises(MessageError) as refused:
        decode_command(change(schema="x\n\x1b[31m" + "y" * 10_000))
    assert str(refused.value).isprintable()
    assert str(refused.value).endswith("y…")
    assert len(str(refused.value)) < MAX_LINE


def test_the_sender_of_a_refused_command_is_read_where_it_can_be() -> None:
    sender = read_sender(change(expires_s="soon"))
    assert sender is not None
    assert (sender.requester, sender.id, sender.op) == ("watch", "r-1", "replay")
    sender = read_sender(change(id="\n", op=["x"]))
    assert sender is not None
    assert (sender.requester, sender.id, sender.op) == ("watch", None, None)
    assert read_sender(change(requester="../x")) is None
    assert read_sender(b'{"requester":"watch"') is None
    assert read_sender(change(args={"x": " " * MAX_COMMAND_BYTES})) is None
    assert read_sender(b'{"requester":"watch","a":' + b"[" * 7000 + b"]" * 7000 + b"}") is None


def test_what_is_no_answer_is_refused() -> None:
    with pytest.raises(MessageError, match=r"response is refused: .*missing required field `site`"):
        decode("response", b"{}")


def test_one_line() -> None:
    assert one_line("all is well") == "all is well"
    assert one_line("a\nb\x00c") == "a b c"
    assert len(one_line("x" * 1000)) == MAX_LINE
