"""Asking for help costs nothing: no torch, no third of a second."""

from __future__ import annotations

import resource
import subprocess
import sys

HEAVY = {"torch", "transformers", "pyarrow", "tokenizers", "numpy"}
HELP = ["-m", "ontogeny", "--help"]


def _loaded(*arguments: str) -> set[str]:
    """Top-level modules that `python ARGUMENTS` imports."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = _loaded("-c", "import ontogeny")
    assert "ontogeny" in loaded
    assert not loaded & HEAVY


def test_help_loads_no_torch() -> None:
    loaded = _loaded(*HELP)
    assert "typer" in loaded
    assert not loaded & {"torch", "transformers"}


def test_the_check_sees_what_is_loaded() -> None:
    assert "numpy" in _loaded("-c", "import numpy")


def test_help_needs_less_than_a_third_of_a_second() -> None:
    """Of processor time: on a busy machine the clock tells of others."""
    fastest = float("inf")
    for _ in range(5):
        before = _spent()
        done = subprocess.run(
            [sys.executable, *HELP], capture_output=True, text=True, check=True, timeout=60
        )
        fastest = min(fastest, _spent() - before)
    assert "Usage" in done.stdout
    assert fastest < 0.3


def _spent() -> float:
    """Seconds of processor that ended children have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
