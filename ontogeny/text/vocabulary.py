"""What a tokenizer is on disk: tokens, merges, special tokens, and the exact form of the file.

These are tokenizers of ours; `open_vocabulary` reads strangers'. `parse` believes nothing: a file
that passes it has contiguous ids, all 256 bytes, merges that only join what earlier merges made,
and exactly the pre-tokenizer below, so that no regular expression, normalizer or cycle of a
stranger ever runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any, ClassVar

from ontogeny.base.errors import CorruptArtifact
from ontogeny.text.encoders import EncoderName, TextEncoder, own_encoder

# The pattern of Qwen 2 (Yang et al. 2024, arXiv:2407.10671): single digits, which keeps arithmetic
# learnable for small models, and one of the patterns gigatoken has a hand-written splitter for.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
END_OF_TURN = "<|end|>"
NAMED_SPECIALS = (
    END_OF_TEXT,
    PAD,
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|tool|>",
    END_OF_TURN,
    "<|tool_call|>",
    "<|/tool_call|>",
)
RESERVED = 7  # spare rows for tokens that a later stage may need, without resizing the model
LARGEST_FILE_BYTES = 16 * 2**20


def special_tokens(count: int) -> tuple[str, ...]:
    """The first `count` special tokens: the named ones, then `<|reserved_0|>`, ..."""
    reserved = (f"<|reserved_{index}|>" for index in range(count - len(NAMED_SPECIALS)))
    return (*NAMED_SPECIALS, *reserved)


SMALLEST_VOCABULARY = 256 + len(NAMED_SPECIALS) + RESERVED


def byte_alphabet() -> tuple[str, ...]:
    """The printable character that stands for each byte in a byte-level BPE file.

    Source: Radford et al. 2019 (GPT-2): printable Latin-1 bytes stand for themselves, the others
    for the characters from U+0100 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    characters, shifted = [], 0x100
    for byte in range(256):
        if byte in printable:
            characters.append(chr(byte))
        else:
            characters.append(chr(shifted))
            shifted += 1
    return tuple(characters)


BYTE_TO_CHARACTER = byte_alphabet()
CHARACTER_TO_BYTE = {character: byte for byte, character in enumerate(BYTE_TO_CHARACTER)}


def spelled_bytes(spelling: str) -> bytes:
    """The bytes that a token's spelling in the byte alphabet stands for."""
    return bytes(CHARACTER_TO_BYTE[character] for character in spelling)


def plain_bpe() -> dict[str, Any]:
    """The model of a tokenizer.json that merges and does nothing else, without its tokens."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
    }


def _frame() -> dict[str, Any]:
    """Everything in tokenizer.json apart from the vocabulary: a constant."""
    byte_level = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated"}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{**split, "invert": False}, {"type": "ByteLevel", **byte_level}],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", **byte_level},
        "model": {**plain_bpe(), "vocab": {}, "merges": []},
    }


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in id order, the merges in order of rank, then the special tokens.

    Args:
        spellings: byte-level spelling of ids 0 .. n-1.
        merges: pairs of spellings, highest priority first.
        special_count: how many special tokens follow, at ids n .. n+special_count-1.
    """

    spellings: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    special_count: int

    @property
    def size(self) -> int:
        """Ids in all, special tokens included."""
        return len(self.spellings) + self.special_count

    @cached_property
    def specials(self) -> dict[str, int]:
        """Special token -> id."""
        first = len(self.spellings)
        return {name: first + i for i, name in enumerate(special_tokens(self.special_count))}

    @property
    def end_of_text(self) -> int:
        """Ends a document, and stands before one."""
        return self.specials[END_OF_TEXT]

    begin = end_of_text

    eos = end_of_text

    @property
    def pad(self) -> int:
        """Fills a row."""
        return self.specials[PAD]

    named: ClassVar[Mapping[str, str]] = {}
    begins: ClassVar[bool] = False
    """Whether a token other than the end of a text stands before a document."""
    prefixes_space: ClassVar[bool] = False
    """Whether encoding puts a space in front that the text has not."""
    rows_beyond: ClassVar[bool] = False
    """Whether ids past the last token are met, as in embeddings of more rows than tokens."""

    @cached_property
    def bytes_by_id(self) -> list[bytes]:
        """What each id stands for; a special token's bytes are its spelling."""
        spelled = [spelled_bytes(spelling) for spelling in self.spellings]
        return spelled + [name.encode() for name in self.specials]

    @cached_property
    def byte_ids(self) -> list[int]:
        """The id of each byte."""
        ids = {spelling: i for i, spelling in enumerate(self.spellings)}
        return [ids[character] for character in BYTE_TO_CHARACTER]

    def encoders(self, wanted: EncoderName) -> tuple[TextEncoder, TextEncoder]:
        """What encodes a text, and what encodes text behind a special token.

        Raises:
            InputError: `wanted` cannot be had (see `encoders.own_encoder`).
        """
        encoder = own_encoder(self.to_json(with_specials=False), wanted)
        return encoder, encoder

    def to_json(self, *, with_specials: bool = True) -> str:
        """The text of tokenizer.json; without specials, the form in which text is encoded.

        A tokenizer that has never heard of a control token cannot be talked into emitting one.
        """
        frame = _frame()
        frame["model"]["vocab"] = {spelling: i for i, spelling in enumerate(self.spellings)}
        frame["model"]["merges"] = [list(pair) for pair in self.merges]
        if with_specials:
            frame["added_tokens"] = [_added_token(name, i) for name, i in self.specials.items()]
        return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))


def _added_token(content: str, token_id: int) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token_id, "content": content, **flags, "special": True}


def parse(data: bytes, *, file: str | PathLike[str]) -> Vocabulary:
    """The vocabulary in the bytes of a tokenizer.json of ours. Time and memory are linear in it.

    Raises:
        CorruptArtifact: naming `file`, whatever is wrong with it.
    """
    try:
        return _checked(json_object(data, LARGEST_FILE_BYTES))
    except DamageError as damage:
        reason = f"not a tokenizer of ours: {damage.reason}; make it anew or restore the file"
        raise CorruptArtifact(reason, file=file, line=damage.line) from None


class DamageError(Exception):
    """What is wrong with a tokenizer's file, and where."""

    def __init__(self, reason: str, line: int = 1) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise DamageError("the same key stands twice in one object")
    return result


def json_object(data: bytes, most_bytes: int) -> dict[str, Any]:
    """The object in a JSON file, no key of which stands twice.

    Raises:
        DamageError: it is none, or larger than `most_bytes`.
    """
    if len(data) > most_bytes:
        raise DamageError(f"{len(data)} bytes, more than {most_bytes}")
    try:
        parsed = json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        raise DamageError(f"invalid JSON ({error.msg})", error.lineno) from None
    except UnicodeDecodeError:
        raise DamageError("invalid UTF-8") from None
    except RecursionError:
        raise DamageError("nested too deeply") from None
    except ValueError:  # an integer of more digits than Python will read
        raise DamageError("a number is too long") from None
    if not isinstance(parsed, dict):
        raise DamageError("no object")
    return parsed


def _checked(parsed: dict[str, Any]) -> Vocabulary:
    model = parsed.get("model")
    if not isinstance(model, dict):
        raise DamageError("no object with a model")
    spellings = _checked_tokens(model.get("vocab"))
    merges = _checked_merges(model.get("merges"), spellings)
    added = parsed.get("added_tokens")
    count = len(added) if isinstance(added, list) else 0
    if count < len(NAMED_SPECIALS):
        raise DamageError("special tokens are missing")
    vocabulary = Vocabulary(spellings, merges, count)
    if added != [_added_token(name, i) for name, i in vocabulary.specials.items()]:
        raise DamageError("the special tokens differ from ours, or their ids leave gaps")
    frame = _frame()
    expected = {**frame, "added_tokens": added, "model": {**frame["model"], **_lists(model)}}
    if parsed != expected:
        wrong = sorted(key for key in {*parsed, *expected} if parsed.get(key) != expected.get(key))
        raise DamageError(f"the part {', '.join(wrong)} differs from what we write")
    return vocabulary


def _lists(model: dict[str, Any]) -> dict[str, Any]:
    return {"vocab": model["vocab"], "merges": model["merges"]}


def _checked_tokens(vocab: object) -> tuple[str, ...]:
    if not isinstance(vocab, dict) or not all(type(i) is int for i in vocab.values()):
        raise DamageError("the vocabulary must map tokens to integers")
    spellings: list[str | None] = [None] * len(vocab)
    for spelling, token_id in vocab.items():
        if not 0 <= token_id < len(vocab):
            raise DamageError(f"token id {token_id} leaves a gap in {len(vocab)} tokens")
        if spellings[token_id] is not None:
            raise DamageError(f"token id {token_id} stands twice")
        if not spelling or any(character not in CHARACTER_TO_BYTE for character in spelling):
            raise DamageError(f"token {token_id} is not spelled in the byte alphabet")
        spellings[token_id] = spelling
    missing = next((c for c in BYTE_TO_CHARACTER if c not in vocab), None)
    if missing is not None:
        raise DamageError(f"byte {CHARACTER_TO_BYTE[missing]} has no token")
    return tuple(spelling for spelling in spellings if spelling is not None)


def _checked_merges(merges: object, spellings: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    if not isinstance(merges, list):
        raise DamageError("the merges must be a list of pairs")
    known, made, seen = set(spellings), set(BYTE_TO_CHARACTER), set()
    for rank, pair in enumerate(merges):
        if not isinstance(pair, list) or [type(part) for part in pair] != [str, str]:
            raise DamageError(f"merge {rank} is not a pair of tokens")
        left, right = pair
        if left not in made or right not in made:
            raise DamageError(f"merge {rank} joins what no earlier merge has made")
        if (left, right) in seen or left + right not in known:
            raise DamageError(f"merge {rank} stands twice or makes no token of the vocabulary")
        seen.add((left, right))
        made.add(left + right)
    if len(made) != len(spellings):
        raise DamageError(f"{len(spellings) - len(made)} tokens are made by no merge")
    return tuple((left, right) for left, right in merges)
