"""A person's words by the section of the card that they belong to. Knows no model.

The nine sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting"
(arXiv:1810.03993, section 4). A heading of one of these names in `about.md`, of any level, opens
that section; the next heading of the same level or a higher one closes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ontogeny.release.numbers import parts

OWN, OUT_OF_SCOPE = "", "Out of scope"
"""What stands under no section's heading; what a model is not for, part of its intended use."""
SECTIONS = (
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
)
_KNOWN = {each.lower(): each for each in SECTIONS} | {
    "out of scope": OUT_OF_SCOPE,
    "out-of-scope use": OUT_OF_SCOPE,
    "out-of-scope uses": OUT_OF_SCOPE,
    "caveats": SECTIONS[-1],
    "limits": SECTIONS[-1],
}
_HEADING = re.compile(r" {0,3}(?P<marks>#{1,6})\s+(?P<name>.*?)\s*#*\s*")


def by_section(text: str) -> Mapping[str, str]:
    """{section: Markdown} of the sections that `text` says something of, headings left out."""
    found: dict[str, list[str]] = {}
    section, level = OWN, 7
    for _, line, part in parts(text):
        heading = _HEADING.fullmatch(line) if part == "prose" else None
        if heading is not None:
            marks, known = len(heading["marks"]), _KNOWN.get(heading["name"].lower())
            if known is not None:
                section, level = known, marks
                continue
            if marks <= level:
                section, level = OWN, 7
        found.setdefault(section, []).append(line)
    told = {name: "\n".join(lines).strip() for name, lines in found.items()}
    return {name: text for name, text in told.items() if text}
