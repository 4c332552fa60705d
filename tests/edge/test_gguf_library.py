"""Without the extra `gguf` everything else works, and what needs it says how to get it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from edge.small_directory import directory

WITHOUT = """
import sys
sys.modules["gguf"] = None  # as if it were not installed
from ontogeny.__main__ import main
main()
"""


def without(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_directory_is_imported_without_it_and_gguf_names_the_extra(tmp_path: Path) -> None:
    directory(tmp_path / "m")
    store = ("--store", str(tmp_path / "life"))
    done = without("import", str(tmp_path / "m"), *store)
    assert done.returncode == 0, done.stderr
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    for arguments in (("import", str(tmp_path / "a.gguf")), ("export", "m", "--to", "gguf")):
        done = without(*arguments, *store)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert "run: pip install 'ontogeny[gguf]'" in done.stderr


def test_what_is_damaged_is_exit_3_and_one_line_on_the_command_line(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "a.gguf").write_bytes(b"GGUF\3\0\0\0" + b"\xff" * 100)
    done = subprocess.run(
        [sys.executable, "-m", "ontogeny", "import", "a.gguf", "--store", "life"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 3 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: a.gguf:1: 18446744073709551615 tensors")
