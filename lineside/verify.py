"""The command `lineside verify`: whether a bundle was signed by the key that is trusted."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from msgspec import Struct

from lineside.bundle import open_bundle
from lineside.errors import BundleError
from lineside.keys import read_public_key


class Verification(Struct, frozen=True, kw_only=True):
    """What `lineside verify --json` says."""

    bundle: str
    """Its path."""
    ok: bool
    error: str | None = None
    """Why it is refused."""
    signed_by: str | None = None
    """The fingerprint of the trusted key."""
    name: str | None = None
    version: str | None = None
    digest: str | None = None
    """`sha256:` and the hash of its manifest.json."""
    files: int | None = None
    """How many there are, signature.json among them."""


def verify_bundle(path: Path, trust: bytes) -> Verification:
    """Check a bundle as a station does that trusts one key.

    Args:
        path: a folder or a zip file.
        trust: the PEM of a public key.

    Raises:
        InputError: `trust` is no key that can be used.
        MissingExtraError: `cryptography` is not installed.
    """
    try:
        bundle = open_bundle(path, trust=trust)
    except BundleError as error:
        return Verification(bundle=str(path), ok=False, error=str(error))
    return Verification(
        bundle=str(path),
        ok=True,
        signed_by=bundle.signed_by,
        name=bundle.manifest.name,
        version=bundle.manifest.version,
        digest=bundle.digest,
        files=len(bundle.files),
    )


@click.command(epilog="Example:  lineside verify bundles/cells --trust keys/plant.pub.pem")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--trust",
    metavar="PUB",
    type=click.Path(path_type=Path),
    required=True,
    help="The public key (.pub.pem) that must have signed it.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON, for programs; a refusal too.")
def verify(bundle: Path, *, trust: Path, as_json: bool) -> None:
    """Say whether the key PUB signed BUNDLE, every file of it, and nothing was changed since.

    Exits with 0 only if so. Its model is not loaded.
    """
    found = verify_bundle(bundle, read_public_key(trust))
    if as_json:
        click.echo(msgspec.json.encode(found))
        raise click.exceptions.Exit(0 if found.ok else 1)
    if not found.ok:
        raise BundleError(found.error)
    what = f"{found.name} {found.version}, {found.files} files"
    click.echo(f"ok: {bundle} ({what}) is signed by {found.signed_by}")
