"""Model + preference pairs -> reward model: what tells the better of two answers."""

from __future__ import annotations

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
    pairs.right, 1 where the reward of the answer said to be better is higher, and pairs.lead.

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
        units = [f"pair/{number}" for number in range(len(learnt.leads))]
        ones = [1.0] * len(units)
        right = [
            0.5 if lead == 0 or label == 0.5 else float((lead > 0) == (label > 0.5))
            for lead, label in zip(learnt.leads, learnt.labels, strict=True)
        ]
        series = {
            "pairs.right": Series(units, right, ones),
            "pairs.lead": Series(units, learnt.leads, ones),
        }
        write_series(work.payload, series)
        if not units:
            return made
        found = proportion(series["pairs.right"], f"pairs.right {work.seed}")
        accuracy = {"estimate": found.value, "low": found.low, "high": found.high}
        line = (
            f"the better answer gets more in {found.value:.1%} [{found.low:.1%}, "
            f"{found.high:.1%}] of {len(units):,} held-out pairs"
        )
        return replace(
            made,
            metrics=made.metrics | {"accuracy": accuracy | {"units": len(units)}},
            summary=(*made.summary, line),
        )
