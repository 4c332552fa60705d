"""What is admitted in a stranger's tokenizer.json. Knows no configuration and encodes nothing.

Everything raises `DamageError`, which says what is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ontogeny.text.splitters import steps_of
from ontogeny.text.vocabulary import DamageError

MOST_TOKENS = 2**21
MOST_MERGES = 2**22
_LONGEST_STRING = 64  # that a normalizer or pre-tokenizer looks for or puts in
_NORMAL_FORMS = {"NFC", "NFD", "NFKC", "NFKD"}


@dataclass(frozen=True, slots=True)
class Added:
    """An added token: found in text before anything else, unless it is special."""

    content: str
    id: int
    special: bool


def steps(part: object, name: str) -> list[dict[str, Any]]:
    """The steps of a normalizer, pre-tokenizer, post-processor or decoder; `name` is the list's.

    Raises:
        DamageError: it is no object, or a step has no type.
    """
    if part is None:
        return []
    listed = part.get(name, [part]) if isinstance(part, Mapping) else None
    if not isinstance(listed, list) or not all(
        isinstance(step, dict) and isinstance(step.get("type"), str) for step in listed
    ):
        raise DamageError(f"its {name} are damaged")
    return listed


def checked_vocab(parsed: Mapping[str, Any]) -> dict[str, int]:
    """Spelling -> id of the BPE model, everything around it looked at.

    Raises:
        DamageError: it is another kind of model, or damaged.
    """
    model = parsed.get("model")
    if not isinstance(model, Mapping):
        raise DamageError("there is no model in it")
    kind = model.get("type", "BPE")
    if kind != "BPE":
        raise DamageError(f"it is of the kind {kind}, and only BPE is read")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise DamageError(f"its {name} is not supported")
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not 0 < len(vocab) <= MOST_TOKENS:
        raise DamageError(f"its vocabulary is no mapping of 1 to {MOST_TOKENS} tokens")
    _check_ids(vocab)
    unknown = model.get("unk_token")
    if unknown is not None and unknown not in vocab:
        raise DamageError("the unknown token is not in the vocabulary")
    _check_normalizer(parsed.get("normalizer"))
    _check_pre_tokenizer(parsed.get("pre_tokenizer"))
    for name in ("post_processor", "decoder"):
        steps(parsed.get(name), f"{name.removeprefix('post_')}s")
    return vocab


def _check_ids(vocab: Mapping[str, Any]) -> None:
    seen: set[int] = set()
    for token_id in vocab.values():
        if type(token_id) is not int or not 0 <= token_id < MOST_TOKENS:
            raise DamageError(f"token id {token_id!r} is no number from 0 to {MOST_TOKENS}")
        if token_id in seen:
            raise DamageError(f"token id {token_id} stands twice")
        seen.add(token_id)


def checked_merges(merges: object, vocab: Mapping[str, int]) -> list[tuple[str, str]]:
    """The merges as pairs; older files write one as `LEFT RIGHT`.

    Raises:
        DamageError: one does not join two tokens to a third.
    """
    if not isinstance(merges, list) or len(merges) > MOST_MERGES:
        raise DamageError(f"its merges are no list of at most {MOST_MERGES}")
    pairs: list[tuple[str, str]] = []
    for rank, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(pair):
            raise DamageError(f"merge {rank} is no pair of tokens")
        left, right = pair
        if not isinstance(left, str) or not isinstance(right, str):
            raise DamageError(f"merge {rank} is no pair of tokens")
        if left not in vocab or right not in vocab or left + right not in vocab:
            raise DamageError(f"merge {rank} does not join two tokens to a third")
        pairs.append((left, right))
    return pairs


def added_tokens(parsed: Mapping[str, Any], special: Collection[str]) -> list[Added]:
    """The added tokens; those that `special` names are special, whatever the file says of them.

    Raises:
        DamageError: one is damaged, or contradicts the vocabulary or another.
    """
    listed = parsed.get("added_tokens") or []
    if not isinstance(listed, list) or len(listed) > MOST_TOKENS:
        raise DamageError("its added tokens are no list")
    vocab = parsed["model"]["vocab"]
    spelled = {token_id: spelling for spelling, token_id in vocab.items()}
    contents: set[str] = set()
    found = []
    for token in listed:
        content, token_id = _content(token)
        known = vocab.get(content, token_id), spelled.get(token_id, content)
        if known != (token_id, content) or content in contents:
            raise DamageError(f"the added token {content!r} stands twice, or under two ids")
        spelled[token_id] = content
        contents.add(content)
        is_special = token.get("special") is True or content in special
        if is_special and any(token.get(flag) for flag in ("single_word", "lstrip", "rstrip")):
            raise DamageError(f"the special token {content!r} takes text beside it along")
        found.append(Added(content, token_id, is_special))
    return found


def _content(token: object) -> tuple[str, int]:
    if not isinstance(token, Mapping):
        raise DamageError("an added token is no object")
    content, token_id = token.get("content"), token.get("id")
    if not isinstance(content, str) or not content or type(token_id) is not int:
        raise DamageError("an added token has no content or no id")
    if not 0 <= token_id < MOST_TOKENS:
        raise DamageError(f"the id {token_id} of an added token is out of bounds")
    return content, token_id


def _check_normalizer(normalizer: object) -> None:
    for step in steps(normalizer, "normalizers"):
        kind = step["type"]
        replaces = kind == "Replace" and _short(_string(step.get("pattern")))
        if kind in _NORMAL_FORMS or (replaces and _short(step.get("content"))):
            continue
        if kind == "Prepend" and _short(step.get("prepend")):
            continue
        raise DamageError(f"its normalizer {kind} is not among those that are read")


def _check_pre_tokenizer(pre_tokenizer: object) -> None:
    """Byte-level ones cut by a known expression; others by fixed strings."""
    if steps_of(pre_tokenizer) is not None:
        return
    for step in steps(pre_tokenizer, "pretokenizers"):
        kind = step["type"]
        splits = kind == "Split" and _short(_string(step.get("pattern")))
        pieces = kind == "Metaspace" and _short(step.get("replacement"))
        if kind == "ByteLevel" or (kind == "Split" and not splits):
            raise DamageError("it cuts text by a regular expression that is not a known one")
        if not splits and not pieces and kind != "Digits":
            raise DamageError(f"its pre-tokenizer {kind} is not among those that are read")


def _string(pattern: object) -> object:
    return pattern.get("String") if isinstance(pattern, Mapping) else None


def _short(text: object) -> bool:
    return isinstance(text, str) and len(text) <= _LONGEST_STRING
