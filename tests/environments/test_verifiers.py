"""Every verifier takes its gold answers and nothing empty; what each forgives is stated here."""

from __future__ import annotations

import json
import string
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.environments.verifiers import VERIFIERS, verifier

WORD = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=12)
VISIBLE = st.text(min_size=1).filter(lambda text: text.strip())
NUMBER = st.decimals(allow_nan=False, allow_infinity=False, places=2).map(lambda n: f"{n:f}")
GOLDS: dict[str, st.SearchStrategy[str]] = {
    "exact": VISIBLE,
    "ignoring_case": VISIBLE.filter(lambda text: text.strip(" .\n\t")),
    "final_number": st.tuples(st.text(string.ascii_letters + " \n", max_size=20), NUMBER).map(
        lambda parts: f"{parts[0]} #### {parts[1]}"
    ),
    "choice": st.sampled_from(string.ascii_uppercase),
    "integer": st.integers(-(10**18) + 1, 10**18 - 1).map(str),
    "word": WORD,
    "words": st.lists(WORD, min_size=1, max_size=4).map(" ".join),
    "list": st.lists(WORD, min_size=1, max_size=4).map(", ".join),
    "brackets": st.lists(WORD, min_size=1, max_size=4).map(lambda words: f"[{' '.join(words)}]"),
    "json": st.dictionaries(WORD, st.integers() | st.text() | st.booleans()).map(json.dumps),
    "line": st.text(string.printable.replace("\n", "").replace("\r", ""), min_size=1).filter(
        lambda text: text.strip()
    ),
}


def test_every_verifier_is_tried_here() -> None:
    assert set(GOLDS) == set(VERIFIERS)
    assert all(VERIFIERS[name].name == name and VERIFIERS[name].meaning for name in VERIFIERS)


@given(st.data())
@pytest.mark.parametrize("name", GOLDS)
def test_gold_is_right_and_formed_and_nothing_is_neither(name: str, data: st.DataObject) -> None:
    gold = data.draw(GOLDS[name])
    judge = verifier(name)
    assert judge.same(gold, gold)
    assert judge.formed(gold)
    for nothing in ("", " ", "\n\t"):
        assert not judge.same(gold, nothing)
        assert not judge.formed(nothing)


@given(st.sampled_from(sorted(VERIFIERS)), st.text(), st.text())
def test_any_text_is_judged_and_what_is_right_is_formed(name: str, gold: str, said: str) -> None:
    judge = verifier(name)
    right = judge.same(gold, said)
    assert isinstance(right, bool)
    assert judge.formed(said) or not right


@pytest.mark.parametrize(
    ("name", "gold", "right", "wrong"),
    [
        ("exact", "New York", ["New York", " New \n York "], ["new york", "New York.", "York"]),
        ("ignoring_case", "New York", ["new york.", "NEW  YORK"], ["New York City", "York"]),
        (
            "final_number",
            "6 * 3 = 18\n#### 18",
            ["18", "#### 18", "so 9 + 9 = 18.", "$18.00", "The answer is 18 apples", "10-3 ... 18"],
            ["81", "18 or 19", "eighteen", "-18", "1.8", "018.1", "18 / 2"],
        ),
        ("final_number", "-7", ["-7", "x = -7", "\u22127", "5 - 12 = -7"], ["7", "10-7", "(3)-7"]),
        ("final_number", "10-3=7", ["7"], ["-7", "3"]),
        ("final_number", ".5", ["0.5", ".50", "it is .5"], ["5", "0.05"]),
        ("final_number", "1,234,567", ["1234567", "1,234,567.0"], ["567", "1,234"]),
        ("final_number", "12", ["12"], ["1,2", "1,12,000", "12" * 40]),
        (
            "choice",
            "B",
            ["B", "(B)", "B.", "The answer is B", "A? No: B."],
            ["b", "A", "AB", "Bob"],
        ),
        ("choice", "B", ["B!"], ["B, I think", "B or C"]),
        ("integer", "7", ["7", " 7.", "07"], ["7.0", "it is 7", "7 8"]),
        ("word", "red", ["red", "red."], ["Red", "red blue", "not red"]),
        ("json", '{"a": 1}', ['{ "a":1 }'], ['{"a": 1.0}', '{"a": true}', '{"a": 1, "a": 1}']),
    ],
)
def test_what_a_verifier_takes_and_what_not(
    name: str, gold: str, right: list[str], wrong: list[str]
) -> None:
    judge = verifier(name)
    assert [said for said in right if not judge.same(gold, said)] == []
    assert [said for said in wrong if judge.same(gold, said)] == []


def test_listing_all_candidates_is_right_only_for_what_comes_last() -> None:
    assert not verifier("choice").same("B", "A B C D")
    assert not verifier("final_number").same("3", "1 2 3 4 5 6 7 8 9")
    assert not verifier("integer").same("3", "1 2 3")


@pytest.mark.parametrize("name", sorted(VERIFIERS))
@pytest.mark.parametrize("part", ["1", "1,", ",111", "-", ".1", "A", "{", "[a ", "a, ", " "])
def test_a_long_answer_is_judged_at_once(name: str, part: str) -> None:
    began = time.monotonic()
    judge = verifier(name)
    judge.same("1", part * 100_000)
    judge.formed(part * 100_000)
    assert time.monotonic() - began < 0.5


def test_the_page_names_every_verifier() -> None:
    page = (Path(__file__).parents[2] / "docs" / "own_data.md").read_text(encoding="utf-8")
    table = page[page.index("## Verifiers") :]
    assert [name for name in VERIFIERS if f"`{name}`" not in table] == []


def test_an_unknown_verifier_is_one_line_that_names_the_others() -> None:
    with pytest.raises(InputError) as caught:
        verifier("regex")
    for name in VERIFIERS:
        assert name in caught.value.reason
