"""A station's or a user's identity: one PEM file with a private key and its certificate.

One file, so that one rename puts both in place and they always belong together; `cert_file` and
`key_file` both name it. A station's key is made on the device and never leaves it: only a request
comes back, and the certificate goes there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from lineside.errors import DeployError, StorageError
from lineside.files import write_file
from lineside_deploy.plant import authority as sign
from lineside_deploy.remote import AS_ROOT, Remote
from lineside_device.places import IDENTITY, USER

FILE: Final = "station.pem"

REQUEST: Final = f"""exec $as sh -c 'set -e; umask 077; mkdir -p {IDENTITY}; cd {IDENTITY}
command -v openssl >/dev/null || {{ echo openssl is not installed there >&2; exit 3; }}
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \\
  -subj /CN=station -keyout new.key 2>/dev/null'
"""
KEEP: Final = f"""exec $as sh -c 'set -e; umask 077; cd {IDENTITY}
cat new.key - >new.pem
if id {USER} >/dev/null 2>&1; then chown {USER}: . new.pem; fi
sync new.pem; mv new.pem {FILE}; rm new.key; sync .'
"""
_PEM: Final = re.compile(
    r"-----BEGIN CERTIFICATE REQUEST-----.*?-----END CERTIFICATE REQUEST-----", re.DOTALL
)


def request_key(remote: Remote) -> ec.EllipticCurvePublicKey:
    """Make a private key on a device; the one in use stays until `keep_certificate`.

    Returns:
        Its public key.

    Raises:
        DeployError: the device can't be reached, or can't make one.
    """
    found = _PEM.search(remote.call(AS_ROOT + REQUEST))
    if found is None:
        msg = f"{remote.host}: it made no key"
        raise DeployError(msg)
    return sign.requested_key(found[0].encode())


def keep_certificate(remote: Remote, certificate: bytes) -> None:
    """Put a certificate beside the key that was made for it.

    An agent that runs reads it when it connects the next time.

    Raises:
        DeployError: the device can't be reached, or written.
    """
    remote.call(AS_ROOT + KEEP, stdin=certificate)


def check_new(path: Path) -> None:
    """Refuse a file that is there already, before anything is made for it.

    Raises:
        StorageError: naming it.
    """
    if path.exists():
        msg = f"{path} is there already: move it away, or name another with --out"
        raise StorageError(msg)


def write_identity(path: Path, key: ec.EllipticCurvePrivateKey, certificate: bytes) -> None:
    """A file with a key that was made here and its certificate, for its owner alone to read.

    Raises:
        StorageError: the disk is full or can't be written.
    """
    write_file(path, sign.key_pem(key) + certificate, 0o600)
