"""Models + measurements -> measurement: what each way of learning reached, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.evaluate.intervals import Interval
from ontogeny.evaluate.series import Series, level, proportion, read_series, write_series
from ontogeny.run.work import Made, Work

COLUMNS = ("score", "reward", "kl")


@dataclass(frozen=True, kw_only=True)
class Standings:
    """One line an arm: verified score, reward, KL to the parent, and what was spent.

    Takes the model of each arm, then for each its `MeasureRewards` and its `Drift`, in the order of
    `arms`; then the preference pairs and the reward model that some of them learnt from, whose cost
    is added to those arms; the first arm is where the others began, and costs nothing. Seconds are
    those of this machine under its load.

    Raises:
        InputError: there are not one model and two measurements an arm, or these are others.
    """

    arms: tuple[str, ...]

    stage: ClassVar[str] = "standings"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model+", "measurement+", "pairs", "reward_model")
    makes: ClassVar[str] = "measurement"

    def __call__(self, work: Work, *given: Artifact) -> Made:
        """Writes series.json: ARM.score, ARM.reward and ARM.kl."""
        *learnt, pairs, judge = given
        count = len(self.arms)
        models, measured = learnt[:count], learnt[count:]
        if len(models) != count or len(measured) != 2 * count:
            raise InputError("standings take one model and two measurements for each of `arms`")
        series: dict[str, Series] = {}
        levels: dict[str, Interval] = {}
        rows: list[str] = []
        seconds: list[str] = []
        for arm, model, judged, drift in zip(
            self.arms, models, measured[0::2], measured[1::2], strict=True
        ):
            names = ("answers.score", "answers.reward")
            parts = (*_series(judged, *names), *_series(drift, "kl"))
            for column, each in zip(COLUMNS, parts, strict=True):
                name = f"{arm}.{column}"
                series[name] = each
                make = proportion if column == "score" else level
                levels[name] = make(each, f"{name} {work.seed}")
            spent = _spent(model, pairs, judge) if rows else []
            tokens, flops = (
                sum(each.record.cost.get(key, 0.0) for each in spent) for key in _COSTS
            )
            rows.append(_row(arm, [levels[f"{arm}.{c}"] for c in COLUMNS], tokens, flops))
            taken = sum(each.record.cost.get("seconds", 0.0) for each in spent)
            seconds.append(f"{arm} {taken:,.0f} s")
        write_series(work.payload, series)
        return Made(
            metrics={
                name: {"estimate": each.value, "low": each.low, "high": each.high}
                for name, each in levels.items()
            },
            summary=(_HEAD, *rows),
            notes=(f"seconds, what each learnt from included: {', '.join(seconds)}",),
        )


_COSTS = ("tokens", "flops")
_HEAD = (
    f"{'arm':<12} {'verified score':>22} {'reward':>24} {'KL, nats a token':>26} "
    f"{'tokens':>11} {'FLOPs':>8}"
)


def _series(measurement: Artifact, *names: str) -> list[Series]:
    """Raises InputError where the measurement is of another kind."""
    found = read_series(measurement)
    for name in names:
        if name not in found:
            raise InputError(
                f"'{measurement.name}' has no series '{name}'; give each arm's MeasureRewards and "
                "then its Drift"
            )
    return [found[name] for name in names]


def _spent(model: Artifact, pairs: Artifact, judge: Artifact) -> list[Artifact]:
    """The model and, of the two others, what stands in its line of descent."""
    before = set(model.record.parents)
    if judge.id in before:
        return [model, judge, pairs]
    return [model, pairs] if pairs.id in before else [model]


def _row(arm: str, levels: Sequence[Interval], tokens: float, flops: float) -> str:
    score, reward, kl = levels
    return (
        f"{arm:<12} {_shown(score, '.1%'):>22} {_shown(reward, '+.2f'):>24} "
        f"{_shown(kl, '.4f'):>26} {tokens:>11,.0f} {flops:>8.1e}"
    )


def _shown(each: Interval, form: str) -> str:
    return f"{each.value:{form}} [{each.low:{form}}, {each.high:{form}}]"
