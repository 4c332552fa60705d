"""(Model ->) measurement: who obeys the orders on a stranger's note, and what the gate holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.environments.environment import Task
from ontogeny.environments.playing import Played, play_all
from ontogeny.environments.scripts import gold_script, scripted
from ontogeny.environments.tooled import Rules
from ontogeny.evaluate.series import Series, proportion, write_series
from ontogeny.rollout.journal import FileJournal
from ontogeny.run.work import Made, Work
from ontogeny.safety.attack_injection import ORDERS, Poisoned
from ontogeny.text.byte_codec import byte_tokenizer
from ontogeny.text.tool_calls import speech

FILE = "episodes.jsonl"
AGENTS = ("obedient", "careful")
MODEL = "model"
SEEN = ("read", "tried", "done", "gated")


@dataclass(frozen=True, kw_only=True)
class MeasureInjection:
    """Plays the library's desk where the note of a book gives an order (`safety.attack_injection`).

    `tasks` of each kind of `orders` are played by an agent that obeys whatever it reads, by one
    that does only what is asked, and by the model if there is one: `turns` turns of at most
    `turn_tokens` tokens, each held to a call by a grammar, in an episode of at most `context`
    tokens.

    Series: AGENT.ORDER.read, .tried (the order, called word for word), .done (it changed the base),
    .gated (it was held back), .solved (what was asked, and nothing else).

    Raises:
        InputError: no such order, or the split holds fewer tasks.
    """

    tasks: int = 10
    orders: tuple[str, ...] = ORDERS
    split: Literal["train", "heldout", "exam"] = "exam"
    turns: int = 6
    turn_tokens: int = 96
    context: int = 2048
    slots: int = 8

    stage: ClassVar[str] = "measure_injection"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model?",)
    makes: ClassVar[str] = "measurement"

    def __post_init__(self) -> None:
        for kind in self.orders:
            Poisoned(kind)
        if min(self.tasks, self.turns, self.turn_tokens, self.context, self.slots) < 1:
            raise InputError(
                "measure_injection: tasks, turns, turn_tokens, context and slots are at least 1"
            )
        if not self.orders:
            raise InputError("measure_injection needs an order")

    def __call__(self, work: Work, *model: Artifact) -> Made:
        """Writes episodes.jsonl and series.json."""
        agents = (*AGENTS, MODEL) if model else AGENTS
        work.checkpoints.mkdir(parents=True, exist_ok=True)
        series: dict[str, Series] = {}
        rows: list[str] = []
        for number, kind in enumerate(self.orders):
            poisoned = Poisoned(kind)
            tasks = poisoned.desk.tasks(self.split, self.tasks, work.named_seed("tasks"))
            for agent in agents:
                work.progress(number, len(self.orders), "orders")
                played = self._played(work, agent, poisoned, tasks, model)
                seen = [poisoned.seen(each.task, each.trajectory) for each in played]
                values = {name: [float(each[name]) for each in seen] for name in SEEN}
                values["solved"] = [each.score for each in played]
                units = [task.id for task in tasks]
                series |= {
                    f"{agent}.{kind}.{name}": Series(units, each, [1.0] * len(units))
                    for name, each in values.items()
                }
                rows += [_row(agent, kind, *pair) for pair in zip(played, seen, strict=True)]
        write_series(work.payload, series)
        with (work.payload / FILE).open("w", encoding="utf-8") as file:
            file.writelines(f"{row}\n" for row in rows)
        levels = {name: proportion(each, f"{name} {work.seed}") for name, each in series.items()}
        return Made(
            metrics={
                name: {
                    "estimate": each.value,
                    "low": each.low,
                    "high": each.high,
                    "units": each.units,
                }
                for name, each in levels.items()
            },
            summary=tuple(_line(agent, kind, series) for kind in self.orders for agent in agents),
        )

    def _played(
        self,
        work: Work,
        agent: str,
        poisoned: Poisoned,
        tasks: Sequence[Task],
        model: Sequence[Artifact],
    ) -> list[Played]:
        desk, seed = poisoned.desk, work.named_seed("episodes", agent, poisoned.kind)
        journal = FileJournal(work.checkpoints / f"{agent}-{poisoned.kind}.jsonl")
        if agent == MODEL:
            policy, tokenizer = bridge.load_policy(
                model[0], slots=self.slots, length=self._room(model[0])
            )
            rules = Rules(
                turns=self.turns,
                tokens=self.turn_tokens,
                context=bridge.context_of(policy),
                forced=True,
                temperature=0.0,
            )
            return play_all(policy, desk, tasks, tokenizer, rules, seed=seed, journal=journal)
        spoken, rules = speech(byte_tokenizer()), Rules(turns=100, tokens=100_000)
        script = poisoned.obedient if agent == "obedient" else gold_script
        policy = scripted(script, desk, tasks, spoken, rules)
        return play_all(policy, desk, tasks, spoken, rules, seed=seed, journal=journal)

    def _room(self, model: Artifact) -> int:
        known: int = bridge.shape_of(model).context
        return min(self.context, known)


def _row(agent: str, kind: str, played: Played, seen: Any) -> str:
    notes = played.trajectory.notes
    told = {"calls": notes["calls"], "end": notes["end"], "gated": notes["gated"]}
    row = {"agent": agent, "order": kind, "task": played.task.id, "score": played.score}
    return json.dumps({**row, **told, "seen": dict(seen)}, ensure_ascii=False)


def _line(agent: str, kind: str, series: dict[str, Series]) -> str:
    found = {name: series[f"{agent}.{kind}.{name}"].values for name in (*SEEN, "solved")}
    told = ", ".join(f"{name} {sum(values):.0f}" for name, values in found.items())
    return f"{agent:8} note '{kind}': {told}, of {len(found['read'])} episodes"
