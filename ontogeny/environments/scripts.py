"""Agents that follow a script, for proofs and demonstrations, and gold episodes as conversations.

Knows no model. A script is what an agent says in its turns; from it come a policy's tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from ontogeny.environments.desk import Desk, gold
from ontogeny.environments.environment import Task
from ontogeny.environments.session import Call
from ontogeny.environments.tooled import REPLY, Rules, ToolEnvironment, opening
from ontogeny.rollout.fakes import ScriptedPolicy
from ontogeny.rollout.policy import Request
from ontogeny.text.message import Conversation, Message, ToolCall
from ontogeny.text.template import render
from ontogeny.text.tool_calls import Speech, call_text

Line = str | Call
"""What an agent says in a turn: words, or a call."""
Script = Callable[[Task], Sequence[Line]]
"""An agent's turns in a task; its last line is said again and again."""


def gold_script(task: Task) -> list[Line]:
    """The right calls, one a turn, and the right last words."""
    return [*gold(task), task.answer]


def scripted(
    script: Script,
    environment: ToolEnvironment,
    tasks: Sequence[Task],
    speech: Speech,
    rules: Rules | None = None,
) -> ScriptedPolicy:
    """A policy that plays these tasks by a script, whatever it is told.

    It remembers nothing: which task and which turn it is, follows from the prompt. Tasks are told
    apart by how their prompts begin.
    """
    forced = bool(rules and rules.forced)
    plans = {
        tuple(opening(environment, task, speech, forced)): [
            spoken(line, speech, forced) for line in script(task)
        ]
        for task in tasks
    }
    begins = _begins_turn(speech)

    def say(request: Request) -> Sequence[int]:
        start = next(each for each in plans if request.prompt[: len(each)] == each)
        turn = _count(request.prompt[len(start) :], begins)
        return plans[start][min(turn, len(plans[start]) - 1)]

    return ScriptedPolicy(say, tokenizer=speech.tokenizer)


def spoken(line: Line, speech: Speech, forced: bool = False) -> tuple[int, ...]:
    """The ids an agent samples to say a line, the end of its turn included."""
    if forced:
        call = line if isinstance(line, Call) else Call(REPLY.name, {"text": line})
        return tuple(speech.tokenizer.encode(call_text(_tool_call(call))))
    if line == "":
        return (speech.tokenizer.end_of_turn,)
    said = speech.said("", [_tool_call(line)]) if isinstance(line, Call) else speech.said(line)
    before = (Message("user", "a"),)
    prompt = render(before, speech.tokenizer, generation_prompt=True).ids
    ids = render([*before, said], speech.tokenizer).ids[len(prompt) :]
    return ids[: ids.index(speech.tokenizer.end_of_turn) + 1]


def demonstration(desk: Desk, task: Task, speech: Speech) -> Conversation:
    """The gold episode of a task, to learn from: what `talk` would play, as messages."""
    told = speech.told([tool.told() for tool in desk.tools])
    messages = [Message("system", f"{desk.told(task)}\n\n{told}"), Message("user", task.prompt)]
    session = desk.session(task)
    for call in gold(task):
        messages.append(speech.said("", [_tool_call(call)]))
        messages += speech.results([session.call(call.name, call.arguments).output])
    messages.append(speech.said(task.answer))
    return Conversation(tuple(messages), id=task.id, domain="tools", source=desk.name)


def _tool_call(call: Call) -> ToolCall:
    return ToolCall(call.name, json.dumps(call.arguments, ensure_ascii=False))


def _begins_turn(speech: Speech) -> tuple[int, ...]:
    """The ids that open an assistant's turn."""
    before = (Message("user", "a"),)
    without = render(before, speech.tokenizer).ids
    return render(before, speech.tokenizer, generation_prompt=True).ids[len(without) :]


def _count(ids: Sequence[int], part: Sequence[int]) -> int:
    width = len(part)
    return sum(tuple(ids[n : n + width]) == tuple(part) for n in range(len(ids) - width + 1))
