"""The table of effects: every claim in its order, measured or not, with its verdict.

Knows no stage. A claim says target and sense; an artifact of kind "effect" says what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ontogeny.base.artifact import RECORD, Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.evaluate.claims import Claim
from ontogeny.evaluate.verdict import Estimate, verdict
from ontogeny.report.members import Member


@dataclass(frozen=True)
class Effect:
    """What one artifact of kind "effect" says; `claim` is the one it was measured under.

    `gate` is what another measurement reached and needed before the effect means anything.
    """

    claim: Claim
    control: str
    estimate: Estimate
    gate: dict[str, float] | None

    @property
    def shut(self) -> bool:
        """Whether the gate was not reached."""
        return self.gate is not None and self.gate["reached"] < self.gate["needed"]

    def under(self, claim: Claim) -> Estimate:
        """The estimate judged by `claim`: its target, its sense, its null value if it has one."""
        own = self.estimate
        null = own.null if claim.null is None else claim.null
        return Estimate(own.seed, own.value, own.low, own.high, null, claim.target, claim.sense)


def effects_of(
    members: Sequence[Member], claims: Sequence[Claim], seed: int
) -> list[dict[str, Any]]:
    """One row a claim, then one for every effect that nobody claimed.

    Args:
        members: the life's artifacts.
        claims: in the order of the table.
        seed: the run's own; the others' estimates stand beside.

    Raises:
        CorruptArtifact: an effect is not of the form an effect has.
    """
    measured: dict[str, dict[int, Effect]] = {}
    for member in members:
        if member.artifact.record.kind == "effect":
            effect = _read(member.artifact)
            measured.setdefault(effect.claim.name, {})[effect.estimate.seed] = effect
    claimed = {claim.name for claim in claims}
    others = [
        (by_seed.get(seed) or next(iter(by_seed.values()))).claim
        for name, by_seed in measured.items()
        if name not in claimed
    ]
    return [_row(claim, measured.get(claim.name, {}), seed) for claim in (*claims, *others)]


def _row(claim: Claim, by_seed: dict[int, Effect], seed: int) -> dict[str, Any]:
    own = by_seed.get(seed)
    if own is not None and claim.needs_control and not own.control:
        own = None  # nothing to measure it against
    order = sorted(by_seed, key=lambda other: (other != seed, other)) if own else []
    estimates = [by_seed[each].under(claim) for each in order]
    first = estimates[0] if estimates else None
    shut = any(by_seed[each].shut for each in order)
    return {
        "stage": claim.name.partition(".")[0],
        "name": claim.name,
        "meaning": claim.meaning,
        "unit": claim.unit,
        "estimate": first.value if first else None,
        "low": first.low if first else None,
        "high": first.high if first else None,
        "null": first.null if first else claim.null,
        "control": own.control if own else "",
        "gate": own.gate if own else None,
        "target": claim.target,
        "sense": claim.sense,
        "verdict": "null" if shut else verdict(estimates),
        "seeds": [
            {"seed": each.seed, "estimate": each.value, "low": each.low, "high": each.high}
            for each in estimates
        ],
    }


def _read(artifact: Artifact) -> Effect:
    try:
        said = artifact.metrics["effect"]
        name, meaning, unit, control = (
            str(said[key]) for key in ("name", "meaning", "unit", "control")
        )
        value, low, high, null, target = (
            float(said[key]) for key in ("estimate", "low", "high", "null", "target")
        )
        gate = said.get("gate")
        if gate is not None:
            gate = {key: float(gate[key]) for key in ("reached", "needed")}
        claim = Claim(name, meaning, unit, said["sense"], target, null)
        estimate = Estimate(artifact.record.seed, value, low, high, null, target, claim.sense)
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise CorruptArtifact(
            f"'{artifact.name}' is no effect ({error!r}); delete it and run again",
            file=artifact.path / RECORD,
        ) from None
    return Effect(claim, control, estimate, gate)
