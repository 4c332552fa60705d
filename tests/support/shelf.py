"""A store filled by hand: artifacts with parents, names, unfinished work, without a run."""

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ontogeny.__main__ import main
from ontogeny.base.artifact import Record, describe_files
from ontogeny.base.store import Store

Command = Callable[..., tuple[int, str, str]]
MORNING = datetime(2026, 1, 1, 6, tzinfo=UTC)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVENING = datetime(2026, 1, 1, 18, tzinfo=UTC)


def identity(number: int) -> str:
    """The id of the artifact with this number."""
    return f"{number:016x}"


def put(
    store: Store,
    number: int,
    parents: tuple[int, ...] = (),
    *names: str,
    kind: str = "model",
    size: int = 1000,
    finished: datetime = NOON,
) -> Path:
    """Publishes an artifact of one file of `size` bytes; returns its directory."""
    directory = store.path(identity(number))
    (directory / "deep").mkdir(parents=True)
    (directory / "deep" / "bytes.bin").write_bytes(bytes(size))
    Record(
        id=identity(number),
        name=names[0] if names else f"stage-{number}",
        kind=kind,
        stage=kind,
        version=1,
        config={},
        parents=[identity(parent) for parent in parents],
        seed=0,
        metrics={},
        summary=[f"summary of {number}"],
        cost={"seconds": 12.5, "tokens": 0.0, "flops": 0.0},
        files=describe_files(directory),
        code="c",
        execution={"finished": finished.isoformat()},
    ).write(directory)
    for name in names:
        store.set_name(name, identity(number))
    return directory


def leave(
    store: Store,
    number: int,
    name: str,
    parents: tuple[int, ...] = (),
    *,
    checkpoint: bool = True,
    touched: datetime = NOON,
) -> Path:
    """Leaves the work of a stage that was killed; returns its directory."""
    work = store.work / identity(number)
    (work / "payload").mkdir(parents=True)
    (work / "payload" / "half.bin").write_bytes(bytes(300))
    saved = work / "checkpoints" / "step-00000010"
    saved.mkdir(parents=True)
    if checkpoint:
        (saved / "complete.json").write_text("{}")
    request = {"name": name, "parents": [identity(parent) for parent in parents]}
    (work / "request.json").write_text(json.dumps(request))
    for path in (saved, work):
        os.utime(path, (touched.timestamp(), touched.timestamp()))
    return work


def on_the_shelf(
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Command:
    """Runs `ontogeny COMMAND` on the store life: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        store = str(tmp_path / "life")
        monkeypatch.setattr(sys, "argv", ["ontogeny", command, "--store", store, *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return int(str(end.value.code)), captured.out, captured.err

    return run
