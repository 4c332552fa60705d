"""Candidate + released model + measurements of both -> gate: promote, or stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ontogeny.base.artifact import Artifact, Record
from ontogeny.base.errors import InputError
from ontogeny.base.files import write_json
from ontogeny.evaluate.gate import OF_ONE, Criterion, Judged, chat, judge_all
from ontogeny.evaluate.series import Series, read_series
from ontogeny.feedback.decision import FILE, KIND, PROMOTE, STAY
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Compares a candidate with the released model, unit by unit, and decides.

    The first parent is the candidate, the second the released model; a measurement belongs to the
    model that it was made of, its first parent. The two models' measurements of one series must
    have been made by one stage under equal settings and seed from the same other parents, else
    their units would not be the same ones. `criteria` must all hold; what was not measured of both
    cannot be told and does not hold.

    Raises:
        InputError: a measurement of another model, a series measured twice of one model, two sides
            that were measured differently, or two criteria of one name.
    """

    criteria: tuple[Criterion, ...] = field(default_factory=chat)

    stage: ClassVar[str] = "gate"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "model", "measurement+")
    makes: ClassVar[str] = KIND

    def __post_init__(self) -> None:
        names = [each.name for each in self.criteria]
        if not names or len(set(names)) != len(names):
            raise InputError("gate: give criteria, each under a name of its own")
        if PROMOTE in names:
            raise InputError(f"gate: '{PROMOTE}' is what the gate itself says; rename a criterion")

    def __call__(
        self, work: Work, candidate: Artifact, released: Artifact, *measured: Artifact
    ) -> Made:
        """Writes gate.json; see `feedback.decision`."""
        strange = [
            each.name for each in measured if _model(each) not in (candidate.id, released.id)
        ]
        if strange:
            raise InputError(
                f"'{strange[0]}' measured neither '{candidate.name}' nor '{released.name}'; "
                "measure both, and give the gate these measurements"
            )
        sides = [_side(model, measured) for model in (candidate, released)]
        for criterion in self.criteria:
            if criterion.kind not in OF_ONE:
                _alike(criterion.series, *sides)
        series = [{name: found for name, (found, _) in side.items()} for side in sides]
        judged = judge_all(self.criteria, series[0], series[1])
        promote = all(each.holds for each in judged)
        word = PROMOTE if promote else STAY
        rows = [_row(each) for each in judged]
        told = {
            "decision": word,
            "candidate": candidate.id,
            "released": released.id,
            "criteria": rows,
        }
        write_json(work.payload / FILE, told)
        return Made(
            metrics={PROMOTE: float(promote)} | dict(map(_metric, judged)),
            summary=(*(each.line() for each in judged), word),
        )


def _model(measurement: Artifact) -> str:
    """Id of the model that was measured."""
    return next(iter(measurement.record.parents), "")


def _side(model: Artifact, measured: Sequence[Artifact]) -> dict[str, tuple[Series, Artifact]]:
    """Every series of one model, and which measurement it is from.

    Raises:
        InputError: two measurements have it.
    """
    found: dict[str, tuple[Series, Artifact]] = {}
    for each in {each.id: each for each in measured if _model(each) == model.id}.values():
        for name, series in read_series(each).items():
            if name in found:
                raise InputError(
                    f"'{found[name][1].name}' and '{each.name}' both measured {name} of "
                    f"'{model.name}'; give one of them"
                )
            found[name] = series, each
    return found


def _alike(
    name: str,
    candidate: dict[str, tuple[Series, Artifact]],
    released: dict[str, tuple[Series, Artifact]],
) -> None:
    """Raises InputError where the two sides of a series were not measured in one way."""
    if name not in candidate or name not in released:
        return
    first, second = (side[name][1].record for side in (candidate, released))
    unlike = [
        what
        for what, one, other in (
            ("stage", first.stage, second.stage),
            ("version", first.version, second.version),
            ("seed", first.seed, second.seed),
            ("data", first.parents[1:], second.parents[1:]),
        )
        if one != other
    ]
    unlike += _settings_unlike(first, second)
    if unlike:
        raise InputError(
            f"'{first.name}' and '{second.name}' measured {name} unlike each other "
            f"({', '.join(unlike)}); measure both models by one stage with equal settings and data"
        )


def _settings_unlike(first: Record, second: Record) -> list[str]:
    """Which settings differ; where they lie and how fast they ran is none, what files held is.

    A record that was written before records had a digest of that is compared field by field.
    """
    digests = [each.execution.get("settings") for each in (first, second)]
    if None not in digests and digests[0] == digests[1]:
        return []
    configs = (first.config, second.config)
    fields = [
        f"config.{key}"
        for key in {**configs[0], **configs[1]}
        if configs[0].get(key) != configs[1].get(key)
    ]
    return fields if fields or None in digests else ["the content of its files"]


def _row(judged: Judged) -> dict[str, Any]:
    asked, found = judged.criterion, judged.interval
    interval = {} if found is None else dict(zip(_NUMBERS, found, strict=True))
    return {
        "name": asked.name,
        "series": asked.series,
        "kind": asked.kind,
        "margin": asked.margin,
        "better": asked.better,
        **interval,
        "holds": judged.holds,
        "verdict": judged.verdict,
        "line": judged.line(),
    }


_NUMBERS = ("estimate", "low", "high", "units")


def _metric(judged: Judged) -> tuple[str, Any]:
    """Of a criterion what was measured; 0 where it cannot be told, which `holds` tells too."""
    found = judged.interval
    interval = {} if found is None else dict(zip(_NUMBERS, found, strict=True))
    return judged.criterion.name, {**interval, "holds": float(judged.holds)}
