"""Fast encoding through gigatoken, an optional extra. Knows nothing of special tokens.

The ids are those of `tokenizers`: equal on every Unicode scalar value, on random strings and on
real text (tests/text); a probe at construction repeats a small part of that on this machine, since
gigatoken picks other vector code on other processors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

gigatoken: Any
try:
    import gigatoken
except ImportError:  # pip install 'ontogeny[encode]'; the tokenizers path stands in
    gigatoken = None

# It remembers every word it has met for ever, about 100 bytes each: on random words, 400 MB in
# 40 MB of text. A new one costs about 10 ms, 4 % of the time that so much text takes.
_RENEWED_AFTER_CHARACTERS = 64 * 2**20

AVAILABLE: bool = gigatoken is not None


class GigatokenEncoder:
    """Encodes text and never anything but text.

    Args:
        tokenizer_json: a tokenizer.json without added tokens.
    """

    name = "gigatoken"

    def __init__(self, tokenizer_json: str) -> None:
        self._json = tokenizer_json
        self._backend = gigatoken.Tokenizer.from_json(tokenizer_json)
        self._characters = 0

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """Ids of `text`, shape (tokens,). `text` holds no surrogates."""
        self._characters += len(text)
        if self._characters > _RENEWED_AFTER_CHARACTERS:
            self._backend = gigatoken.Tokenizer.from_json(self._json)
            self._characters = len(text)
        ids: npt.NDArray[np.uint32] = self._backend.encode(text)
        return ids

    def encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text.

        One call a document: measured faster than the batch call on two cores, whose result is
        also an `awkward` array that takes 0.3 s to import.
        """
        return [self.encode(text) for text in texts]
