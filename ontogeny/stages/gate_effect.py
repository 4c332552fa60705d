"""Gate -> effect: its decision as the number of a claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.evaluate.claims import Claim
from ontogeny.evaluate.intervals import Interval
from ontogeny.feedback.decision import read_gate
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class GateEffect:
    """1 where the gate said promote, 0 where it said stay: what happened, so without an interval.

    Of how often gates err, one decision says little; that is what more seeds are for.

    Raises:
        InputError: the claim has no null value.
    """

    claim: Claim
    control: str = ""

    stage: ClassVar[str] = "gate_effect"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("gate",)
    makes: ClassVar[str] = "effect"

    def __post_init__(self) -> None:
        if self.claim.null is None:
            raise InputError(
                f"claim {self.claim.name}: give a null value; where nothing is asked, all promote"
            )

    def __call__(self, work: Work, gate: Artifact) -> Made:
        """Writes nothing but its record."""
        del work
        claim, decision = self.claim, read_gate(gate)
        said = float(decision.promote)
        effect = claim.met(Interval(said, said, said, 1), control=self.control)
        return Made(metrics={"effect": effect}, summary=(decision.word, *decision.reasons))
