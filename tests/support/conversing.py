"""A made-up world of two turns, and a tiny model that sometimes says the right words in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ontogeny.environments.environment import Judged, Task, task_id
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.loss import Objective
from ontogeny.plan.shape import Shape
from ontogeny.rollout.drive import NoTools
from ontogeny.rollout.tools import Tool
from ontogeny.rollout.trajectory import Trajectory
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.train.loop import Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD
from ontogeny.train.steps import Steps


class World:
    """Right is to say `a` first and `b` when asked again; each is worth a half.

    Args:
        faulty: number of an episode, counted over all -> another reward, or None for the right one.
    """

    name = "two-turns"
    tools: tuple[Tool, ...] = ()
    user = ("And the second?",)

    def __init__(self, faulty: Callable[[int], float | None] = lambda _: None) -> None:
        self.faulty, self.scored = faulty, 0

    def told(self, task: Task, /) -> str:
        """Little."""
        return f"{task.kind}."

    def tasks(self, split: str, count: int, seed: int) -> list[Task]:
        """One problem in as many wordings as are asked for."""
        prompts = [f"Say the first word, {split} {(seed + n) % 1000}." for n in range(count)]
        return [Task(task_id(self.name, each), each, "b", "two", {}) for each in prompts]

    def executor(self, tasks: Sequence[Task]) -> NoTools:
        """There is nothing to execute."""
        del tasks
        return NoTools()

    def score(self, task: Task, trajectory: Trajectory) -> float:
        """Half a point for each right word in its place."""
        del task
        self.scored += 1
        other = self.faulty(self.scored - 1)
        said = trajectory.notes["replies"]
        right = sum(one == two for one, two in zip(said, ("a", "b"), strict=False))
        return right / 2 if other is None else other


class Verified(World):
    """The same; a second verdict asks for the second word alone, and `a` at the end is a sign."""

    def judge_episodes(
        self, tasks: Sequence[Task], trajectories: Sequence[Trajectory]
    ) -> list[Judged]:
        """A verdict on each."""
        found = []
        for task, each in zip(tasks, trajectories, strict=True):
            last = ("", *each.notes["replies"])[-1]
            notes = {"verified": float(last == "b"), "signs": ["said_a"] if "a" in last else []}
            found.append(Judged(self.score(task, each), True, notes))
        return found


def fond(
    tokenizer: Tokenizer,
    words: Sequence[str] = ("a", "b"),
    *,
    context: int = 256,
    ends: bool = True,
    strength: float = 3.0,
) -> Transformer:
    """Untrained, and fond of these words and, with `ends`, of ending its turn."""
    made = Transformer(Shape(tokenizer.vocab_size, 32, 2, 4, 2, 8, 64, context))
    initialise(made, 2)
    favoured = [id_ for word in words for id_ in tokenizer.encode(word)]
    with torch.no_grad():
        made.embedding.mul_(5.0)
        made.embedding[:, 0] = 1.0
        made.embedding[[*favoured, *([tokenizer.end_of_turn] if ends else [])], 0] = strength
    return made


def learn(
    model: Transformer,
    steps: Steps,
    objective: Objective,
    peak_lr: float = 0.02,
    embedding_lr: float = 8.0,
) -> list[Report]:
    """What the loop tells of each step; see `plan.optimization.Optimization` for the rates."""
    reports: list[Report] = []
    settings = OptimizerSettings(peak_lr=peak_lr, embedding_lr=embedding_lr, weight_decay=0.0)
    train(model, objective, steps, Optimizer(model, settings, WSD(100)), [reports.append])
    return reports
