"""Learns byte-level BPE merges from text. Knows nothing of artifacts or where the text came from.

The same texts in the same order give the same tokenizer, byte for byte: word counts do not depend
on threads, and ties between pairs are broken by their ids (Sennrich et al. 2016, arXiv:1508.07909).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from ontogeny.base.errors import InputError
from ontogeny.text.artifact_files import DEFAULT_CHAT_TEMPLATE
from ontogeny.text.encoders import EncoderName
from ontogeny.text.tokenizer import Tokenizer, encodable
from ontogeny.text.vocabulary import (
    BYTE_TO_CHARACTER,
    NAMED_SPECIALS,
    PATTERN,
    RESERVED,
    SMALLEST_VOCABULARY,
    Vocabulary,
)

LONGEST_TOKEN_BYTES = 64
# A run without a boundary (a 100 MB "word") is cut: the trainer's memory grows with its pieces.
_LONGEST_RUN = 1000
_RUN = re.compile(rf"\S{{{_LONGEST_RUN}}}|\s{{{_LONGEST_RUN}}}")


def train(
    texts: Iterable[str],
    vocab_size: int,
    chat_template: str = DEFAULT_CHAT_TEMPLATE,
    encoder: EncoderName = "auto",
) -> Tokenizer:
    """A tokenizer with exactly `vocab_size` ids.

    Ids 0-255 are the bytes, then come the merges, then the special tokens. Where the text has too
    few pairs to merge, further reserved special tokens fill the rest.

    Raises:
        InputError: `vocab_size` has no room for the bytes and special tokens, or there is no text.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise InputError(
            f"vocab_size {vocab_size} is too small: 256 bytes and "
            f"{SMALLEST_VOCABULARY - 256} special tokens need {SMALLEST_VOCABULARY}"
        )
    counted = _Counted(texts)
    model = _trained_model(counted, vocab_size - len(NAMED_SPECIALS) - RESERVED)
    if counted.characters == 0:
        raise InputError("there is no text to train a tokenizer on: every document is empty")
    spellings = tuple(sorted(model["vocab"], key=model["vocab"].__getitem__))
    merges = tuple((left, right) for left, right in model["merges"])
    vocabulary = Vocabulary(spellings, merges, special_count=vocab_size - len(spellings))
    return Tokenizer(vocabulary, chat_template, encoder)


class _Counted:
    """The texts, cut where a run is too long, with the number of characters that passed."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.characters += len(text)
            yield from bounded_runs(encodable(text))


def bounded_runs(text: str) -> Iterator[str]:
    """`text`, cut after each 1,000 characters of one unbroken run; nothing is added or lost."""
    start = 0
    for run in _RUN.finditer(text):
        yield text[start : run.end()]
        start = run.end()
    if start < len(text):
        yield text[start:]


def _trained_model(texts: Iterable[str], size: int) -> dict[str, Any]:
    """`{"vocab": spelling -> id, "merges": [[left, right], ...]}` with at most `size` tokens."""
    learner = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(tokenizers.Regex(PATTERN), behavior="isolated", invert=False)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    learner.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=list(BYTE_TO_CHARACTER),
        max_token_length=LONGEST_TOKEN_BYTES,
    )
    learner.train_from_iterator(texts, trainer=trainer)
    model: dict[str, Any] = json.loads(learner.to_str())["model"]
    return model
