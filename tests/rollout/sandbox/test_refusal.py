"""Where a wall is missing nothing runs: exit 5, one line that says what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rollout.sandbox.conftest import opened

ATTEMPT = Path(__file__).with_name("attempt.py")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a user to give up")


def attempt(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs `attempt.py`, where a sandbox works at all."""
    opened().close()
    environment = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    return subprocess.run(
        [sys.executable, str(ATTEMPT), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("bwrap", "bubblewrap (bwrap) is not installed; `apt-get install bubblewrap`"),
        ("namespaces", "sysctl user.max_user_namespaces"),
        ("landlock", "this kernel has no Landlock"),
        ("seccomp", "a job cannot be sealed: OSError: [Errno 22]"),
        ("self-test", "its self-test failed: CapBnd"),
        ("capabilities, in secret", "max_user_namespaces"),
        ("landlock, in secret", "its self-test failed: the harness"),
        ("seccomp, in secret", "its self-test failed: sockets"),
        ("limits, in secret", "its self-test "),
        ("closing, in secret", "its self-test failed: files above 2"),
        pytest.param("uid", "launcher: Operation not permitted", marks=AS_ROOT),
        pytest.param("uid, in secret", "root could not be given up", marks=AS_ROOT),
    ],
)
def test_without_a_wall_nothing_runs(taken: str, said: str) -> None:
    done = attempt(taken)
    assert done.returncode == 5, done
    assert "RAN" not in done.stdout
    assert done.stderr.startswith("error: sandbox:1: the sandbox is refused: "), done.stderr
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_with_every_wall_it_runs() -> None:
    done = attempt("nothing")
    assert (done.returncode, done.stdout) == (0, "ok RAN\n\n"), done


def test_without_a_memory_group_the_sum_of_all_processes_counts() -> None:
    assert attempt("groups", "2").stdout == "ok RAN\n\n"
    done = attempt("groups", "4000")
    assert (done.returncode, done.stdout) == (5, ""), done
    assert "no memory control group can be written" in done.stderr
    assert done.stderr.count("\n") == 1
