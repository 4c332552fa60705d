"""On the command line: a pair of keys, a signed bundle, and each refusal as one line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from release.grown import Grown

pytest.importorskip("ontogeny.release.signing")


def ontogeny(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ontogeny", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the pairs me and you."""
    directory = tmp_path_factory.mktemp("pairs")
    for name in ("me", "you"):
        assert ontogeny("keygen", directory / name).returncode == 0
    return directory


@pytest.fixture(scope="module")
def exported(life: Grown, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that was signed as it was exported; nobody writes to it."""
    out = tmp_path_factory.mktemp("out") / "chat-hf"
    told = ("--store", life.store.root, "--out", out, "--sign", keys / "me.key.pem")
    done = ontogeny("export", "chat", *told)
    assert done.returncode == 0, done.stderr
    assert "signature by the key with the fingerprint " in done.stdout
    assert [path.name for path in out.parent.iterdir()] == ["chat-hf"]
    return out


def told(done: subprocess.CompletedProcess[str], code: int, reason: str) -> None:
    """One line, this exit code, this reason."""
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert done.stderr.startswith("error: ") and reason in done.stderr


def test_what_is_signed_as_it_is_exported_is_checked_first(exported: Path, keys: Path) -> None:
    done = ontogeny("verify", exported, "--key", keys / "me.pub.pem", "--json")
    assert done.returncode == 0, done.stderr
    names = [each["name"] for each in json.loads(done.stdout)["checks"]]
    assert names == ["signature", "files", "load", "evidence", "materials", "card"]
    statement = (exported / "model.sig").read_text()
    assert str(exported.parent) not in statement and ".tmp" not in statement


def test_a_key_is_not_shown_and_not_in_the_bundle(exported: Path, keys: Path) -> None:
    secret = (keys / "me.key.pem").read_text().splitlines()[1].encode()
    files = [path for path in exported.rglob("*") if path.is_file()]
    assert not [path for path in files if secret in path.read_bytes()]


def test_each_refusal_is_one_line(exported: Path, keys: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(exported, tmp_path / "chat-hf"))
    mine, yours = keys / "me.pub.pem", keys / "you.pub.pem"
    told(ontogeny("verify", bundle, "--key", yours), 3, "signed by another key")
    told(ontogeny("verify", bundle, "--key", keys / "me.key.pem"), 2, "this is a private key")
    told(ontogeny("verify", bundle, "--key", tmp_path / "none"), 2, "cannot be read")
    told(ontogeny("sign", bundle, "--key", keys / "me.key.pem"), 2, "delete this to sign it anew")
    (bundle / "config.json").write_text("{}")
    told(ontogeny("verify", bundle, "--key", mine), 3, "config.json:1: not the file that was sign")
    (bundle / "model.sig").unlink()
    told(ontogeny("verify", bundle, "--key", mine), 3, "the bundle is not signed")
    told(ontogeny("sign", bundle, "--key", keys / "me.key.pem"), 3, "config.json:1: sha256")
    assert not (bundle / "model.sig").exists()
    told(ontogeny("keygen", keys / "me"), 2, "a key is not overwritten")


def test_import_takes_only_what_that_key_signed(exported: Path, keys: Path, tmp_path: Path) -> None:
    store = ("--store", tmp_path / "life")
    refused = ontogeny("import", exported, "--key", keys / "you.pub.pem", *store)
    told(refused, 3, "signed by another key")
    assert not (tmp_path / "life").exists()
    done = ontogeny("import", exported, "--key", keys / "me.pub.pem", *store)
    assert done.returncode == 0, done.stderr
    assert "not checked" not in done.stderr
    done = ontogeny("import", exported, "--name", "again", *store)
    assert "is signed, not checked: give --key" in done.stderr
    told(ontogeny("import", tmp_path, "--key", keys / "me.pub.pem", *store), 2, "no bundle")


def test_a_bad_key_is_told_before_anything_is_made(life: Grown, keys: Path, tmp_path: Path) -> None:
    out = ("--store", life.store.root, "--out", tmp_path / "out")
    told(ontogeny("export", "chat", *out, "--sign", keys / "me.pub.pem"), 2, "a public key")
    other = ("--to", "gguf", "--sign", keys / "me.key.pem")
    told(ontogeny("export", "chat", *out, *other), 2, "--sign is for the bundle of hf")
    assert list(tmp_path.iterdir()) == []


def test_without_the_library_one_line_says_how_to_get_it(
    exported: Path, keys: Path, tmp_path: Path
) -> None:
    (tmp_path / "model_signing.py").write_text("raise ImportError\n")
    without = {"PYTHONPATH": str(tmp_path)}
    key = ("--key", keys / "me.pub.pem")
    told(ontogeny("verify", exported, *key, **without), 2, "pip install 'ontogeny[release]'")
    assert ontogeny("verify", exported, **without).returncode == 0
