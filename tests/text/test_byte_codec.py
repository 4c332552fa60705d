"""Conversations rendered in bytes read back exactly, whatever people write in them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.text.byte_codec import answer_ids, byte_tokenizer, rows_of
from ontogeny.text.message import Message, ToolCall
from ontogeny.text.template import extend, render

SPELLED = st.sampled_from(["<|end|>", "<|user|>", "<|tool_call|>", "|>", "<", "é", '", "a": {'])
TEXTS = st.lists(st.text() | SPELLED, min_size=1).map("".join).filter(bool)
ARGUMENTS = st.dictionaries(st.text(), st.integers() | st.text()).map(json.dumps)
CALLS = st.lists(st.builds(ToolCall, TEXTS, ARGUMENTS), max_size=3).map(tuple)


def expected(message, ids):
    row = {"role": message.role, "content": message.content}
    if message.tool_calls:
        row["tool_calls"] = [
            {"id": next(ids), "type": "function", "function": {"name": c.name, "arguments": a}}
            for c, a in ((c, c.arguments) for c in message.tool_calls)
        ]
    return row


@given(TEXTS, st.lists(st.tuples(TEXTS, TEXTS), max_size=3), TEXTS, CALLS)
def test_messages_read_back_as_they_were_written(system, turns, last, calls):
    messages = [Message("system", system)]
    for asked, said in turns:
        messages += [Message("user", asked), Message("assistant", said)]
    messages += [Message("user", last), Message("assistant", last, calls)]
    messages += [Message("tool", last) for _ in calls]
    ids = iter(f"call_{n}" for n in range(99))
    rows = [expected(message, ids) for message in messages]
    for number in range(len(calls)):
        rows[len(rows) - len(calls) + number]["tool_call_id"] = f"call_{number}"
    rendered = render(messages, byte_tokenizer(), generation_prompt=True).ids
    assert rows_of(rendered) == json.loads(json.dumps(rows).encode("utf-8", "surrogatepass"))


@given(TEXTS, CALLS)
def test_an_answer_is_the_ids_that_the_template_would_render(text, calls):
    tokenizer = byte_tokenizer()
    asked = [Message("user", "a")]
    before = render(asked, tokenizer, generation_prompt=True).ids
    after = render([*asked, Message("assistant", text, calls)], tokenizer).ids
    assert (*before, *answer_ids(text, calls), tokenizer.end_of_turn) == after


def test_a_conversation_goes_on_from_ids_that_were_cut_off():
    tokenizer = byte_tokenizer()
    ids = [*render([Message("user", "a")], tokenizer, generation_prompt=True).ids, *b"cut"]
    ids = extend(ids, [Message("user", "b")], tokenizer)
    assert [row["content"] for row in rows_of(ids)] == ["a", "cut", "b"]


def test_an_empty_answer_stays_in_the_conversation():
    tokenizer = byte_tokenizer()
    opened = render([Message("user", "a")], tokenizer, generation_prompt=True).ids
    ids = extend([*opened, tokenizer.end_of_turn], [Message("user", "b")], tokenizer)
    assert [row["content"] for row in rows_of(ids)] == ["a", "", "b"]


SPECIALS = byte_tokenizer().specials
USER, ASSISTANT, END = (SPECIALS[name] for name in ("<|user|>", "<|assistant|>", "<|end|>"))
CALL, CALLED = SPECIALS["<|tool_call|>"], SPECIALS["<|/tool_call|>"]


@pytest.mark.parametrize(
    "ids",
    [
        (),
        (97, 98),
        (USER, 97, END),
        (USER, 97),
        (USER, 97, END, ASSISTANT, 98),
        (USER, 97, USER, END, ASSISTANT),
        (USER, 0xC3, END, ASSISTANT),
        (USER, 97, END, ASSISTANT, CALL, 98, CALLED, END, ASSISTANT),
        (USER, 97, END, ASSISTANT, CALL, 98, END, ASSISTANT),
        (USER, 97, END, ASSISTANT, CALLED, END, ASSISTANT),
        (USER, 97, END, ASSISTANT, CALL, CALLED, 98, END, ASSISTANT),
        (USER, 9999, END, ASSISTANT),
        (USER, -1, END, ASSISTANT),
        (byte_tokenizer().begin, 97),
    ],
)
def test_what_is_no_conversation_is_one_line(ids):
    with pytest.raises(InputError, match="no conversation"):
        rows_of(ids)


@given(st.binary())
def test_any_bytes_are_their_own_ids(data):
    tokenizer = byte_tokenizer()
    assert tokenizer.encode_bytes(data) == list(data)
    assert tokenizer.decode_bytes(list(data)) == data
