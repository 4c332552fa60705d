"""Watch -> effect: by how much reward less verifier grew over a run, as the number of a claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import read_json
from ontogeny.evaluate.claims import Claim
from ontogeny.evaluate.intervals import Interval
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class WatchEffect:
    """The growth of the gap from the first quarter of a run to the last, with its 95 % interval.

    Raises:
        InputError: the claim has no null value.
    """

    claim: Claim
    control: str = ""

    stage: ClassVar[str] = "watch_effect"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("watch",)
    makes: ClassVar[str] = "effect"

    def __post_init__(self) -> None:
        if self.claim.null is None:
            raise InputError(f"claim {self.claim.name}: give a null value; growth of nothing is 0")

    def __call__(self, work: Work, watch: Artifact) -> Made:
        """Writes nothing but its record."""
        del work
        claim, said = self.claim, read_json(watch.file("watch.json"))
        growth = said["growth"]
        if growth is None:
            raise InputError(f"'{watch.name}' cannot tell: {said['why']}")
        found = Interval(growth["value"], growth["low"], growth["high"], said["steps"])
        effect = claim.met(found, control=self.control)
        line = f"{claim.line(found)}; the watch: {said['verdict']}"
        return Made(metrics={"effect": effect}, summary=(line,))
