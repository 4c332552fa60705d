"""Model + preference pairs -> reward model: what tells the better of two answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.evaluate.series import Series, proportion, write_series
from ontogeny.plan.rewards import OverComparisons
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class RewardModel(OverComparisons):
    """The parent with a scalar head, by the likelihood of Bradley and Terry.

    A pair may say how sure its label is (`probability` in its row). Series of the held-out pairs:
    pairs.right, 1 where the reward of the answer said to be better is higher, and pairs.lead. A
    unit is a prompt with its pairs, since these are not independent.

    Raises:
        InputError: when the numbers do not fit together or there are too few pairs.
    """

    stage: ClassVar[str] = "reward_model"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "pairs")
    makes: ClassVar[str] = "reward_model"

    def __call__(self, work: Work, model: Artifact, pairs: Artifact) -> Made:
        """Writes weights, config, tokenizer, reward.json, heldout.jsonl and series.json."""
        learnt = bridge.learn_reward(self, work, model, pairs)
        made: Made = learnt.made
        right = [
            0.5 if lead == 0 or label == 0.5 else float((lead > 0) == (label > 0.5))
            for lead, label in zip(learnt.leads, learnt.labels, strict=True)
        ]
        series = {
            "pairs.right": _by_prompt(learnt.prompts, right),
            "pairs.lead": _by_prompt(learnt.prompts, learnt.leads),
        }
        write_series(work.payload, series)
        if not right:
            return made
        found = proportion(series["pairs.right"], f"pairs.right {work.seed}")
        accuracy = {"estimate": found.value, "low": found.low, "high": found.high}
        line = (
            f"the better answer gets more in {found.value:.1%} [{found.low:.1%}, "
            f"{found.high:.1%}] of {len(right):,} held-out pairs"
        )
        return replace(
            made,
            metrics=made.metrics | {"accuracy": accuracy | {"units": found.units}},
            summary=(*made.summary, line),
        )


def _by_prompt(prompts: Sequence[int], values: Sequence[float]) -> Series:
    """One unit a prompt: the sum over its pairs, weighted by how many they are."""
    sums, counts = dict.fromkeys(prompts, 0.0), Counter(prompts)
    for prompt, value in zip(prompts, values, strict=True):
        sums[prompt] += value
    return Series(
        [f"prompt/{prompt}" for prompt in sums],
        list(sums.values()),
        [float(counts[prompt]) for prompt in sums],
    )
