from __future__ import annotations

import pytest

from ontogeny.base.errors import InputError
from ontogeny.text.document import Document
from ontogeny.text.message import (
    MOST_CALLS,
    Conversation,
    Message,
    PreferencePair,
    ToolCall,
    conversation_from_row,
    message_from_row,
    message_to_row,
)

USER, ANSWER = Message("user", "2+2?"), Message("assistant", "4")
CALL = ToolCall("add", '{"a": 2}', "c1")


def test_a_document_needs_an_id_and_strings() -> None:
    assert Document("a", "english", "sotu", "").text == ""
    with pytest.raises(InputError, match="id"):
        Document("", "english", "sotu", "x")
    with pytest.raises(InputError, match="text"):
        Document("a", "english", "sotu", b"x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Message("robot", "hi"),  # type: ignore[arg-type]
        lambda: Message("user", 3),  # type: ignore[arg-type]
        lambda: Message("user", ""),
        lambda: Message("assistant", ""),
        lambda: Message("user", "hi", (CALL,)),
        lambda: Message("assistant", "hi", [CALL]),  # type: ignore[arg-type]
        lambda: Message("assistant", "", (CALL,) * (MOST_CALLS + 1)),
        lambda: Message("user", "hi", tool_call_id="c1"),
        lambda: ToolCall("", "{}"),
        lambda: ToolCall("f", "[1]"),
        lambda: ToolCall("f", "{"),
        lambda: ToolCall("f", '{"a":' * 100_000),
        lambda: ToolCall("f", None),  # type: ignore[arg-type]
        lambda: Conversation(()),
        lambda: Conversation([USER]),  # type: ignore[arg-type]
        lambda: Conversation((USER, Message("system", "be kind"))),
        lambda: Conversation((USER, Message("tool", "4"))),
        lambda: Conversation(
            (USER, Message("assistant", "", (CALL,)), *[Message("tool", "4")] * 2)
        ),
        lambda: Conversation(
            (USER, Message("assistant", "", (CALL,)), Message("tool", "4", tool_call_id="c2"))
        ),
        lambda: PreferencePair(Conversation((USER,)), ANSWER, ANSWER),
        lambda: PreferencePair(Conversation((USER,)), ANSWER, USER),
        lambda: PreferencePair(Conversation((USER, ANSWER)), ANSWER, Message("assistant", "5")),
    ],
)
def test_what_is_no_message_is_refused_in_one_line(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_tool_may_answer_each_call_of_the_turn_before() -> None:
    turns = (
        USER,
        Message("assistant", "", (CALL, CALL)),
        Message("tool", ""),
        Message("tool", "4"),
    )
    assert len(Conversation((*turns, ANSWER)).messages) == 5


def test_a_pair_of_different_answers_is_accepted() -> None:
    pair = PreferencePair(Conversation((USER,)), ANSWER, Message("assistant", "5"))
    assert pair.chosen.content == "4"


def test_messages_round_trip_through_rows() -> None:
    for message in (USER, ANSWER, Message("assistant", "", (CALL,)), Message("tool", "", (), "c1")):
        assert message_from_row(message_to_row(message)) == message


def test_arguments_given_as_an_object_become_text() -> None:
    row = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}
    row["tool_calls"][0]["function"]["arguments"] = {"é": 1}  # type: ignore[index]
    assert message_from_row(row).tool_calls == (ToolCall("f", '{"é": 1}'),)


@pytest.mark.parametrize(
    "row",
    [
        None,
        {},
        {"messages": []},
        {"messages": "hi"},
        {"messages": ["hi"]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": ["user"], "content": "hi"}]},
        {"messages": [{"role": "user", "content": [1]}]},
        {"messages": [{"role": "user", "content": "hi", "colour": "red"}]},
        {"messages": [{"role": "assistant", "content": "", "tool_calls": 3}]},
        {"messages": [{"role": "assistant", "content": "", "tool_calls": [3]}]},
        {"messages": [{"role": "assistant", "content": "", "tool_calls": [{"function": {}}]}]},
        {"messages": [{"role": "user", "content": "hi"}], "domain": 3},
    ],
)
def test_a_bad_row_names_its_file_and_line(row: object) -> None:
    with pytest.raises(InputError) as caught:
        conversation_from_row(row, file="chat.jsonl", line=7)
    assert str(caught.value).startswith("chat.jsonl:7: ")


def test_a_row_becomes_a_conversation_with_its_origin() -> None:
    row = {"messages": [{"role": "user", "content": "hi"}], "id": "r1"}
    assert conversation_from_row(row) == Conversation((Message("user", "hi"),), id="r1")
