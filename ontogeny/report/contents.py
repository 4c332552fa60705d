"""A store's records -> the report as plain values: effects, costs, prompts, lineage, curves.

Knows no stage by its class and no page. Everything follows from what lies in the store, so the
same store gives the same bytes. The form of the result stands in docs/report.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ontogeny.base.errors import CorruptArtifact
from ontogeny.base.files import read_json
from ontogeny.base.store import Store
from ontogeny.report.compute import PUBLISHED, group_of, shares
from ontogeny.report.curves import read_curves
from ontogeny.report.effects import effects_of
from ontogeny.report.life import Life
from ontogeny.report.members import Member, made_on, members_of

FORMAT = 1


def report_of(store: Store, life: Life) -> dict[str, Any]:
    """The report of `life`, ready for JSON.

    Raises:
        InputError: an artifact of the life is no longer in the store.
        CorruptArtifact: one of them is damaged, or is not of the form its kind says.
    """
    members = members_of(store, life)
    return {
        "format": FORMAT,
        "recipe": life.recipe,
        "budget": life.budget,
        "seed": life.seed,
        "made": made_on(members),
        "effects": effects_of(members, life.claims, life.seed),
        "costs": _costs(members),
        "compute": {"ours": _our_shares(members), "published": _published()},
        "prompts": _prompts(members),
        "lineage": [_node(member) for member in members],
        "curves": _curves(store, members),
    }


def _costs(members: Sequence[Member]) -> list[dict[str, Any]]:
    """`share` is of the main line's FLOPs, so that evidence can be weighed against the life."""
    total = sum(member.cost("flops") for member in members if member.main)
    return [
        {
            "stage": member.stage,
            "name": member.name,
            "kind": member.artifact.record.kind,
            "group": group_of(member.stage),
            "main": member.main,
            "seconds": member.cost("seconds"),
            "tokens": member.cost("tokens"),
            "flops": member.cost("flops"),
            "share": member.cost("flops") / total if total else 0.0,
        }
        for member in members
    ]


def _our_shares(members: Sequence[Member]) -> dict[str, float]:
    """Of the main line: controls and other seeds are evidence, no part of a life."""
    return shares((member.stage, member.cost("flops")) for member in members if member.main)


def _published() -> list[dict[str, Any]]:
    rows = [dataclasses.asdict(row) for row in PUBLISHED]
    return [row.pop("paper") | row for row in rows]


def _prompts(members: Sequence[Member]) -> list[dict[str, Any]]:
    """The same prompt through the stages, in the order of the run."""
    names = {member.artifact.id: member.name for member in members}
    found: dict[str, list[dict[str, str]]] = {}
    for member in members:
        if member.artifact.record.kind != "samples" or not member.main:
            continue
        parents = [names[each] for each in member.artifact.record.parents if each in names]
        stage = parents[0] if parents else member.name
        for row in _samples(member.artifact.file("samples.json")):
            text = {"stage": stage, "text": row["continuation"]}
            found.setdefault(row["prompt"], []).append(text)
    return [{"prompt": prompt, "stages": stages} for prompt, stages in found.items()]


def _samples(path: Path) -> list[dict[str, str]]:
    rows = read_json(path)
    keys = ("prompt", "continuation")
    if isinstance(rows, list) and all(
        isinstance(row, dict) and all(isinstance(row.get(key), str) for key in keys) for row in rows
    ):
        return rows
    raise CorruptArtifact("no samples in it; delete its directory and run again", file=path)


def _node(member: Member) -> dict[str, Any]:
    record = member.artifact.record
    return {
        "name": member.name,
        "id": record.id,
        "kind": record.kind,
        "stage": record.stage,
        "seed": record.seed,
        "main": member.main,
        "parents": record.parents,
        "seconds": member.cost("seconds"),
        "summary": record.summary,
    }


def _curves(store: Store, members: Sequence[Member]) -> list[dict[str, Any]]:
    curves = read_curves(store.events, {member.artifact.id for member in members})
    return [
        {"name": member.name, "id": member.artifact.id, "stage": member.stage, "main": member.main}
        | curves[member.artifact.id].as_dict()
        for member in members
        if member.artifact.id in curves
    ]
