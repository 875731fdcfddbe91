"""A station's or a user's identity: one PEM file with a private key and its certificate.

One file, so that one rename puts both in place and they always belong together; `cert_file` and
`key_file` both name it. A station's key is made on the device and never leaves it: only a request
comes back, and the certificate goes there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from lineside.errors import DeployError, InputError, StorageError
from lineside.files import write_file
from lineside_deploy.plant import authority as sign
from lineside_deploy.remote import AS_ROOT, Remote
from lineside_device.places import CERTIFICATE, IDENTITY, USER

REQUEST: Final = f"""exec $as sh -c 'set -e; umask 077; mkdir -p {IDENTITY}; cd {IDENTITY}
command -v openssl >/dev/null || {{ echo openssl is not installed there >&2; exit 3; }}
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \\
  -subj /CN=station -keyout new.key 2>/dev/null'
"""
KEEP: Final = f"""exec $as sh -c 'set -e; umask 077; cd {IDENTITY}
cat new.key - >new.pem
if id {USER} >/dev/null 2>&1; then chown {USER}: . new.pem; fi
sync new.pem; mv new.pem {CERTIFICATE.name}; rm new.key; sync .'
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


def check_identity(pem: bytes, name: str) -> None:
    """Refuse what is no identity of a station.

    Args:
        pem: what `write_identity` has written; or a key and a certificate of another authority.
        name: of the station, `SITE/STATION`.

    Raises:
        InputError: a half is missing or damaged, they don't belong together, or it is of another.
    """
    try:
        key = load_pem_private_key(pem, None)
        certificate = x509.load_pem_x509_certificate(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        msg = "it is no private key with its certificate: 'lineside deploy station new' makes one"
        raise InputError(msg) from error
    if key.public_key() != certificate.public_key():
        msg = "its private key is not that of its certificate"
        raise InputError(msg)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    found = str(names[0].value) if names else ""
    # Another authority may call stations as it likes, but not as ours calls somebody else.
    if found != name and ("/" in found or ":" in found):
        msg = f"it is of {found}, and the package of {name}"
        raise InputError(msg)
