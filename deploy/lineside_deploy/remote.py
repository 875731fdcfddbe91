"""A device over SSH: OpenSSH's own client, with what the user's configuration of it says.

Nothing is asked: a key that is unknown, or a password that is wanted, is refused in one line.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from lineside.errors import DeployError

OPTIONS: Final = (
    *("-o", "BatchMode=yes"),
    *("-o", "StrictHostKeyChecking=yes"),
    *("-o", "ConnectTimeout=15"),
    # A device that vanishes is noticed after half a minute.
    *("-o", "ServerAliveInterval=10"),
    *("-o", "ServerAliveCountMax=3"),
)
NO_CONNECTION: Final = 255
"""ssh's own exit code."""
LOST: Final = ("client_loop: ", "closed by remote host", "Timeout, server ")
"""What ssh says of a connection that was there; of one that is killed over there, nothing."""
AS_ROOT: Final = '[ "$(id -u)" = 0 ] && as= || as="sudo -n"; '
"""What a command begins with, in which `$as` stands before what root must do."""


@dataclass(frozen=True)
class Remote:
    """A device.

    Attributes:
        host: as ssh takes it: `USER@HOST`, or a name of its configuration.
        port: of its SSH server; None: what the configuration says.
        config: of ssh; None: the user's.
    """

    host: str
    port: int | None = None
    config: Path | None = None

    def run(
        self,
        command: str,
        *,
        stdin: IO[bytes] | bytes = b"",
        heard: Callable[[str], object] = len,
    ) -> tuple[int, str, str]:
        """Run a shell command there.

        Args:
            command: for the device's shell, without anything in it that somebody gave.
            stdin: what it reads. Bytes may be secret: they are on no disk of this machine.
            heard: is called with each line that it says, at once.

        Returns:
            Its exit code, what it said, and its errors.

        Raises:
            DeployError: there is no ssh, or no connection, and why.
        """
        words = self._words(command)
        said = []
        with contextlib.ExitStack() as stack:
            errors = stack.enter_context(tempfile.TemporaryFile())
            given = subprocess.PIPE if isinstance(stdin, bytes) else stdin
            process = stack.enter_context(
                subprocess.Popen(words, stdin=given, stdout=subprocess.PIPE, stderr=errors)
            )
            if isinstance(stdin, bytes):
                giving = threading.Thread(target=_give, args=(process.stdin, stdin))
                giving.start()
                stack.callback(giving.join)
            for line in process.stdout or ():
                said.append(line.decode(errors="replace"))
                heard(said[-1].rstrip("\n"))
            code = process.wait()
            errors.seek(0)
            complaint = errors.read().decode(errors="replace").strip()
        if code == NO_CONNECTION:
            raise DeployError(self._why(complaint))
        return code, "".join(said), complaint

    def call(
        self,
        command: str,
        *,
        stdin: IO[bytes] | bytes = b"",
        heard: Callable[[str], object] = len,
    ) -> str:
        """Run a shell command there that must succeed.

        Args:
            command: as for `run`, and so are the others.
            stdin: what it reads.
            heard: is called with each line that it says, at once.

        Returns:
            What it said.

        Raises:
            DeployError: there is no ssh, or no connection, or it failed: in its own last words.
        """
        code, said, errors = self.run(command, stdin=stdin, heard=heard)
        if code:
            raise DeployError(self._failed(code, errors or said))
        return said

    @contextlib.contextmanager
    def stream(self, command: str) -> Iterator[IO[bytes]]:
        """What a shell command there writes, as it comes.

        Args:
            command: for the device's shell, without anything in it that somebody gave.

        Raises:
            DeployError: there is no ssh, or no connection, or the command failed: at the end.
        """
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(
                self._words(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            ) as process,
        ):
            assert process.stdout is not None  # noqa: S101 - it was asked for
            failed = None
            try:
                yield process.stdout
            except (EOFError, ValueError, tarfile.TarError) as error:
                failed = error  # what came is cut off: the device says why
            process.stdout.close()
            code = process.wait()
            errors.seek(0)
            complaint = errors.read().decode(errors="replace").strip()
        if code == NO_CONNECTION:
            raise DeployError(self._why(complaint)) from failed
        if code or failed is not None:
            raise DeployError(self._failed(code, complaint or str(failed or ""))) from failed

    def _words(self, command: str) -> list[str]:
        ssh = shutil.which("ssh")
        if ssh is None:
            msg = "ssh is not installed: apt-get install openssh-client"
            raise DeployError(msg)
        if self.host.startswith("-"):
            msg = f"{self.host!r} is no host: USER@HOST is expected"
            raise DeployError(msg)
        words = [ssh, *OPTIONS]
        words += ["-p", str(self.port)] if self.port is not None else []
        words += ["-F", str(self.config)] if self.config is not None else []
        return [*words, "--", self.host, command]

    def _failed(self, code: int, said: str) -> str:
        last = said.strip().splitlines()[-1:] or [f"exit code {code}"]
        if last[0] == "sudo: a password is required":
            return (
                f"{self.host}: its account may not become root without a password "
                f"(sudo -n true): allow that, or name root@{self.host.rpartition('@')[2]}"
            )
        return f"{self.host}: {last[0].removeprefix('error: ')}"

    def _why(self, errors: str) -> str:
        if "REMOTE HOST IDENTIFICATION HAS CHANGED" in errors:
            return (
                f"the key of {self.host} is another one than before: somebody may be in its place. "
                "If it was set up anew, forget the old key (ssh-keygen -R "
                f"{self.host.rpartition('@')[2]}), and compare the new one as you did then"
            )
        if "Host key verification failed" in errors:
            return (
                f"the key of {self.host} is not known here: compare "
                f"it with the device's (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there), "
                f"then run 'ssh {self.host}' once and accept it"
            )
        if "Permission denied" in errors:
            return (
                f"{self.host} accepts none of this account's keys: ssh-copy-id {self.host}, "
                "or name another user"
            )
        last = errors.splitlines()[-1].strip() if errors else "ssh does not say why"
        if not errors or any(word in errors for word in LOST):
            return f"the connection to {self.host} was lost ({last}): do it again"
        return f"{self.host} can't be reached: {last}"


def _give(pipe: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(data)
