"""Claims about personal data: canaries are found and counted, ordinary text is not touched."""

from __future__ import annotations

import pytest

from ontogeny.corpus.scrub import IN_CODE, IN_PROSE, Finder, luhn, scrub
from ontogeny.corpus.table import documents_table
from ontogeny.corpus.unicode_policy import Change
from ontogeny.text.document import Document


def _scrub(text: str, finders: tuple[Finder, ...] = IN_PROSE) -> tuple[str, dict[str, Change]]:
    cleaned = scrub(documents_table([Document("1", "english", "s", text)]), finders)
    return cleaned.table["text"][0].as_py(), dict(cleaned.changes)


KEYS = (
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "ghp_" + "a1B2" * 9,
    "sk-" + "abcd1234" * 4,
    "AIza" + "x" * 35,
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\n+/==\n-----END RSA PRIVATE KEY-----",
)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("mail", "jane.doe+news@mail.example.co.uk"),
        ("mail", "a@b.org"),
        ("phone", "(555) 010-1234"),
        ("phone", "555-010-1234"),
        ("phone", "+1 555 010 1234"),
        ("phone", "+49 30 1234 5678"),
        ("card", "4111 1111 1111 1111"),
        ("card", "4111111111111111"),
        ("card", "3782-822463-10005"),
        *(("key", key) for key in KEYS),
    ],
)
def test_a_canary_is_taken_out_and_counted(name: str, secret: str) -> None:
    text, changes = _scrub(f"Write to ({secret}), or {secret}.")
    assert text == f"Write to ([{name}]), or [{name}]."
    assert changes == {f"scrubbed_{name}": Change(1, 2 * len(secret))}


@pytest.mark.parametrize(
    "text",
    [
        "In 1973 it cost $1,234,567.89, and 12 345 678 came.",
        "4111 1111 1111 1112 fails its check, as 0000 0000 0000 0000 does.",
        "x = a@b\ny = a @ b.T\nself@other.value[0]\nf(a@b.real())",
        "version 1.2.3.4, ISBN 978-3-16-148410-0, 1861-1865, 555-1234",
        "ask-me-anything and PRIVATE KEYS and AKIAX",
    ],
)
def test_ordinary_text_is_left(text: str) -> None:
    assert _scrub(text) == (text, {})


def test_numbers_of_programs_are_left() -> None:
    assert _scrub("seed = 4111111111111111", IN_CODE)[1] == {}
    assert _scrub("# by jane@example.com", IN_CODE)[0] == "# by [mail]"


def test_the_check_digit_is_iso_7812s() -> None:
    assert luhn("79927398713")
    assert not any(luhn(f"7992739871{digit}") for digit in "012456789")
