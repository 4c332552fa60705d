"""Several turns with tools: the flow that every environment with tools is played by.

Knows no model and no particular world. An environment brings tools, tasks, an executor with one
world an episode, and a judge.

    system, user -> assistant: calls -> tool: results -> assistant: calls -> ... -> assistant: words

Tokens are never encoded twice: each turn is sampled after exactly the tokens of those before it.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from typing import Any

from ontogeny.base.seeds import named_seed
from ontogeny.environments.environment import Task
from ontogeny.environments.tooled import REPLY, End, Rules, ToolEnvironment, callable_tools, opening
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.flow import Execute, Flow, Outcome, Sample
from ontogeny.rollout.policy import Completion, Request
from ontogeny.rollout.tools import BROKEN, GATED, capped, grammar, tools_by_name
from ontogeny.rollout.trajectory import Trajectory
from ontogeny.text.message import Message, ToolCall
from ontogeny.text.template import check_prefix_stable, extend
from ontogeny.text.tool_calls import Heard, Speech, Unreadable, call_text, read_calls


def talk(
    environment: ToolEnvironment, task: Task, speech: Speech, rules: Rules, seed: int
) -> Flow[Trajectory]:
    """One episode; it asks for completions and for the execution of calls.

    The trajectory's notes: `end` (`End`), `calls` (name, arguments and ok of each that was run),
    `replies` (what was said to the user), `attempts` (calls that were begun), `valid` (those that
    could be read and fit a tool), `gated`, `broken`, `turns`.

    Raises:
        InputError: the template refuses the conversation or is not prefix-stable.
    """
    return _Episode(environment, task, speech, rules, seed).play()


class _Episode:
    def __init__(
        self, environment: ToolEnvironment, task: Task, speech: Speech, rules: Rules, seed: int
    ) -> None:
        check_prefix_stable(speech.tokenizer)
        tools = callable_tools(environment, rules.forced)
        self.tools, self.speech, self.rules = tools_by_name(tools), speech, rules
        self.grammar = grammar(tools) if rules.forced else None
        self.trajectory = Trajectory(task.id, seed)
        self.user = list(environment.user)
        self.prompt: Sequence[int] = opening(environment, task, speech, rules.forced)
        self.end: End | None = None
        self.calls: list[dict[str, Any]] = []
        self.replies: list[str] = []
        self.counts = {"attempts": 0, "valid": 0, "gated": 0, "broken": 0}
        self._last, self._repeats = "", 0

    def play(self) -> Flow[Trajectory]:
        while self.end is None:
            request = self._request()
            if request is None:
                self.end = "context"
                break
            completion = yield Sample(request)
            self.trajectory = self.trajectory.extended(request, completion)
            heard = self._heard(completion)
            results = yield from self._run(heard.calls)
            self._go_on(heard, results, completion)
        turns = len(self.trajectory.turns)
        return self.trajectory.noted(
            end=self.end, turns=turns, calls=self.calls, replies=self.replies, **self.counts
        )

    def _request(self) -> Request | None:
        rules, tokenizer = self.rules, self.speech.tokenizer
        prompt = (*self.prompt, *(self.speech.opening() if rules.forced else ()))
        room = rules.context - len(prompt) if rules.context else rules.tokens
        if room < 1:
            return None
        number = len(self.trajectory.turns)
        seed = named_seed(self.trajectory.seed, "turn", number)
        return Request(
            prompt,
            min(rules.tokens, room),
            Sampling(temperature=rules.temperature, seed=seed),
            stop=() if rules.forced else tokenizer.stops(chats=True),
            grammar=self.grammar,
        )

    def _heard(self, completion: Completion) -> Heard:
        if not self.rules.forced:
            return self.speech.found(completion.ids)
        text = self.speech.tokenizer.continuation(completion.ids)
        return Heard("", tuple(read_calls(text)[:1]))

    def _run(
        self, attempts: Sequence[ToolCall | Unreadable]
    ) -> Generator[Execute, Outcome, list[str]]:
        """The results of the calls, as the agent reads them; one after the other."""
        results: list[str] = []
        for number, attempt in enumerate(attempts):
            if number >= self.rules.calls or self.end is not None:
                results.append("error: too many calls in one turn, this one was not run")
                continue
            result = yield from self._run_one(attempt)
            results.append(capped(result, self.rules.result))
            self._watch(attempt, results[-1])
        return results

    def _run_one(self, attempt: ToolCall | Unreadable) -> Generator[Execute, Outcome, str]:
        self.counts["attempts"] += 1
        if isinstance(attempt, Unreadable):
            return f"error: {attempt.reason}"
        tool = self.tools.get(attempt.name)
        if tool is None:
            known = ", ".join(self.tools)
            return f"error: there is no tool {capped(attempt.name, 60)!r}; there are {known}"
        arguments = json.loads(attempt.arguments)
        if fault := tool.fault(arguments):
            return f"error: {fault}"
        self.counts["valid"] += 1
        if tool is REPLY:
            self.replies.append(arguments["text"])
            return ""
        outcome = yield Execute(tool.name, arguments)
        self.calls.append({"name": tool.name, "arguments": arguments, "ok": outcome.ok})
        if outcome.ok:
            self.end = "submitted" if tool.ends else None
            return outcome.output
        self.counts["gated"] += outcome.output.startswith(GATED)
        self.counts["broken"] += outcome.output.startswith(BROKEN)
        return f"error: {outcome.output}"

    def _watch(self, attempt: ToolCall | Unreadable, result: str) -> None:
        """Ends an episode that goes round in a circle of one."""
        said = call_text(attempt) if isinstance(attempt, ToolCall) else attempt.reason
        same = self._last == f"{said}\n{result}"
        self._last, self._repeats = f"{said}\n{result}", self._repeats + 1 if same else 1
        if self._repeats >= self.rules.repeats and self.end is None:
            self.end = "loop"

    def _go_on(self, heard: Heard, results: Sequence[str], completion: Completion) -> None:
        """What the agent hears next, or why there is nothing more to hear."""
        spoke = not heard.calls
        if spoke:
            self.replies.append(heard.content)
        elif self.rules.forced and results == [""] and self.replies:
            spoke = True
        if self.end is not None:
            return
        if completion.finish == "context":
            self.end = "context"
        elif spoke and completion.finish == "length":
            self.end = "length"
        elif spoke and not self.user:
            self.end = "answered"
        elif len(self.trajectory.turns) >= self.rules.turns:
            self.end = "turns"
        else:
            told = [Message("user", self.user.pop(0))] if spoke else self.speech.results(results)
            ids = (*self.trajectory.ids(), *(self.speech.closing() if self.rules.forced else ()))
            self.prompt = extend(ids, told, self.speech.tokenizer)
