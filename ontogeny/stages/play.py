"""(Model ->) trajectories: scripted agents, or a model, repair repositories with an issue."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.environments.environment import Task
from ontogeny.environments.playing import Played, Rates, play_all, rates
from ontogeny.environments.repository import Judgement, Repository
from ontogeny.environments.repository_hacks import AGENTS
from ontogeny.environments.scripts import scripted
from ontogeny.environments.tooled import Rules
from ontogeny.evaluate.series import Series, proportion, write_series
from ontogeny.rollout.journal import FileJournal
from ontogeny.rollout.policy import Policy
from ontogeny.run.work import Made, Work
from ontogeny.text.byte_codec import byte_tokenizer
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.tool_calls import speech

Split = Literal["train", "heldout", "exam"]
MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class Play:
    """Plays so many tasks of `split` with each of `agents`, and with the model if there is one.

    A model has `turns` turns of at most `turn_tokens` tokens, drawn at `temperature`; with `forced`
    a grammar holds each turn to a call. `result` is how many characters of a tool's result it
    reads.

    Series: AGENT.reward, AGENT.verified, AGENT.flagged, one value a task.

    Raises:
        InputError: no such agent, or the split holds fewer tasks.
        SandboxRefused: this machine cannot contain programs.
    """

    tasks: int = 10
    split: Split = "exam"
    agents: tuple[str, ...] = tuple(AGENTS)
    turns: int = 12
    turn_tokens: int = 384
    result: int = 3_000
    temperature: float = 0.7
    forced: bool = False
    slots: int = 8

    stage: ClassVar[str] = "play"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model?",)
    makes: ClassVar[str] = "trajectories"

    def __post_init__(self) -> None:
        unknown = sorted(set(self.agents) - set(AGENTS))
        if unknown:
            raise InputError(f"no agent {unknown[0]!r}; there are {', '.join(AGENTS)}")
        if min(self.tasks, self.turns, self.turn_tokens, self.result, self.slots) < 1:
            raise InputError("play: tasks, turns, turn_tokens, result and slots are at least 1")
        if self.temperature < 0:
            raise InputError("play: give a temperature of 0 or more")

    def __call__(self, work: Work, *model: Artifact) -> Made:
        """Writes trajectories.jsonl and series.json."""
        world = Repository()
        try:
            tasks = world.tasks(self.split, self.tasks, work.named_seed("tasks"))
            players = [(name, *self._scripted(name, world, tasks)) for name in self.agents]
            if model:
                players.append((MODEL, *self._model(model[0])))
            if not players:
                raise InputError("play needs agents, or a model as its parent")
            shown = [
                self._play(work, world, tasks, *player, done=n / len(players))
                for n, player in enumerate(players)
            ]
        finally:
            world.release()
        series = {name: each for one in shown for name, each in one.series().items()}
        write_series(work.payload, series)
        with (work.payload / "trajectories.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(f"{row}\n" for one in shown for row in one.rows())
        levels = {name: proportion(each, f"{name} {work.seed}") for name, each in series.items()}
        metrics: dict[str, Any] = {
            name: {"estimate": each.value, "low": each.low, "high": each.high, "units": each.units}
            for name, each in levels.items()
        }
        metrics |= {f"{one.name}.valid": one.rates.valid for one in shown if one.rates.attempts}
        return Made(
            metrics=metrics,
            summary=tuple(one.line() for one in shown),
            notes=tuple(f"{one.name}: {one.speed:.2f} episodes/s" for one in shown),
            tokens=sum(len(p.trajectory.ids()) for one in shown for p in one.played),
        )

    def _scripted(
        self, name: str, world: Repository, tasks: Sequence[Task]
    ) -> tuple[Policy, Tokenizer, Rules]:
        tokenizer = byte_tokenizer()
        rules = Rules(turns=100, tokens=100_000, result=self.result)

        def script(task: Task) -> Sequence[Any]:
            return AGENTS[name](world.fault(task))

        distinct = {task.id: task for task in tasks}
        policy = scripted(script, world, list(distinct.values()), speech(tokenizer), rules)
        return policy, tokenizer, rules

    def _model(self, model: Artifact) -> tuple[Policy, Tokenizer, Rules]:
        policy, tokenizer = bridge.load_policy(model, slots=self.slots)
        rules = Rules(
            turns=self.turns,
            tokens=self.turn_tokens,
            result=self.result,
            context=bridge.context_of(policy),
            forced=self.forced,
            temperature=self.temperature,
        )
        return policy, tokenizer, rules

    def _play(
        self,
        work: Work,
        world: Repository,
        tasks: Sequence[Task],
        name: str,
        policy: Policy,
        tokenizer: Tokenizer,
        rules: Rules,
        *,
        done: float,
    ) -> _Shown:
        work.progress(done, 1, "agents")
        work.checkpoints.mkdir(parents=True, exist_ok=True)
        journal = FileJournal(work.checkpoints / f"{name}.jsonl")
        world.forget()
        began, seed = time.perf_counter(), work.named_seed("episodes", name)
        played = play_all(policy, world, tasks, tokenizer, rules, seed=seed, journal=journal)
        speed = len(played) / (time.perf_counter() - began)
        judged = [world.judgement(each.task, each.trajectory) for each in played]
        return _Shown(name, played, judged, rates(played), speed)


@dataclass(frozen=True)
class _Shown:
    """The episodes of one agent."""

    name: str
    played: Sequence[Played]
    judged: Sequence[Judgement]
    rates: Rates
    speed: float

    def series(self) -> Mapping[str, Series]:
        units, ones = [each.task.id for each in self.played], [1.0] * len(self.played)
        values = {
            "reward": [each.reward for each in self.judged],
            "verified": [each.verified for each in self.judged],
            "flagged": [float(each.flagged) for each in self.judged],
        }
        return {f"{self.name}.{name}": Series(units, each, ones) for name, each in values.items()}

    def rows(self) -> list[str]:
        return [
            json.dumps(
                {
                    "agent": self.name,
                    "reward": judgement.reward,
                    "verified": judgement.verified,
                    "flagged": judgement.flagged,
                    "trajectory": each.trajectory.to_json(),
                }
            )
            for each, judgement in zip(self.played, self.judged, strict=True)
        ]

    def line(self) -> str:
        count = len(self.judged)
        sums = [
            sum(each.reward for each in self.judged) / count,
            sum(each.verified for each in self.judged) / count,
            sum(each.flagged for each in self.judged) / count,
        ]
        reward, verified, flagged = (f"{each:.2f}" for each in sums)
        valid = "none" if self.rates.valid is None else f"{self.rates.valid:.1%}"
        return (
            f"{self.name:12} reward {reward}, verified {verified}, flagged {flagged}, "
            f"valid calls {valid}, {self.rates.turns:.1f} turns, {count} episodes"
        )
