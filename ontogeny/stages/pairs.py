"""Model -> preference pairs: its own answers to training tasks, told apart by the verifier."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.environments.asking import Answered, ask_all, questions_of
from ontogeny.environments.own import check_counts, environments_of
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Samples `answers` to each training task; the best and the worst make a pair.

    A task whose answers all score the same makes none. `environments` says how many tasks of each.

    Raises:
        InputError: an unknown environment, or no task told two answers apart.
    """

    environments: Mapping[str, int] = field(default_factory=dict)
    answers: int = 8
    max_tokens: int = 24
    temperature: float = 1.0
    slots: int = 128

    stage: ClassVar[str] = "pairs"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "tasks*")
    makes: ClassVar[str] = "pairs"

    def __post_init__(self) -> None:
        check_counts(self.environments, "pairs")
        if self.answers < 2 or self.temperature <= 0:
            raise InputError("pairs needs at least 2 answers a task and a temperature above 0")

    def __call__(self, work: Work, model: Artifact, *own: Artifact) -> Made:
        """Writes pairs.jsonl: token ids as sampled, beside them the texts and scores."""
        policy, tokenizer = bridge.load_policy(model, slots=self.slots)
        worlds = environments_of(self.environments, own)
        counts = [(worlds[name], count) for name, count in self.environments.items()]
        tasks = questions_of(counts, "train", work.named_seed("tasks"), tokenizer, "chat")
        questions = [each for each in tasks for _ in range(self.answers)]
        answered = ask_all(
            policy,
            tokenizer,
            questions,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=work.named_seed("answers"),
        )
        rows = [row for group in _groups(answered, self.answers) for row in _pair(group)]
        if not rows:
            raise InputError(
                f"none of {len(tasks)} tasks got answers of different score from '{model.name}'; "
                "choose tasks it solves sometimes, or raise answers"
            )
        with (work.payload / "pairs.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        right = sum(each.score for each in answered) / len(answered)
        sampled = sum(len(each.trajectory.ids()) for each in answered)
        return Made(
            metrics={"pairs": len(rows), "tasks": len(tasks), "score": right},
            summary=(
                f"{len(rows):,} pairs from {len(tasks):,} tasks with {self.answers} answers each; "
                f"{right:.1%} of the answers were right",
            ),
            tokens=sampled,
            flops=sampled * bridge.shape_of(model).forward_flops_per_token(),
        )


def _groups(answered: Sequence[Answered], size: int) -> Iterator[list[Answered]]:
    rest = iter(answered)
    while group := list(islice(rest, size)):
        yield group


def _pair(group: Sequence[Answered]) -> list[dict[str, Any]]:
    """The row of a task, or none where nothing tells its answers apart."""
    best = max(group, key=lambda each: each.score)
    worst = min(group, key=lambda each: each.score)
    if best.score == worst.score:
        return []
    task = best.question.task
    return [
        {
            "task": task.id,
            "prompt": list(best.question.prompt),
            "chosen": list(best.trajectory.turns[-1].completion.ids),
            "rejected": list(worst.trajectory.turns[-1].completion.ids),
            "scores": [best.score, worst.score],
            "texts": [task.prompt, best.answer, worst.answer],
        }
    ]
