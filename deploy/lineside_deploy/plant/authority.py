"""Keys, certificates and the revocation list of a plant. Pure: from bytes to bytes.

ECDSA on P-256, which every TLS library of a device knows, and X.509 as RFC 5280 has it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lineside.errors import InputError

AUTHORITY_DAYS: Final = 20 * 365
BROKER_DAYS: Final = 5 * 365
CLIENT_DAYS: Final = 2 * 365
EARLIER: Final = timedelta(days=1)
"""A certificate is good from a day before it was made: clocks of a plant differ."""


@dataclass(frozen=True)
class Authority:
    """Who signs the certificates of one plant.

    Attributes:
        key: P-256.
        certificate: its own.
    """

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key on the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS #8, not encrypted: its file's mode keeps it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_authority(name: str, now: datetime) -> Authority:
    """An authority that signed itself."""
    key = new_key()
    subject = _name(name)
    usage = _usage(sign=True)
    builder = _builder(subject, key.public_key(), now, AUTHORITY_DAYS).issuer_name(subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    return Authority(key, builder.sign(key, hashes.SHA256()))


def load_authority(key: bytes, certificate: bytes) -> Authority:
    """From PEM.

    Raises:
        InputError: one of both is none, or they are not of each other.
    """
    try:
        loaded = load_pem_private_key(key, password=None)
        found = x509.load_pem_x509_certificate(certificate)
    except (ValueError, TypeError) as error:
        msg = f"the authority's key or certificate is damaged ({error}): put a backup in its place"
        raise InputError(msg) from error
    if (
        not isinstance(loaded, ec.EllipticCurvePrivateKey)
        or found.public_key() != loaded.public_key()
    ):
        msg = "the authority's key is not the one of its certificate: put a backup in its place"
        raise InputError(msg)
    return Authority(loaded, found)


def sign_broker(
    authority: Authority, key: ec.EllipticCurvePublicKey, hosts: Sequence[str], now: datetime
) -> x509.Certificate:
    """A certificate for a server that is reached under these names and addresses.

    Args:
        authority: who signs.
        key: the broker's.
        hosts: names and IP addresses, at least one.
        now: UTC.
    """
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    builder = _builder(_name(hosts[0]), key, now, BROKER_DAYS)
    builder = builder.add_extension(names, critical=False)
    return _signed(authority, builder, ExtendedKeyUsageOID.SERVER_AUTH)


def sign_client(
    authority: Authority,
    key: ec.EllipticCurvePublicKey,
    name: str,
    now: datetime,
    days: int = CLIENT_DAYS,
) -> x509.Certificate:
    """A certificate for a station or a user.

    Args:
        authority: who signs.
        key: the client's.
        name: its common name: what the broker takes it for. It was checked (`names`).
        now: UTC.
        days: that it is good for.
    """
    builder = _builder(_name(name), key, now, days)
    return _signed(authority, builder, ExtendedKeyUsageOID.CLIENT_AUTH)


def revocation_list(
    authority: Authority, revoked: Iterable[tuple[int, datetime]], now: datetime
) -> bytes:
    """PEM of the list of certificates that are not good any more.

    It is good as long as the authority is: it is a file beside the broker, not fetched from
    anywhere, and a list that has run out would lock everybody out.

    Args:
        authority: who signs.
        revoked: serial numbers, and since when.
        now: UTC.
    """
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=authority.certificate.subject,
        last_update=now - EARLIER,
        next_update=authority.certificate.not_valid_after_utc,
    )
    for serial, since in revoked:
        entry = x509.RevokedCertificateBuilder(serial_number=serial, revocation_date=since)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a request for a certificate; what name it asks for is ignored.

    Args:
        request: PKCS #10, PEM.

    Raises:
        InputError: it is none, not signed by its own key, or the key is not on P-256.
    """
    try:
        found = x509.load_pem_x509_csr(request)
        key = found.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"the device's request for a certificate is damaged: {error}"
        raise InputError(msg) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        msg = "the device's request for a certificate has no key on the curve P-256"
        raise InputError(msg)
    if not found.is_signature_valid:
        msg = "the device's request for a certificate is not signed by its own key"
        raise InputError(msg)
    return key


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - EARLIER,
        not_valid_after=now + timedelta(days=days),
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _signed(
    authority: Authority, builder: x509.CertificateBuilder, purpose: x509.ObjectIdentifier
) -> x509.Certificate:
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    none = x509.BasicConstraints(ca=False, path_length=None)
    builder = builder.issuer_name(authority.certificate.subject)
    builder = builder.add_extension(none, critical=True)
    builder = builder.add_extension(_usage(sign=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    builder = builder.add_extension(signer, critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )
