"""The usage policy of a bundle: a person's own text, or the template, which is a draft.

Knows no store. What is prohibited in the template are the classes of `safety/harms.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ontogeny.release.evidence import Evidence
from ontogeny.release.numbers import CITATION
from ontogeny.release.words import TODO, Words, fill
from ontogeny.safety import harms

TEMPLATE = Path(__file__).with_name("usage_policy.md")
HARMS = "{{ HARMS }}"
_OPEN = re.compile(rf"\b{TODO}\b|\{{\{{|\}}\}}")


def usage_policy(evidence: Evidence, words: Words) -> str:
    """The text of USAGE_POLICY.md, its numbers cited.

    Raises:
        InputError: FILE:LINE of a place in the person's text that cites nothing that is there.
    """
    if words.policy.strip():
        return fill(words.policy, evidence, words.policy_file).strip() + "\n"
    return template()


def template() -> str:
    """The policy that nobody has filled in yet."""
    return TEMPLATE.read_text(encoding="utf-8").replace(HARMS, "\n".join(_prohibited()))


def open_places(text: str) -> list[int]:
    """The 1-based lines of a policy that somebody has yet to fill in; none: it is no draft."""
    return [
        number
        for number, line in enumerate(text.split("\n"), start=1)
        if _OPEN.search(CITATION.sub(" ", line))
    ]


def _prohibited() -> Iterator[str]:
    """The classes that people are asked about in plain language, the gravest first."""
    known = harms.HARMS["plain"].values()
    for each in sorted(known, key=lambda harm: (-harm.severity, harm.name)):
        yield f"- **{each.name.replace('_', ' ')}**: {each.policy}"
