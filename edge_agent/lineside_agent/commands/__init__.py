"""What a station can be asked to do over MQTT.

    desk.py       the border to the network: checks, does once, answers
    request.py    what an op is given
    answers.py    what was answered; the fake of the outbox's keeper
    mailbox.py    answers on their way
    quota.py      how many commands a second
    audit.py      the log of who asked for what
    replay.py  snapshot.py  ops.py    the ops

A new op costs one function or class, one row in the agent's table of ops, one row in the tests
and one part of docs/commands.md.
"""

from __future__ import annotations

from lineside_agent.commands.answers import Answers, KeptAnswers, MemoryAnswers
from lineside_agent.commands.audit import Audit
from lineside_agent.commands.desk import Desk
from lineside_agent.commands.request import Args, Op, Reply, Request

__all__ = [
    "Answers",
    "Args",
    "Audit",
    "Desk",
    "KeptAnswers",
    "MemoryAnswers",
    "Op",
    "Reply",
    "Request",
]
