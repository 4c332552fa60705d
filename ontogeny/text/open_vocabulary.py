"""The vocabulary of open weights: a tokenizer.json and tokenizer_config.json that others wrote.

Two kinds of BPE are read: over bytes (Llama 3, Qwen, SmolLM, OLMo) and over SentencePiece's pieces
(Llama 2, Mistral, Gemma). `parse_open` believes nothing: ids and merges are checked, normalizers
and pre-tokenizers are admitted by name, so that no regular expression of a stranger ever runs.

Special tokens are unknown to what encodes text. Added tokens that are not special (Qwen 3's
`<think>`, Gemma's runs of newlines) are found in text, as `transformers` does.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any, ClassVar

from ontogeny.base.errors import InputError
from ontogeny.text.encoders import EncoderName, TextEncoder, WholeEncoder
from ontogeny.text.open_checks import Added, added_tokens, checked_merges, checked_vocab, steps
from ontogeny.text.splitters import steps_of
from ontogeny.text.vocabulary import (
    BYTE_TO_CHARACTER,
    CHARACTER_TO_BYTE,
    DamageError,
    json_object,
)

LARGEST_OPEN_FILE_BYTES = 64 * 2**20
LARGEST_CONFIG_BYTES = 4 * 2**20
SPACE = "\u2581"
ENDS_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")
NAMES = tuple(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))


@dataclass(frozen=True)
class OpenVocabulary:
    """What a stranger's two files say, checked by `parse_open`.

    Args:
        tokenizer_json: text of the file, kept as it is.
        config_json: text of tokenizer_config.json, kept as it is.
    """

    tokenizer_json: str
    config_json: str

    rows_beyond: ClassVar[bool] = True

    def to_json(self) -> str:
        """The text of tokenizer.json."""
        return self.tokenizer_json

    @cached_property
    def _parsed(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.tokenizer_json)
        return parsed

    @cached_property
    def _config(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.config_json)
        return parsed

    @cached_property
    def _added(self) -> list[Added]:
        return added_tokens(self._parsed, set(self.named.values()) | set(_others(self._config)))

    @cached_property
    def ids(self) -> dict[str, int]:
        """Every token's spelling -> id."""
        added = {each.content: each.id for each in self._added}
        return {**self._parsed["model"]["vocab"], **added}

    @cached_property
    def named(self) -> dict[str, str]:
        """`bos_token`, `eos_token`, ... -> spelling; those that are no token are left out."""
        known = {each.get("content") for each in self._parsed.get("added_tokens") or ()}
        known |= set(self._parsed["model"]["vocab"])
        given = {name: _spelling(self._config.get(name)) for name in NAMES}
        return {name: text for name, text in given.items() if text is not None and text in known}

    @cached_property
    def size(self) -> int:
        """One more than the highest id."""
        return max(self.ids.values()) + 1

    @cached_property
    def specials(self) -> dict[str, int]:
        """Special token -> id."""
        named = {text: self.ids[text] for text in self.named.values()}
        special = {each.content: each.id for each in self._added if each.special}
        return dict(sorted((named | special).items(), key=lambda item: item[1]))

    @cached_property
    def end_of_text(self) -> int:
        """Ends a document: the first of `ENDS_OF_TEXT` that is a token, else the eos token."""
        names = (*ENDS_OF_TEXT, self.named.get("eos_token", ""))
        return next(self.specials[name] for name in names if name in self.specials)

    @cached_property
    def eos(self) -> int:
        """What the files name as the end; of a chat model often the end of a turn."""
        name = self.named.get("eos_token")
        return self.end_of_text if name is None else self.ids[name]

    @cached_property
    def pad(self) -> int:
        """Fills a row."""
        name = self.named.get("pad_token")
        return self.end_of_text if name is None else self.ids[name]

    @cached_property
    def begins(self) -> bool:
        """Whether the tokenizer puts the bos token before a document."""
        said = self._config.get("add_bos_token")
        if isinstance(said, bool):
            return said and "bos_token" in self.named
        first = next(_first_of_document(self._parsed.get("post_processor")), None)
        return first is not None and first == self.named.get("bos_token")

    @cached_property
    def begin(self) -> int:
        """Stands before a document: the bos token where one is added, else the end of a text."""
        return self.ids[self.named["bos_token"]] if self.begins else self.end_of_text

    @cached_property
    def byte_level(self) -> bool:
        """Whether tokens are spelled in the byte alphabet; otherwise they are pieces of text."""
        return steps_of(self._parsed.get("pre_tokenizer")) is not None

    @cached_property
    def prefixes_space(self) -> bool:
        """Whether encoding puts a space in front that the text has not."""
        normalizers = steps(self._parsed.get("normalizer"), "normalizers")
        cuts = steps(self._parsed.get("pre_tokenizer"), "pretokenizers")
        return any(step["type"] == "Prepend" for step in normalizers) or any(
            step["type"] == "Metaspace" and step.get("prepend_scheme", "always") != "never"
            for step in cuts
        )

    @cached_property
    def bytes_by_id(self) -> list[bytes]:
        """What each id stands for; nothing where no token has it."""
        found = [b""] * self.size
        for spelling, token_id in self.ids.items():
            found[token_id] = self._bytes(spelling)
        for each in self._added:
            text = each.content if each.special or self.byte_level else _spaced(each.content)
            found[each.id] = text.encode()
        return found

    def _bytes(self, spelling: str) -> bytes:
        if self.byte_level:
            if all(character in CHARACTER_TO_BYTE for character in spelling):
                return bytes(CHARACTER_TO_BYTE[character] for character in spelling)
            return spelling.encode()
        byte = _byte(spelling) if self._parsed["model"].get("byte_fallback") else None
        return _spaced(spelling).encode() if byte is None else bytes([byte])

    @cached_property
    def byte_ids(self) -> list[int]:
        """The id of each byte; of one without a token, that of an unknown character.

        Raises:
            InputError: a byte has no token, and there is none for what is unknown.
        """
        names = BYTE_TO_CHARACTER if self.byte_level else [f"<0x{byte:02X}>" for byte in range(256)]
        unknown = self.ids.get(self._parsed["model"].get("unk_token") or "")
        found = [self.ids.get(name, unknown) for name in names]
        if None in found:
            raise InputError("this tokenizer has no token for some bytes, so it encodes only text")
        return [each for each in found if each is not None]

    def encoders(self, wanted: EncoderName) -> tuple[TextEncoder, TextEncoder]:
        """What encodes a text, and what encodes text behind a special token.

        Texts go through whole: where a stranger's text may be cut is not known.

        Raises:
            InputError: gigatoken is asked for.
        """
        if wanted == "gigatoken":
            raise InputError("gigatoken encodes only tokenizers of ours: take 'tokenizers'")
        plain = self._plain()
        first = WholeEncoder(json.dumps(plain, ensure_ascii=False))
        cuts = copy.deepcopy(steps(plain.get("pre_tokenizer"), "pretokenizers"))
        first_only = [step for step in cuts if step.get("prepend_scheme") == "first"]
        if not first_only:
            return first, first
        for step in first_only:
            step["prepend_scheme"] = "never"
        plain["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": cuts}
        return first, WholeEncoder(json.dumps(plain, ensure_ascii=False))

    def _plain(self) -> dict[str, Any]:
        """A tokenizer.json that has never heard of a special token.

        Added tokens that are not special are put among the tokens, or `tokenizers` would number
        them anew.
        """
        model, special = dict(self._parsed["model"]), set(self.specials)
        made = special | {model.get("unk_token")}
        special.discard(model.get("unk_token"))
        kept = [each for each in self._added if not each.special]
        vocab = {name: i for name, i in model["vocab"].items() if name not in special}
        model["vocab"] = vocab | {each.content: each.id for each in kept}
        pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
        model["merges"] = [
            pair for pair in pairs if special.isdisjoint(pair) and pair[0] + pair[1] not in made
        ]
        contents = {each.content for each in kept}
        added = self._parsed.get("added_tokens") or ()
        unused = {"truncation": None, "padding": None, "post_processor": None}
        found = [each for each in added if each["content"] in contents]
        return {**self._parsed, **unused, "model": model, "added_tokens": found}


def parse_open(
    data: bytes, config: bytes, *, file: str | PathLike[str], config_file: str | PathLike[str]
) -> OpenVocabulary:
    """The vocabulary in the bytes of a stranger's tokenizer.json and tokenizer_config.json.

    Raises:
        InputError: a file is damaged, too large, inconsistent, or of a kind that is not read.
    """
    try:
        settings = json_object(config, LARGEST_CONFIG_BYTES)
    except DamageError as damage:
        reason = f"{damage.reason}; restore the file"
        raise InputError(reason, file=config_file, line=damage.line) from None
    try:
        parsed = json_object(data, LARGEST_OPEN_FILE_BYTES)
        vocab = checked_vocab(parsed)
        checked_merges(parsed["model"].get("merges"), vocab)
        named = {_spelling(settings.get(name)) or "" for name in NAMES}
        added_tokens(parsed, named | set(_others(settings)))
        made = OpenVocabulary(data.decode("utf-8"), config.decode("utf-8"))
        vars(made).update(_parsed=parsed, _config=settings)  # read once: such files are large
        if not {*ENDS_OF_TEXT, made.named.get("eos_token")} & set(made.specials):
            raise DamageError("no token ends a text")
        if any(len(name) < 2 or any(map(str.isspace, name)) for name in made.specials):
            raise DamageError("a special token is a single character, or holds a space")
    except DamageError as damage:
        reason = f"this tokenizer cannot be read: {damage.reason}; import another model"
        raise InputError(reason, file=file, line=damage.line) from None
    return made


def _spelling(token: object) -> str | None:
    """A token as tokenizer_config.json names it: its spelling, or an object that holds it."""
    text = token.get("content") if isinstance(token, Mapping) else token
    return text if isinstance(text, str) and text else None


def _others(config: Mapping[str, Any]) -> Iterator[str]:
    """Special tokens that the configuration names beside the usual ones."""
    for name in ("additional_special_tokens", "extra_special_tokens"):
        listed = config.get(name)
        values = list(listed.values()) if isinstance(listed, Mapping) else listed
        for token in values if isinstance(values, list) else ():
            spelling = _spelling(token)
            if spelling is not None:
                yield spelling


def _first_of_document(processor: object) -> Iterator[str]:
    """The special token that a post-processor puts first, if it puts one."""
    for step in steps(processor, "processors"):
        single = step.get("single") if step.get("type") == "TemplateProcessing" else None
        first = single[0] if isinstance(single, list) and single else None
        token = first.get("SpecialToken") if isinstance(first, Mapping) else None
        if isinstance(token, Mapping) and isinstance(token.get("id"), str):
            yield token["id"]


def _spaced(spelling: str) -> str:
    return spelling.replace(SPACE, " ")


def _byte(spelling: str) -> int | None:
    """The byte that `<0x0A>` stands for, or None."""
    digits = spelling[3:-1] if spelling.startswith("<0x") and spelling.endswith(">") else ""
    hexadecimal = len(digits) == 2 and all(each in "0123456789ABCDEF" for each in digits)
    return int(digits, 16) if hexadecimal else None
