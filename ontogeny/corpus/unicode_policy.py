"""What may stand in a text: NFC, no invisible or private characters, plain line ends and spaces.

Knows nothing of languages or of quality; it changes documents and never removes one. Every
change is counted. Regular expressions run in Arrow (RE2: linear time, many megabytes a second).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ontogeny.corpus.table import DOCUMENTS

MAX_MARKS = 8  # combining marks on one letter; Vietnamese needs 2, pointed Hebrew 4


class Change(NamedTuple):
    """How many documents a rule touched and by how many characters."""

    documents: int
    characters: int

    def __add__(self, other: object) -> Change:
        """Element-wise sum: what two parts of a corpus come to."""
        assert isinstance(other, Change)
        return Change(self.documents + other.documents, self.characters + other.characters)


class Cleaned(NamedTuple):
    """Texts after the policy and the changes by rule name."""

    table: pa.Table
    changes: Mapping[str, Change]


class Rule(NamedTuple):
    """Replace what `pattern` (RE2) matches. `ascii` rules also concern pure ASCII texts."""

    name: str
    pattern: str
    replacement: str
    ascii: bool = False


# Tag characters and bidi controls carry text a reader does not see; zero-width characters split
# words unseen. Joiners go too: English and code do not need them; other languages do (`JOINERS`).
RULES = (
    Rule("line_end", r"\r\n?|\x{85}|\x{2028}|\x{2029}", "\n", ascii=True),
    Rule("control", r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{84}\x{86}-\x{9f}]", "", ascii=True),
    Rule("tag_character", r"[\x{E0000}-\x{E007F}]", ""),
    Rule("bidi_control", r"[\x{061C}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2066}-\x{2069}]", ""),
    Rule("zero_width", r"[\x{00AD}\x{180E}\x{200B}-\x{200D}\x{2060}-\x{2064}\x{FEFF}]", ""),
    Rule(
        "private_use",
        r"[\x{E000}-\x{F8FF}\x{F0000}-\x{FFFFD}\x{100000}-\x{10FFFD}]",
        "",
    ),
    Rule("no_character", r"[\x{FDD0}-\x{FDEF}\x{FFFE}\x{FFFF}]", ""),
    Rule("wide_space", r"[\x{00A0}\x{1680}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}]", " "),
    Rule("mark_pile", r"(\pM{32})\pM+", r"\1"),
)
# Persian and Indic scripts spell with joiners and emoji are made by them; beside ASCII, at an end
# or in a run they join nothing.
_JOINER = r"[\x{200C}\x{200D}]"
NO_WIDTH = Rule("zero_width", r"[\x{00AD}\x{180E}\x{200B}\x{2060}-\x{2064}\x{FEFF}]", "")
JOINERS = (
    Rule("joiner", rf"({_JOINER}){_JOINER}+", r"\1"),
    Rule("joiner", rf"([\x00-\x7f]|^){_JOINER}", r"\1"),
    Rule("joiner", rf"{_JOINER}([\x00-\x7f]|$)", r"\1"),
)
KEEPING_JOINERS = (
    *(NO_WIDTH if rule.name == "zero_width" else rule for rule in RULES),
    *JOINERS,
)
MARKS_AFTER_NFC = Rule("mark_pile", rf"(\pM{{{MAX_MARKS}}})\pM+", r"\1")
TRAILING = Rule("trailing_space", r"[ \t]+(\n|$)", r"\1", ascii=True)
BLANK_LINES = Rule("blank_lines", r"\n{4,}", "\n\n\n", ascii=True)
SPACE_RUN = Rule("space_run", r"[ \t]{2,}|\t", " ", ascii=True)
# Cyrillic letters and those Greek ones that look Latin; a delta or a mu beside a Latin letter is
# physics, not deceit.
_LOOKALIKE = r"[\x{0400}-\x{04FF}ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο]"
MIXED_SCRIPT = rf"[A-Za-z]{_LOOKALIKE}|{_LOOKALIKE}[A-Za-z]"


def clean(table: pa.Table, *, prose: bool, joiners: bool = False) -> Cleaned:
    """Apply the policy to every text; runs twice give the same texts as once.

    Args:
        table: documents.
        prose: also make runs of blanks one blank (it would destroy the indentation of code).
        joiners: keep zero-width joiners where they join, as most languages need.

    Words that mix Latin with letters that look Latin (homoglyphs) are counted as
    `mixed_script` and left as they are: no text says which letter was meant.
    """
    texts: pa.ChunkedArray = table["text"]
    changes: dict[str, Change] = {}
    plain = pc.all(pc.string_is_ascii(texts)).as_py() is not False
    for rule in KEEPING_JOINERS if joiners else RULES:
        if rule.ascii or not plain:
            texts = _apply(rule, texts, changes)
    if not plain:
        texts = _normal_form(texts, changes)
        if joiners:  # a Kelvin sign has become a K, and what it stood apart from may join it
            for rule in JOINERS:
                texts = _apply(rule, texts, changes)
            texts = _normal_form(texts, changes)
        texts = _apply(MARKS_AFTER_NFC, texts, changes)
        _count_mixed(texts, changes)
    for rule in (TRAILING, *([SPACE_RUN] if prose else []), BLANK_LINES):
        texts = _apply(rule, texts, changes)
    trimmed = pc.utf8_trim(texts, "\n") if not prose else pc.utf8_trim(texts, " \n")
    columns = [table["id"], table["domain"], table["source"], trimmed]
    return Cleaned(pa.table(columns, schema=DOCUMENTS), changes)


def _apply(rule: Rule, texts: pa.ChunkedArray, changes: dict[str, Change]) -> pa.ChunkedArray:
    touched = pc.match_substring_regex(texts, rule.pattern)
    documents = pc.sum(touched).as_py() or 0
    if not documents:
        return texts
    after = pc.replace_substring_regex(texts, rule.pattern, rule.replacement)
    if rule.replacement in ("", r"\1"):
        lost = pc.subtract(pc.utf8_length(texts), pc.utf8_length(after))
        characters = pc.sum(lost).as_py()
    else:
        characters = pc.sum(pc.count_substring_regex(texts, rule.pattern)).as_py()
    changes[rule.name] = changes.get(rule.name, Change(0, 0)) + Change(documents, characters)
    return after


def _normal_form(texts: pa.ChunkedArray, changes: dict[str, Change]) -> pa.ChunkedArray:
    """NFC (Unicode Standard Annex 15): one spelling for each accented letter."""
    after = pc.utf8_normalize(texts, form="NFC")
    different = pc.not_equal(texts, after)
    documents = pc.sum(different).as_py() or 0
    if documents:
        lengths = pc.subtract(pc.utf8_length(texts), pc.utf8_length(after))
        changes["not_nfc"] = Change(documents, pc.sum(pc.abs(lengths)).as_py())
    return after


def _count_mixed(texts: pa.ChunkedArray, changes: dict[str, Change]) -> None:
    counts = pc.count_substring_regex(texts, MIXED_SCRIPT)
    documents = pc.sum(pc.greater(counts, 0)).as_py() or 0
    if documents:
        changes["mixed_script"] = Change(documents, pc.sum(counts).as_py())
