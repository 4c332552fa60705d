"""Labels read again, and what changing a principle changed in them.

Knows no policy and no model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.rollout.trajectory import finite
from ontogeny.safety.constitution import Constitution, changed, kept_constitution
from ontogeny.safety.constitution_labels import CONSTITUTION, LABELS
from ontogeny.safety.feedback import favour, flips

Better = Literal["first", "second", "neither"]


@dataclass(frozen=True, slots=True)
class Label:
    """A line of `LABELS`, read again.

    Attributes:
        pair: of prompt and answers; equal ones were judged on the same texts.
        probability: that the first answer is better.
        orders: the same, where the first stood as (A) and where it stood as (B).
    """

    pair: str
    prompt: str
    kind: str
    category: str
    answers: tuple[str, str]
    probability: float
    principle: str
    judge: str
    reason: str
    orders: tuple[float, float]

    @property
    def favour(self) -> float:
        """How much the judge favoured (A), -0.5 to 0.5."""
        return favour(self.orders)

    @property
    def flips(self) -> bool:
        """Whether the better answer changes with the order."""
        return flips(self.orders)

    @property
    def better(self) -> Better:
        """Which answer the label prefers."""
        if self.probability == 0.5:
            return "neither"
        return "first" if self.probability > 0.5 else "second"


def read_labels(artifact: Artifact) -> tuple[Constitution, dict[str, Label]]:
    """The constitution of an artifact that `ConstitutionLabels` made, and its labels by pair.

    Raises:
        InputError: the artifact holds no labels.
        CorruptArtifact: naming the line that is none.
    """
    for name in (LABELS, CONSTITUTION):
        if name not in artifact.record.files:
            raise InputError(
                f"'{artifact.name}' ({artifact.record.kind}) keeps no labels under a constitution; "
                "give what ConstitutionLabels made",
                file=artifact.path,
            )
    path = artifact.file(LABELS)
    found: dict[str, Label] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], start=1):
        try:
            each = _label(json.loads(line))
        except (KeyError, TypeError, ValueError) as error:
            reason = f"no label ({error}); make it again"
            raise CorruptArtifact(reason, file=path, line=number) from None
        found[each.pair] = each
    return kept_constitution(artifact.file(CONSTITUTION)), found


def _label(row: Mapping[str, Any]) -> Label:
    first, second = row["answers"]
    as_a, as_b = row["orders"]
    numbers = [finite(each) for each in (row["probability"], as_a, as_b)]
    known = [each for each in numbers if each is not None and 0 <= each <= 1]
    if len(known) < len(numbers):
        raise ValueError("a probability is none")
    names = ("pair", "prompt", "label", "category", "principle", "judge", "reason")
    texts = [row[name] for name in names]
    if not all(isinstance(each, str) for each in (*texts, first, second)):
        raise TypeError("a field is no text")
    pair, prompt, kind, category, principle, judge, reason = texts
    return Label(
        pair,
        prompt,
        kind,
        category,
        (first, second),
        known[0],
        principle,
        judge,
        reason,
        (known[1], known[2]),
    )


@dataclass(frozen=True, slots=True)
class Group:
    """The labels that one principle decides in one of two constitutions.

    Attributes:
        principle: its name; "" is all that no changed principle decides.
        how: "taken out", "put in", "changed", or "as it was".
        labels: pairs it decides before or after.
        changed: of those, the labels that prefer another answer (or none) now.
    """

    principle: str
    how: str
    labels: int
    changed: tuple[tuple[Label, Label], ...]

    @property
    def rate(self) -> float:
        """Share of its labels that changed."""
        return len(self.changed) / self.labels if self.labels else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """What lies between the labels of two constitutions.

    Attributes:
        groups: changed principles in their order, then the rest.
        common: pairs both labelled; alone: pairs only one of them did.
        moved: mean change of the probability over the common pairs.
    """

    groups: tuple[Group, ...]
    common: int
    alone: int
    moved: float

    @property
    def changed(self) -> int:
        """Labels in all that changed."""
        return sum(len(group.changed) for group in self.groups)


def difference(before: Artifact, after: Artifact) -> Difference:
    """The labels that changed, by the principle that changed.

    Raises:
        InputError: they have no pair in common: other prompts, another model, another seed.
        CorruptArtifact: see `read_labels`.
    """
    (old, first), (new, second) = read_labels(before), read_labels(after)
    shared = [(each, second[key]) for key, each in first.items() if key in second]
    if not shared:
        raise InputError(
            f"'{before.name}' and '{after.name}' label no pair in common; make both from the same "
            "model, prompts and seed, under two constitutions"
        )
    words = changed(old, new)
    groups: dict[str, list[tuple[Label, Label]]] = {name: [] for name in (*words, "")}
    for a, b in shared:
        name = next((each.principle for each in (a, b) if each.principle in words), "")
        groups[name].append((a, b))
    return Difference(
        tuple(
            Group(
                name,
                words.get(name, "as it was"),
                len(pairs),
                tuple((a, b) for a, b in pairs if a.better != b.better),
            )
            for name, pairs in groups.items()
        ),
        len(shared),
        len(first) + len(second) - 2 * len(shared),
        sum(abs(b.probability - a.probability) for a, b in shared) / len(shared),
    )
