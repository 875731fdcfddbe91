"""Certificates made for one test, by the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tests.support.program import program


@dataclass(frozen=True)
class Pki:
    """Paths of PEM files: an authority, a broker and a client that it signed, and a stranger."""

    ca: Path
    broker: Path
    broker_key: Path
    client: Path
    client_key: Path
    stranger: Path


def make_pki(folder: Path) -> Pki:
    """Make them; the broker's name is 127.0.0.1."""
    program("openssl", "openssl")
    folder.mkdir(parents=True)
    _authority(folder, "ca")
    _authority(folder, "stranger")
    _signed(folder, "broker", "subjectAltName=IP:127.0.0.1")
    _signed(folder, "client", "extendedKeyUsage=clientAuth")
    names = ("ca.pem", "broker.pem", "broker.key", "client.pem", "client.key", "stranger.pem")
    return Pki(*(folder / name for name in names))


def _openssl(folder: Path, *args: str) -> None:
    done = subprocess.run(
        ["openssl", *args], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _authority(folder: Path, name: str) -> None:
    files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
    _openssl(folder, "req", "-x509", *_KEY, *files, "-subj", f"/CN=test {name}", "-days", "2")


def _signed(folder: Path, name: str, extension: str) -> None:
    files = ("-keyout", f"{name}.key", "-out", f"{name}.csr")
    _openssl(folder, "req", *_KEY, *files, "-subj", f"/CN={name}")
    (folder / f"{name}.ext").write_text(extension + "\n")
    ca = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext")
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *ca, "-out", f"{name}.pem", "-days", "2")


def broker_certificate(pki: Pki, path: Path, *, begins_in_days: int) -> Path:
    """The broker's certificate anew, for one day that begins in so many days."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

    key = load_pem_private_key((pki.ca.parent / "ca.key").read_bytes(), password=None)
    old = x509.load_pem_x509_certificate(pki.broker.read_bytes())
    begins = datetime.now(timezone.utc) + timedelta(days=begins_in_days)
    builder = x509.CertificateBuilder(
        issuer_name=old.issuer,
        subject_name=old.subject,
        public_key=old.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=begins,
        not_valid_after=begins + timedelta(days=1),
        extensions=list(old.extensions),
    )
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))  # type: ignore[arg-type]
    return path
