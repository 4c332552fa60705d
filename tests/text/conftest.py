"""One tokenizer for all tests here, trained on a few modules of the standard library."""

from __future__ import annotations

import argparse
import json.decoder
import textwrap
from pathlib import Path

import pytest

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
