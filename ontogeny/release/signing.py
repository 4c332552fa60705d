"""Signatures of bundles by an elliptic curve key. The one module that imports model_signing.

The signature is a file of the bundle in the format of OpenSSF Model Signing: a Sigstore bundle
(v0.3) around a DSSE envelope around an in-toto statement that lists the sha256 of every other
file, SHA256SUMS included. The tools of that format check it without us. Needs no network.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ontogeny.base import files
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.release.files import AGAIN, SIGNATURE, SUMS, present_files
from ontogeny.release.jsons import parse_json

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from model_signing import hashing, signing, verifying
except ImportError:
    raise InputError(
        "signatures need model-signing; run: pip install 'ontogeny[release]'"
    ) from None

WAY = ("files", "sha256")
CURVES = ("secp256r1", "secp384r1", "secp521r1")
LARGEST_KEY, LARGEST_SIGNATURE = 1 << 16, 16 << 20
OTHERS = stat.S_IRWXG | stat.S_IRWXO
_PRIVATE, _PUBLIC = b"PRIVATE KEY-----", b"-----BEGIN PUBLIC KEY-----"


@dataclass(frozen=True)
class PublicKey:
    """Whose signature is believed: an elliptic curve's public key in a PEM file.

    Raises:
        InputError: the file cannot be read, or holds something else: what it holds, and the remedy.
    """

    path: Path

    def __post_init__(self) -> None:
        data = _read(self.path)
        if _PRIVATE in data:
            raise InputError(
                "this is a private key; keep it, and give the public one: "
                f"openssl pkey -in {self.path} -pubout",
                file=self.path,
            )
        try:
            key = serialization.load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm):
            raise InputError(
                "no public key in PEM; see `ontogeny keygen`", file=self.path
            ) from None
        _require_curve(key, self.path)

    @property
    def fingerprint(self) -> str:
        """The sha256 of the key as PEM, which is what `sha256sum` says of the file."""
        key = serialization.load_pem_public_key(self.path.read_bytes())
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return _fingerprint(key)

    def signed(self, directory: Path) -> dict[str, str]:
        """The sha256 of every file as this key signed it, each file's bytes compared with it.

        Raises:
            CorruptArtifact: there is no signature, it is another key's or damaged, or a file is not
                as it was signed.
        """
        present_files(directory)
        path = directory / SIGNATURE
        statement = _statement(path)
        config = verifying.Config().use_elliptic_key_verifier(public_key=self.path)
        try:
            config.set_hashing_config(_hashing()).verify(directory, path)
        except InvalidSignature:
            reason = f"the signature does not fit what it signs; {AGAIN}"
            raise CorruptArtifact(reason, file=path) from None
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OSError) as error:
            raise self._objection(directory, statement, " ".join(str(error).split())) from None
        return _digests(statement, path)

    def _objection(
        self, directory: Path, statement: Mapping[str, Any], said: str
    ) -> CorruptArtifact:
        """What the library objects to, in our words where they say more."""
        path = directory / SIGNATURE
        if said.startswith("Key mismatch"):
            reason = f"signed by another key than {self.path}; do not trust the bundle"
            return CorruptArtifact(reason, file=path)
        if said.startswith("Signature mismatch"):  # so the statement itself is the key's
            return _other_file(directory, _digests(statement, path))
        reason = f"no signature that {self.path} checks ({said[:80]}); {AGAIN}"
        return CorruptArtifact(reason, file=path)


@dataclass(frozen=True)
class PrivateKey:
    """Who signs: an elliptic curve's private key in a PEM file that only its owner can read.

    Raises:
        InputError: the file cannot be read, others can read it, or it holds something else.
    """

    path: Path

    def __post_init__(self) -> None:
        key = _private(self.path)
        _require_curve(key.public_key(), self.path)
        if self.path.stat().st_mode & OTHERS:
            reason = f"others on this machine can read this key; run: chmod 600 {self.path}"
            raise InputError(reason, file=self.path)

    @property
    def fingerprint(self) -> str:
        """That of the public key which belongs to it."""
        return _fingerprint(_private(self.path).public_key())

    def sign(self, directory: Path) -> int:
        """Writes the signature of a bundle into it, all or nothing; how many files it covers.

        Raises:
            InputError: it is signed already.
            CorruptArtifact: it holds what no bundle holds.
            NoSpace: the disk is full or fails.
        """
        target = directory / SIGNATURE
        if os.path.lexists(target):
            raise InputError("the bundle is signed; delete this to sign it anew", file=target)
        count = len(present_files(directory)) + 1
        config = signing.Config().use_elliptic_key_signer(private_key=self.path)
        draft = directory / f".{SIGNATURE}.{os.getpid()}.draft"  # written after all was hashed
        try:
            with files.disk_errors(target):
                config.set_hashing_config(_hashing()).sign(directory, draft)
                data = draft.read_bytes()
        finally:
            draft.unlink(missing_ok=True)
        files.write_atomically(target, data)
        return count


def make_keys(private: Path, public: Path) -> str:
    """Makes a pair of keys on the curve P-256; the public one's fingerprint.

    The private key's file is made readable to its owner alone, before anything is in it.

    Raises:
        InputError: one of the files is there already.
        NoSpace: the disk is full or fails.
    """
    for path in (private, public):
        if os.path.lexists(path):
            raise InputError("is already there; a key is not overwritten", file=path)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for path, data, mode in ((private, pem, 0o600), (public, _public_pem(key.public_key()), 0o644)):
        with files.disk_errors(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
    return _fingerprint(key.public_key())


def _hashing() -> hashing.Config:
    """Every file by its sha256, the signature's own left out and nothing else."""
    return hashing.Config().set_ignored_paths(paths=[Path(SIGNATURE)], ignore_git_paths=False)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_KEY + 1)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None
    if not data.strip():
        raise InputError("this key is empty; `ontogeny keygen` makes a pair", file=path)
    if len(data) > LARGEST_KEY:
        raise InputError(f"more than {LARGEST_KEY:,} bytes, no key", file=path)
    return data


def _private(path: Path) -> Any:
    data = _read(path)
    if _PUBLIC in data:
        raise InputError("this is a public key; give the private one to sign", file=path)
    try:
        return serialization.load_pem_private_key(data, None)
    except TypeError:  # so the library says that a password is missing
        raise InputError(
            "this key has a password; sign with a key that has none: openssl pkey -in KEY -out NEW",
            file=path,
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InputError("no private key in PEM; see `ontogeny keygen`", file=path) from None


def _require_curve(key: object, path: Path) -> None:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        kind = type(key).__name__.strip("_").removesuffix("PublicKey")
        named = getattr(getattr(key, "curve", None), "name", kind)
        raise InputError(
            f"a key of the kind {named}; signatures are by elliptic curve keys on P-256, P-384 or "
            "P-521: `ontogeny keygen` makes a pair",
            file=path,
        )


def _public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    return hashlib.sha256(_public_pem(key)).hexdigest()


def _statement(path: Path) -> Mapping[str, Any]:
    """What a signature says it signs, which nothing but its check makes true.

    Raises:
        CorruptArtifact: there is none, or it has another form than ours.
    """
    if not path.exists():
        raise CorruptArtifact("the bundle is not signed; do not trust it", file=path.parent)
    if path.stat().st_size > LARGEST_SIGNATURE:
        raise CorruptArtifact(f"too large for a signature; {AGAIN}", file=path)
    found = parse_json(path.read_bytes(), path)
    try:
        hint = found["verificationMaterial"]["publicKey"]["hint"]
        (signature,) = found["dsseEnvelope"]["signatures"]
        payload = base64.b64decode(found["dsseEnvelope"]["payload"], validate=True)
        if not isinstance(hint, str) or not hint or not isinstance(signature["sig"], str):
            raise ValueError
    except (KeyError, TypeError, ValueError, binascii.Error):
        reason = f"no signature of the form that we write; {AGAIN}"
        raise CorruptArtifact(reason, file=path) from None
    return parse_json(payload, path)


def _other_file(directory: Path, signed: Mapping[str, str]) -> CorruptArtifact:
    """The first file, by name, that is not as it was signed."""
    present = present_files(directory) | {SUMS}
    for name in sorted(present | signed.keys()):
        if name not in signed:
            return CorruptArtifact("this file was not signed; remove it", file=directory / name)
        if name not in present:
            return CorruptArtifact(f"this signed file is missing; {AGAIN}", file=directory / name)
        if files.sha256(directory / name) != signed[name]:
            reason = f"not the file that was signed; {AGAIN}"
            return CorruptArtifact(reason, file=directory / name)
    return CorruptArtifact("it changes while it is checked; check it alone", file=directory)


def _digests(statement: Mapping[str, Any], path: Path) -> dict[str, str]:
    """Path -> sha256 as signed; the signature has been checked.

    Raises:
        CorruptArtifact: the statement leaves files out, or hashes otherwise than we do.
    """
    how = statement["predicate"].get("serialization")
    if not isinstance(how, dict) or (how.get("method"), how.get("hash_type")) != WAY:
        reason = f"signed in another way than ours: {json.dumps(how)}; sign it by `ontogeny sign`"
        raise CorruptArtifact(reason, file=path)
    if how.get("ignore_paths") != [SIGNATURE]:
        reason = f"leaves files out: {json.dumps(how.get('ignore_paths'))}; sign it anew"
        raise CorruptArtifact(reason, file=path)
    return {each["name"]: each["digest"] for each in statement["predicate"]["resources"]}
