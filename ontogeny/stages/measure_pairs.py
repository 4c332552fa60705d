"""Model + pairs -> measurement: which of two held-out answers a model finds likelier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.evaluate.series import Series, level, proportion, write_series
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class MeasurePairs:
    """Every held-out pair of `LoadPairs`, one unit each.

    Series: pairs.margin, log p(chosen) - log p(rejected) in nats (it favours short answers, so the
    change from one model to the next says more than its level), and pairs.right, 1 where that is
    above 0. The share of pairs whose margin a stage raised (`Effect` form "wins") is the accuracy
    of DPO's implicit reward (Rafailov et al. 2023, arXiv:2305.18290, section 4).

    Raises:
        InputError: nothing is held out, or a pair exceeds the model's context.
    """

    stage: ClassVar[str] = "measure_pairs"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "pairs")
    makes: ClassVar[str] = "measurement"

    def __call__(self, work: Work, model: Artifact, pairs: Artifact) -> Made:
        """Writes series.json."""
        names, margins, read = bridge.margins(model, pairs)
        ones = [1.0] * len(names)
        series = {
            "pairs.margin": Series(names, margins, ones),
            "pairs.right": Series(names, [float(margin > 0) for margin in margins], ones),
        }
        write_series(work.payload, series)
        margin = level(series["pairs.margin"], f"pairs.margin {work.seed}")
        right = proportion(series["pairs.right"], f"pairs.right {work.seed}")
        return Made(
            metrics={
                name: {"estimate": each.value, "low": each.low, "high": each.high}
                for name, each in (("pairs.margin", margin), ("pairs.right", right))
            },
            summary=(
                f"the chosen answer is likelier in {right.value:.1%} "
                f"[{right.low:.1%}, {right.high:.1%}] of {len(names):,} held-out pairs",
            ),
            tokens=read,
            flops=read * bridge.shape_of(model).forward_flops_per_token(),
        )
