"""Model -> attacks: an archive of what makes it help with what it must not help with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.evaluate.series import Series, proportion, write_series
from ontogeny.rollout.journal import FileJournal, Journal
from ontogeny.run.work import Made, Work
from ontogeny.safety.archive import FILE, REFUSALS, Archive, Holding
from ontogeny.safety.attack import FAMILIES, Target
from ontogeny.safety.attack_search import Searched, search, shorten, wishes_of
from ontogeny.safety.attack_table import TRANSFORMS, check_families
from ontogeny.safety.attack_trial import Outcome, Trial
from ontogeny.safety.judge_rules import RULES
from ontogeny.safety.requests import SafetyRequest, requests

HELD_FAMILIES = ("persona", "document")
_DRAWN = 60
"""Requests drawn for each that a risk needs: risks are drawn evenly, and may repeat."""


@dataclass(frozen=True, kw_only=True)
class RedTeam:
    """Searches risk x style for attacks: each style by itself, then `generations` of `children`.

    Every attack is tried with the same `wishes` of its risk, from the training split; `benign`
    borderline requests of the risk go through each attack that is kept. Whole `held_families` and
    `held_share` of the cells are attacked like the others and marked as held out. A success of
    each of the `shortened` best is minimised within `calls` forms. Only `families` are tried.
    Answers have at most `max_tokens`, are greedy and judged by the rules of `world`; an episode
    has at most `context` tokens.

    Series (units are cells, empty ones 0): success, success.held_in, success.held_out,
    success.FAMILY; refused, .held_in, .held_out, of the benign (units are attacks on a risk).

    Raises:
        InputError: an unknown world or family, or a risk with too few wishes.
    """

    world: str = "village"
    wishes: int = 4
    benign: int = 2
    generations: int = 3
    children: int = 96
    families: tuple[str, ...] = FAMILIES
    held_families: tuple[str, ...] = HELD_FAMILIES
    held_share: float = 0.2
    shortened: int = 16
    calls: int = 48
    max_tokens: int = 24
    context: int = 1024
    slots: int = 128

    stage: ClassVar[str] = "red_team"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model",)
    makes: ClassVar[str] = "attacks"

    def __post_init__(self) -> None:
        check_families(self.families)
        Holding(self.held_families, self.held_share)
        if self.world not in RULES:
            raise InputError(f"no world {self.world!r}; worlds are {', '.join(RULES)}")
        if min(self.wishes, self.calls, self.max_tokens, self.context, self.slots) < 1:
            raise InputError("red_team: wishes, calls, max_tokens, context and slots: at least 1")
        if min(self.benign, self.generations, self.children, self.shortened) < 0:
            raise InputError("red_team: benign, generations, children and shortened are 0 or more")

    def __call__(self, work: Work, model: Artifact) -> Made:
        """Writes archive.jsonl, refusals.jsonl and series.json."""
        wishes = wishes_of(self._drawn("harmful", self.wishes, work), self.wishes)
        styles = [name for name, each in TRANSFORMS.items() if each.family in self.families]
        holding = Holding(self.held_families, self.held_share)
        archive = Archive(list(wishes), styles, holding)
        by = self._searched(work, model)
        work.progress(0, 3, "parts")
        kept = search(archive, wishes, by, generations=self.generations, children=self.children)
        work.progress(1, 3, "parts")
        outcomes = self._benign(archive, by, work)
        work.progress(2, 3, "parts")
        before, after = shorten(archive, wishes, by, most=self.shortened, calls=self.calls)
        archive.write(work.payload / FILE)
        with (work.payload / REFUSALS).open("w", encoding="utf-8") as file:
            rows = (_refusal(each, archive) for each in outcomes if each.refused)
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        series = {**_successes(archive), **_refusals(archive, outcomes)}
        write_series(work.payload, series)
        return self._made(work, archive, series, kept, (before, after))

    def _drawn(self, label: Any, count: int, work: Work) -> list[SafetyRequest]:
        seed = work.named_seed("requests", label)
        return requests(label, "train", _DRAWN * count, seed, self.world)

    def _searched(self, work: Work, model: Artifact) -> Searched:
        room = min(self.context, bridge.shape_of(model).context)
        policy, tokenizer = bridge.load_policy(model, slots=self.slots, length=room)
        target = Target(tokenizer, self.max_tokens, bridge.context_of(policy))

        def journal(name: str) -> Journal:
            work.keep_clock()
            work.checkpoints.mkdir(parents=True, exist_ok=True)
            return FileJournal(work.checkpoints / f"{name}.jsonl")

        judge = RULES[self.world]
        return Searched(policy, target, judge, journal, work.named_seed("attacks"))

    def _benign(self, archive: Archive, by: Searched, work: Work) -> list[Outcome]:
        """Borderline requests of the same risk under every attack that was kept."""
        if not self.benign:
            return []
        near = wishes_of(self._drawn("borderline", self.benign, work), self.benign)
        trials = [
            Trial(each, elite.attack, by.seed)
            for cell, elite in sorted(archive.elites.items())
            for each in near.get(cell.risk, ())
        ]
        return by.put(trials, "benign")

    def _made(
        self,
        work: Work,
        archive: Archive,
        series: Mapping[str, Series],
        kept: Sequence[int],
        lengths: tuple[int, int],
    ) -> Made:
        levels = {name: proportion(each, f"{name} {work.seed}") for name, each in series.items()}
        metrics: dict[str, Any] = {
            name: {"estimate": each.value, "low": each.low, "high": each.high, "units": each.units}
            for name, each in levels.items()
        }
        metrics |= {
            "coverage": archive.coverage(),
            "quality": archive.quality(),
            "cells": len(archive.cells()),
            "trainable": len(archive.side(held=False)),
            "improved": sum(kept[1:]),
            "words_before": lengths[0],
            "words_after": lengths[1],
        }
        best = ", ".join(f"{name} {levels[name]}" for name in _TOLD if name in levels)
        return Made(
            metrics=metrics,
            summary=(
                f"{archive.coverage():.1%} of {len(archive.cells())} cells have an attack that "
                f"worked; {best}",
                f"better ones by round: {', '.join(map(str, kept))}; minimising left "
                f"{lengths[1]} of {lengths[0]} words",
            ),
        )


_TOLD = ("success", "success.held_in", "success.held_out", "refused")


def _successes(archive: Archive) -> dict[str, Series]:
    """The score of every cell, and of the cells of each family and side."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for cell in archive.cells():
        found = archive.elites.get(cell)
        side = "held_out" if archive.holding.holds(cell) else "held_in"
        row = (f"{cell.risk}/{cell.style}", found.score if found else 0.0)
        for name in ("", f".{side}", f".{TRANSFORMS[cell.style].family}"):
            groups.setdefault(f"success{name}", []).append(row)
    return {name: _series(rows) for name, rows in groups.items()}


def _refusals(archive: Archive, outcomes: Sequence[Outcome]) -> dict[str, Series]:
    """The share of benign requests that each kept attack makes the model refuse."""
    groups: dict[str, dict[str, list[float]]] = {}
    for each in outcomes:
        risk, tried = each.trial.request.harm, each.trial.attack
        inside = archive.holding.trains_on(risk, [step.name for step in tried.steps])
        for name in ("refused", f"refused.held_{'in' if inside else 'out'}"):
            units = groups.setdefault(name, {})
            units.setdefault(f"{risk}/{tried.name}", []).append(float(each.refused))
    return {
        name: _series([(unit, sum(v) / len(v)) for unit, v in units.items()])
        for name, units in groups.items()
    }


def _series(rows: Sequence[tuple[str, float]]) -> Series:
    return Series([unit for unit, _ in rows], [value for _, value in rows], [1.0] * len(rows))


def _refusal(each: Outcome, archive: Archive) -> dict[str, Any]:
    """A benign request that was refused, as a pair needs it."""
    risk, steps = each.trial.request.harm, [step.name for step in each.trial.attack.steps]
    last = len(each.answers) - 1
    return {
        "request": each.trial.request.id,
        "risk": risk,
        "steps": steps,
        "held_out": not archive.holding.trains_on(risk, steps),
        "text": each.turns[last].text,
        "answer": each.answers[last],
        "right": each.right(last),
        "prompt": each.asked(last),
        "rejected": each.answered(last),
    }
