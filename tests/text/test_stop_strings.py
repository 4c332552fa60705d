"""A text ends where a stop string is whole in it, whatever the tokens, and nothing of it shows."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ontogeny.text.stop_strings import StopStrings
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.train_tokenizer import train

WORDS = ["banana ananas", "ab abab aab", "🙂🙃 naïve café\n\n", "<|end|> <|en", "aaaaaaaa"]


@pytest.fixture(scope="module")
def letters() -> Tokenizer:
    """Tokens of one to a few letters, of these words."""
    return train([word * 40 for word in WORDS], 330)


def heard(ids: list[int], tokenizer: Tokenizer) -> str:
    """The whole characters of what was said."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(tokenizer.decode_bytes(ids))


def first_end(text: str, strings: list[str]) -> tuple[int, str] | None:
    """Where the first whole string ends, and which it is: by looking for each in the whole text."""
    ends = [(text.find(each) + len(each), -len(each), each) for each in strings if each in text]
    return (min(ends)[0], min(ends)[2]) if ends else None


@st.composite
def cases(draw: st.DrawFn, tokenizer: Tokenizer) -> tuple[list[int], list[str]]:
    """Ids of a text cut at random places, single bytes and special tokens among them."""
    parts = draw(st.lists(st.sampled_from(WORDS) | st.text("ab🙂n é", max_size=6), max_size=8))
    ids: list[int] = []
    for part in parts:
        data = part.encode()
        cut = draw(st.integers(0, len(data)))
        ids += [*tokenizer.encode_bytes(data[:cut]), *tokenizer.encode_bytes(data[cut:])]
        ids += draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=1))
    text = heard(ids, tokenizer)
    inside = st.integers(0, len(text)).flatmap(
        lambda start: st.integers(1, 5).map(lambda count: text[start : start + count])
    )
    strings = draw(st.lists(inside | st.text("ab🙂né ", max_size=4), max_size=4))
    return ids, [each for each in strings if each and "\N{REPLACEMENT CHARACTER}" not in each]


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_it_ends_with_the_token_in_which_a_string_becomes_whole(
    letters: Tokenizer, data: st.DataObject
) -> None:
    ids, strings = data.draw(cases(letters))
    follower = StopStrings(strings, letters)
    for count, id_ in enumerate(ids, start=1):
        found = first_end(heard(ids[:count], letters), strings)
        assert follower.accept(id_) == (found is not None)
        if found is not None:
            end, string = found
            assert follower.matched == string
            assert follower.text == heard(ids[:count], letters)[: end - len(string)]
            return
    follower.rest()
    assert follower.matched is None
    assert follower.text == letters.continuation(ids)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_all_that_no_string_may_begin_in_is_shown_at_once_and_nothing_else(
    letters: Tokenizer, data: st.DataObject
) -> None:
    ids, strings = data.draw(cases(letters))
    follower = StopStrings(strings, letters)
    shown = ""
    for count, id_ in enumerate(ids, start=1):
        shown += follower.read(id_)
        if follower.matched is not None:
            break
        text = heard(ids[:count], letters)
        beginnings = {each[:n] for each in strings for n in range(1, len(each)) if each[:n]}
        held = max(
            (n for n in range(len(text) + 1) if text[len(text) - n :] in beginnings), default=0
        )
        assert shown == text[: len(text) - held]
    shown += follower.rest()
    assert shown == follower.text


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_other_tokens_of_the_same_text_end_it_at_the_same_character(
    letters: Tokenizer, data: st.DataObject
) -> None:
    ids, strings = data.draw(cases(letters))
    byte_by_byte = [letters.encode_bytes(bytes([b]))[0] for b in letters.decode_bytes(ids)]
    ends = []
    for way in (ids, byte_by_byte):
        follower = StopStrings(strings, letters)
        for id_ in way:
            if follower.accept(id_):
                break
        ends.append((follower.matched, follower.text))
    if ends[1][0] is not None:
        assert ends[0] == ends[1]
    assert ends[0][0] == ends[1][0]


def said(tokenizer: Tokenizer, text: str, strings: list[str]) -> tuple[str | None, str]:
    follower = StopStrings(strings, tokenizer)
    for id_ in tokenizer.encode(text):
        if follower.accept(id_):
            break
    return follower.matched, follower.text


def test_of_strings_that_end_together_the_longest_counts_and_of_others_the_first(
    letters: Tokenizer,
) -> None:
    assert said(letters, "banana", ["a", "nana", "na"]) == ("a", "b")
    assert said(letters, "xbanana", ["nan", "anan", "n"]) == ("n", "xba")
    assert said(letters, "aab", ["ab", "b", "aab"]) == ("aab", "")


def test_a_string_that_almost_was_is_found_later(letters: Tokenizer) -> None:
    assert said(letters, "aabaabaaab", ["aabaaa"]) == ("aabaaa", "aab")
    assert said(letters, "ananas", ["anas"]) == ("anas", "an")


def test_a_special_token_is_no_text_but_its_spelling_is(letters: Tokenizer) -> None:
    follower = StopStrings(["<|end|>"], letters)
    assert not follower.accept(letters.end_of_turn)
    assert said(letters, "so <|end|> it", ["<|end|>"]) == ("<|end|>", "so ")


def test_half_a_character_is_shown_when_it_is_whole_or_no_more_will_come(
    letters: Tokenizer,
) -> None:
    parts = letters.encode_bytes("é".encode()[:1]), letters.encode_bytes("é".encode()[1:])
    follower = StopStrings([], letters)
    assert [follower.read(part[0]) for part in parts] == ["", "é"]
    assert follower.read(parts[0][0]) == ""
    assert follower.rest() == "\N{REPLACEMENT CHARACTER}"


def test_long_strings_cost_as_much_as_the_text(letters: Tokenizer) -> None:
    """2,000 tokens of a text in which a long string nearly is, everywhere: linear, so at once."""
    string = "a" * 20_000 + "b"
    ids = letters.encode("a" * 16_000)
    follower = StopStrings([string], letters)
    assert not any(follower.accept(id_) for id_ in ids)
    assert follower.text == "a" * 16_000
    assert follower.rest() == "a" * 16_000
