"""What is installed is what was locked, and what runs at the start of Python is known."""

import base64
import hashlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from ontogeny.cli.doctor_startup import startup

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"([a-z0-9-]+)==(\S+) --hash=sha256:([0-9a-f]{64})")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    """Name -> version of every line of the lock, each of which has a sha256."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    found = [LINE.fullmatch(line) for line in lines if not line.startswith("#")]
    assert all(found), "every line is NAME==VERSION --hash=sha256:..."
    return {match[1]: match[2] for match in found if match}


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {normal(name): version for name, _, version in pins}


def test_the_lock_and_the_pins_say_the_same() -> None:
    pins = pinned()
    other = {name: version for name, version in locked().items() if pins.get(name) != version}
    assert other == {}, "pin these in constraints.txt, or run `make lock`"


def test_the_lock_has_whatever_the_makefile_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.search(r"'\.\[([a-z,]+)\]'", (ROOT / "Makefile").read_text())
    assert extras is not None
    wanted = [*project["dependencies"]]
    for extra in extras[1].split(","):
        wanted += project["optional-dependencies"][extra]
    names = {normal(match[0]) for each in wanted if (match := NAME.match(each))}
    assert names - locked().keys() == {"torch"}, "run `make lock`"


def test_every_extra_is_installed_by_the_makefile() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.search(r"'\.\[([a-z,]+)\]'", (ROOT / "Makefile").read_text())
    assert extras is not None and set(extras[1].split(",")) == set(project["optional-dependencies"])


def wheel(directory: Path, name: str, body: str) -> tuple[Path, str]:
    """A package of one line as pip takes it, and its sha256."""
    path = directory / f"{name}-1.0-py3-none-any.whl"
    inside = {
        f"{name}.py": body,
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{name}-1.0.dist-info/RECORD"
    listed = "".join(f"{each},{recorded(text)},{len(text)}\n" for each, text in inside.items())
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in {**inside, record: f"{listed}{record},,\n"}.items():
            archive.writestr(zipfile.ZipInfo(each), text)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def recorded(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def install(wheels: Path, lock: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """As `make locked` installs, without an index."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--isolated", "--no-index"]
    command += ["--find-links", str(wheels), "--require-hashes", "--no-deps", "--no-cache-dir"]
    return subprocess.run(
        [*command, "--target", str(target), "--requirement", str(lock)],
        env={**os.environ, "PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def wheels(tmp_path: Path) -> dict[str, str]:
    """Two wheels in a folder: name -> sha256."""
    (tmp_path / "wheels").mkdir()
    return {name: wheel(tmp_path / "wheels", name, "x = 1\n")[1] for name in ("first", "second")}


def write_lock(path: Path, sums: dict[str, str]) -> Path:
    path.write_text("".join(f"{name}==1.0 --hash=sha256:{sha}\n" for name, sha in sums.items()))
    return path


def test_what_is_locked_installs(tmp_path: Path, wheels: dict[str, str]) -> None:
    lock = write_lock(tmp_path / "lock", wheels)
    done = install(tmp_path / "wheels", lock, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert {"first.py", "second.py"} <= {path.name for path in (tmp_path / "site").iterdir()}


def test_one_other_hash_and_nothing_is_installed(tmp_path: Path, wheels: dict[str, str]) -> None:
    first = wheels["second"][0]
    other = ("0" if first != "0" else "1") + wheels["second"][1:]
    lock = write_lock(tmp_path / "lock", {**wheels, "second": other})
    done = install(tmp_path / "wheels", lock, tmp_path / "site")
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "site").exists() or list((tmp_path / "site").iterdir()) == []


def test_other_bytes_under_the_same_version_are_refused(
    tmp_path: Path, wheels: dict[str, str]
) -> None:
    lock = write_lock(tmp_path / "lock", wheels)
    wheel(tmp_path / "wheels", "first", "import os\n")
    done = install(tmp_path / "wheels", lock, tmp_path / "site")
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stderr


def test_a_line_without_a_hash_is_refused(tmp_path: Path, wheels: dict[str, str]) -> None:
    lock = write_lock(tmp_path / "lock", {"first": wheels["first"]})
    lock.write_text(lock.read_text() + "second==1.0\n")
    done = install(tmp_path / "wheels", lock, tmp_path / "site")
    assert done.returncode != 0 and "hash" in done.stderr.lower()


# Files by which code runs at every start of Python.


def site(directory: Path, name: str, text: str, *, listed: str | None = None) -> None:
    """A `.pth` file; with `listed` a package says that it installed this text."""
    (directory / name).write_text(text)
    if listed is not None:
        info = directory / "known-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: known\nVersion: 1.0\n")
        (info / "RECORD").write_text(f"{name},{recorded(listed)},1\n")


def test_a_file_that_nobody_lists_is_told_with_what_it_runs(tmp_path: Path) -> None:
    site(tmp_path, "evil.pth", "# ok\nimport os; os.getpid()\n/somewhere\n")
    (found,) = startup([tmp_path])
    assert found.state == "note" and "no installed package lists it" in found.text
    assert "runs 1 line of code at every start: import os; os.getpid()" in found.text
    assert "adds /somewhere to the places to search" in found.text


def test_a_file_is_its_packages_only_with_the_bytes_that_were_installed(tmp_path: Path) -> None:
    site(tmp_path, "known.pth", "import os\n", listed="import os\n")
    (found,) = startup([tmp_path])
    assert (found.state, "of known 1.0" in found.text) == ("ok", True)
    (tmp_path / "known.pth").write_text("import os; evil\n")
    (found,) = startup([tmp_path])
    assert found.state == "note" and "not the file that known 1.0 installed" in found.text


def test_where_there_is_none_that_is_said(tmp_path: Path) -> None:
    (found,) = startup([tmp_path])
    assert found.state == "ok" and "no .pth files" in found.text


def test_every_file_of_this_python_is_explained() -> None:
    assert list(startup())
    for found in startup():
        assert found.state == "ok" or found.remedy, found.text
