"""The tokenizer artifact: bytes to ids and back. Knows nothing of conversations or models.

Text is always only text: whatever it spells, no path here turns it into a special token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import tokenizers

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.text.artifact_files import CHAT_TEMPLATE, CONFIG, TOKENIZER, config_json
from ontogeny.text.gigatoken_encoder import AVAILABLE, GigatokenEncoder
from ontogeny.text.template_language import compile_template
from ontogeny.text.vocabulary import (
    BYTE_TO_CHARACTER,
    END_OF_TEXT,
    END_OF_TURN,
    LARGEST_FILE_BYTES,
    PAD,
    Vocabulary,
    parse,
    spelled_bytes,
)

EncoderName = Literal["auto", "tokenizers", "gigatoken"]
_PIECE_CHARACTERS = 2**20  # tokenizers needs 500 bytes of memory a token; pieces bound that
# Both places end a piece of the pattern on the left and begin one on the right, whatever stands
# further out: cutting there never changes an id.
_SAFE_CUT = re.compile(r"\n(?=[!-~])|[A-Za-z](?= [A-Za-z])")
_LOW_SURROGATES = re.compile("([\udc80-\udcff]+)")
_PROBE = "It's 3.14 §\u00e9e\u0301\u3042\U0001f642\u2028\t\n\n  <|end|> def f(x):\r\n  return x**2 "


class TextEncoder(Protocol):
    """Anything that turns clean text into ids below the special ones."""

    name: str

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """Ids of `text`, shape (tokens,)."""

    def encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text."""


class TokenizersEncoder:
    """The reference path, through the `tokenizers` library."""

    name = "tokenizers"

    def __init__(self, tokenizer_json: str) -> None:
        self._backend = tokenizers.Tokenizer.from_str(tokenizer_json)

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """Ids of `text`, shape (tokens,)."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text; long ones go through in pieces of bounded memory."""
        pieces = [safe_pieces(text) for text in texts]
        flat = [piece for group in pieces for piece in group]
        encoded = iter(self._backend.encode_batch_fast(flat, add_special_tokens=False))
        return [
            np.concatenate([np.asarray(next(encoded).ids, np.uint32) for _ in group])
            for group in pieces
        ]


def safe_pieces(text: str) -> list[str]:
    """`text` in pieces of about a million characters whose ids, joined, are the ids of the whole.

    A piece is longer where there is no place to cut it (one endless word).
    """
    pieces, start = [], 0
    while len(text) - start > _PIECE_CHARACTERS:
        cut = _SAFE_CUT.search(text, start + _PIECE_CHARACTERS)
        if cut is None:
            break
        pieces.append(text[start : cut.end()])
        start = cut.end()
    return [*pieces, text[start:]]


class Tokenizer:
    """Byte-level BPE with special tokens and a chat template.

    Args:
        vocabulary: tokens, merges and special tokens.
        chat_template: the Jinja source that goes with it (see `ontogeny.text.template`).
        encoder: "auto" takes gigatoken where it is installed and agrees with `tokenizers` on a
            probe. The ids do not depend on it: it is execution, not identity.

    Raises:
        InputError: `encoder` asks for gigatoken and it is missing or disagrees.
    """

    def __init__(
        self, vocabulary: Vocabulary, chat_template: str, encoder: EncoderName = "auto"
    ) -> None:
        self.vocabulary = vocabulary
        self.chat_template = chat_template
        self._encoder = _choose_encoder(vocabulary, encoder)

    @classmethod
    def load(cls, directory: Path, encoder: EncoderName = "auto") -> Tokenizer:
        """The tokenizer saved in `directory`.

        Raises:
            CorruptArtifact: a file is missing or is not what `save` writes.
            InputError: the chat template is refused; or see the class.
        """
        vocabulary = parse(_read(directory / TOKENIZER), file=directory / TOKENIZER)
        file = directory / CHAT_TEMPLATE
        try:
            template = _read(file).decode("utf-8")
        except UnicodeDecodeError:
            raise CorruptArtifact("the chat template is not UTF-8", file=file) from None
        compile_template(template, file=file)
        return cls(vocabulary, template, encoder)

    def save(self, directory: Path) -> None:
        """Writes tokenizer.json, tokenizer_config.json and chat_template.jinja.

        The bytes depend on the tokenizer alone. `tokenizers` and `transformers` load them.
        """
        directory.mkdir(parents=True, exist_ok=True)
        files = {
            TOKENIZER: self.vocabulary.to_json(),
            CONFIG: config_json(self.vocabulary),
            CHAT_TEMPLATE: self.chat_template,
        }
        for name, text in files.items():
            (directory / name).write_bytes(text.encode("utf-8"))

    @property
    def encoder(self) -> str:
        """Which library encodes: "gigatoken" or "tokenizers"."""
        return self._encoder.name

    @property
    def vocab_size(self) -> int:
        """Ids in all; every id is below it."""
        return self.vocabulary.size

    @property
    def specials(self) -> dict[str, int]:
        """Special token -> id, reserved ones included."""
        return dict(self.vocabulary.specials)

    @cached_property
    def end_of_text(self) -> int:
        """Ends a document."""
        return self.vocabulary.specials[END_OF_TEXT]

    @cached_property
    def end_of_turn(self) -> int:
        """Ends a turn of a conversation."""
        return self.vocabulary.specials[END_OF_TURN]

    @cached_property
    def pad(self) -> int:
        """Fills a row; never trained on."""
        return self.vocabulary.specials[PAD]

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, which is text even where it spells a special token.

        `decode` gives back the same string, with one exception that has no UTF-8: a lone surrogate
        becomes U+FFFD.
        """
        ids: list[int] = self._encoder.encode(encodable(text)).tolist()
        return ids

    def encode_batch(self, texts: Iterable[str]) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text, as `encode` would give them; arrays of shape (tokens,)."""
        return self._encoder.encode_batch([encodable(text) for text in texts])

    def encode_bytes(self, data: bytes) -> list[int]:
        """Ids of any bytes; what is not UTF-8 becomes single-byte tokens, so nothing is lost."""
        ids: list[int] = []
        # An odd part is a run of bytes that are not UTF-8, one low surrogate for each.
        parts = _LOW_SURROGATES.split(data.decode("utf-8", "surrogateescape"))
        for position, part in enumerate(parts):
            if position % 2:
                ids.extend(self._byte_ids[ord(character) - 0xDC00] for character in part)
            elif part:
                ids.extend(self.encode(part))
        return ids

    def decode(
        self, ids: Sequence[int] | npt.NDArray[np.integer], keep_special: bool = False
    ) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD.

        Special tokens are left out, or with `keep_special` spelled out.

        Raises:
            InputError: an id is outside the vocabulary.
        """
        return self.decode_bytes(ids, keep_special).decode("utf-8", "replace")

    def decode_bytes(
        self, ids: Sequence[int] | npt.NDArray[np.integer], keep_special: bool = False
    ) -> bytes:
        """The bytes of `ids`, exactly; see `decode`."""
        first_special = len(self.vocabulary.spellings)
        return b"".join(
            self.token_bytes(int(i)) for i in ids if keep_special or int(i) < first_special
        )

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes one id stands for; a special token's are its spelling.

        Raises:
            InputError: the id is outside the vocabulary.
        """
        if not 0 <= token_id < self.vocab_size:
            size = self.vocab_size
            raise InputError(f"token id {token_id} is outside the vocabulary of {size} tokens")
        return self._bytes[token_id]

    @cached_property
    def _bytes(self) -> list[bytes]:
        spelled = [spelled_bytes(spelling) for spelling in self.vocabulary.spellings]
        return spelled + [name.encode() for name in self.vocabulary.specials]

    @cached_property
    def _byte_ids(self) -> list[int]:
        ids = {spelling: i for i, spelling in enumerate(self.vocabulary.spellings)}
        return [ids[character] for character in BYTE_TO_CHARACTER]


def encodable(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates replaced by U+FFFD.

    A lone surrogate is no character and has no UTF-8 (RFC 3629); JSON can still smuggle one in.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _choose_encoder(vocabulary: Vocabulary, wanted: EncoderName) -> TextEncoder:
    plain = vocabulary.to_json(with_specials=False)
    reference = TokenizersEncoder(plain)
    if wanted == "tokenizers" or (wanted == "auto" and not AVAILABLE):
        return reference
    if not AVAILABLE:
        raise InputError("gigatoken is not installed: pip install 'ontogeny[encode]'")
    fast = GigatokenEncoder(plain)
    if np.array_equal(fast.encode(_PROBE), reference.encode(_PROBE)):
        return fast
    if wanted == "gigatoken":
        raise InputError("gigatoken gives other ids here: take the encoder 'tokenizers'")
    return reference


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        reason = f"cannot read a part of the tokenizer ({error.strerror}); make it anew"
        raise CorruptArtifact(reason, file=file) from None
