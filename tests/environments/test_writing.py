"""The environments of docs/writing_an_environment.md run as they stand there, and are proved."""

from __future__ import annotations

import importlib.util
import itertools
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ontogeny.environments.desk import Desk, gold
from ontogeny.environments.environment import SPLITS, Generated, validate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "writing_an_environment.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
MOST_LINES = 40


@pytest.fixture(params=["dates", "till"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> ModuleType:
    """An environment of the page as a module."""
    block = BLOCKS[["dates", "till"].index(request.param)]
    file = tmp_path / f"{request.param}.py"
    file.write_text(block, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(request.param, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_is_whole_in_forty_lines() -> None:
    written = [[line for line in block.splitlines() if line] for block in BLOCKS]
    assert [len(lines) <= MOST_LINES for lines in written] == [True] * 3


def test_gold_scores_one_and_nothing_scores_zero(written: ModuleType) -> None:
    world = written.ENVIRONMENT
    if isinstance(world, Desk):
        for task in world.tasks("train", 50, 0):
            assert world.judge(task, gold(task), [task.answer]) == 1.0
            assert world.judge(task, [], [task.answer]) == 0.0
        world.validate(50)
    else:
        assert isinstance(world, Generated)
        for task in world.tasks("train", 50, 0):
            assert (world.score(task, task.answer), world.score(task, "")) == (1.0, 0.0)
        validate(world, 50)


def test_splits_share_no_problem_whatever_the_seed(written: ModuleType) -> None:
    world = written.ENVIRONMENT
    prompts = {s: {t.prompt for seed in (0, 1) for t in world.tasks(s, 40, seed)} for s in SPLITS}
    assert all(prompts[a].isdisjoint(prompts[b]) for a, b in itertools.combinations(SPLITS, 2))


def test_the_page_plays_what_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "till.py").write_text(BLOCKS[1], encoding="utf-8")
    (tmp_path / "plays.py").write_text(BLOCKS[2], encoding="utf-8")
    run = [sys.executable, "plays.py"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "solved=1.0" in done.stdout and "valid=1.0" in done.stdout
