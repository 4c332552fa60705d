"""The right choice is found by what the answer says, or the question is refused: never guessed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.text.choices import LETTERS, lettered

TWO = ["three", "four"]


@pytest.mark.parametrize("answer", [1, "B", " four ", "four", "1"])
def test_the_answer_is_a_place_a_letter_or_the_choice_itself(answer: Any) -> None:
    assert lettered("2 + 2?", TWO, answer) == ("2 + 2?\nA. three\nB. four", "B")


@pytest.mark.parametrize(
    ("texts", "labels", "answer", "right"),
    [
        (TWO, ["A", "B"], "B", "B"),
        (TWO, ["1", "2"], "1", "A"),  # counted from 1 where the labels say so
        (["4", "5"], ["5", "4"], "4", "B"),  # the label, not the text
        (TWO, ["A", "B"], "four", "B"),
        (TWO, ["A", "B"], 0, "A"),
        (TWO, None, "A", "A"),
    ],
)
def test_labels_decide_before_texts(texts: Any, labels: Any, answer: Any, right: str) -> None:
    assert lettered("?", {"text": texts, "label": labels}, answer)[1] == right


@pytest.mark.parametrize(
    ("choices", "answer"),
    [
        (TWO, 2),
        (TWO, -1),
        (TWO, True),
        (TWO, None),
        (TWO, 1.0),
        (TWO, "C"),
        (TWO, ""),
        (TWO, "²"),
        (TWO, "9" * 5000),
        (["three"], 0),
        (["x"] * 27, 0),
        ([{"text": "three"}, {"text": "four"}], 0),
        ([None, "four"], 1),
        ([True, False], 1),
        (["three", " "], 0),
        ("three", 0),
        ({"text": "three"}, 0),
        ({"text": TWO, "label": ["a", "b"]}, "1"),
        (["1", "0"], "1"),  # the first one, or the one at place 1
        (["four", "four"], "four"),
        (["B", "A"], "A"),
    ],
)
def test_what_is_no_choice_or_may_be_two_is_refused(choices: Any, answer: Any) -> None:
    with pytest.raises(InputError, match="choice"):
        lettered("2 + 2?", choices, answer)


@given(st.lists(st.text(min_size=2).map(str.strip), min_size=2, max_size=26), st.data())
def test_place_letter_and_text_name_the_same_choice(texts: list[str], data: st.DataObject) -> None:
    if len(set(texts)) < len(texts) or any(len(text) < 2 or text.isdigit() for text in texts):
        return
    place = data.draw(st.integers(0, len(texts) - 1))
    expected = lettered("?", texts, place)
    assert expected[1] == LETTERS[place]
    assert lettered("?", texts, LETTERS[place]) == expected
    assert lettered("?", texts, texts[place]) == expected
    assert lettered("?", texts, str(place)) == expected
