"""The tokenizer artifact: bytes to ids and back. Knows nothing of conversations or models.

Text is always only text: whatever it spells, no path here turns it into a special token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.text.artifact_files import CHAT_TEMPLATE, CONFIG, TOKENIZER, config_json, is_ours
from ontogeny.text.encoders import EncoderName
from ontogeny.text.open_template import OpenTemplate
from ontogeny.text.open_vocabulary import LARGEST_OPEN_FILE_BYTES, OpenVocabulary, parse_open
from ontogeny.text.own_template import OwnTemplate
from ontogeny.text.vocabulary import LARGEST_FILE_BYTES, Vocabulary, parse

_LOW_SURROGATES = re.compile("([\udc80-\udcff]+)")


class Tokenizer:
    """BPE with special tokens and a chat template, of ours or of open weights.

    Args:
        vocabulary: tokens, merges and special tokens.
        chat_template: the Jinja source that goes with it (see `ontogeny.text.template`).
        encoder: "auto" takes gigatoken where it is installed and agrees with `tokenizers` on a
            probe. The ids do not depend on it: it is execution, not identity.

    Raises:
        InputError: `encoder` asks for gigatoken and it is missing or disagrees.
    """

    def __init__(
        self,
        vocabulary: Vocabulary | OpenVocabulary,
        chat_template: str,
        encoder: EncoderName = "auto",
    ) -> None:
        self.vocabulary = vocabulary
        self.chat_template = chat_template
        self._encoder, self._inner = vocabulary.encoders(encoder)
        self.template = _template(vocabulary, chat_template)

    @classmethod
    def load(cls, directory: Path, encoder: EncoderName = "auto") -> Tokenizer:
        """The tokenizer in `directory`: what `save` wrote, or the files of open weights.

        Whose it is, tokenizer_config.json says. A model of open weights may lack the chat template.

        Raises:
            CorruptArtifact: a file is missing, or one of ours is not what `save` writes.
            InputError: a stranger's file, or a chat template, is refused; or see the class.
        """
        file, config_file = directory / TOKENIZER, directory / CONFIG
        config = _read(config_file, LARGEST_FILE_BYTES) if config_file.is_file() else b""
        vocabulary: Vocabulary | OpenVocabulary
        template_file = directory / CHAT_TEMPLATE
        if is_ours(config):
            vocabulary = parse(_read(file, LARGEST_FILE_BYTES), file=file)
            source = _read(template_file, LARGEST_FILE_BYTES)
        else:
            data = _read(file, LARGEST_OPEN_FILE_BYTES)
            vocabulary = parse_open(data, config, file=file, config_file=config_file)
            found = template_file.is_file()
            source = _read(template_file, LARGEST_FILE_BYTES) if found else b""
        try:
            made = cls(vocabulary, source.decode("utf-8"), encoder)
        except UnicodeDecodeError:
            raise CorruptArtifact("the chat template is not UTF-8", file=template_file) from None
        made.template.check(template_file)
        return made

    def save(self, directory: Path) -> None:
        """Writes tokenizer.json, tokenizer_config.json and chat_template.jinja.

        The bytes depend on the tokenizer alone; a stranger's are those that were read.
        `tokenizers` and `transformers` load them.
        """
        directory.mkdir(parents=True, exist_ok=True)
        vocabulary = self.vocabulary
        if isinstance(vocabulary, OpenVocabulary):
            files = {TOKENIZER: vocabulary.tokenizer_json, CONFIG: vocabulary.config_json}
        else:
            files = {TOKENIZER: vocabulary.to_json(), CONFIG: config_json(vocabulary)}
        for name, text in (files | {CHAT_TEMPLATE: self.chat_template}).items():
            (directory / name).write_bytes(text.encode("utf-8"))

    @property
    def encoder(self) -> str:
        """Which library encodes: "gigatoken" or "tokenizers"."""
        return self._encoder.name

    @property
    def vocab_size(self) -> int:
        """Ids in all; every id is below it. The rows of an embedding may be more."""
        return self.vocabulary.size

    @property
    def specials(self) -> dict[str, int]:
        """Special token -> id, reserved ones included."""
        return dict(self.vocabulary.specials)

    @property
    def end_of_text(self) -> int:
        """Ends a document."""
        return self.vocabulary.end_of_text

    @property
    def begin(self) -> int:
        """Stands before a document: the BOS where the tokenizer adds one, else `end_of_text`."""
        return self.vocabulary.begin

    @cached_property
    def end_of_turn(self) -> int:
        """Ends a turn of a conversation: what the chat template puts after an answer."""
        name = self.template.end_of_turn
        return self.vocabulary.eos if name is None else self.vocabulary.specials[name]

    @property
    def pad(self) -> int:
        """Fills a row; never trained on."""
        return self.vocabulary.pad

    def stops(self, chats: bool) -> tuple[int, ...]:
        """The ids that end what a model says, each once.

        Args:
            chats: it answers in turns; otherwise only the end of a text ends it.
        """
        ends = (self.end_of_turn, self.end_of_text) if chats else (self.end_of_text,)
        return tuple(dict.fromkeys(ends))

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, which is text even where it spells a special token.

        `decode` gives back the same string, but for what has no UTF-8 (a lone surrogate becomes
        U+FFFD) and what a stranger's tokenizer changes (Qwen's brings text to NFC, some of
        Mistral's lose a first space).
        """
        ids: list[int] = self._encoder.encode(encodable(text)).tolist()
        return ids

    def encode_batch(
        self, texts: Iterable[str], *, behind_special: bool = False
    ) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text, as `encode` would give them; arrays of shape (tokens,).

        Args:
            behind_special: the texts follow a special token; some tokenizers of open weights put
                a space before the first text only.
        """
        encoder = self._inner if behind_special else self._encoder
        return encoder.encode_batch([encodable(text) for text in texts])

    def encode_bytes(self, data: bytes) -> list[int]:
        """Ids of any bytes; what is not UTF-8 becomes single-byte tokens, so nothing is lost."""
        ids: list[int] = []
        # An odd part is a run of bytes that are not UTF-8, one low surrogate for each.
        parts = _LOW_SURROGATES.split(data.decode("utf-8", "surrogateescape"))
        for position, part in enumerate(parts):
            if position % 2:
                ids.extend(self.vocabulary.byte_ids[ord(character) - 0xDC00] for character in part)
            elif part:
                ids.extend(self.encode(part))
        return ids

    def decode(
        self, ids: Sequence[int] | npt.NDArray[np.integer], keep_special: bool = False
    ) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD.

        Special tokens are left out, or with `keep_special` spelled out. The space that some
        tokenizers put before a text is left out, too; `decode_bytes` keeps it.

        Raises:
            InputError: an id is outside the vocabulary.
        """
        text = self.decode_bytes(ids, keep_special).decode("utf-8", "replace")
        return text.removeprefix(" ") if self.vocabulary.prefixes_space else text

    def continuation(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """The text of `ids` that go on from others: no space in front is left out; see `decode`."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(
        self, ids: Sequence[int] | npt.NDArray[np.integer], keep_special: bool = False
    ) -> bytes:
        """The bytes of `ids`, exactly; see `decode`."""
        left_out = frozenset() if keep_special else self._special_ids
        return b"".join(self.token_bytes(int(i)) for i in ids if int(i) not in left_out)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes one id stands for; a special token's are its spelling.

        Nothing for an id that open weights have a row for and no token.

        Raises:
            InputError: the id is negative, or outside a vocabulary of ours.
        """
        size = self.vocab_size
        if 0 <= token_id < size:
            return self.vocabulary.bytes_by_id[token_id]
        if token_id >= size and self.vocabulary.rows_beyond:
            return b""
        raise InputError(f"token id {token_id} is outside the vocabulary of {size} tokens")

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        return frozenset(self.vocabulary.specials.values())


def encodable(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates replaced by U+FFFD.

    A lone surrogate is no character and has no UTF-8 (RFC 3629); JSON can still smuggle one in.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _template(vocabulary: Vocabulary | OpenVocabulary, source: str) -> OwnTemplate | OpenTemplate:
    specials = frozenset(vocabulary.specials)
    if isinstance(vocabulary, Vocabulary):
        return OwnTemplate(source, specials)
    ends = {vocabulary.end_of_text, vocabulary.eos}
    spelled = frozenset(name for name, i in vocabulary.specials.items() if i in ends)
    return OpenTemplate(source, specials, vocabulary.named, spelled)


def _read(file: Path, most_bytes: int) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(most_bytes + 1)
    except OSError as error:
        reason = f"cannot read a part of the tokenizer ({error.strerror}); make it anew"
        raise CorruptArtifact(reason, file=file) from None
