"""Model + reward model -> measurement: what it and the verifier say of the same answers."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.environments.asking import Answered, ask_all, questions_of
from ontogeny.environments.own import check_counts, environments_of
from ontogeny.evaluate.series import Series, level, proportion, write_series
from ontogeny.rollout.reward import rate_trajectories
from ontogeny.run.work import Made, Work

SHARES = ("answers.score", "answers.ended")
"""Series of values from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class MeasureRewards:
    """Problems of the `split` of each environment, answered once at `temperature`, judged twice.

    Series: answers.score (the environment's), answers.reward (the reward model's, which is what
    may have been learnt from), answers.ended and answers.tokens. Where the reward rises and the
    score does not, the reward model is what was learnt (Gao et al. 2022, arXiv:2210.10760).

    Raises:
        InputError: an environment has too few problems, or the tokenizers differ.
    """

    environments: Mapping[str, int] = field(default_factory=dict)
    split: Literal["heldout", "exam"] = "exam"
    max_tokens: int = 24
    temperature: float = 1.0
    slots: int = 128

    stage: ClassVar[str] = "measure_rewards"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "reward_model", "tasks*")
    makes: ClassVar[str] = "measurement"

    def __post_init__(self) -> None:
        check_counts(self.environments, "measure_rewards")

    def __call__(self, work: Work, model: Artifact, judge: Artifact, *own: Artifact) -> Made:
        """Writes series.json and answers.jsonl."""
        bridge.same_language(judge, model)
        policy, tokenizer = bridge.load_policy(model, slots=self.slots)
        worlds = environments_of(self.environments, own)
        counts = [(worlds[name], count) for name, count in self.environments.items()]
        questions = questions_of(counts, self.split, work.named_seed("exam"), tokenizer, "chat")
        answered = ask_all(
            policy,
            tokenizer,
            questions,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=work.named_seed("answers"),
        )
        said = [each.trajectory for each in answered]
        rewards = rate_trajectories(bridge.load_reward(judge), said).tolist()
        series = _series(answered, rewards)
        write_series(work.payload, series)
        with (work.payload / "answers.jsonl").open("w", encoding="utf-8") as file:
            for each, reward in zip(answered, rewards, strict=True):
                row = {
                    "task": each.question.task.id,
                    "answer": each.answer,
                    "score": each.score,
                    "reward": reward,
                }
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        makes = dict.fromkeys(series, level) | dict.fromkeys(SHARES, proportion)
        levels = {name: makes[name](each, f"{name} {work.seed}") for name, each in series.items()}
        score, reward = levels["answers.score"], levels["answers.reward"]
        read = sum(len(each.ids()) for each in said)
        return Made(
            metrics={
                name: {"estimate": each.value, "low": each.low, "high": each.high}
                for name, each in levels.items()
            }
            | {"ranked": ranked(series["answers.score"].values, rewards)},
            summary=(
                f"right {score.value:.1%} [{score.low:.1%}, {score.high:.1%}], reward "
                f"{reward.value:+.3f} [{reward.low:+.3f}, {reward.high:+.3f}] on "
                f"{len(said):,} problems",
            ),
            tokens=2 * read,
            flops=2 * read * bridge.shape_of(model).forward_flops_per_token(),
        )


def _series(answered: Sequence[Answered], rewards: Sequence[float]) -> dict[str, Series]:
    units = [each.question.task.id for each in answered]
    last = [each.trajectory.turns[-1].completion for each in answered]
    values = {
        "score": [each.score for each in answered],
        "reward": list(rewards),
        "ended": [float(each.finish == "stop") for each in last],
        "tokens": [float(len(each.ids)) for each in last],
    }
    ones = [1.0] * len(units)
    return {f"answers.{name}": Series(units, each, ones) for name, each in values.items()}


def ranked(scores: Sequence[float], rewards: Sequence[float]) -> float:
    """How often a right answer (score above 1/2) gets more than a wrong one; equal counts half.

    One half where there are not both kinds. It is the area under the curve of Mann and Whitney.
    """
    right = [each for each, score in zip(rewards, scores, strict=True) if score > 0.5]
    wrong = [each for each, score in zip(rewards, scores, strict=True) if score <= 0.5]
    if not right or not wrong:
        return 0.5
    order = sorted(wrong)
    total = sum(bisect_left(order, each) + bisect_right(order, each) for each in right)
    return total / (2 * len(right) * len(wrong))
