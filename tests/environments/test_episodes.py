"""What was said in an episode can be told without its tokens, or it is said why not."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from ontogeny.environments.catalogue import environment
from ontogeny.environments.environment import Task
from ontogeny.environments.episodes import NOT_UNICODE, Episode, Played, play
from ontogeny.environments.errands import desk
from ontogeny.environments.lessons import conversation, row
from ontogeny.environments.players import Agent
from ontogeny.environments.scripts import Line, demonstration, gold_script, scripted
from ontogeny.environments.session import Call
from ontogeny.environments.tooled import Rules
from ontogeny.environments.worlds import world
from ontogeny.rollout.fakes import ScriptedPolicy
from ontogeny.text.byte_codec import byte_tokenizer
from ontogeny.text.message import Message, ToolCall
from ontogeny.text.tool_calls import speech, tagged

WORLD = desk(1)
TASKS = WORLD.tasks("train", 3, 0)
SPOKEN = speech(byte_tokenizer())
TOOLS = [tool.told() for tool in WORLD.tools]


def played(script: object, rules: Rules) -> list[Episode]:
    """Episodes of a scripted agent."""
    policy = scripted(script, WORLD, TASKS, SPOKEN, rules)  # type: ignore[arg-type]
    return play(WORLD, TASKS, Played(policy, SPOKEN, rules, 0, [], "lockstep"))


@pytest.mark.parametrize("forced", [False, True])
def test_an_episode_is_told_as_it_would_be_shown(forced: bool) -> None:
    """Under a grammar words are a call, too: they are told as words."""
    for task, each in zip(TASKS, played(gold_script, Rules(forced=forced)), strict=True):
        assert (each.judged.score, each.untold) == (1.0, "")
        told = conversation(each.messages, TOOLS, SPOKEN, task.id)
        assert told.messages == demonstration(WORLD, task, SPOKEN).messages


def test_an_episode_that_ends_with_a_call_has_no_result_behind_it() -> None:
    def script(task: Task) -> Sequence[Line]:
        del task
        return [Call("find_member", {"name": "Nobody"})]

    (each, *_) = played(script, Rules(turns=2))
    assert (each.messages, each.untold) == ((), "ended by turns")


def said_and_done(said: str) -> Episode:
    """An episode in which a model says this, and then that it is done."""
    spoken = tagged(byte_tokenizer())
    ends = (spoken.tokenizer.end_of_turn,)
    turns = iter([(*spoken.tokenizer.encode(each), *ends) for each in (said, "Done.")])
    policy = ScriptedPolicy(lambda _: next(turns), tokenizer=spoken.tokenizer)
    (each,) = play(WORLD, TASKS[:1], Played(policy, spoken, Rules(), 0, [], "lockstep"))
    return each


def test_half_a_character_is_no_example_and_breaks_no_row() -> None:
    """JSON can spell what no text can hold."""
    call = '{"name": "find_member", "arguments": {"name": "\\ud800"}}'
    each = said_and_done(f"<tool_call>{call}</tool_call>")
    assert (each.trajectory.notes["valid"], each.untold) == (1, NOT_UNICODE)
    written = row("m", WORLD.name, each).encode("utf-8", "backslashreplace")
    assert json.loads(written)["trajectory"] == each.trajectory.to_json()


@pytest.mark.parametrize(
    "said",
    [
        "<tool_call>{</tool_call>",
        '<tool_call>{"name": "fly", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "find_member", "arguments": {"x": 1}}</tool_call>',
    ],
)
def test_a_call_that_was_not_run_is_no_example(said: str) -> None:
    each = said_and_done(said)
    assert each.trajectory.notes["valid"] == 0
    assert each.untold == "a call could not be read or was not run"


def test_results_of_one_turn_are_heard_together() -> None:
    calls = tuple(ToolCall("find_member", '{"name": "A"}') for _ in range(2))
    messages = [
        Message("system", "Told."),
        Message("user", "Ask."),
        Message("assistant", "", calls),
        Message("tool", "one"),
        Message("tool", "two"),
        Message("assistant", "Done."),
    ]
    told = conversation(messages, TOOLS, tagged(byte_tokenizer()), "x").messages
    assert [each.role for each in told] == ["system", "user", "assistant", "user", "assistant"]
    assert told[2].content.count("<tool_call>") == 2
    assert told[3].content.index("one") < told[3].content.index("two")


def test_an_answer_that_was_cut_is_not_told() -> None:
    task = environment("copy-5").tasks("train", 1, 0)
    where = world("copy-5", {})
    whole = Agent("gold", Rules(tokens=500)).by(where, task, 0, [])
    cut = Agent("gold", Rules(tokens=3)).by(where, task, 0, [])
    assert [each.untold for each in play(where.environment, task, whole)] == [""]
    assert [each.untold for each in play(where.environment, task, cut)] == ["cut off"]
