"""The log of answers that lets episodes continue: in memory (a list) or in a file of JSON lines.

Knows no flow: records are JSON objects, appended whole or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import disk_errors
from ontogeny.rollout.flow import Answer, Outcome
from ontogeny.rollout.policy import Completion, Likelihood
from ontogeny.rollout.trajectory import completion_from_json, completion_to_json, floats


@dataclass(frozen=True, slots=True)
class Step:
    """What one episode heard at one of its steps.

    Attributes:
        episode: its index among the driven flows.
        asked: a digest of the questions, so that answers are never given to others.
        answers: in the order of the questions.
    """

    episode: int
    asked: str
    answers: tuple[Answer, ...]


class Journal(Protocol):
    """Records in order; a list is one."""

    def __iter__(self) -> Iterator[Any]:
        """All records so far."""
        ...

    def append(self, record: Any, /) -> None:
        """Keep one JSON object; when this returns it survives a kill."""
        ...


class FileJournal:
    """A journal in a file: one JSON object a line, synced to the disk at each append.

    A last line without its end (the process died writing it) was never acknowledged: it is cut.

    Raises:
        CorruptArtifact: when any other line is not a JSON object.
        NoSpace: when the disk is full or fails; earlier records stay.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Any] = []
        data = path.read_bytes() if path.exists() else b""
        self._end = data.rfind(b"\n") + 1
        for number, line in enumerate(data[: self._end].splitlines(), start=1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise CorruptArtifact(
                    "not a record of the journal; delete the file to begin again",
                    file=path,
                    line=number,
                )
            self.records.append(record)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.records)

    def append(self, record: Any, /) -> None:
        """Write one line after the last whole one, and sync it."""
        line = json.dumps(record, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        # not append mode: what a dying process left after the last whole line is overwritten
        mode = "r+b" if self.path.exists() else "xb"
        with disk_errors(self.path), open(self.path, mode) as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._end += len(line)
        self.records.append(record)


def record_of(steps: Iterable[Step]) -> dict[str, Any]:
    """One journal record of steps taken together; `steps_of` gives equal steps back."""
    return {
        "steps": [
            {
                "episode": step.episode,
                "asked": step.asked,
                "answers": [_answer_to_json(answer) for answer in step.answers],
            }
            for step in steps
        ]
    }


def steps_of(record: Any) -> list[Step]:
    """Raises InputError when the record is none that `record_of` made."""
    try:
        return [
            Step(
                int(step["episode"]),
                str(step["asked"]),
                tuple(_answer_from_json(answer) for answer in step["answers"]),
            )
            for step in record["steps"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"a journal record is damaged ({error!r}); give a new journal") from None


def _answer_to_json(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Completion):
        return {"kind": "completion", **completion_to_json(answer)}
    if isinstance(answer, Likelihood):
        log_probs, greedy = list(answer.log_probs), list(answer.greedy)
        lists = {"log_probs": log_probs, "greedy": greedy}
        return {"kind": "likelihood", "version": answer.version, **lists}
    return {"kind": "outcome", "ok": answer.ok, "output": answer.output}


def _answer_from_json(record: Any) -> Answer:
    kind = record["kind"]
    if kind == "completion":
        return completion_from_json(record)
    if kind == "likelihood":
        greedy, version = tuple(bool(g) for g in record["greedy"]), int(record["version"])
        return Likelihood(floats(record, "log_probs"), greedy, version)
    if kind == "outcome":
        return Outcome(bool(record["ok"]), str(record["output"]))
    raise InputError(f"the journal has an answer of kind {kind!r}; give a new journal")
