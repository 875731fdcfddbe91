"""A real SSH server on the loopback interface, that lets this account in with one key."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import time
from pathlib import Path

from typing_extensions import Self

from tests.support.broker import free_port
from tests.support.program import program

CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/allowed
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
"""

CLIENT = """\
Host device
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {folder}/known
  GlobalKnownHostsFile none
"""


class SshServer:
    """`sshd`, and a configuration of ssh in which it is called `device`.

    Args:
        folder: for its keys.
        layered: folders of this machine that whoever comes in finds as they are, and changes
            without changing them: what is written there goes to `folder / "written"`. What is to
            be found there is put there before it starts.
        bound: a folder for each path below those: the very same files.
    """

    def __init__(self, folder: Path, *layered: str, bound: dict[str, Path] | None = None) -> None:
        self._sshd = shutil.which("sshd", path="/usr/sbin") or program("sshd", "openssh-server")
        self.folder = folder
        folder.mkdir()
        for name in ("host", "key", "other"):
            words = ["-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run([program("ssh-keygen", "openssh-client"), *words], check=True)
        self.port = free_port()
        self.config = folder / "config"
        told = {"port": self.port, "folder": folder, "user": getpass.getuser()}
        self.config.write_text(CLIENT.format(**told))
        (folder / "sshd_config").write_text(CONFIG.format(**told))
        self._layers = []
        for path in layered:
            upper, work = (folder / kind / path.lstrip("/") for kind in ("written", "work"))
            upper.mkdir(parents=True)
            work.mkdir(parents=True)
            layers = f"lowerdir={path},upperdir={upper},workdir={work}"
            self._layers.append(f"mount -t overlay overlay -o {layers} {path}")
        for path, real in (bound or {}).items():
            self._layers.append(f"mkdir -p {path} && mount --bind {real} {path}")
        self.allow("key")
        self.know("host")

    def allow(self, key: str) -> None:
        """Let only that key in."""
        shutil.copy(self.folder / f"{key}.pub", self.folder / "allowed")

    def know(self, key: str | None) -> None:
        """The key that the client takes for the server's; None: none."""
        known = "" if key is None else (self.folder / f"{key}.pub").read_text()
        line = f"[127.0.0.1]:{self.port} {known}" if known else ""
        (self.folder / "known").write_text(line)

    def __enter__(self) -> Self:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        script = " && ".join([*self._layers, 'exec "$@"'])
        prefix = ["unshare", "--mount", "sh", "-c", script, "sh"] if self._layers else []
        self._process = subprocess.Popen(
            [*prefix, self._sshd, "-D", "-e", "-f", str(self.folder / "sshd_config")],
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 10
        assert self._process.stderr is not None
        said = b""
        while b"listening" not in said:
            assert time.monotonic() < deadline, said
            line = self._process.stderr.readline()
            assert line, said  # it has ended
            said += line
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        if self._process.stderr is not None:
            self._process.stderr.close()
