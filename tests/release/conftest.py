"""A small life and its bundle, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from release.grown import Grown, bundle_of, grow


@pytest.fixture(scope="session")
def life(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """The store; nobody writes to it."""
    return grow(tmp_path_factory.mktemp("release") / "life")


@pytest.fixture(scope="session")
def written(life: Grown, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `chat`; nobody writes to it."""
    return bundle_of(life, tmp_path_factory.mktemp("bundle") / "chat-hf")


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(written, tmp_path / "chat-hf"))
