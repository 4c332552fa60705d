"""Rows of harvests, read back for learning: verified, and of contradicting rounds the last.

Knows no tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.corpus import decontaminate
from ontogeny.corpus.intake import Intake, Item
from ontogeny.corpus.table import Removal, documents_table
from ontogeny.feedback.voters import SOURCE
from ontogeny.text.document import Document
from ontogeny.text.rows import Misfit

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class OfHarvests:
    """What every stage that learns from harvests is told.

    Attributes:
        heldout: share kept from training, split by the first turn of the user.
        longest: what takes more tokens is left out; 0: nothing is.

    Raises:
        InputError: a number that cannot be meant.
    """

    heldout: float = 0.1
    longest: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.heldout < 1:
            raise InputError(f"heldout is {self.heldout}; give a share from 0 to below 1")
        if self.longest < 0:
            raise InputError("longest is a number of tokens, or 0")


def parted(
    parents: Sequence[Artifact],
) -> tuple[list[Artifact], Artifact, list[Artifact]]:
    """The harvests, the tokenizer or model, and the tasks among a stage's parents."""
    harvests = [each for each in parents if each.record.kind == "harvest"]
    tasks = [each for each in parents if each.record.kind == "tasks"]
    return harvests, parents[len(harvests)], tasks


def rows_of(
    harvests: Sequence[Artifact],
    name: str,
    made: Callable[[Mapping[str, Any]], T],
    subject: Callable[[T], object],
) -> tuple[Intake[T], dict[str, float]]:
    """The rows in the file `name` of all harvests, and the probability of each by its name.

    Args:
        made: a form of `ontogeny.text.rows`.
        subject: what a row is about; of rows of several harvests about one thing the last stays,
            because it counted the most votes.

    Raises:
        CorruptArtifact: naming the line that is not what was written.
    """
    found: Intake[T] = Intake(label=SOURCE)
    probabilities: dict[str, float] = {}
    last: dict[object, Item[T]] = {}
    for harvest in harvests:
        for id_, value, probability in _read(harvest, name, made):
            item = Item(f"{harvest.id}/{id_}", SOURCE, value)
            probabilities[item.name] = probability
            older = last.pop(subject(value), None)
            last[subject(value)] = item
            if older is not None:
                detail = f"{item.name} is about the same"
                why = ("later_harvest", detail)
                found.removed.append(Removal(older.name, SOURCE, SOURCE, *why))
    found.items = list(last.values())
    return found, probabilities


def quoting(
    found: Intake[T], says: Callable[[T], Sequence[str]], examined: Collection[str]
) -> Callable[[Item[T]], tuple[str, str] | None]:
    """For `Intake.drop`: rows in which an examined question stands word for word.

    People ask it behind a "please", or write it into a correction. One of fewer than
    `decontaminate.SHORTEST_RUN` words is so common a phrase that only a turn that is it counts
    (`corpus.own.contaminated`).

    Args:
        says: all turns of a row.
        examined: the questions.
    """
    table = documents_table(
        Document(item.name, SOURCE, SOURCE, "\n".join(says(item.value))) for item in found.items
    )
    items = [decontaminate.Item(text, text) for text in sorted(examined)]
    hits = decontaminate.find_hits(table, items) if items and found.items else []
    names = {hit.document for hit in hits if hit.share == 1.0}

    def why(item: Item[T]) -> tuple[str, str] | None:
        if item.name in names:
            return "contaminated", "holds what a held-out or exam task asks"
        return None

    return why


def _read(
    artifact: Artifact, name: str, made: Callable[[Mapping[str, Any]], T]
) -> Iterator[tuple[str, T, float]]:
    path = artifact.file(name)
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                yield str(row["id"]), made(row), float(row["probability"])
            except (KeyError, TypeError, ValueError, Misfit):
                reason = "not the row that was written; make it again"
                raise CorruptArtifact(reason, file=path, line=number) from None
