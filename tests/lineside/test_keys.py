"""Keys: made once, for the owner's eyes only."""

from __future__ import annotations

import hashlib
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lineside.errors import InputError, StorageError
from lineside.keys import find_password, load_private_key, new_key_pair, read_public_key
from lineside.signature import fingerprint
from tests.support.command import lineside

PASSWORD = "correct horse battery staple"  # noqa: S105 - for a key that lives for one test


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_pair(tmp_path: Path) -> None:
    done = lineside("keys", "new", "plant", "--out", tmp_path / "keys")
    private, public = tmp_path / "keys" / "plant.pem", tmp_path / "keys" / "plant.pub.pem"
    assert (mode(private), mode(public)) == (0o600, 0o644)
    found = hashlib.sha256(public.read_bytes()).hexdigest()
    assert found in done.stdout
    assert str(private) in done.stdout
    assert "not encrypted" in done.stdout
    secret = private.read_text().splitlines()[1]
    assert secret not in done.stdout + done.stderr
    assert "PRIVATE" not in done.stdout + done.stderr
    key = load_private_key(private)
    assert key.curve.name == "secp256r1"
    assert fingerprint(key.public_key()) == found
    assert read_public_key(public) == public.read_bytes()


def test_the_private_key_is_never_open_to_others(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        pair = new_key_pair("plant", tmp_path)
    finally:
        os.umask(old)
    assert mode(pair.private) == 0o600


def test_two_pairs_are_two(tmp_path: Path) -> None:
    assert new_key_pair("a", tmp_path).fingerprint != new_key_pair("b", tmp_path).fingerprint


@pytest.mark.parametrize("there", ["plant.pem", "plant.pub.pem"])
def test_nothing_is_overwritten_and_no_half_is_left(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    done = lineside("keys", "new", "plant", "--out", tmp_path, ok=False)
    assert f"{there} is there already: choose another name" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "plant.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"plant.pem is there already"):
        new_key_pair("plant", tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["../plant", "", "a b", "x" * 65, "plant\n"])
def test_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"1 to 64 of the characters .* are expected, got"):
        new_key_pair(name, tmp_path)


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = lineside("keys", "new", "plant", "--out", tmp_path / "file", ok=False)
    assert "file" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def check_encrypted(folder: Path, said: str) -> None:
    private = folder / "plant.pem"
    assert "encrypted with the password" in said
    assert PASSWORD not in said
    assert private.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    load_private_key(private, PASSWORD.encode())
    with pytest.raises(InputError, match=r"plant.pem can't be used: the password is wrong"):
        load_private_key(private, b"wrong")
    with pytest.raises(InputError, match=r"plant.pem is encrypted: its password is expected in"):
        load_private_key(private)


def test_a_password_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    file = tmp_path / "password"
    done = lineside("keys", "new", "plant", "--out", tmp_path, "--password-file", file)
    check_encrypted(tmp_path, done.stdout + done.stderr)
    assert find_password(tmp_path / "plant.pem", file) == PASSWORD.encode()


def test_a_password_from_the_environment(tmp_path: Path) -> None:
    env = {"LINESIDE_KEY_PASSWORD": PASSWORD}
    done = lineside("keys", "new", "plant", "--out", tmp_path, env=env)
    check_encrypted(tmp_path, done.stdout + done.stderr)


def typed(command: list[str], *questions: bytes) -> tuple[str, str]:
    """Run a command on a terminal, and type the password at each question; stdout and stderr."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # without a terminal of its own it asks on stdin
    ) as process:
        assert process.stderr is not None
        for question in questions:
            said = b""
            while not said.endswith(question):
                byte = process.stderr.read(1)
                assert byte, said
                said += byte
            os.write(ours, PASSWORD.encode() + b"\n")
        out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, err
    return out.decode(), err.decode()


def test_a_password_that_is_typed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lineside", "keys", "new", "plant", "--out", str(tmp_path)]
    out, err = typed([*command, "--ask"], b"Password: ", b"confirmation: ")
    check_encrypted(tmp_path, out + err)


def test_the_password_of_a_key_is_asked_for_where_nothing_gives_it(tmp_path: Path) -> None:
    private = new_key_pair("plant", tmp_path, PASSWORD.encode()).private
    code = (
        "import sys; from pathlib import Path; from lineside.keys import *\n"
        "load_private_key(Path(sys.argv[1]), find_password(Path(sys.argv[1])))"
    )
    typed([sys.executable, "-c", code, str(private)], f"Password of {private}: ".encode())
    with pytest.raises(InputError, match=r"plant.pem is encrypted: its password is expected in"):
        find_password(private)


def test_asking_needs_a_terminal(tmp_path: Path) -> None:
    done = lineside("keys", "new", "plant", "--out", tmp_path, "--ask", ok=False)
    assert "--ask needs a terminal: use --password-file or LINESIDE_KEY_PASSWORD" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_empty_password_is_none(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    file = tmp_path / "password"
    done = lineside("keys", "new", "a", "--out", tmp_path, "--password-file", file, ok=False)
    assert "password is empty, a password is expected" in done.stderr
    env = {"LINESIDE_KEY_PASSWORD": ""}
    done = lineside("keys", "new", "a", "--out", tmp_path, env=env, ok=False)
    assert "LINESIDE_KEY_PASSWORD is empty, a password is expected" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["password"]


def test_no_option_takes_a_password_itself(tmp_path: Path) -> None:
    done = lineside("keys", "new", "plant", "--out", tmp_path, "--password", PASSWORD, ok=False)
    assert done.returncode == 2


def test_public_keys_that_are_none(tmp_path: Path) -> None:
    pair = new_key_pair("plant", tmp_path)
    with pytest.raises(InputError, match=r"gone.pem can't be read: No such file"):
        read_public_key(tmp_path / "gone.pem")
    with pytest.raises(InputError, match=r"can't be read: Is a directory"):
        read_public_key(tmp_path)
    with pytest.raises(InputError, match=r"plant.pem: a private key was given to trust"):
        read_public_key(pair.private)
