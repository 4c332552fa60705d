"""Started by root, everything here holds once more for an ordinary user (nobody)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rollout.sandbox.conftest import opened

HERE = Path(__file__).parent
TESTS = ("test_attacks", "test_isolation", "test_refusal", "test_loss", "test_session")


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all of these as they are")
@pytest.mark.parametrize("name", TESTS)
def test_an_ordinary_user_is_contained_as_well(name: str) -> None:
    opened().close()
    pytest_ = ["{python}", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    file = f"tests/rollout/sandbox/{name}.py"
    done = subprocess.run(
        [sys.executable, str(HERE / "as_user.py"), *pytest_, "-m", "not slow", file],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout or "[100%]" in done.stdout
