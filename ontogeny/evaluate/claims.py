"""Claims: what a stage is expected to do, written down before it is measured.

Knows no stage and no measurement. A claim names its target and its null value in advance; the
verdict (`evaluate.verdict`) follows from the numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from ontogeny.base.errors import InputError
from ontogeny.evaluate.intervals import Interval

Sense = Literal["at_least", "at_most", "within"]


@dataclass(frozen=True)
class Claim:
    """One pre-registered effect.

    Args:
        name: STAGE.EFFECT.
        meaning: one sentence: what is measured, against what.
        unit: of the estimate.
        sense: at_least, at_most, or within (both sides of 0).
        target: what it must reach.
        null: its value when the stage did nothing; None where it is itself measured.
        needs_control: an arm of its own that the main line does not run.

    Raises:
        InputError: an unknown sense.
    """

    name: str
    meaning: str
    unit: str
    sense: Sense
    target: float
    null: float | None = 0.0
    needs_control: bool = False

    def __post_init__(self) -> None:
        if self.sense not in get_args(Sense):
            raise InputError(
                f"claim {self.name}: sense is {self.sense!r}; give one of "
                f"{', '.join(get_args(Sense))}"
            )

    def met(
        self, found: Interval, *, null: float | None = None, control: str = ""
    ) -> dict[str, Any]:
        """The number that was found for it, as an effect's record keeps it.

        Args:
            null: the claim's own unless it was measured.
        """
        return {
            "name": self.name,
            "estimate": found.value,
            "low": found.low,
            "high": found.high,
            "units": found.units,
            "null": self.null if null is None else null,
            "target": self.target,
            "sense": self.sense,
            "unit": self.unit,
            "control": control,
            "meaning": self.meaning,
        }

    def line(self, found: Interval, null: float | None = None) -> str:
        """The same for a person."""
        null = self.null if null is None else null
        return (
            f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}] {self.unit}; "
            f"target {self.sense.replace('_', ' ')} {self.target:g}, null {null:.3g}"
        )
