"""Every known form of a row gives the same object; every other value in it gives a reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ontogeny.text import rows
from ontogeny.text.message import Conversation, Message, PreferencePair
from ontogeny.text.rows import KNOWN, Misfit

ASK, SAY = "What is 2 + 2?", "It is 4."
SHORT = (Message("user", ASK), Message("assistant", SAY))
LONG = (*SHORT, Message("user", "Sure?"), Message("assistant", "Yes."))
BRIEF = Message("system", "Be brief.")


def turns(messages: tuple[Message, ...], role: str = "role", content: str = "content") -> list[Any]:
    return [{role: each.role, content: each.content} for each in messages]


def misfit(read: Any, row: dict[str, Any], columns: dict[str, str] | None = None) -> Misfit:
    with pytest.raises(Misfit) as caught:
        read(row, columns or {})
    return caught.value


GPT = {"user": "human", "assistant": "gpt", "system": "system"}
SHAREGPT = [{"from": GPT[each.role], "value": each.content} for each in LONG]
PARTS = [
    {"role": each.role, "content": [{"type": "text", "text": each.content[:3]}, each.content[3:]]}
    for each in LONG
]
FORMS: dict[str, tuple[dict[str, Any], tuple[Message, ...]]] = {
    "openai": ({"messages": turns(LONG)}, LONG),
    "openai, other fields": (
        {
            "messages": [
                {"role": "user", "content": ASK, "name": "Ann", "tool_calls": None},
                {"role": "assistant", "content": SAY, "weight": 1, "refusal": None},
            ],
            "tools": [],
        },
        SHORT,
    ),
    "in parts": ({"messages": PARTS}, LONG),
    "sharegpt": ({"id": "x_0", "conversations": SHAREGPT}, LONG),
    "sharegpt with the user's weight": (
        {"conversations": [{**SHAREGPT[0], "weight": 0}, {**SHAREGPT[1], "weight": 1.0}]},
        SHORT,
    ),
    "both fields, one of them null": (
        {
            "conversation": [
                {"role": None, "from": "human", "value": ASK, "content": None},
                {"role": "assistant", "from": None, "value": None, "content": SAY},
            ]
        },
        SHORT,
    ),
    "chat": ({"chat": turns(LONG)}, LONG),
    "roles in capitals": (
        {
            "messages": [
                {"role": "User", "content": ASK},
                {"role": "ASSISTANT", "content": SAY},
            ]
        },
        SHORT,
    ),
    "alpaca": ({"instruction": ASK, "input": "", "output": SAY, "text": "all of it"}, SHORT),
    "prompt and completion": ({"prompt": ASK, "completion": SAY}, SHORT),
    "trl, as lists": ({"prompt": turns(SHORT[:1]), "completion": turns(SHORT[1:])}, SHORT),
    "trl, several turns": ({"prompt": turns(LONG[:3]), "completion": turns(LONG[3:])}, LONG),
    "one turn as an object": ({"prompt": ASK, "completion": turns(SHORT)[1]}, SHORT),
    "question and answer": ({"question": ASK, "answer": SAY}, SHORT),
    "dolly": ({"instruction": ASK, "context": "", "response": SAY, "category": "qa"}, SHORT),
    "transcript": ({"prompt": f"\n\nHuman: {ASK}\n\nAssistant:", "response": f" {SAY}"}, SHORT),
    "messages beside a prompt": (
        {"prompt": ASK, "prompt_id": "1", "messages": turns(LONG), "category": "Math"},
        LONG,
    ),
    "system as a turn": ({"messages": turns((BRIEF, *LONG))}, (BRIEF, *LONG)),
    "system as a column": ({"system_prompt": "Be brief.", "question": ASK, "response": SAY}, ()),
    "developer": (
        {"messages": [{"role": "developer", "content": "Be brief."}, *turns(SHORT)]},
        (BRIEF, *SHORT),
    ),
    "a system that says nothing": (
        {"messages": [{"role": "system", "content": ""}, *turns(SHORT)], "system": None},
        SHORT,
    ),
    "an empty system column": ({"system": " ", "question": ASK, "response": SAY}, SHORT),
}
FORMS["system as a column"] = (FORMS["system as a column"][0], (BRIEF, *SHORT))


@pytest.mark.parametrize("form", FORMS)
def test_every_known_form_gives_the_same_conversation(form: str) -> None:
    row, expected = FORMS[form]
    found = rows.conversation(row, {})
    said = [(each.content.strip(), each.role) for each in found.messages]
    assert said == [(each.content, each.role) for each in expected]


@pytest.mark.parametrize(
    ("row", "below"),
    [
        ({"instruction": ASK, "input": "2 + 2", "output": SAY}, "2 + 2"),
        ({"instruction": ASK, "context": "Two.", "response": SAY}, "Two."),
        ({"question": ASK, "context": "Two.", "input": "x", "response": SAY}, ""),
    ],
)
def test_what_an_instruction_is_about_stands_below_it(row: dict[str, Any], below: str) -> None:
    asked = rows.conversation(row, {}).messages[0].content
    assert asked == (f"{ASK}\n\n{below}" if below else ASK)


def test_columns_go_by_other_names() -> None:
    row = {"text": ASK, "code": SAY, "rules": "Be brief.", "passage": "Two."}
    columns = {"prompt": "text", "answer": "code", "system": "rules", "context": "passage"}
    found = rows.conversation(row, columns).messages
    assert found == (BRIEF, Message("user", f"{ASK}\n\nTwo."), SHORT[1])
    missing = misfit(rows.conversation, {"text": ASK, "label": 1}, columns)
    assert missing.reason == "no_column"
    assert "column 'passage' is not there; the row has text, label" in missing.detail


def test_a_column_that_may_be_null_may_be_null_also_where_it_is_named() -> None:
    row = {"instruction": ASK, "response": SAY, "sys": None, "below": None}
    found = rows.conversation(row, {"system": "sys", "context": "below"})
    assert found.messages == SHORT
    assert misfit(rows.conversation, {**row, "response": None}).reason == "no_column"


def test_a_column_named_for_one_meaning_is_not_taken_for_another() -> None:
    row = {"instruction": ASK, "context": "Be brief.", "response": SAY}
    assert rows.conversation(row, {"system": "context"}).messages == (BRIEF, *SHORT)


def test_named_columns_come_before_a_list_of_turns() -> None:
    row = {"messages": turns(LONG), "question": ASK, "short": SAY}
    columns = {"prompt": "question", "answer": "short"}
    assert rows.conversation(row, columns).messages == SHORT
    asked = {"messages": turns(SHORT[:1]), "ideal": SAY}
    assert rows.conversation(asked, {"answer": "ideal"}).messages == SHORT


def test_tools_are_called_and_answer() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
    as_object = {**call, "function": {"name": "add", "arguments": {"a": 2}}}
    for each in (call, as_object):
        said = [
            {"role": "user", "content": ASK},
            {"role": "assistant", "content": None, "tool_calls": [each]},
            {"role": "tool", "content": "4", "tool_call_id": "c1"},
            {"role": "assistant", "content": SAY, "tool_calls": []},
        ]
        found = rows.conversation({"messages": said}, {}).messages
        assert [message.role for message in found] == ["user", "assistant", "tool", "assistant"]
        assert found[1].tool_calls[0].arguments == '{"a": 2}'
    without_call = [said[0], {"role": "assistant", "content": "x"}, said[2], said[3]]
    wrong = misfit(rows.conversation, {"messages": without_call})
    assert (wrong.reason, "nobody made" in wrong.detail) == ("bad_turn", True)


USER, BOT = turns(SHORT)
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"text": "x", "label": 1}, "no_column", "the row has text, label; name one by columns.prompt"),
    ({"question": ASK, "label": 1}, "no_column", "name one by columns.answer"),
    ({}, "no_column", "the row has none"),
    ({"instruction": ASK, "instances": [{"output": SAY}]}, "no_column", "instances"),
    ({"messages": "hello"}, "bad_turn", "no list of turns"),
    ({"messages": ["hi", "ho"]}, "bad_turn", "turn 1 is no object"),
    ({"messages": [{"content": ASK}, BOT]}, "bad_turn", "turn 1 is of no role"),
    ({"messages": [USER, {"role": "narrator", "content": "x"}]}, "bad_turn", "role 'narrator'"),
    ({"messages": [USER, {"role": "assistant", "content": 4}]}, "bad_turn", "must be a string"),
    ({"messages": [USER, {**BOT, "weight": 0}]}, "bad_turn", "turn 2 has weight 0"),
    ({"messages": [{**USER, "tool_calls": [1]}, BOT]}, "bad_turn", "turn 1"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, BOT]},
        "bad_turn",
        "turn 1 holds something other than text",
    ),
    ({"messages": [USER, {"role": "assistant", "content": " \n"}]}, "empty_turn", "turn 2"),
    ({"messages": [USER, {"role": "assistant"}]}, "empty_turn", "turn 2"),
    ({"messages": [{"role": "user", "content": []}, BOT]}, "empty_turn", "turn 1"),
    ({"messages": []}, "empty_turn", "no turns"),
    ({"messages": [{"role": "system", "content": "x"}]}, "empty_turn", "no turns"),
    ({"prompt": "  ", "completion": SAY}, "empty_turn", "'prompt'"),
    ({"prompt": ASK, "completion": "\n"}, "empty_turn", "'completion'"),
    ({"prompt": 3, "completion": SAY}, "bad_turn", "'prompt' holds no text (int)"),
    ({"messages": [BOT, USER, BOT]}, "not_alternating", "turn 1 is the assistant's, expected the"),
    ({"messages": [USER, USER, BOT]}, "not_alternating", "turn 2 is the user's"),
    ({"messages": [USER, BOT, BOT]}, "not_alternating", "turn 3 is the assistant's"),
    ({"messages": [USER, BOT, {"role": "system", "content": "x"}]}, "not_alternating", "turn 3"),
    ({"messages": [USER, BOT, USER]}, "no_answer", "the last turn is the user's"),
    ({"messages": [USER]}, "no_answer", "the last turn is the user's"),
]


@pytest.mark.parametrize(("row", "reason", "detail"), WRONG)
def test_what_is_wrong_with_a_conversation_is_told(
    row: dict[str, Any], reason: str, detail: str
) -> None:
    wrong = misfit(rows.conversation, row)
    assert wrong.reason == reason
    assert detail in wrong.detail


BETTER, WORSE = Message("assistant", "4"), Message("assistant", "5")
HISTORY = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", ASK))


def heard(messages: tuple[Message, ...]) -> str:
    who = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{who[each.role]}: {each.content}" for each in messages)


PAIRS: dict[str, tuple[dict[str, Any], tuple[Message, ...]]] = {
    "plain": ({"prompt": ASK, "chosen": "4", "rejected": "5"}, HISTORY[2:]),
    "ultrafeedback": (
        {
            "prompt": ASK,
            "chosen": turns((*HISTORY[2:], BETTER)),
            "rejected": turns((*HISTORY[2:], WORSE)),
            "messages": turns((*HISTORY[2:], BETTER)),
            "score_chosen": 8.0,
        },
        HISTORY[2:],
    ),
    "trl": (
        {"prompt": turns(HISTORY), "chosen": turns((BETTER,)), "rejected": turns((WORSE,))},
        HISTORY,
    ),
    "trl without a prompt": (
        {"chosen": turns((*HISTORY, BETTER)), "rejected": turns((*HISTORY, WORSE))},
        HISTORY,
    ),
    "an object each": (
        {"question": ASK, "chosen": turns((BETTER,))[0], "rejected": turns((WORSE,))[0]},
        HISTORY[2:],
    ),
    "orca": (
        {"system": "Be brief.", "question": ASK, "chosen": "4", "rejected": "5"},
        (BRIEF, HISTORY[2]),
    ),
    "orca without a system": (
        {"system": "", "question": ASK, "chosen": "4", "rejected": "5"},
        HISTORY[2:],
    ),
    "hh": (
        {"chosen": heard((*HISTORY, BETTER)), "rejected": heard((*HISTORY, WORSE))},
        HISTORY,
    ),
    "hh with a prompt": (
        {"prompt": f"{heard(HISTORY)}\n\nAssistant: ", "chosen": "4", "rejected": "5"},
        HISTORY,
    ),
    "messages before": (
        {"messages": turns(HISTORY), "chosen": "4", "rejected": "5", "principle": "be right"},
        HISTORY,
    ),
    "sharegpt": (
        {
            "conversations": SHAREGPT[:1],
            "chosen": {"from": "gpt", "value": "4"},
            "rejected": {"from": "gpt", "value": "5"},
        },
        HISTORY[2:],
    ),
}


@pytest.mark.parametrize("form", PAIRS)
def test_every_known_form_gives_the_same_pair(form: str) -> None:
    row, prompt = PAIRS[form]
    assert rows.preference(row, {}) == PreferencePair(Conversation(prompt), BETTER, WORSE)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": ASK, "chosen": "4"}, "no_column"),
        ({"chosen": "4", "rejected": "5"}, "no_column"),
        ({"prompt": ASK, "chosen": "4", "rejected": "4"}, "same_answer"),
        ({"prompt": ASK, "chosen": "4", "rejected": " "}, "empty_turn"),
        ({"prompt": ASK, "chosen": "4", "rejected": 5}, "bad_turn"),
        ({"prompt": ASK, "chosen": "4", "rejected": []}, "no_answer"),
        ({"prompt": ASK, "chosen": [USER], "rejected": [USER]}, "no_answer"),
        ({"prompt": [USER, BOT], "chosen": "4", "rejected": "5"}, "not_alternating"),
        ({"prompt": [], "chosen": "4", "rejected": "5"}, "empty_turn"),
        (
            {"chosen": [USER, BOT], "rejected": [{"role": "user", "content": "?"}, BOT]},
            "other_prompt",
        ),
        ({"prompt": ASK, "chosen": [USER, BOT], "rejected": "5"}, "other_prompt"),
        ({"chosen": heard(SHORT), "rejected": heard(SHORT[:1]) + "\n\nAssistant:"}, "empty_turn"),
        (
            {
                "chosen": heard(SHORT[:1]) + "\n\nAssistant:" + heard(SHORT),
                "rejected": heard(SHORT[:1]) + "\n\nAssistant:" + heard(SHORT),
            },
            "empty_turn",
        ),
        (
            {"chosen": heard((BETTER, *SHORT)), "rejected": heard((BETTER, SHORT[0], WORSE))},
            "not_alternating",
        ),
    ],
)
def test_what_is_wrong_with_a_pair_is_told(row: dict[str, Any], reason: str) -> None:
    assert misfit(rows.preference, row).reason == reason


LETTERED = f"{ASK}\nA. three\nB. four"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"question": ASK, "answer": "2 + 2 = 4\n#### 4"}, (ASK, "2 + 2 = 4\n#### 4")),
        ({"prompt": ASK, "answer": 4}, (ASK, "4")),
        ({"input": ASK, "target": True}, (ASK, "true")),
        ({"input": ASK, "target": 0.00001}, (ASK, "0.00001")),
        ({"problem": ASK, "solution": "4"}, (ASK, "4")),
        ({"messages": [USER], "answer": "4"}, (ASK, "4")),
        ({"question": ASK, "choices": ["three", "four"], "answer": 1}, (LETTERED, "B")),
        ({"query": ASK, "choices": ["three", "four"], "gold": 1}, (LETTERED, "B")),
        (
            {
                "question": ASK,
                "choices": {"text": ["three", "four"], "label": ["A", "B"]},
                "answerKey": "B",
            },
            (LETTERED, "B"),
        ),
    ],
)
def test_every_known_form_gives_a_task(row: dict[str, Any], expected: tuple[str, str]) -> None:
    assert rows.task(row, {}) == expected


def test_a_choice_that_is_none_is_a_misfit() -> None:
    row = {"question": ASK, "choices": ["three", "four"], "answer": "C"}
    assert misfit(rows.task, row).reason == "bad_choice"
    assert misfit(rows.conversation, row).reason == "bad_choice"


def test_a_conversation_about_choices_asks_what_the_task_asks() -> None:
    row = {"question": ASK, "choices": ["three", "four"], "answer": 1}
    expected = (Message("user", LETTERED), Message("assistant", "B"))
    assert rows.conversation(row, {}).messages == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": ASK}, "no_column"),
        ({"answer": "4"}, "no_column"),
        ({"question": " ", "answer": "4"}, "empty_turn"),
        ({"question": ASK, "answer": " "}, "empty_turn"),
        ({"question": ASK, "answer": ["4"]}, "bad_turn"),
        ({"messages": [USER, BOT, USER], "answer": "4"}, "bad_turn"),
        ({"messages": [BOT], "answer": "4"}, "bad_turn"),
    ],
)
def test_what_is_wrong_with_a_task_is_told(row: dict[str, Any], reason: str) -> None:
    assert misfit(rows.task, row).reason == reason


FIELDS = ("role", "from", "content", "value", "tool_calls", "weight", "text")
PAGE = Path(__file__).parents[2] / "docs" / "own_data.md"


def test_every_row_on_the_page_is_of_its_form() -> None:
    blocks = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    forms = (
        (rows.conversation, Conversation),
        (rows.preference, PreferencePair),
        (rows.task, tuple),
    )
    for (read, kind), block in zip(forms, blocks, strict=True):
        for line in block.splitlines():
            assert isinstance(read(json.loads(line), {}), kind)


def test_the_page_names_every_column_that_is_known() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = page[page.index("### Columns by other names") : page.index("Others are named")]
    for meaning, names in KNOWN.items():
        assert f"`{meaning}`" in table
        if names != (meaning,):
            assert ", ".join(names) in table


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["user", "gpt", "x", "\n\nHuman: a\n\nAssistant: b", "Human:", "0", "A"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(FIELDS, inner),
        )
        | st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": inner},
            optional={
                "tool_calls": st.lists(st.fixed_dictionaries({"function": inner, "id": inner})),
                "tool_call_id": inner,
            },
        )
    ),
    max_leaves=12,
)
NAMES = sorted({name for names in KNOWN.values() for name in names} | {"other"})
ROWS = st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=5)
COLUMNS = st.dictionaries(st.sampled_from(sorted(KNOWN)), st.sampled_from(NAMES), max_size=2)
DEEP = json.loads('{"a":' * 400 + "1" + "}" * 400)


def outcome(read: Any, row: dict[str, Any], columns: dict[str, str]) -> Any:
    try:
        return read(row, columns)
    except Misfit as wrong:
        return wrong


@given(ROWS, COLUMNS)
@example({"messages": [{"role": DEEP, "content": DEEP}]}, {})
@example({"question": DEEP, "choices": [DEEP, "x"], "answer": DEEP}, {})
@example({"question": "x", "choices": ["x", "y"], "answer": DEEP}, {})
def test_any_row_ends_in_an_object_or_a_misfit(
    row: dict[str, Any], columns: dict[str, str]
) -> None:
    for read in (rows.conversation, rows.preference, rows.task):
        found = outcome(read, row, columns)
        if isinstance(found, Misfit):
            assert found.reason
            assert len(found.detail) < 1000
        elif isinstance(found, Conversation):
            begun = found.messages[found.messages[0].role == "system" :]
            assert begun[0].role == "user"
            assert begun[-1].role == "assistant"
            assert all(
                each.content.strip() or each.role == "tool" or each.tool_calls for each in begun
            )
        elif isinstance(found, PreferencePair):
            assert found.prompt.messages[-1].role in ("user", "tool")
            assert found.chosen != found.rejected
        else:
            assert all(isinstance(text, str) and text.strip() for text in found)


def test_arguments_nested_past_the_limit_are_a_misfit() -> None:
    arguments: Any = 1
    for _ in range(3000):
        arguments = {"a": arguments}
    call = {"function": {"name": "f", "arguments": arguments}}
    said = [USER, {"role": "assistant", "content": "", "tool_calls": [call]}]
    assert misfit(rows.conversation, {"messages": said}).reason == "bad_turn"


def test_a_misfit_stays_short_whatever_the_row_holds() -> None:
    long = "x" * 100_000
    for row in (
        {long: 1},
        {f"column {number}": 1 for number in range(1000)},
        {"messages": [{"role": long, "content": "x"}]},
        {"question": "x", "choices": ["a", "b"], "answer": long},
    ):
        for read in (rows.conversation, rows.preference, rows.task):
            assert len(misfit(read, row).detail) < 800
