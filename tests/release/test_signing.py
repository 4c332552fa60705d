"""A signature says who made a bundle; whatever was changed after it is refused, by one line."""

import base64
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from release.grown import Grown, bundle_of
from release.tampering import CARD, edit, seal_again

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.release.check import check_bundle
from ontogeny.release.files import SIGNATURE, SUMS

signing = pytest.importorskip("ontogeny.release.signing")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
FLIPS = 120


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two pairs: mine and other."""
    directory = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        signing.make_keys(directory / f"{name}.key.pem", directory / f"{name}.pub.pem")
    return directory


@pytest.fixture(scope="module")
def once(written: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed bundle; nobody writes to it."""
    bundle = Path(shutil.copytree(written, tmp_path_factory.mktemp("signed") / "chat-hf"))
    signing.PrivateKey(keys / "mine.key.pem").sign(bundle)
    return bundle


@pytest.fixture
def signed(once: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(once, tmp_path / "chat-hf"))


def check(bundle: Path, key: Path) -> dict[str, int]:
    who = signing.PublicKey(key).signed
    return {each.name: each.count for each in check_bundle(bundle, None, who)}


def refused(bundle: Path, key: Path) -> str:
    with pytest.raises(CorruptArtifact) as caught:
        check(bundle, key)
    return str(caught.value)


def objection(who: Callable[[Path], object], bundle: Path) -> str:
    """What is wrong with a signature; nothing where it holds."""
    try:
        who(bundle)
    except CorruptArtifact as error:
        return str(error)
    return ""


def test_a_signed_bundle_is_whole_under_any_name(once: Path, keys: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(once, tmp_path / "another name"))
    for bundle in (once, other):
        counts = check(bundle, keys / "mine.pub.pem")
        assert next(iter(counts)) == "signature"
        files = [path for path in bundle.rglob("*") if path.is_file()]
        assert counts["signature"] == counts["files"] == len(files) - 1


def test_the_list_of_sums_is_as_without_a_signature(once: Path, written: Path) -> None:
    assert (once / SUMS).read_bytes() == (written / SUMS).read_bytes()
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=once, check=True)


def test_without_a_key_a_signature_is_said_not_to_be_checked(once: Path) -> None:
    first = next(iter(check_bundle(once)))
    assert (first.name, first.line) == ("signature", "signed, not checked: give --key PUB.pem")


def test_a_bundle_without_a_signature_is_refused_where_one_is_wanted(
    written: Path, keys: Path
) -> None:
    assert "the bundle is not signed" in refused(written, keys / "mine.pub.pem")


def test_another_key_is_refused(once: Path, keys: Path) -> None:
    said = refused(once, keys / "other.pub.pem")
    assert f"{SIGNATURE}:1: signed by another key than" in said


def test_a_key_that_claims_to_be_the_signer_is_refused(signed: Path, keys: Path) -> None:
    """The hint in the signature is the thief's to write; the curve's arithmetic is not."""
    path = signed / SIGNATURE
    mine, other = (signing.PublicKey(keys / f"{name}.pub.pem") for name in ("mine", "other"))
    assert mine.fingerprint in path.read_text()
    path.write_text(path.read_text().replace(mine.fingerprint, other.fingerprint))
    assert "does not fit what it signs" in refused(signed, other.path)


def test_an_extra_file_is_refused_though_it_is_in_the_list(signed: Path, keys: Path) -> None:
    (signed / "evidence" / "0123456789abcdef.json").write_text("{}")
    seal_again(signed, "evidence/0123456789abcdef.json")
    said = refused(signed, keys / "mine.pub.pem")
    assert said.endswith("SHA256SUMS:1: not the file that was signed; get the bundle again")
    (signed / ".gitattributes").write_text("")  # what other tools leave out
    said = refused(signed, keys / "mine.pub.pem")
    assert said.endswith(".gitattributes:1: this file was not signed; remove it")


def test_a_missing_file_is_refused(signed: Path, keys: Path) -> None:
    path = next((signed / "evidence").iterdir())
    path.unlink()
    seal_again(signed)
    said = refused(signed, keys / "mine.pub.pem")
    assert "SHA256SUMS:1: not the file" in said or f"{path.name}:1: this signed file" in said


def test_an_edited_card_is_refused_though_the_list_fits(signed: Path, keys: Path) -> None:
    edit(signed, CARD, "A small model", "A large model")
    assert "README.md:1: not the file that was signed" in refused(signed, keys / "mine.pub.pem")


def test_any_flipped_bit_is_found_the_signatures_own_too(signed: Path, keys: Path) -> None:
    """Of the signature itself a flip may only leave what means the same."""
    draw = random.Random(3)
    who = signing.PublicKey(keys / "mine.pub.pem").signed
    true = who(signed)
    files = sorted(path for path in signed.rglob("*") if path.is_file())
    for path in [*files, *draw.choices(files, k=10), *[signed / SIGNATURE] * FLIPS]:
        data = path.read_bytes()
        place, bit = draw.randrange(len(data)), draw.randrange(8)
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        if path.name == SIGNATURE:
            said = objection(who, signed)
            assert SIGNATURE in said if said else who(signed) == true, (place, bit)
        else:
            assert path.name in refused(signed, keys / "mine.pub.pem"), (path, place, bit)
        path.write_bytes(data)
    check(signed, keys / "mine.pub.pem")


def test_any_truncated_signature_is_refused(signed: Path, keys: Path) -> None:
    path = signed / SIGNATURE
    data = path.read_bytes()
    for place in range(40):
        path.write_bytes(data[: len(data) * place // 40])
        assert SIGNATURE in refused(signed, keys / "mine.pub.pem")


def test_the_signature_of_another_bundle_is_refused(
    signed: Path, life: Grown, keys: Path, tmp_path: Path
) -> None:
    other = bundle_of(life, tmp_path / "base-hf", "base")
    signing.PrivateKey(keys / "mine.key.pem").sign(other)
    shutil.copyfile(other / SIGNATURE, signed / SIGNATURE)
    said = refused(signed, keys / "mine.pub.pem")
    assert "not the file that was signed" in said or "was not signed" in said


def envelope(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Changes what a signature says it signs, and keeps its number."""
    found = json.loads(path.read_text())
    statement = json.loads(base64.b64decode(found["dsseEnvelope"]["payload"]))
    change(statement)
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    found["dsseEnvelope"]["payload"] = payload
    path.write_text(json.dumps(found))


def test_a_statement_that_was_rewritten_is_refused(signed: Path, keys: Path) -> None:
    def leave_out(statement: dict[str, object]) -> None:
        statement["predicate"]["serialization"]["ignore_paths"].append(CARD)  # type: ignore[index]

    envelope(signed / SIGNATURE, leave_out)
    (signed / CARD).write_text("mine")
    assert "does not fit what it signs" in refused(signed, keys / "mine.pub.pem")


def test_a_statement_that_leaves_files_out_is_refused_even_signed(signed: Path, keys: Path) -> None:
    """Whoever signs by other tools may leave files out; a bundle is signed whole or not."""
    (signed / SIGNATURE).unlink()
    paths = [Path(SIGNATURE), Path(CARD)]
    hashing = signing.hashing.Config().set_ignored_paths(paths=paths, ignore_git_paths=False)
    config = signing.signing.Config().use_elliptic_key_signer(private_key=keys / "mine.key.pem")
    config.set_hashing_config(hashing).sign(signed, signed / SIGNATURE)
    assert "leaves files out" in refused(signed, keys / "mine.pub.pem")


def test_the_formats_own_tool_checks_it_without_us(once: Path, keys: Path) -> None:
    command = ["verify", "key", str(once), "--signature", str(once / SIGNATURE)]
    command += ["--public_key", str(keys / "mine.pub.pem"), "--ignore-paths", str(once / SIGNATURE)]
    done = subprocess.run(
        [sys.executable, "-m", "model_signing", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout


# Keys.


def rsa(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa as kind

    key = kind.generate_private_key(65537, 2048).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public_bytes(serialization.Encoding.PEM, form))


def other_curve(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256K1()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public_bytes(serialization.Encoding.PEM, form))


BAD_PUBLIC: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "this key is empty"),
    "blank": (lambda path: path.write_bytes(b"\n"), "this key is empty"),
    "missing": (lambda _: None, "cannot be read"),
    "a directory": (lambda path: path.mkdir(), "cannot be read"),
    "no key": (lambda path: path.write_text("hello"), "no public key in PEM"),
    "huge": (lambda path: path.write_bytes(b"x" * (1 << 17)), "no key"),
    "rsa": (rsa, "a key of the kind RSA; signatures are by elliptic curve keys"),
    "another curve": (other_curve, "a key of the kind secp256k1"),
}


@pytest.mark.parametrize(("make", "reason"), BAD_PUBLIC.values(), ids=BAD_PUBLIC.keys())
def test_a_file_that_is_no_key_is_one_line(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / "key.pem"
    make(path)
    with pytest.raises(InputError) as caught:
        signing.PublicKey(path)
    assert str(caught.value).startswith(f"{path}:1: ") and reason in str(caught.value)


def test_a_private_key_offered_as_public_is_refused_and_not_printed(keys: Path) -> None:
    with pytest.raises(InputError, match="this is a private key") as caught:
        signing.PublicKey(keys / "mine.key.pem")
    secret = (keys / "mine.key.pem").read_text().splitlines()[1]
    assert secret not in str(caught.value)


def test_a_public_key_signs_nothing(keys: Path) -> None:
    with pytest.raises(InputError, match="this is a public key"):
        signing.PrivateKey(keys / "mine.pub.pem")


def test_a_key_that_others_can_read_signs_nothing(keys: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(keys / "mine.key.pem", tmp_path / "key.pem"))
    path.chmod(0o640)
    with pytest.raises(InputError, match=f"chmod 600 {path}"):
        signing.PrivateKey(path)


def test_a_key_with_a_password_is_one_line(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    path = tmp_path / "key.pem"
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    path.chmod(0o600)
    with pytest.raises(InputError, match="this key has a password"):
        signing.PrivateKey(path)


def test_a_pair_is_its_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    private, public = tmp_path / "a.key.pem", tmp_path / "a.pub.pem"
    fingerprint = signing.make_keys(private, public)
    assert private.stat().st_mode & 0o777 == 0o600
    assert signing.PrivateKey(private).fingerprint == fingerprint
    assert signing.PublicKey(public).fingerprint == fingerprint
    said = subprocess.run(["sha256sum", public], capture_output=True, text=True, check=True)
    assert said.stdout.split()[0] == fingerprint
    before = private.read_bytes()
    with pytest.raises(InputError, match="a key is not overwritten"):
        signing.make_keys(private, tmp_path / "b.pub.pem")
    assert private.read_bytes() == before


def test_a_bundle_is_signed_once(signed: Path, keys: Path) -> None:
    before = (signed / SIGNATURE).read_bytes()
    with pytest.raises(InputError, match="delete this to sign it anew"):
        signing.PrivateKey(keys / "other.key.pem").sign(signed)
    assert (signed / SIGNATURE).read_bytes() == before


def test_keys_of_openssl_sign_and_check(written: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    private, public = tmp_path / "k.pem", tmp_path / "p.pem"
    make = ["openssl", "ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", str(private)]
    subprocess.run(make, check=True, capture_output=True)
    private.chmod(0o600)
    tell = ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)]
    subprocess.run(tell, check=True, capture_output=True)
    bundle = Path(shutil.copytree(written, tmp_path / "chat-hf"))
    signing.PrivateKey(private).sign(bundle)
    assert check(bundle, public)["signature"] > 10
