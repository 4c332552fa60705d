"""Playing: the tasks of a step, put to the very model that is being trained, in groups.

Knows no credit and no objective: what an episode is worth to an update, others say.

A step's tasks, draws and scores follow from the seed, the number of the step and the weights.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.bridge.local_policy import LocalPolicy
from ontogeny.bridge.packing import Told, pieces, row_width
from ontogeny.environments.asking import Question, ask_all, question, release
from ontogeny.environments.environment import Task
from ontogeny.environments.playable import Playable, playable
from ontogeny.environments.playing import play_all
from ontogeny.environments.tooled import Rules, ToolEnvironment
from ontogeny.infer.engine import Engine
from ontogeny.model.transformer import Transformer
from ontogeny.plan.memory import Load
from ontogeny.plan.optimization import OverEpisodes
from ontogeny.rollout.trajectory import Trajectory
from ontogeny.text.tokenizer import Tokenizer

ROW = 256
"""Tokens of a row, unless an episode is longer or the context shorter."""
SLOTS = 256
"""Most answers that are sampled at once; the others wait for the first ones to end."""
LOOKED_AT = 16
"""Steps whose questions are looked at before the first, to know how long they are."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A task that was played.

    Attributes:
        environment: its name.
        trajectory: one turn or several; with the notes that flow and judge left.
        score: the environment's; finite and of [0, 1] if it keeps its promise.
        answer: the last words.
    """

    environment: str
    task: Task
    trajectory: Trajectory
    score: float
    answer: str

    def told(self) -> Told:
        """Its tokens, as they are learnt from."""
        return Told(self.trajectory.ids(), self.trajectory.sampled())

    def log_probs(self) -> list[float]:
        """Of the sampled tokens, in nats, as sampled."""
        return [each for turn in self.trajectory.turns for each in turn.completion.log_probs]


_Drawn: TypeAlias = tuple[list[Question], list[tuple[ToolEnvironment, list[Task]]]]
"""Questions, and tasks done with tools, of one step; each once."""


class Player:
    """Plays the steps of a run.

    Args:
        model: the one in training; it is asked in its evaluation mode and left in training mode.
        play: what is rolled out in a step.
        seed: all tasks and draws follow from it, the step and the weights.
        worlds: the environments by name; by default those of the catalogue.

    Raises:
        InputError: an environment is unknown, or `turns.context` is above the model's context.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        play: OverEpisodes,
        seed: int,
        worlds: Mapping[str, Playable] | None = None,
    ) -> None:
        self.model, self.tokenizer, self.game, self.seed = model, tokenizer, play, seed
        self.seconds, self.episodes = 0.0, 0
        self.worlds = playable(play.environments) if worlds is None else worlds
        self._names = sorted(play.environments)
        weights = np.array([play.environments[name] for name in self._names])
        self._shares = weights / weights.sum()
        self._policy: LocalPolicy | None = None
        self.context = play.turns.context or model.shape.context
        if self.context > model.shape.context:
            raise InputError(
                f"turns.context is {self.context}, the model's context {model.shape.context}; "
                "lower it, or give 0 for the whole context"
            )
        self.rules = Rules(
            turns=play.turns.most,
            tokens=play.max_tokens,
            result=play.turns.result,
            context=self.context,
            forced=play.turns.forced,
            temperature=play.temperature,
        )

    def play(self, step: int) -> list[Episode]:
        """The episodes of a step (counted from 0), `group` of each task side by side.

        Tasks with one answer stand first, then those with tools; each by environment.

        Raises:
            InputError: a task does not fit into the context.
            SandboxRefused: an answer or a tool is a program, and cannot be contained here.
        """
        began = time.perf_counter()
        seed, group = named_seed(self.seed, "step", step), self.game.group
        drawn, tooled = self._draw(seed)
        questions = [each for each in drawn for _ in range(group)]
        policy = self._policy_for(questions, bool(tooled), step)
        self.model.eval()
        played = self._ask(policy, questions, named_seed(seed, "answers"))
        for world, tasks in tooled:
            tasks = [each for each in tasks for _ in range(group)]
            played += self._talk(policy, world, tasks, named_seed(seed, "episodes", world.name))
        self.model.train()
        self.episodes += len(played)
        self.seconds += time.perf_counter() - began
        return played

    def load(self, reference: bool = False) -> Load:
        """The most that a step holds, if every turn takes all its tokens.

        By the questions of a few steps of the run, which depend on no weight. An episode with
        tools may take the whole of its context.

        Args:
            reference: a second, frozen model stands beside.
        """
        looked = range(0, self.game.steps, max(1, self.game.steps // LOOKED_AT))
        lengths = [self._lengths(named_seed(self.seed, "step", step)) for step in looked]
        longest = min(max(map(max, lengths)), self.model.shape.context)
        width = row_width(longest - 1, self.model.shape.context, ROW)
        episodes = [min(most - 1, width) for most in max(lengths, key=sum)] * self.game.group
        slots = min(len(episodes), SLOTS)
        return Load(
            rows=pieces(sorted(episodes), width, len(episodes))[0][1],
            width=width,
            scored=True,
            cached=slots * self._room(longest),
            sampling=slots,
            reference=reference,
        )

    def note(self) -> str:
        """How fast the rollouts of this session were."""
        return (
            f"rollouts: {self.episodes / max(self.seconds, 1e-9):,.1f} episodes/s, "
            f"{self.seconds:.1f} s of sampling and judging"
        )

    def release(self) -> None:
        """Lets go of what the environments hold between steps."""
        release(self.worlds.values())

    def _draw(self, seed: int) -> _Drawn:
        draws = np.random.default_rng(named_seed(seed, "environments")).choice(
            len(self._names), self.game.prompts, p=self._shares
        )
        asked: list[Question] = []
        tooled: list[tuple[ToolEnvironment, list[Task]]] = []
        for index, name in enumerate(self._names):
            wanted = int((draws == index).sum())
            world = self.worlds[name]
            tasks = world.tasks("train", wanted, named_seed(seed, name)) if wanted else []
            if not isinstance(world, ToolEnvironment):
                asked += [question(world, task, self.tokenizer, "chat") for task in tasks]
            elif tasks:
                tooled.append((world, tasks))
        return asked, tooled

    def _lengths(self, seed: int) -> list[int]:
        """Most tokens of each task's episode."""
        asked, tooled = self._draw(seed)
        answers = [len(each.prompt) + self.game.max_tokens for each in asked]
        return answers + [self.context for _, tasks in tooled for _ in tasks]

    def _room(self, longest: int) -> int:
        """Tokens of a slot."""
        return min(self.model.shape.context, -(-longest // 64) * 64)

    def _policy_for(self, questions: Sequence[Question], tooled: bool, step: int) -> LocalPolicy:
        """An engine with room for these; kept while it suffices."""
        longest = max((len(each.prompt) + self.game.max_tokens for each in questions), default=2)
        if longest > self.model.shape.context:
            raise InputError(
                f"a task takes {longest} tokens with its answer, the model's context is "
                f"{self.model.shape.context}; lower max_tokens or leave the environment out"
            )
        longest = max(longest, self.context if tooled else 2)
        if self._policy is None or self._policy.engine.length < longest:
            slots = min(self.game.prompts * self.game.group, SLOTS)
            engine = Engine(self.model, slots=slots, length=self._room(longest))
            self._policy = LocalPolicy(engine, self.tokenizer)
        self._policy.engine.version = step
        return self._policy

    def _ask(self, policy: LocalPolicy, questions: Sequence[Question], seed: int) -> list[Episode]:
        answered = ask_all(
            policy,
            self.tokenizer,
            questions,
            max_tokens=self.game.max_tokens,
            temperature=self.game.temperature,
            seed=seed,
            again=True,
        )
        return [
            Episode(
                each.question.environment.name,
                each.question.task,
                each.trajectory,
                each.score,
                each.answer,
            )
            for each in answered
        ]

    def _talk(
        self, policy: LocalPolicy, world: ToolEnvironment, tasks: Sequence[Task], seed: int
    ) -> list[Episode]:
        played = play_all(policy, world, tasks, self.tokenizer, self.rules, seed=seed)
        found: list[Episode] = []
        for each in played:
            if not any(each.trajectory.sampled()):
                raise InputError(
                    f"task {each.task.id} leaves no room for a turn: an episode has {self.context} "
                    "tokens; raise turns.context or leave the environment out"
                )
            last = ("", *each.trajectory.notes["replies"])[-1]
            found.append(Episode(world.name, each.task, each.trajectory, each.score, last))
        return found
