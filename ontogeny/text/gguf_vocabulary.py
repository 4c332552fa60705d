"""The vocabulary of a GGUF file <-> the files of a tokenizer. Pure text: knows no tensors.

Fields are those of the GGUF specification (`tokenizer.ggml.*`), values plain lists and numbers.
A GGUF file names its way of cutting text (`pre`) and does not say it, so only names whose parts are
known exactly are taken (`splitters.SPLITTERS`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.text.artifact_files import CHAT_TEMPLATE, CONFIG, TOKENIZER, config_json
from ontogeny.text.gguf_merges import mergeable, merges_of_scores, scores_of_merges
from ontogeny.text.gguf_table import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Table,
)
from ontogeny.text.open_checks import checked_merges, steps
from ontogeny.text.open_vocabulary import SPACE
from ontogeny.text.splitters import SPLITTERS, byte_level_json, pre_tokenizer_json, steps_of
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.vocabulary import Vocabulary, plain_bpe, special_tokens

# llama.cpp's Jinja has no such tag; as a comment it trims the same spaces and can be found again.
_TAG = re.compile(r"\{%(-?)\s*((?:end)?generation)\s*(-?)%\}")
_COMMENT = re.compile(r"\{#(-?) ((?:end)?generation) (-?)#\}")
_NAMED = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def tokenizer_files(fields: Mapping[str, Any], file: str | PathLike[str]) -> dict[str, str]:
    """The texts of tokenizer.json, tokenizer_config.json and, where there is a chat template,
    chat_template.jinja.

    Tokens marked unused (rows that fill an embedding) are left out. A file made from a tokenizer
    of ours gives that tokenizer back.

    Args:
        fields: `tokenizer.ggml.*` and `tokenizer.chat_template`; others are passed over.
        file: named in errors.

    Raises:
        InputError: a field is missing or damaged, or the vocabulary is of a kind, or cut in a way,
            that is not known exactly.
    """
    table = Table(fields, file)
    template = fields.get("tokenizer.chat_template")
    if template is not None and not isinstance(template, str):
        raise InputError("tokenizer.chat_template is no text", file=file)
    ours = _ours(table)
    if ours is not None and template is not None:
        files = {TOKENIZER: ours.to_json(), CONFIG: config_json(ours)}
        template = _COMMENT.sub(r"{%\1 \2 \3%}", template)
    elif table.model == "gpt2":
        files = {TOKENIZER: _dumped(_byte_level(table)), CONFIG: _config(table)}
    elif table.model == "llama":
        files = {TOKENIZER: _dumped(_pieces(table)), CONFIG: _config(table)}
    else:
        raise InputError(
            f"its tokenizer is of the kind '{table.model}'; gpt2 (byte-level BPE) and llama "
            "(SentencePiece BPE) can be read: import the model in the format of transformers",
            file=file,
        )
    return files | ({} if template is None else {CHAT_TEMPLATE: template})


def _ours(table: Table) -> Vocabulary | None:
    """The vocabulary of ours that the fields were made from, or None."""
    special = table.ids(CONTROL)
    names = tuple(table.tokens[i] for i in special)
    first = len(table.ids()) - len(names)
    of_ours = table.model == "gpt2" and table.text("pre") == "qwen2" and "<|reserved_0|>" in names
    if not of_ours or names != special_tokens(len(names)) or special[0] != first:
        return None
    pairs = tuple((left, right) for left, right in table.merges())
    return Vocabulary(tuple(table.tokens[:first]), pairs, len(names))


def _byte_level(table: Table) -> dict[str, Any]:
    pre = table.text("pre") or "missing"
    splitter = SPLITTERS.get(pre)
    if splitter is None:
        raise InputError(
            f"its tokenizer cuts text in the way '{pre}', which is not known here (known: "
            f"{', '.join(SPLITTERS)}): import the model in the format of transformers",
            file=table.file,
        )
    frame = _frame(table)
    return frame | {
        "normalizer": {"type": "NFC"} if splitter.normal_form else None,
        "pre_tokenizer": pre_tokenizer_json(splitter),
        "post_processor": _begun(table, splitter.adds_begin),
        "decoder": byte_level_json(use_regex=True),
        "model": {**frame["model"], "ignore_merges": splitter.ignore_merges}
        | {"vocab": _vocabulary(table), "merges": table.merges()},
    }


def _pieces(table: Table) -> dict[str, Any]:
    """SentencePiece BPE: spaces are pieces, unknown characters are spelled in bytes."""
    frame, prefixed = _frame(table), table.flag("add_space_prefix", default=True)
    spaces: dict[str, Any] = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefixed:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
        spaces = {
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": SPACE}, spaces],
        }
    unknown = [table.tokens[i] for i in table.ids(UNKNOWN)]
    model = {"unk_token": unknown[0] if unknown else None, "fuse_unk": True, "byte_fallback": True}
    return frame | {
        "normalizer": spaces,
        "post_processor": _begun(table, default=True),
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {**frame["model"], **model}
        | {
            "vocab": _vocabulary(table),
            "merges": merges_of_scores(
                table.tokens, table.scores(), mergeable(table.tokens, table.types)
            ),
        },
    }


def gguf_fields(
    tokenizer: Tokenizer, rows: int, specials: Mapping[str, int | list[int] | None]
) -> dict[str, Any]:
    """The fields of a GGUF file in which llama.cpp tokenizes text as `tokenizer` does.

    llama.cpp does not bring text to NFC, which Qwen's and OLMo's tokenizers do.

    Args:
        rows: of the embedding; those that no token has are marked unused.
        specials: `eos_token_id` of the model's configuration; a list of a chat model's names the
            end of a turn, too.

    Raises:
        InputError: nothing in llama.cpp equals it, or it has more ids than `rows`.
    """
    parsed = json.loads(tokenizer.vocabulary.to_json())
    if tokenizer.vocab_size > rows:
        raise _no_equal(f"it has {tokenizer.vocab_size} ids, the embedding {rows} rows")
    fields: dict[str, Any] = {f"tokenizer.ggml.{k}": v for k, v in _cut(parsed).items()}
    tokens, types = _listed(tokenizer, parsed, rows)
    vocab = parsed["model"]["vocab"]
    pairs = checked_merges(parsed["model"]["merges"], vocab)
    fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"] = tokens, types
    if fields["tokenizer.ggml.model"] == "gpt2":
        fields["tokenizer.ggml.merges"] = [" ".join(pair) for pair in pairs]
    else:
        try:
            fields["tokenizer.ggml.scores"] = scores_of_merges(tokens, types, pairs)
        except ValueError as error:
            raise _no_equal(str(error)) from None
    fields |= dict(_ends(tokenizer, specials))
    template = _TAG.sub(r"{#\1 \2 \3#}", tokenizer.chat_template)
    return fields | ({"tokenizer.chat_template": template} if template else {})


def _no_equal(reason: str) -> InputError:
    return InputError(
        f"llama.cpp has no equal of this tokenizer: {reason}; export the model with --to hf",
        file=TOKENIZER,
    )


def _cut(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """How text is cut: `model`, and `pre` or `add_space_prefix`."""
    normalizers = steps(parsed.get("normalizer"), "normalizers")
    kinds = [step["type"] for step in normalizers]
    cuts = steps_of(parsed.get("pre_tokenizer"))
    if cuts is not None:
        ignore = bool(parsed["model"].get("ignore_merges"))
        for name, splitter in SPLITTERS.items():
            forms = [[], ["NFC"]] if splitter.normal_form else [[]]
            if (splitter.steps, splitter.ignore_merges) == (cuts, ignore) and kinds in forms:
                return {"model": "gpt2", "pre": name}
        raise _no_equal("no name stands for the way it cuts text")
    replaced = normalizers[-1] if normalizers else {}
    spaces = replaced.get("pattern") == {"String": " "} and replaced.get("content") == SPACE
    prefixed = kinds == ["Prepend", "Replace"] and normalizers[0]["prepend"] == SPACE
    merged = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"}
    before = parsed.get("pre_tokenizer")
    idle = before is None or before == {**merged, "invert": False}  # no space is left to cut at
    if not spaces or not (prefixed or kinds == ["Replace"]) or not idle:
        raise _no_equal("its spaces become pieces in another way")
    if not parsed["model"].get("byte_fallback"):
        raise _no_equal("it does not spell unknown characters in bytes")
    return {"model": "llama", "add_space_prefix": prefixed}


def _listed(
    tokenizer: Tokenizer, parsed: Mapping[str, Any], rows: int
) -> tuple[list[str], list[int]]:
    """Tokens and their types by id."""
    tokens, types = [f"[PAD{i}]" for i in range(rows)], [UNUSED] * rows
    pieces = steps_of(parsed.get("pre_tokenizer")) is None
    for spelling, i in parsed["model"]["vocab"].items():
        byte = pieces and re.fullmatch("<0x[0-9A-F]{2}>", spelling)
        tokens[i], types[i] = spelling, BYTE if byte else NORMAL
    for added in parsed["added_tokens"]:
        tokens[added["id"]], types[added["id"]] = added["content"], USER_DEFINED
    unknown = parsed["model"].get("unk_token")
    for spelling, i in tokenizer.specials.items():
        types[i] = UNKNOWN if pieces and spelling == unknown else CONTROL
    return tokens, types


def _ends(
    tokenizer: Tokenizer, specials: Mapping[str, int | list[int] | None]
) -> Iterator[tuple[str, Any]]:
    """The tokens that begin and end texts and turns."""
    vocabulary = tokenizer.vocabulary
    given = specials.get("eos_token_id")
    ends = given if isinstance(given, list) else [vocabulary.eos if given is None else given]
    eos = vocabulary.eos if vocabulary.eos in ends else ends[0]
    bos = vocabulary.named.get("bos_token")
    begin = tokenizer.begin if bos is None else tokenizer.specials[bos]
    ids = {"bos": begin, "eos": eos, "padding": tokenizer.pad}
    for end in ends:
        if end != eos:
            ids.setdefault("eot", end)
    unknown = vocabulary.named.get("unk_token")
    if unknown is not None:
        ids["unknown"] = tokenizer.specials[unknown]
    for name, token_id in ids.items():
        yield f"tokenizer.ggml.{name}_token_id", token_id
    yield "tokenizer.ggml.add_bos_token", vocabulary.begins
    yield "tokenizer.ggml.add_eos_token", False


def _frame(table: Table) -> dict[str, Any]:
    """A tokenizer.json without what its kind decides."""
    unknown = table.named("unknown")
    added = []
    for i in table.ids(CONTROL, USER_DEFINED, UNKNOWN):
        kind, spelled = table.types[i], table.tokens[i]
        special = kind != USER_DEFINED or spelled == unknown
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        added.append({"id": i, "content": spelled, **flags, "special": special})
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": None,
        "model": plain_bpe(),
    }


def _vocabulary(table: Table) -> dict[str, int]:
    """Every token, those that text never becomes among them: they keep their ids that way."""
    return {table.tokens[i]: i for i in table.ids() if table.tokens[i]}


def _begun(table: Table, default: bool) -> dict[str, Any] | None:
    """The post-processor that puts the BOS before a document, where that is done."""
    begin = table.named("bos")
    if begin is None or not table.flag("add_bos_token", default):
        return None
    first = {"SpecialToken": {"id": begin, "type_id": 0}}
    one, two = ({"Sequence": {"id": name, "type_id": t}} for t, name in enumerate("AB"))
    again = {"SpecialToken": {"id": begin, "type_id": 1}}
    tokens = {begin: {"id": begin, "ids": [table.tokens.index(begin)], "tokens": [begin]}}
    single = {"single": [first, one], "pair": [first, one, again, two]}
    return {"type": "TemplateProcessing", **single, "special_tokens": tokens}


def _config(table: Table) -> str:
    splitter = SPLITTERS.get(table.text("pre") or "")
    default = table.model == "llama" or (splitter is not None and splitter.adds_begin)
    begins = table.flag("add_bos_token", default) and table.named("bos") is not None
    named = {f"{ours}_token": table.named(theirs) for ours, theirs in _NAMED.items()}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": begins,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        **{name: token for name, token in named.items() if token is not None},
        "model_max_length": 2**63 - 1,  # the context is the model's, not the tokenizer's
    }
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"


def _dumped(frame: Mapping[str, Any]) -> str:
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
