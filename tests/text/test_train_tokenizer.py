from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ontogeny.base.errors import InputError
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.train_tokenizer import LONGEST_TOKEN_BYTES, bounded_runs, train
from ontogeny.text.vocabulary import SMALLEST_VOCABULARY

TRAIN = """
import hashlib, sys
from pathlib import Path
from ontogeny.text.train_tokenizer import train
texts = [Path(name).read_text(encoding="utf-8") for name in sys.argv[1:]]
print(hashlib.sha256(train(texts, 500).vocabulary.to_json().encode()).hexdigest())
"""


def test_the_vocabulary_has_the_size_asked_for(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 600
    assert sorted(tokenizer.specials.values()) == list(range(584, 600))
    assert len(tokenizer.vocabulary.merges) == 600 - SMALLEST_VOCABULARY


def test_too_little_text_is_filled_up_with_reserved_tokens() -> None:
    tokenizer = train(["ab ab ab"], 400)
    assert tokenizer.vocab_size == 400
    assert "<|reserved_100|>" in tokenizer.specials
    assert max(tokenizer.encode("<|reserved_100|>")) < 400 - len(tokenizer.specials)


def test_training_is_the_same_in_any_process(code: list[str], tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.txt" for i in range(len(code))]
    for file, text in zip(files, code, strict=True):
        file.write_text(text, encoding="utf-8")
    here = hashlib.sha256(train(code, 500).vocabulary.to_json().encode()).hexdigest()
    for threads, seed in (("1", "0"), ("4", "123")):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", TRAIN, *map(str, files)]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert out.stdout.strip() == here


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_no_text_is_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="no text"):
        train(texts, 400)


@pytest.mark.parametrize("size", [-1, 0, 1, 256, SMALLEST_VOCABULARY - 1])
def test_a_vocabulary_without_room_for_the_bytes_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=f"need {SMALLEST_VOCABULARY}"):
        train(["some text"], size)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "   \n\n\t ",
        "\ud800",
        "x" * 3_000_000,
        "".join(random.Random(0).choices("etaoinshrdlu", k=1_000_000)),
        random.Random(1).randbytes(100_000).decode("latin-1"),
        random.Random(2).randbytes(100_000).decode("utf-8", "replace"),
    ],
    ids=["one character", "whitespace", "surrogate", "one letter", "one word", "bytes", "noise"],
)
def test_odd_texts_make_a_working_tokenizer(text: str, tmp_path: Path) -> None:
    started = time.monotonic()
    train([text], 320).save(tmp_path)
    assert time.monotonic() - started < 8
    tokenizer = Tokenizer.load(tmp_path)
    sample = text[:2000].replace("\ud800", "\ufffd")
    assert tokenizer.decode(tokenizer.encode(sample)) == sample


def test_no_token_grows_beyond_its_bound() -> None:
    tokenizer = train(["-" * 10_000], 400)
    longest = max(len(tokenizer.token_bytes(i)) for i in range(tokenizer.end_of_text))
    assert LONGEST_TOKEN_BYTES // 2 < longest <= LONGEST_TOKEN_BYTES


def test_cutting_long_runs_loses_nothing() -> None:
    text = "a" * 2500 + " b " + " " * 1000 + "日" * 1001 + "\n"
    parts = list(bounded_runs(text))
    assert "".join(parts) == text
    assert len(parts) == 5
    assert list(bounded_runs("short text")) == ["short text"]
    assert list(bounded_runs("")) == []


def test_training_learns_what_is_frequent(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode(" self")) == 1
    assert len(tokenizer.encode("12345")) == 5  # digits stay single
