"""`ontogeny keygen` and `ontogeny sign`: who made a bundle."""

from __future__ import annotations

from pathlib import Path

from ontogeny.base import files
from ontogeny.base.errors import printable
from ontogeny.release.check import check_bundle
from ontogeny.release.signing import PrivateKey, make_keys


def keygen(name: Path) -> None:
    """Makes NAME.key.pem, which only its owner can read, and NAME.pub.pem.

    Raises:
        InputError: one of them is there already, or the directory cannot be written.
        NoSpace: the disk is full or fails.
    """
    private, public = (name.with_name(f"{name.name}.{kind}.pem") for kind in ("key", "pub"))
    files.require_directory(name.absolute().parent)
    fingerprint = make_keys(private, public)
    print(printable(f"{private}  yours alone: whoever has it signs in your name"))
    print(printable(f"{public}  give it to whoever shall check, by another way than the bundle"))
    print(f"fingerprint {fingerprint}")


def sign(bundle: Path, key: Path) -> None:
    """Signs a bundle that is whole; says by which key.

    Raises:
        InputError: no bundle, signed already, or no key to sign with.
        CorruptArtifact: FILE:LINE of the first thing in the bundle that is not as it should be.
    """
    owner = PrivateKey(key)
    for _ in check_bundle(bundle):
        pass
    print(printable(signed_line(bundle, owner)))


def signed_line(bundle: Path, owner: PrivateKey) -> str:
    """Signs `bundle`; the line that tells of it."""
    count = owner.sign(bundle)
    return f"signed {bundle}: {count} files, by the key with the fingerprint {owner.fingerprint}"
