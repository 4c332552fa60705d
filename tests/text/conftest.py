"""One tokenizer for all tests here, trained on a few modules of the standard library."""

from __future__ import annotations

import argparse
import json.decoder
import textwrap
from pathlib import Path

import pytest
from text.open_styles import STYLES, write

from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.train_tokenizer import train


@pytest.fixture(scope="session")
def code() -> list[str]:
    modules = (argparse, json.decoder, textwrap)
    return [Path(str(module.__file__)).read_text(encoding="utf-8") for module in modules]


@pytest.fixture(scope="session")
def tokenizer(code: list[str]) -> Tokenizer:
    return train(code, 600)


@pytest.fixture
def saved(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    tokenizer.save(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture(scope="session")
def open_styles(code: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory for each style of open tokenizers."""
    root = tmp_path_factory.mktemp("styles")
    learnt = [*code, *(" ".join(text.split()[:2000]) for text in code)]
    return {
        name: write(root / name, make(learnt), config, template)
        for name, (make, config, template) in STYLES.items()
    }
