"""Measurements -> effect: the number behind one claim, with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.evaluate.claims import Claim
from ontogeny.evaluate.series import (
    Series,
    difference,
    level,
    proportion,
    read_series,
    recovered,
    wins,
)
from ontogeny.run.work import Made, Work

Form = Literal["level", "change", "wins", "recovered"]
Null = Literal["claim", "first", "level", "loss"]
TAKES = {"level": 1, "change": 2, "wins": 2, "recovered": 3}


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What the claim asks for, computed from one series of its measurements.

    - level of (measured): the level itself;
    - change of (before, after): after less before, paired by unit;
    - wins of (before, after): the share of the decided units in which after is higher;
    - recovered of (damaged, repaired, undamaged): the share of the damage won back, paired.

    The null value is the claim's; where the claim has none it is the level of `null_series` in the
    first measurement (`null_from` "first") or what one further measurement shows: its level
    ("level"), or how far it lies from the first one, with the sign turned ("loss").

    With a `gate` one further measurement must reach that level of the series, else the claim is
    null whatever the estimate.

    Raises:
        InputError: the claim has no null value and nothing says where it comes from.
    """

    claim: Claim
    form: Form
    series: str
    null_series: str = ""
    null_from: Null = "claim"
    gate: float = 0.0
    control: str = ""

    stage: ClassVar[str] = "effect"
    version: ClassVar[int] = 2
    makes: ClassVar[str] = "effect"

    def __post_init__(self) -> None:
        if (self.claim.null is None) != (self.null_from != "claim"):
            raise InputError(
                f"claim {self.claim.name}: give either a null value or null_from, not both or none"
            )

    @property
    def takes(self) -> tuple[str, ...]:
        """As many measurements as the form needs, and one for the null value where it has one."""
        others = (self.null_from in ("level", "loss")) + (self.gate > 0)
        return ("measurement|trajectories|reward_model",) * (TAKES[self.form] + others)

    def __call__(self, work: Work, *measurements: Artifact) -> Made:
        """Writes nothing but its record."""
        name = f"{self.claim.name} {work.seed}"
        found = [self._series(each, self.series) for each in measurements[: TAKES[self.form]]]
        if self.form == "level":
            estimate = proportion(found[0], name)
        elif self.form == "change":
            estimate = difference(found[0], found[1], name)
        elif self.form == "wins":
            estimate = wins(found[0], found[1], name)
        else:
            estimate = recovered(found[0], found[1], found[2], name)
        claim = self.claim
        gate = None
        if self.gate:
            *measurements, before = measurements  # type: ignore[assignment]
            reached = level(self._series(before, self.series), name).value
            gate = {"reached": reached, "needed": self.gate}
        null = self._null(measurements, name)
        effect = claim.met(estimate, null=null, control=self.control)
        if gate:
            effect["gate"] = gate
        return Made(metrics={"effect": effect}, summary=(claim.line(estimate, null),))

    def _null(self, measurements: tuple[Artifact, ...], name: str) -> float:
        if self.claim.null is not None:
            return self.claim.null
        which = self.null_series or self.series
        if self.null_from == "first":
            return level(self._series(measurements[0], which), name).value
        other = self._series(measurements[-1], which)
        if self.null_from == "level":
            return level(other, name).value
        return -difference(other, self._series(measurements[0], which), name).value

    @staticmethod
    def _series(measurement: Artifact, name: str) -> Series:
        known = read_series(measurement)
        if name not in known:
            raise InputError(
                f"'{measurement.name}' has no series '{name}'; it has {', '.join(known)}"
            )
        return known[name]
