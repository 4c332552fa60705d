"""Asking for help costs nothing: no torch, no third of a second."""

from __future__ import annotations

import subprocess
import sys
import time

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


def test_help_answers_within_a_third_of_a_second() -> None:
    fastest = float("inf")
    for _ in range(15):  # the machine may be busy; what counts is what the program needs
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *HELP], capture_output=True, text=True, check=True, timeout=60
        )
        fastest = min(fastest, time.perf_counter() - started)
        if fastest < 0.3:
            break
    assert "Usage" in done.stdout
    assert fastest < 0.3
