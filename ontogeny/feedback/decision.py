"""What a gate decided of a candidate: promote it, or let the released model stay.

Knows no criterion and no measurement: those are of `evaluate.gate`, whose stage writes what is read
here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ontogeny.base.artifact import Artifact, Record
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import read_json

KIND = "gate"
FILE = "gate.json"
PROMOTE, STAY = "promote", "stay"


@dataclass(frozen=True)
class Decision:
    """The word of one gate.

    Attributes:
        gate: id of the artifact that says so.
        candidate: id of the model that was to take over.
        released: id of the model that it was compared with.
        promote: whether every criterion holds.
        reasons: one line a criterion: what it asks, what was measured, whether it holds.
    """

    gate: str
    candidate: str
    released: str
    promote: bool
    reasons: tuple[str, ...]

    @property
    def word(self) -> str:
        """`promote` or `stay`."""
        return PROMOTE if self.promote else STAY


def read_gate(artifact: Artifact) -> Decision:
    """The decision in an artifact of kind "gate", its file verified first.

    Raises:
        InputError: it is of another kind.
        CorruptArtifact: the file is not what the stage wrote, or contradicts itself or the record:
            its criteria are others than the gate was asked, or their numbers than it measured.
    """
    if artifact.record.kind != KIND:
        raise InputError(
            f"'{artifact.name}' is a {artifact.record.kind} and no gate; give what the stage gate "
            "made"
        )
    path = artifact.file(FILE)
    told = read_json(path)
    try:
        decision = _decision(artifact.id, told)
        held = [each["holds"] is True for each in told["criteria"]]
        parents = artifact.record.parents[:2]
        agree = decision.promote == all(held) and held and artifact.metric(PROMOTE) == all(held)
        agree = agree and _recorded(artifact.record, told["criteria"])
        if not agree or [decision.candidate, decision.released] != parents:
            raise ValueError("it contradicts its criteria or its record")
    except (AttributeError, KeyError, TypeError, ValueError, InputError) as error:
        raise CorruptArtifact(f"no decision in it ({error}); make it again", file=path) from None
    return decision


def _recorded(record: Record, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each row is of what was asked, and has the numbers that the record has."""
    asked = record.config["criteria"]
    return len(rows) == len(asked) and all(
        all(row[key] == each[key] for key in _ASKED)
        and {key: row[key] for key in (*_FOUND, "holds") if key in row}
        == record.metrics[each["name"]]
        for row, each in zip(rows, asked, strict=True)
    )


_ASKED = ("name", "series", "kind", "margin", "better")
_FOUND = ("estimate", "low", "high", "units")


def _decision(gate: str, told: Any) -> Decision:
    word = told["decision"]
    if word not in (PROMOTE, STAY):
        raise ValueError(f"decision is {word!r}")
    reasons = tuple(str(each["line"]) for each in told["criteria"])
    return Decision(gate, str(told["candidate"]), str(told["released"]), word == PROMOTE, reasons)
