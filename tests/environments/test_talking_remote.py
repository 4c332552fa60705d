"""A chat server that knows nothing of tools plays the same episodes by text alone."""

from __future__ import annotations

import math

import pytest
from support.openai_server import chat, says, serving

from ontogeny.base.errors import InputError
from ontogeny.edge.remote_config import RemoteConfig
from ontogeny.edge.remote_policy import connect
from ontogeny.environments.errands import desk
from ontogeny.environments.playing import play_all, rates
from ontogeny.environments.scripts import gold_script
from ontogeny.environments.session import Call
from ontogeny.environments.tooled import Rules
from ontogeny.text.byte_codec import byte_tokenizer
from ontogeny.text.message import ToolCall
from ontogeny.text.tool_calls import call_text, tagged

WORLD = desk(1)
TASKS = WORLD.tasks("exam", 3, 0)


def teacher(heard):
    """Says the gold line of whichever task and turn the messages are in."""
    messages = heard.body["messages"]
    task = next(task for task in TASKS if task.prompt == messages[1]["content"])
    line = gold_script(task)[sum(each["role"] == "assistant" for each in messages)]
    if isinstance(line, Call):
        arguments = str(dict(line.arguments)).replace("'", '"')
        return says(chat(f"<tool_call>{call_text(ToolCall(line.name, arguments))}</tool_call>"))
    return says(chat(line))


def test_a_teacher_on_a_server_solves_its_tasks() -> None:
    spoken = tagged(byte_tokenizer())
    with serving(teacher) as server, connect(RemoteConfig(server.url)) as policy:
        played = play_all(policy, WORLD, TASKS, spoken, admission="ready")
    found = rates(played)
    assert (found.solved, found.valid, found.ends) == (1.0, 1.0, {"answered": 3})
    roles = [each["role"] for each in server.posts[-1].body["messages"]]
    assert roles[:4] == ["system", "user", "assistant", "user"]
    # nothing here can be taken for rollouts: the server told no log-probs
    assert any(math.isnan(each) for each in played[0].trajectory.log_probs())


def test_a_turn_that_must_be_a_call_cannot_be_asked_of_a_chat() -> None:
    spoken = tagged(byte_tokenizer())
    with (
        serving(teacher) as server,
        connect(RemoteConfig(server.url)) as policy,
        pytest.raises(InputError, match="does not end where the assistant is to answer"),
    ):
        play_all(policy, WORLD, TASKS, spoken, Rules(forced=True))
    assert server.posts == []
