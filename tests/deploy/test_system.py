"""What becomes the agent's: nothing but what lies in its folders."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from lineside_device import system
from lineside_device.system import System


def test_what_was_put_there_before_becomes_the_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    state, identity, others = (tmp_path / name for name in ("state", "identity", "others"))
    (state / "models").mkdir(parents=True)
    (state / "models/one").touch()
    others.mkdir()
    (others / "shadow").touch()
    # What somebody who has taken the agent over would put there.
    (state / "link").symlink_to(others / "shadow")
    (state / "folder").symlink_to(others)
    (state / "other").hardlink_to(others / "shadow")
    os.mkfifo(state / "pipe")
    before = [(one.stat().st_uid, one.stat().st_mode) for one in (others, others / "shadow")]
    for name, value in (("STATE", state), ("IDENTITY", identity), ("USER", "nobody")):
        monkeypatch.setattr(system, name, value)
    System().folders()
    uid = pwd.getpwnam("nobody").pw_uid
    for path, mode in (
        *((folder, 0o700) for folder in (state, identity, state / "models")),
        (state / "models/one", 0o600),
    ):
        found = path.stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (uid, mode)
    assert before == [
        (one.stat().st_uid, one.stat().st_mode) for one in (others, others / "shadow")
    ]
