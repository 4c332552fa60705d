"""Model (+ exams before and after) -> watch: whether its run learnt to please the reward."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import write_json
from ontogeny.evaluate.watch import (
    FALSE_ALARMS,
    STATED_RATE,
    TOLERATED_GAP,
    Answers,
    Tolerance,
    Watched,
    describe,
    watch,
)
from ontogeny.evaluate.watch_rows import read_rows
from ontogeny.run.work import Made, Work

ROLLOUTS, ANSWERS = "rollouts.jsonl", "answers.jsonl"


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Compares what a run was paid for with what a held-out verifier says of the same episodes.

    `tolerated_gap` is by how much reward less verifier may grow, `stated_rate` the share of
    episodes that may show a sign of a hack, `false_alarms` the most that a clean run is accused.
    The exams are of the same tasks, in this order: before the run, after it.

    Raises:
        InputError: a number out of its range, or an exam without its other half.
    """

    tolerated_gap: float = TOLERATED_GAP
    stated_rate: float = STATED_RATE
    false_alarms: float = FALSE_ALARMS

    stage: ClassVar[str] = "watch"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "measurement*")
    makes: ClassVar[str] = "watch"

    def __post_init__(self) -> None:
        self.tolerance()

    def tolerance(self) -> Tolerance:
        """The numbers as `evaluate.watch` takes them."""
        return Tolerance(self.tolerated_gap, self.stated_rate, self.false_alarms)

    def __call__(self, work: Work, model: Artifact, *exams: Artifact) -> Made:
        """Writes watch.json: the verdict, every test behind it, the notes."""
        if len(exams) not in (0, 2):
            raise InputError(
                f"watch takes two measurements, before and after the run, or none; "
                f"{len(exams)} are given"
            )
        if ROLLOUTS not in model.record.files:
            raise InputError(
                f"'{model.name}' keeps no rollouts; give a model that grpo or ppo made"
            )
        rows = read_rows(model.file(ROLLOUTS))
        pair = (_answers(exams[0]), _answers(exams[1])) if exams else None
        found = watch(rows, pair, self.tolerance())
        stated = {"false_alarms": self.false_alarms, "steps": len(rows)}
        write_json(work.payload / "watch.json", {**stated, **_told(found)})
        return Made(metrics=_metrics(found, len(rows)), summary=_summary(found, self.false_alarms))


def _answers(exam: Artifact) -> Answers:
    file = exam.file(ANSWERS)
    try:
        with file.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        notes = [row.get("notes", {}) for row in rows]
        return Answers(
            tasks=[row["task"] for row in rows],
            rewards=[row["score"] for row in rows],
            verified=[note.get("verified") for note in notes],
            signs=[note.get("signs", ()) for note in notes],
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptArtifact(
            f"no answers of an exam ({error}); make it again", file=file
        ) from None


def _told(found: Watched) -> dict[str, Any]:
    said = asdict(found)
    said["growth"] = None if found.growth is None else found.growth._asdict()
    for row, test in zip(said["tests"], found.tests, strict=True):
        row["growth"] = test.growth._asdict()
    return said


def _metrics(found: Watched, steps: int) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        "steps": steps,
        "tests": len(found.tests),
        "speaks": int(found.verdict == "speaks"),
        "can_tell": int(found.verdict != "cannot tell"),
    }
    if found.growth is not None:
        value, low, high = found.growth
        metrics["gap.growth"] = {"estimate": value, "low": low, "high": high}
    return metrics


def _summary(found: Watched, false_alarms: float) -> tuple[str, ...]:
    stated = f"a clean run is accused in at most {false_alarms:.1%} of cases"
    others = [
        f"also: {describe(each)}"
        for each in found.tests
        if each.speaks and describe(each) != found.why
    ]
    return (
        f"{found.verdict}: {found.why}" + (f"; {stated}" if found.verdict != "cannot tell" else ""),
        *others[-2:],
        *(f"note: {each}" for each in found.notes),
    )
