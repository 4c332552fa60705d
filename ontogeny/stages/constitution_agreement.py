"""Labels + labels of the same answers -> measurement: how far two judges agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.evaluate.series import Series, proportion, write_series
from ontogeny.run.work import Made, Work
from ontogeny.safety.constitution_diff import Label, read_labels


@dataclass(frozen=True, kw_only=True)
class ConstitutionAgreement:
    """Pairs that both label are counted, and of them those that the second decides.

    The first is the yardstick: only what it decides is asked of the second.

    Series, one unit a pair: agrees (1 where both prefer the same answer, one half where the second
    is even), agrees.LABEL, flipped (1 where the second judge's better answer changes with the
    order), favour (how much more than half of the probability (A) gets, -0.5 to 0.5).

    Raises:
        InputError: the first decides no pair that the second labels.
    """

    stage: ClassVar[str] = "constitution_agreement"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("pairs", "pairs")
    makes: ClassVar[str] = "measurement"

    def __call__(self, work: Work, first: Artifact, second: Artifact) -> Made:
        """Writes series.json."""
        known, judged = read_labels(first)[1], read_labels(second)[1]
        shared = [
            (each, judged[pair])
            for pair, each in known.items()
            if pair in judged and each.better != "neither"
        ]
        if not shared:
            raise InputError(
                f"'{first.name}' decides no pair that '{second.name}' labels; make both from the "
                "same model, prompts and seed"
            )
        series = _series(shared)
        write_series(work.payload, series)
        levels = {name: proportion(each, f"{name} {work.seed}") for name, each in series.items()}
        agrees = levels["agrees"]
        return Made(
            metrics={
                name: {"estimate": e.value, "low": e.low, "high": e.high, "units": e.units}
                for name, e in levels.items()
            },
            summary=(
                f"agrees in {agrees.value:.1%} [{agrees.low:.1%}, {agrees.high:.1%}] of "
                f"{agrees.units} pairs; the order decides {levels['flipped'].value:.1%}, (A) gets "
                f"{levels['favour'].value:+.3f}",
            ),
        )


def _series(shared: Sequence[tuple[Label, Label]]) -> dict[str, Series]:
    found: dict[str, dict[str, float]] = {}
    for a, b in shared:
        agrees = 0.5 if b.better == "neither" else float(a.better == b.better)
        values = {
            "agrees": agrees,
            f"agrees.{a.kind}": agrees,
            "flipped": float(b.flips),
            "favour": b.favour,
        }
        for name, value in values.items():
            found.setdefault(name, {})[a.pair] = value
    return {
        name: Series(list(units), list(units.values()), [1.0] * len(units))
        for name, units in found.items()
    }
