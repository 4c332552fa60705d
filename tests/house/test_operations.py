"""Machines as they are: no network, secrets lying about, nothing writable, other versions.

One tiny life is lived under all of it at once: umask 077, LANG=C, one core, no GPU, a HOME and a
TMPDIR that cannot be written, keys in the environment, and a hook that hears of every socket.
"""

import ast
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import TinyLife

from ontogeny.base.errors import InputError
from ontogeny.base.identity import digest
from ontogeny.base.store import Store
from ontogeny.corpus.scrub import KEY
from ontogeny.feedback.ledger import Ledger
from ontogeny.release.secrets import refuse_secrets

ROOT = Path(__file__).resolve().parents[2]
WATCHED = ROOT / "tests" / "support" / "watched"
SECRETS = {
    "OPENAI_API_KEY": "sk-" + "planted0For1Tests2" * 2,
    "HF_TOKEN": "hf_" + "Planted3For4Tests5" * 2,
    "AWS_SECRET_ACCESS_KEY": "planted/6For7Tests8" * 2,
    "DATABASE_PASSWORD": "correct horse battery staple 9",
}
LOOPBACK = re.compile(r"127\.0\.0\.1|::1|localhost")
LIBRARY = "export LD_LIBRARY_PATH=$(dirname $(dirname {python}))/lib; "
"""An interpreter that was moved may find another's library first."""
AS_USER = ROOT / "tests" / "rollout" / "sandbox" / "as_user.py"


@dataclass(frozen=True)
class Lived:
    """A life that was lived under hard conditions: its store, its bundle, what was printed."""

    store: Path
    bundle: Path
    printed: str
    sockets: list[str]


def nothing_to_spare() -> None:
    """In the child, before it becomes the program."""
    os.umask(0o077)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@pytest.fixture(scope="module")
def lived(life: TinyLife, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    place = tmp_path_factory.mktemp("hard")
    heard = place / "sockets"
    environment = {
        **{name: value for name, value in life.environment.items() if not name.startswith("LC_")},
        **SECRETS,
        "PYTHONPATH": str(WATCHED),
        "WATCHED_SOCKETS": str(heard),
        "LANG": "C",
        "HOME": "/proc/none",
        "TMPDIR": "/proc/none",
        "CUDA_VISIBLE_DEVICES": "",
    }
    store, bundle = place / "life", place / "grpo-hf"
    export = [sys.executable, "-m", "ontogeny", "export", "grpo", "--store", str(store)]
    printed = ""
    for command in (life.command(store), [*export, "--out", str(bundle)]):
        done = subprocess.run(
            command,
            env=environment,
            cwd=place,
            text=True,
            capture_output=True,
            check=False,
            timeout=600,
            preexec_fn=nothing_to_spare,
        )
        printed += done.stdout + done.stderr
        assert done.returncode == 0, done.stderr
    return Lived(store, bundle, printed, heard.read_text().splitlines() if heard.exists() else [])


# What it did.


def test_a_life_is_lived_and_told_under_hard_conditions(lived: Lived) -> None:
    store = Store.open(lived.store)
    assert store.all()[1] == [] and {"grpo", "release", "measure/grpo"} <= store.named().keys()
    assert all(path.stat().st_mode & 0o077 == 0 for path in lived.store.rglob("*"))
    assert "Traceback" not in lived.printed


def test_no_offline_stage_speaks_to_anybody(lived: Lived) -> None:
    """`bind` of a library that asks whether there is IPv6, and our own servers, stay at home."""
    assert lived.sockets.count("watched") >= 2, "the hook was in the run and in the export"
    used = [line for line in lived.sockets if line != "watched"]
    abroad = [line for line in used if not LOOPBACK.search(line)]
    own = [line for line in abroad if "AF_UNIX" not in line and not re.search(r"\['?/|\[b'", line)]
    assert own == []


def test_the_hook_hears_what_it_should(tmp_path: Path) -> None:
    script = (
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.connect(('192.0.2.1', 9))\n"
        "try:\n    socket.getaddrinfo('example.invalid', 80)\nexcept OSError:\n    pass\n"
    )
    heard = tmp_path / "sockets"
    environment = {**os.environ, "PYTHONPATH": str(WATCHED), "WATCHED_SOCKETS": str(heard)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=False, timeout=60)
    text = heard.read_text()
    assert "socket.connect [('192.0.2.1', 9)]" in text
    assert "socket.getaddrinfo" in text and "example.invalid" in text


# Secrets.


def planted(data: bytes) -> list[str]:
    return [name for name, value in SECRETS.items() if value.encode() in data]


def test_no_secret_of_the_environment_is_in_anything_that_was_written(lived: Lived) -> None:
    files = [path for place in (lived.store, lived.bundle) for path in place.rglob("*")]
    assert {"events.jsonl", "record.json", "README.md"} <= {path.name for path in files}
    assert [path for path in files if path.is_file() and planted(path.read_bytes())] == []
    assert planted(lived.printed.encode()) == []


def test_the_scanner_finds_what_is_planted(tmp_path: Path) -> None:
    for name, value in SECRETS.items():
        (tmp_path / "file").write_text(f"x\n{value}\n")
        assert planted((tmp_path / "file").read_bytes()) == [name]
        with pytest.raises(InputError) as caught:
            refuse_secrets(tmp_path, SECRETS)
        assert caught.value.line == 2 and value not in str(caught.value)


def test_nothing_that_looks_like_a_key_is_in_a_bundle_or_the_repository(lived: Lived) -> None:
    refuse_secrets(lived.bundle, {})
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, timeout=60
    )
    if tracked.returncode != 0:
        pytest.skip("no checkout")
    names = tracked.stdout.decode().rstrip("\0").split("\0")
    found = {
        f"{name}: {key}"
        for name in names
        if (ROOT / name).is_file()
        for key in keys_in(ROOT / name)
    }
    assert found == set()


def keys_in(path: Path) -> Iterator[str]:
    """What looks like a key in a file; in tests, what is put together so that it looks like one."""
    text = path.read_text("utf-8", errors="replace")
    for found in KEY.pattern.finditer(text):
        plain = "test" in path.parts[len(ROOT.parts) :][0] or "docs" in path.parts
        if not plain or not obviously_made_up(found.group()):
            yield found.group()[:12]


def obviously_made_up(key: str) -> bool:
    """Keys in tests of the scrubber: no entropy, or the examples that the vendors print."""
    return len(set(key)) < 26 or "EXAMPLE" in key or "1234" in key or "abcd" in key.lower()


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_export_refuses_words_with_a_secret(
    life: TinyLife, lived: Lived, tmp_path: Path, name: str
) -> None:
    (tmp_path / "about.md").write_text(f"Fine.\n\nCall it by `{SECRETS[name].split()[0]}`.\n")
    if name == "DATABASE_PASSWORD":
        (tmp_path / "about.md").write_text(f"Our word is: {SECRETS[name][:-2]}.\n")
    environment = {**life.environment, name: SECRETS[name]}
    if name == "DATABASE_PASSWORD":
        environment[name] = SECRETS[name][:-2]
    command = ["export", "grpo", "--store", str(lived.store), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "ontogeny", *command, "--about", str(tmp_path / "about.md")],
        env=environment,
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not planted(done.stderr.encode())
    assert [path.name for path in tmp_path.iterdir()] == ["about.md"]


# Other users.


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_can_live_and_look(life: TinyLife) -> None:
    recipe, plan = (path.relative_to(ROOT) for path in (life.recipe, life.plan))
    script = (
        LIBRARY + "mkdir $TMPDIR/texts && "
        "cp $(find {repo}/../site -path '*speeches*' -name '*.txt' | sort | head -6) "
        "$TMPDIR/texts && cd $TMPDIR && id -u && "
        "TINY_LIFE_TEXTS=$TMPDIR/texts OMP_NUM_THREADS=1 {python} -m ontogeny run "
        f"{{repo}}/{recipe} --plan {{repo}}/{plan} --until tokens --store life && "
        "{python} -m ontogeny list --store life"
    )
    done = subprocess.run(
        [sys.executable, str(AS_USER), "/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("65534\n") and "tokens" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_place_where_nobody_may_write_is_one_line() -> None:
    script = LIBRARY + "{python} -m ontogeny show --store /sys/life; "
    script += "{python} -m ontogeny run {repo}/tests/support/tiny_life.py --store /sys/life"
    done = subprocess.run(
        [sys.executable, str(AS_USER), "/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in (2, 4), done.stderr
    looked, ran = done.stderr.splitlines()
    assert looked.startswith("error: /sys/life:1: no store here")
    assert ran.startswith("error: /sys/life:1: cannot make this directory")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("command", ["run", "rerun"])
def test_a_full_disk_for_temporary_files_works_or_is_one_line(
    life: TinyLife, lived: Lived, tmp_path: Path, command: str
) -> None:
    """64 kB of room: a run does without, a measurement that is made again says what it lacks."""
    full = tmp_path / "full"
    full.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(full)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("no mounts here")
    arguments = {
        "run": life.command(tmp_path / "life", "--until", "tokens")[3:],
        "rerun": ["verify", str(lived.bundle), "--rerun", "safety"],
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ontogeny", *arguments[command]],
            env={**life.environment, "TMPDIR": str(full)},
            text=True,
            capture_output=True,
            check=False,
            timeout=300,
        )
    finally:
        subprocess.run(["umount", str(full)], check=True)
    assert "Traceback" not in done.stderr
    if command == "run":
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 4, done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"error: {full}")


# Other versions of the program.


@pytest.fixture
def small(tmp_path: Path, lived: Lived) -> Path:
    """A copy of a store with one artifact."""
    store = tmp_path / "life"
    identity = Store.open(lived.store).named()["tokenizer"]
    for part in ("work", "names", "plans"):
        (store / part).mkdir(parents=True)
    shutil.copy(lived.store / "store.json", store)
    shutil.copy(lived.store / "names" / "tokenizer.json", store / "names")
    shutil.copytree(lived.store / "artifacts" / identity, store / "artifacts" / identity)
    return store


COMMANDS = {
    "show": ("show", "tokenizer"),
    "list": ("list",),
    "clean": ("clean",),
    "export": ("export", "tokenizer", "--out", "nowhere"),
    "import": ("import", "nowhere"),
    "compare": ("compare", "tokenizer", "tokenizer"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_store_of_another_format_is_one_line(
    life: TinyLife, small: Path, command: tuple[str, ...]
) -> None:
    (small / "store.json").write_text('{"format": 2}')
    done = life.ontogeny(*command, "--store", str(small))
    assert done.returncode == 2, done.stdout
    assert done.stderr.count("\n") == 1
    assert "this store is of another format (ours is 1)" in done.stderr


def test_a_store_of_another_format_is_not_run_in(life: TinyLife, small: Path) -> None:
    (small / "store.json").write_text('{"format": 2}')
    done = life.run(small)
    assert done.returncode == 2 and "another format" in done.stderr
    assert not (small / "events.jsonl").exists()


def test_a_record_of_a_newer_format_is_one_line(life: TinyLife, small: Path) -> None:
    (path,) = small.glob("artifacts/*/record.json")
    values = json.loads(path.read_text())
    values.pop("seal")
    values |= {"format": 2, "signed_by": "somebody"}
    path.write_text(json.dumps(values | {"seal": digest(values)}))
    done = life.ontogeny("show", "tokenizer", "--store", str(small))
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert f"error: {path}:1: not a record of format 1; it was made by another version" in (
        done.stderr
    )


def test_a_ledger_of_another_version_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    for opens in (Ledger.open, Ledger.read):
        with pytest.raises(InputError, match="this ledger is of format 2, ours is 1"):
            opens(path)


def test_every_format_that_is_written_is_checked_when_it_is_read() -> None:
    """A new FORMAT must come with a refusal of others, or two versions mix in silence."""
    for path in (ROOT / "ontogeny").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        writes = any(
            isinstance(node, ast.Assign)
            and any(isinstance(each, ast.Name) and each.id == "FORMAT" for each in node.targets)
            for node in tree.body
        )
        assert not writes or names.count("FORMAT") >= 2, path
