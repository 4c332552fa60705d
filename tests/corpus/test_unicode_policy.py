"""Claims about the Unicode policy: what is invisible goes, is counted, and stays gone."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ontogeny.corpus.table import documents_table
from ontogeny.corpus.unicode_policy import MAX_MARKS, Change, clean
from ontogeny.text.document import Document


def _clean(text: str, prose: bool = False) -> tuple[str, dict[str, Change]]:
    cleaned = clean(documents_table([Document("1", "english", "s", text)]), prose=prose)
    return cleaned.table["text"][0].as_py(), dict(cleaned.changes)


@pytest.mark.parametrize(
    ("dirty", "tidy", "rule", "characters"),
    [
        ("a\U000e0041\U000e0042b", "ab", "tag_character", 2),
        ("a\u202eb\u2066c", "abc", "bidi_control", 2),
        ("pass\u200bword\u00ad", "password", "zero_width", 2),
        ("a\ue000\U000f0000b", "ab", "private_use", 2),
        ("a\ufdd0b", "ab", "no_character", 1),
        ("a\0b\x1b\x7fc", "abc", "control", 3),
        ("a\r\nb\rc", "a\nb\nc", "line_end", 2),
        ("a\u2028b\u0085c", "a\nb\nc", "line_end", 2),
        ("a\u00a0b\u3000c", "a b c", "wide_space", 2),
        ("cafe\u0301", "café", "not_nfc", 1),
        ("a  \nb", "a\nb", "trailing_space", 2),
        ("a\n\n\n\n\nb", "a\n\n\nb", "blank_lines", 1),
    ],
)
def test_each_rule_applies_and_is_counted(
    dirty: str, tidy: str, rule: str, characters: int
) -> None:
    text, changes = _clean(dirty)
    assert text == tidy
    assert changes[rule] == Change(1, characters)


def test_ten_thousand_marks_on_one_letter_become_a_few() -> None:
    text, changes = _clean("a" + "\u0317" * 10_000 + "b")
    assert text == "a" + "\u0317" * MAX_MARKS + "b"
    assert changes["mark_pile"].characters == 10_000 - MAX_MARKS


def test_homoglyphs_are_counted_and_left() -> None:
    text, changes = _clean("p\u0430ypal")  # a Cyrillic letter among Latin ones
    assert text == "p\u0430ypal"
    assert changes["mixed_script"].documents == 1


def test_code_keeps_its_indentation_and_prose_does_not() -> None:
    assert _clean("if x:\n    y  = 1")[0] == "if x:\n    y  = 1"
    assert _clean("one   two\tthree", prose=True)[0] == "one two three"


def test_plain_text_is_left_alone() -> None:
    for text in ("A plain text.\n\nWith two paragraphs.", "naïve — “quoted” 10 ½ €", "日本語"):
        assert _clean(text, prose=True) == (text, {})


@settings(max_examples=40)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=8), st.booleans())
def test_cleaning_twice_is_cleaning_once(texts: list[str], prose: bool) -> None:
    table = documents_table(Document(str(n), "english", "s", t) for n, t in enumerate(texts))
    once = clean(table, prose=prose)
    assert clean(once.table, prose=prose).table.equals(once.table)
    for text in once.table["text"].to_pylist():
        assert unicodedata.is_normalized("NFC", text)
        left = [c for c in text if unicodedata.category(c) in ("Cc", "Co") and c not in "\n\t"]
        assert not left


@pytest.mark.parametrize(
    "text",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
        "\U0001f469\u200d\U0001f680",
    ],
)
def test_joiners_stay_where_a_language_needs_them(text: str) -> None:
    kept = clean(documents_table([Document("1", "farsi", "s", text)]), prose=False, joiners=True)
    assert kept.table["text"][0].as_py() == text
    assert not kept.changes
    assert _clean(text)[0] != text


@pytest.mark.parametrize(
    "text", ["pass\u200dword", "\u200ca", "a\u200c\u200d\u200c\u0645", "\u0645\u200d"]
)
def test_joiners_that_join_nothing_go(text: str) -> None:
    table = documents_table([Document("1", "farsi", "s", text)])
    cleaned = clean(table, prose=False, joiners=True)
    assert not {"\u200c", "\u200d"} & set(cleaned.table["text"][0].as_py())
    assert cleaned.changes["joiner"].documents


@settings(deadline=None)
@example("\u212a\u200c\u0301")
@given(
    st.text(st.sampled_from("aK\u212a\u0301\u200c\u200d\u0645\u00a0 \n\u0915\u094d"), max_size=12)
)
def test_keeping_joiners_twice_is_once(text: str) -> None:
    once = clean(documents_table([Document("1", "d", "s", text)]), prose=False, joiners=True)
    assert clean(once.table, prose=False, joiners=True).table.equals(once.table)
