"""How tokenizers of known families cut text before merging: by the names that GGUF files use.

Knows no vocabulary. A splitter stands here only where its parts are known exactly, both as
`tokenizers` writes them and as llama.cpp computes them; the rest is refused by name elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ontogeny.text.vocabulary import PATTERN

_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
QWEN = PATTERN
CL100K = _HEAD + r"\p{N}{1,3}" + _TAIL
DIGITS, GPT2 = "digits", "gpt-2"
"""Steps that need no regular expression of the file's: one digit alone; GPT-2's own pattern."""


@dataclass(frozen=True, slots=True)
class Splitter:
    """What stands between text and merges.

    Args:
        steps: `DIGITS`, `GPT2`, or a regular expression whose every match is a word; in order.
        ignore_merges: a word that is a token is that token, whatever the merges say.
        adds_begin: what llama.cpp does where a file does not say whether a document is begun.
        normal_form: the family's own tokenizers bring text to NFC, which llama.cpp does not.
    """

    steps: tuple[str, ...]
    ignore_merges: bool = False
    adds_begin: bool = False
    normal_form: bool = False


# Qwen 2: arXiv:2407.10671. Llama 3: arXiv:2407.21783. OLMo 2 (its files say "dbrx"):
# arXiv:2501.00656. SmolLM 2 (of StarCoder's tokenizers): arXiv:2502.02737. GPT-2 and OLMo: GPT-2's.
SPLITTERS: Mapping[str, Splitter] = {
    "gpt-2": Splitter((GPT2,)),
    "olmo": Splitter((GPT2,), normal_form=True),
    "smollm": Splitter((DIGITS, GPT2)),
    "qwen2": Splitter((QWEN,), normal_form=True),
    "dbrx": Splitter((CL100K,)),
    "smaug-bpe": Splitter((CL100K,)),
    "llama-bpe": Splitter((CL100K,), ignore_merges=True, adds_begin=True),
}


def pre_tokenizer_json(splitter: Splitter) -> dict[str, Any]:
    """The `pre_tokenizer` of a tokenizer.json."""
    parts: list[dict[str, Any]] = []
    for step in splitter.steps:
        if step == DIGITS:
            parts.append({"type": "Digits", "individual_digits": True})
        elif step != GPT2:
            split = {"type": "Split", "pattern": {"Regex": step}, "behavior": "Isolated"}
            parts.append({**split, "invert": False})
    parts.append(byte_level_json(use_regex=GPT2 in splitter.steps))
    return {"type": "Sequence", "pretokenizers": parts} if len(parts) > 1 else parts[0]


def byte_level_json(*, use_regex: bool) -> dict[str, Any]:
    """The step that spells bytes as characters."""
    flags = {"add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}
    return {"type": "ByteLevel", **flags}


def steps_of(pre_tokenizer: object) -> tuple[str, ...] | None:
    """The steps of a byte-level `pre_tokenizer`; None where it does anything else."""
    if not isinstance(pre_tokenizer, Mapping):
        return None
    parts = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    if not isinstance(parts, list) or not all(isinstance(part, Mapping) for part in parts):
        return None
    *before, last = parts or [{}]
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space", True):
        return None
    steps = [_step(part) for part in before]
    if last.get("use_regex", True):
        steps.append(GPT2)
    return None if None in steps else tuple(step for step in steps if step)


def _step(part: Mapping[str, Any]) -> str | None:
    """The step that `part` is, or None. All text matches, so cutting at or between is the same."""
    if part.get("type") == "Digits" and part.get("individual_digits") is True:
        return DIGITS
    kept = (part.get("behavior"), part.get("invert")) in (("Isolated", False), ("Removed", True))
    pattern = part.get("pattern")
    if part.get("type") != "Split" or not kept or not isinstance(pattern, Mapping):
        return None
    regex = pattern.get("Regex")
    return regex if regex in (QWEN, CL100K) else None
