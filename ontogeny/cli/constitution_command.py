"""`ontogeny constitution`: principles for people to read, and the labels that one changed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ontogeny.base.artifact import RECORD, Artifact
from ontogeny.base.errors import COMMAND_LINE, InputError, printable
from ontogeny.base.store import Store
from ontogeny.cli.arguments import position
from ontogeny.safety.constitution import Principle, read_constitution
from ontogeny.safety.constitution_diff import Difference, Group, Label, difference
from ontogeny.safety.constitution_labels import LABELS

_SHOWN = 100
"""Characters of a text that are printed."""


def show(reference: str, *, as_json: bool) -> None:
    """Prints the principles of a file or of a shipped constitution.

    Raises:
        InputError: naming file and line of what is wrong.
    """
    found = read_constitution(Path(reference))
    if as_json:
        print(json.dumps({"digest": found.digest(), "principles": found.to_json()}, indent=1))
        return
    for each in found.principles:
        print(printable(f"{each.name:<16} {each.text}"))
        print(printable(f"{'':<16} {_how(each)}"))
    print(f"{len(found.principles)} principles, {found.digest()[:12]}")


def _how(each: Principle) -> str:
    number = f" {each.number}" if each.number else ""
    rule = f"rule {each.rule}{number}" if each.rule else "no rule: critics of words only"
    about = ", ".join(each.categories) or "every prompt"
    return f"weight {each.weight:g}; {rule}; about {about}"


def diff(before: str, after: str, root: Path, *, most: int, as_json: bool) -> None:
    """Prints the labels that differ between two artifacts, by the principle that changed.

    Raises:
        InputError: there is no such artifact, it holds no labels, or the two label other answers.
        CorruptArtifact: one is damaged.
    """
    first, second = (_labels(each, root) for each in (before, after))
    found = difference(first, second)
    if as_json:
        print(json.dumps(_json(found), indent=1))
        return
    print(
        printable(
            f"{first.name} {first.id} -> {second.name} {second.id}: {found.changed:,} of "
            f"{found.common:,} labels changed, probabilities by {found.moved:.3f} on average"
            + (f"; {found.alone:,} pairs only one of them labels" if found.alone else "")
        )
    )
    for group in found.groups:
        for line in _told(group, most):
            print(printable(line))


def _labels(reference: str, root: Path) -> Artifact:
    """By a directory, or by name or id in the store."""
    path = Path(reference)
    if (path / RECORD).is_file():
        return Artifact.open(path)
    if (path / "store.json").is_file():
        artifacts, damaged = Store.open(path).all()
        if damaged:
            raise damaged[0]
        found = [each for each in artifacts if LABELS in each.record.files]
        if len(found) != 1:
            names = ", ".join(f"{each.name} ({each.id})" for each in found) or "none"
            raise InputError(
                f"the store holds {len(found)} artifacts with labels ({names}); name one of them",
                file=path,
            )
        return found[0]
    try:
        return Store.open(root).resolve(reference)
    except InputError as error:
        if (root / "store.json").exists():
            line = position(reference)
            raise InputError(error.reason, file=COMMAND_LINE, line=line) from None
        raise


def _told(group: Group, most: int) -> list[str]:
    name = f"{group.principle}: {group.how}" if group.principle else "no changed principle"
    lines = [
        f"{name}; {len(group.changed):,} of {group.labels:,} labels changed ({group.rate:.1%})"
    ]
    kinds = Counter(f"{a.kind} {a.category}" for a, _ in group.changed)
    lines += [f"  {count:>5}  {kind}" for kind, count in kinds.most_common()]
    shown = group.changed[: most or len(group.changed)]
    for a, b in shown:
        lines += _lines(a, b)
    rest = len(group.changed) - len(shown)
    return [*lines, f"  and {rest:,} more; --most 0 lists all"] if rest else lines


def _lines(a: Label, b: Label) -> list[str]:
    return [
        f"  {_cut(a.prompt)}",
        f"    first   {_cut(a.answers[0])}",
        f"    second  {_cut(a.answers[1])}",
        *(
            f"    {when}  {each.better} ({each.probability:.2f}) by "
            f"{each.principle or 'no principle'}, {each.judge or 'nobody'}: {_cut(each.reason)}"
            for when, each in (("before", a), ("after ", b))
        ),
    ]


def _cut(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _SHOWN else f"{plain[: _SHOWN - 3]}..."


def _json(found: Difference) -> dict[str, Any]:
    return {
        "labels": found.common,
        "alone": found.alone,
        "changed": found.changed,
        "moved": found.moved,
        "groups": [
            {
                "principle": group.principle,
                "how": group.how,
                "labels": group.labels,
                "rate": group.rate,
                "changed": [{"before": asdict(a), "after": asdict(b)} for a, b in group.changed],
            }
            for group in found.groups
        ],
    }
