"""(Model, own tasks ->) trajectories: agents by script, a model or a server play environments."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import sha256
from ontogeny.edge.remote_teacher import Server, Teacher, teacher
from ontogeny.environments.episodes import Episode, play
from ontogeny.environments.lessons import PLAYED, TRAJECTORIES, row, voice
from ontogeny.environments.own import read_tasks
from ontogeny.environments.players import Agent, Player, Sampled
from ontogeny.environments.tooled import Rules, ToolEnvironment
from ontogeny.environments.worlds import World, check_world, world
from ontogeny.evaluate.series import write_series
from ontogeny.evaluate.turnout import Turnout
from ontogeny.rollout.drive import Admission
from ontogeny.rollout.journal import FileJournal
from ontogeny.run.work import Made, Work
from ontogeny.text.tool_calls import speech, tagged

Split = Literal["train", "heldout", "exam"]
MODEL, SERVER = "model", "server"
"""Who plays that follows no script, by the name that rows and series give them."""


@dataclass(frozen=True, kw_only=True)
class Play:
    """Plays so many tasks of each environment with each of `agents`, the model and the server.

    A model and a server have `turns` turns of at most `turn_tokens` tokens, drawn at `temperature`,
    and read at most `result` characters of a tool's result; with `forced` a grammar holds each
    turn of the model to a call. An episode of the model has at most `context` tokens (0: the
    model's own), `slots` are played at once. Under `admission` "ready" the model reads in each turn
    only what is new; results are then the same to the last bit only under the same load.
    `directories` is where the tasks of a domain of tau2-bench lie; their content is
    identity, the place is not. A count of 0 is all of a user's own tasks.

    Series: AGENT.reward, .solved, .verified, .flagged, .valid (calls), .valid_share; a value a
    task.

    Raises:
        InputError: no such environment or agent, or the split holds fewer tasks.
        SandboxRefused: this machine cannot contain programs.
        LimitReached: the server may not be asked for more; what it answered is kept.
    """

    environments: Mapping[str, int] = field(default_factory=dict)
    split: Split = "exam"
    agents: tuple[str, ...] = ("gold", "nothing")
    server: Server = Server()
    turns: int = 12
    turn_tokens: int = 384
    result: int = 3_000
    context: int = 0
    temperature: float = 0.7
    forced: bool = False
    slots: int = 8
    admission: Admission = "lockstep"
    directories: Mapping[str, str] = field(default_factory=dict, metadata={"execution": True})

    stage: ClassVar[str] = "play"
    version: ClassVar[int] = 2
    takes: ClassVar[tuple[str, ...]] = ("model?", "tasks*")
    makes: ClassVar[str] = "trajectories"

    def __post_init__(self) -> None:
        if not self.environments:
            raise InputError("play needs environments, each with how many tasks")
        for name, count in self.environments.items():
            check_world(name, count)
        if min(self.turns, self.turn_tokens, self.result, self.slots) < 1:
            raise InputError("play: turns, turn_tokens, result and slots are at least 1")
        if self.temperature < 0 or self.context < 0:
            raise InputError("play: give a temperature and a context of 0 or more")
        if self.forced and self.server.model:
            raise InputError("play: forced holds a local model to calls; a server is not forced")

    def identity(self) -> dict[str, Any]:
        """The content of the directories, in place of where they lie."""
        return {
            f"tasks of {name}": _digest(Path(self.directories[name]))
            for name in sorted(set(self.environments) & set(self.directories))
        }

    def __call__(self, work: Work, *parents: Artifact) -> Made:
        """Writes trajectories.jsonl, played.json and series.json."""
        model = next((each for each in parents if each.record.kind == "model"), None)
        if not (self.agents or model or self.server.model):
            raise InputError("play needs agents, a model as its parent, or a server")
        tasks = [each for each in parents if each is not model]
        own = {name: each for one in tasks for name, each in read_tasks(one).items()}
        worlds = {name: world(name, self.directories, own) for name in sorted(self.environments)}
        try:
            with ExitStack() as stack:
                players = list(self._players(work, model, stack))
                shown = self._play(work, worlds, players)
                costs = self._costs(players)
        finally:
            for each in worlds.values():
                each.release()
        write_series(
            work.payload, {name: each for one in shown for name, each in one.series.items()}
        )
        return Made(
            metrics={name: each for one in shown for name, each in one.metrics(work.seed).items()},
            summary=tuple(one.line(work.seed) for one in shown),
            notes=(*(one.speed() for one in shown), *costs),
            tokens=sum(len(each.trajectory.ids()) for one in shown for each in one.episodes),
        )

    def _players(self, work: Work, model: Artifact | None, stack: ExitStack) -> Iterator[Player]:
        work.checkpoints.mkdir(parents=True, exist_ok=True)
        for name in self.agents:
            yield Agent(name, Rules(turns=100, tokens=100_000, result=self.result))
        if model:
            length = self.context or None
            policy, tokenizer = bridge.load_policy(
                model, self.slots, length, admission=self.admission
            )
            rules = self._rules(context=bridge.context_of(policy), forced=self.forced)
            heard = "" if self.forced else voice(model)  # calls that a grammar opened were not said
            yield Sampled(MODEL, policy, speech(tokenizer), rules, heard, self.admission)
        if self.server.model:
            remote = stack.enter_context(teacher(self.server, work.checkpoints / "spent.json"))
            rules = self._rules(context=0, forced=False)
            yield Sampled(SERVER, remote, tagged(remote.tokenizer), rules, admission="ready")

    def _rules(self, *, context: int, forced: bool) -> Rules:
        return Rules(
            turns=self.turns,
            tokens=self.turn_tokens,
            result=self.result,
            context=context,
            forced=forced,
            temperature=self.temperature,
        )

    def _play(
        self, work: Work, worlds: Mapping[str, World], players: Sequence[Player]
    ) -> list[Turnout]:
        """Everybody plays everywhere; rows are written as they come."""
        seed, games = work.named_seed("tasks"), len(worlds) * len(players)
        counts = self.environments
        tasks = {n: w.environment.tasks(self.split, counts[n], seed) for n, w in worlds.items()}
        shown: list[Turnout] = []
        # half a surrogate pair, which JSON can spell, is written as JSON spells it
        file = (work.payload / TRAJECTORIES).open("w", encoding="utf-8", errors="backslashreplace")
        with file:
            for player in players:
                began, episodes = time.perf_counter(), list[Episode]()
                for number, (name, where) in enumerate(worlds.items()):
                    work.progress(len(shown) * len(worlds) + number, games, "games")
                    where.forget()
                    kept = f"{player.name}.{name.replace('/', '-')}.jsonl"
                    journal = FileJournal(work.checkpoints / kept)
                    draws = work.named_seed("episodes", player.name)
                    by = player.by(where, tasks[name], draws, journal)
                    found = play(where.environment, tasks[name], by)
                    file.writelines(f"{row(player.name, name, each)}\n" for each in found)
                    episodes += found
                shown.append(Turnout(player.name, episodes, time.perf_counter() - began))
        # as it stands: the order of a tool's arguments is part of what a model is told
        told = json.dumps(self._told(worlds, players), ensure_ascii=False, indent=1)
        (work.payload / PLAYED).write_text(f"{told}\n", encoding="utf-8")
        return shown

    def _costs(self, players: Sequence[Player]) -> list[str]:
        policies = [each.policy for each in players if isinstance(each, Sampled)]
        return [each.told() for each in policies if isinstance(each, Teacher)]

    def _told(self, worlds: Mapping[str, World], players: Sequence[Player]) -> dict[str, Any]:
        """What a student has to know of the rows."""
        tools = {
            name: [tool.told() for tool in each.environment.tools]
            if isinstance(each.environment, ToolEnvironment)
            else []
            for name, each in worlds.items()
        }
        return {
            "split": self.split,
            "tools": tools,
            "voices": {each.name: each.voice for each in players},
        }


def _digest(directory: Path) -> str:
    """Of what `tau.read_tau` reads of a directory."""
    patterns = ("db.json*", "policy.*", "*tasks*.json*")
    files = sorted({file for each in patterns for file in directory.glob(each)})
    named = "\n".join(f"{file.name} {sha256(file)}" for file in files)
    return hashlib.sha256(named.encode()).hexdigest()
