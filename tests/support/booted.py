"""A machine that boots: Debian 12 for arm64 under qemu, with systemd, a camera (vivid) and SSH.

What the installation of its packages would have done is written down here. It reaches this
machine's loopback interface as 10.0.2.2.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from typing_extensions import Self

from tests.support.arm64 import Machine
from tests.support.broker import free_port
from tests.support.program import program

PACKAGES: Final = (
    *("base-files", "base-passwd", "passwd", "login", "libc-bin", "dash", "coreutils", "bash"),
    *("sed", "grep", "tar", "util-linux", "mount", "procps", "kmod", "python3"),
    *("libpython3-stdlib", "libgomp1", "libstdc++6", "ca-certificates", "systemd"),
    *("systemd-sysv", "udev", "dbus", "openssh-server", "sudo", "busybox-static"),
    "linux-image-arm64",
)
BEFORE_DISK: Final = ("virtio_mmio", "virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
"""Modules that the disk needs."""

INIT: Final = """\
#!/bin/sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs devtmpfs /dev
while read -r module; do /bin/busybox insmod "/modules/$module"; done </modules/order
/bin/busybox mount -t ext4 -o rw /dev/vda /root
/bin/busybox umount /proc
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""

FILES: Final = {
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/hostname": "press4\n",
    "etc/hosts": "127.0.0.1 localhost press4\n",
    "etc/machine-id": "",
    "etc/modprobe.d/vivid.conf": "options vivid n_devs=1 node_types=0x1 multiplanar=1\n",
    "etc/modules-load.d/vivid.conf": "vivid\n",
    "etc/systemd/network/80-all.network": "[Match]\nName=e*\n[Network]\nDHCP=ipv4\n",
    "etc/ssh/sshd_config": (
        "HostKey /etc/ssh/host\nAuthorizedKeysFile /etc/ssh/allowed\nUsePAM no\nStrictModes no\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\n"
    ),
    "etc/systemd/system/ssh.service": (
        "[Unit]\nAfter=network.target\n[Service]\nExecStart=/usr/sbin/sshd -D\n"
        "RuntimeDirectory=sshd\nRuntimeDirectoryMode=0755\n"
    ),
    "etc/default/locale": "LANG=C.UTF-8\n",
}
ENABLED: Final = {
    "ssh.service": "/etc/systemd/system/ssh.service",
    "systemd-networkd.service": "/lib/systemd/system/systemd-networkd.service",
    "systemd-timesyncd.service": "/lib/systemd/system/systemd-timesyncd.service",
}
CLIENT: Final = """\
Host device
  HostName 127.0.0.1
  Port {port}
  User root
  IdentityFile {folder}/key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {folder}/known
  GlobalKnownHostsFile none
"""


def configure(root: Path, folder: Path, files: dict[str, str], enabled: dict[str, str]) -> None:
    """What the installation of packages would have done, and an SSH server that lets one key in.

    Args:
        root: of the machine.
        folder: gets the keys: `key` of who may come in, `host` of the machine.
        files: below the root, and what is in them.
        enabled: units, and the files that they are links to.
    """
    with (root / "etc/passwd").open("a") as file:
        file.write("sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n")
        file.write("messagebus:x:106:106::/nonexistent:/usr/sbin/nologin\n")
    with (root / "etc/group").open("a") as file:
        file.write("messagebus:x:106:\n")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for name, target in enabled.items():
        (wants / name).unlink(missing_ok=True)
        (wants / name).symlink_to(target)
    for name in ("key", "host"):
        words = ["-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run([program("ssh-keygen", "openssh-client"), *words], check=True)
    shutil.copy(folder / "host", root / "etc/ssh/host")
    shutil.copy(folder / "key.pub", root / "etc/ssh/allowed")


def let_in(folder: Path, port: int) -> Path:
    """A configuration of ssh in which the machine is called `device`.

    Args:
        folder: that `configure` was given.
        port: of its SSH server, on this machine's loopback interface.
    """
    config = folder / "ssh"
    config.write_text(CLIENT.format(port=port, folder=folder))
    host = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host}")
    return config


class Powered:
    """A machine that may be on: what can be asked of it over SSH, and of its console.

    Args:
        config: of ssh, in which it is called `device`.
        log: what it says on its console.
    """

    def __init__(self, config: Path, log: Path) -> None:
        self.config, self.log = config, log
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """A shell command there, as root; it may fail."""
        words = ["-F", str(self.config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
        return subprocess.run(
            [program("ssh", "openssh-client"), *words, "device", command],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def console(self) -> str:
        """What it said last on its console."""
        return self.log.read_text(errors="replace")[-3000:]

    def wait(self, timeout: float = 180) -> None:
        """Until it lets somebody in."""
        deadline = time.monotonic() + timeout
        while self.run("true", timeout=timeout).returncode:
            assert time.monotonic() < deadline, self.console()
            assert self._process is not None
            assert self._process.poll() is None, self.console()
            time.sleep(0.1)


class Image:
    """A disk, a kernel and what starts it.

    Args:
        folder: for all of it.
        prepare: is given the machine before it has ever booted.
        disk_mb: how large the disk is.
    """

    def __init__(
        self, folder: Path, prepare: Callable[[Machine], object] = id, disk_mb: int = 2000
    ) -> None:
        self.folder, root = folder, folder / "root"
        folder.mkdir(parents=True)
        machine = Machine(root, packages=PACKAGES)
        (self.kernel,) = root.glob("boot/vmlinuz-*")
        version = self.kernel.name.removeprefix("vmlinuz-")
        subprocess.run(["depmod", "-b", str(root), version], check=True)
        configure(root, folder, FILES, ENABLED)
        prepare(machine)
        self._make_initrd(root, version)
        self.kernel = shutil.copy(self.kernel, folder / "kernel")
        for name in ("boot", "usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(root / name, ignore_errors=True)
        self.disk = folder / "disk"
        with self.disk.open("wb") as file:
            file.truncate(disk_mb * 1_000_000)
        lazy = "lazy_itable_init=1,lazy_journal_init=1"
        words = ["-q", "-F", "-E", lazy, "-d", str(root), str(self.disk)]
        subprocess.run(["mkfs.ext4", *words], check=True)
        shutil.rmtree(root)

    def _make_initrd(self, root: Path, version: str) -> None:
        start = self.folder / "initrd"
        for name in ("bin", "modules", "proc", "dev", "root"):
            (start / name).mkdir(parents=True)
        shutil.copy(root / "bin/busybox", start / "bin")
        (start / "bin/sh").symlink_to("busybox")
        order: list[str] = []
        for module in BEFORE_DISK:
            words = ["-d", str(root), "-S", version, "--show-depends", module]
            done = subprocess.run(["modprobe", *words], check=True, capture_output=True, text=True)
            for line in done.stdout.splitlines():
                kind, _, path = line.partition(" ")
                file = Path(path.strip())
                if kind == "insmod" and file.name not in order:
                    order.append(file.name)
                    shutil.copy(file, start / "modules")
        (start / "modules/order").write_text("".join(f"{name}\n" for name in order))
        (start / "init").write_text(INIT)
        (start / "init").chmod(0o755)
        names = "\n".join(str(path.relative_to(start)) for path in start.rglob("*"))
        self.initrd = self.folder / "initrd.cpio"
        with self.initrd.open("wb") as file:
            words = ["cpio", "--quiet", "-o", "-H", "newc"]
            subprocess.run(words, input=names.encode(), stdout=file, cwd=start, check=True)
        shutil.rmtree(start)


class Booted(Powered):
    """A machine that runs from an image; what it writes stays on the disk.

    Args:
        image: what it starts from.
        memory_mb: that it has.
        wakes_at: what its clock says at first: it has no battery.
    """

    def __init__(
        self, image: Image, memory_mb: int = 1024, wakes_at: str = "2020-01-01T00:00:00"
    ) -> None:
        self._image, self._memory, self._wakes_at = image, memory_mb, wakes_at
        self.port = free_port()
        super().__init__(let_in(image.folder, self.port), image.folder / "console")

    def __enter__(self) -> Self:
        drive = f"if=none,id=disk,file={self._image.disk},format=raw,cache=unsafe"
        forward = f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22"
        command = [program("qemu-system-aarch64", "qemu-system-arm"), "-M", "virt"]
        command += ["-cpu", "cortex-a72", "-smp", "2", "-m", str(self._memory)]
        command += [
            "-rtc",
            f"base={self._wakes_at}",
            "-accel",
            "tcg,thread=multi",
            "-kernel",
            str(self._image.kernel),
        ]
        command += ["-initrd", str(self._image.initrd)]
        command += ["-append", "console=ttyAMA0 root=/dev/vda rw quiet"]
        command += ["-drive", drive, "-device", "virtio-blk-device,drive=disk"]
        command += ["-netdev", forward, "-device", "virtio-net-device,netdev=net"]
        command += ["-device", "virtio-rng-device", "-display", "none", "-no-reboot"]
        command += ["-serial", f"file:{self.log}", "-monitor", "none"]
        self.started = time.monotonic()
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.pull_the_plug()

    def pull_the_plug(self) -> None:
        """No power, at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
