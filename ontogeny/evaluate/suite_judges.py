"""What a sampled text scores beside a gold answer. Knows no prompt and no model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Judge = Callable[[str, str], dict[str, bool]]
STRICT = r"#### (\-?[0-9\.\,]+)"
FLEXIBLE = r"(-?[$0-9.,]{2,})|(-?[0-9]+)"
IGNORED = (",", r"\$", r"(?s).*#### ", r"\.$")
"""Left out of both before they are compared (lm_eval's gsm8k, version 3)."""
NOTHING = "[invalid]"


def same_text(said: str, gold: str) -> dict[str, bool]:
    """right: the same text, white space at both ends aside."""
    return {"right": said.strip() == gold.strip()}


def final_number(said: str, gold: str) -> dict[str, bool]:
    """right: the number behind the first ####; flexible: the last number, wherever it stands."""
    strict = re.findall(STRICT, said)
    loose = re.findall(FLEXIBLE, said)
    known = _bare(gold)
    return {
        "right": _bare(_first(strict[:1])) == known,
        "flexible": _bare(_first(loose[-1:])) == known,
    }


def _first(found: Sequence[str | tuple[str, ...]]) -> str:
    """The number of a match: its first part that is not empty."""
    for match in found:
        parts = [match] if isinstance(match, str) else [part for part in match if part]
        return parts[0].strip() if parts else NOTHING
    return NOTHING


def _bare(text: str) -> str:
    for pattern in IGNORED:
        text = re.sub(pattern, "", text)
    return text.lower()
