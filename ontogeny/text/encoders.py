"""Text -> ids through a library. Knows nothing of special tokens, files or templates."""

from __future__ import annotations

import re
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import tokenizers

from ontogeny.base.errors import InputError
from ontogeny.text.gigatoken_encoder import AVAILABLE, GigatokenEncoder

EncoderName = Literal["auto", "tokenizers", "gigatoken"]
_PIECE_CHARACTERS = 2**20  # tokenizers needs 500 bytes of memory a token; pieces bound that
# Both places end a piece of our pattern on the left and begin one on the right, whatever stands
# further out: cutting there never changes an id.
_SAFE_CUT = re.compile(r"\n(?=[!-~])|[A-Za-z](?= [A-Za-z])")
_PROBE = "It's 3.14 §\u00e9e\u0301\u3042\U0001f642\u2028\t\n\n  <|end|> def f(x):\r\n  return x**2 "


class TextEncoder(Protocol):
    """Anything that turns clean text into ids that no special token has."""

    name: str

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """Ids of `text`, shape (tokens,)."""

    def encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text."""


class WholeEncoder:
    """The reference path, through the `tokenizers` library; each text goes through as it is."""

    name = "tokenizers"

    def __init__(self, tokenizer_json: str) -> None:
        self._backend = tokenizers.Tokenizer.from_str(tokenizer_json)

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """Ids of `text`, shape (tokens,)."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text."""
        encoded = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        return [np.asarray(each.ids, np.uint32) for each in encoded]


class TokenizersEncoder(WholeEncoder):
    """The reference path for our own pattern: long texts go through in pieces."""

    def encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text; long ones go through in pieces of bounded memory."""
        pieces = [safe_pieces(text) for text in texts]
        encoded = iter(super().encode_batch([piece for group in pieces for piece in group]))
        return [np.concatenate([next(encoded) for _ in group]) for group in pieces]


def safe_pieces(text: str) -> list[str]:
    """`text` in pieces of about a million characters whose ids, joined, are the ids of the whole.

    Holds for our own pattern. A piece is longer where there is no place to cut it (one endless
    word).
    """
    pieces, start = [], 0
    while len(text) - start > _PIECE_CHARACTERS:
        cut = _SAFE_CUT.search(text, start + _PIECE_CHARACTERS)
        if cut is None:
            break
        pieces.append(text[start : cut.end()])
        start = cut.end()
    return [*pieces, text[start:]]


def own_encoder(tokenizer_json: str, wanted: EncoderName) -> TextEncoder:
    """The encoder of a vocabulary of ours.

    Args:
        tokenizer_json: without added tokens.
        wanted: "auto" takes gigatoken where it is installed and agrees with `tokenizers` on a
            probe.

    Raises:
        InputError: `wanted` asks for gigatoken and it is missing or disagrees.
    """
    reference = TokenizersEncoder(tokenizer_json)
    if wanted == "tokenizers" or (wanted == "auto" and not AVAILABLE):
        return reference
    if not AVAILABLE:
        raise InputError("gigatoken is not installed: pip install 'ontogeny[encode]'")
    fast = GigatokenEncoder(tokenizer_json)
    if np.array_equal(fast.encode(_PROBE), reference.encode(_PROBE)):
        return fast
    if wanted == "gigatoken":
        raise InputError("gigatoken gives other ids here: take the encoder 'tokenizers'")
    return reference
