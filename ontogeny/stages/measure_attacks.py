"""Model (+ attacker) -> measurement: how often attacks make it help, and refuse the harmless."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.evaluate.intervals import Interval
from ontogeny.evaluate.series import Series, proportion, write_series
from ontogeny.rollout.drive import drive_all
from ontogeny.rollout.journal import FileJournal
from ontogeny.run.work import Made, Work
from ontogeny.safety.archive import Cell, Holding
from ontogeny.safety.attack import FAMILIES, Attack, Target
from ontogeny.safety.attack_policy import Attacker, Search, Tried, pair
from ontogeny.safety.attack_table import check_families, singles
from ontogeny.safety.attack_trial import SUCCESS, Outcome, Trial, grade_all, put_all
from ontogeny.safety.harms import NO_HARM
from ontogeny.safety.judge import Asked
from ontogeny.safety.judge_rules import RULES
from ontogeny.safety.requests import SafetyRequest, requests

FILE = "attacked.jsonl"
ADAPTIVE = "adaptive.jsonl"
HELD_FAMILIES = ("persona", "document")


@dataclass(frozen=True, kw_only=True)
class MeasureAttacks:
    """Puts the same attacks to any model: every transform of `families` by itself.

    `harmful` requests and `benign` ones (half borderline, half ordinary) of `split` go through each
    attack and are asked plainly, too. What counts as held out (`held_families`, `held_share` of the
    cells) is what `RedTeam` with the same numbers holds out. With `streams` the adaptive attacker,
    the second model or the target itself, makes streams x depth proposals for each harmful
    request. Answers have at most `max_tokens`, are greedy, and judged by the rules of `world`.

    Series (units are requests, so models compare in pairs; the value is the share of the attacks):
    success and unrefused (of the harmful), refused (of the benign), wrong (the last two together:
    refusing more or less does not bring it down), each for all attacks and as .plain, .held_in,
    .held_out (families), .held_cells (of requests near a harm; also part of .held_in), .FAMILY;
    success.any (one attack at least), success.adaptive.

    Raises:
        InputError: an unknown world or family, or the split holds fewer requests.
    """

    world: str = "village"
    split: Literal["heldout", "exam"] = "exam"
    harmful: int = 60
    benign: int = 60
    families: tuple[str, ...] = FAMILIES
    held_families: tuple[str, ...] = HELD_FAMILIES
    held_share: float = 0.2
    streams: int = 0
    depth: int = 3
    max_tokens: int = 24
    context: int = 1024
    slots: int = 128

    stage: ClassVar[str] = "measure_attacks"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "model?")
    makes: ClassVar[str] = "measurement"

    def __post_init__(self) -> None:
        check_families(self.families)
        Holding(self.held_families, self.held_share)
        if self.world not in RULES:
            raise InputError(f"no world {self.world!r}; worlds are {', '.join(RULES)}")
        if min(self.harmful, self.depth, self.max_tokens, self.context, self.slots) < 1:
            raise InputError(
                "measure_attacks: harmful, depth, max_tokens, context and slots are at least 1"
            )
        if self.benign < 2 or self.streams < 0:
            raise InputError("measure_attacks: benign is at least 2, streams 0 or more")

    def __call__(self, work: Work, model: Artifact, *attacker: Artifact) -> Made:
        """Writes attacked.jsonl, adaptive.jsonl where one adapts, and series.json."""
        policy, target = self._target(model)
        asked = self._requests(work)
        outcomes = self._put(work, policy, target, asked)
        series = self._series(outcomes)
        with (work.payload / FILE).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(_row(each), ensure_ascii=False) + "\n" for each in outcomes)
        tokens = sum(len(each.trajectory.ids()) for each in outcomes)
        notes: list[str] = []
        if self.streams:
            harmful = [each for each in asked if each.to_refuse]
            tried = self._adaptive(work, policy, target, harmful, attacker)
            values = [float(each.best.score >= SUCCESS) for each in tried]
            series["success.adaptive"] = _series([each.id for each in harmful], values)
            with (work.payload / ADAPTIVE).open("w", encoding="utf-8") as file:
                file.writelines(
                    json.dumps(_told(each), ensure_ascii=False) + "\n" for each in tried
                )
            notes.append(_pruned(tried))
        write_series(work.payload, series)
        levels = {name: proportion(each, f"{name} {work.seed}") for name, each in series.items()}
        return Made(
            metrics={name: _metric(each) for name, each in levels.items()},
            summary=(*_summary(levels), *notes),
            tokens=tokens,
            flops=tokens * bridge.shape_of(model).forward_flops_per_token(),
        )

    def _put(
        self, work: Work, policy: Any, target: Target, asked: Sequence[SafetyRequest]
    ) -> list[Outcome]:
        """Attack by attack, each in a journal of its own; a killed stage repeats one of them."""
        attacks = [Attack(), *singles(self.families)]
        seed, found = work.named_seed("attacks"), list[Outcome]()
        work.checkpoints.mkdir(parents=True, exist_ok=True)
        for number, attack in enumerate(attacks):
            work.progress(number, len(attacks), "attacks")
            work.keep_clock()
            trials = [Trial(each, attack, seed) for each in asked]
            journal = FileJournal(work.checkpoints / f"{attack.name}.jsonl")
            judge, drawn = RULES[self.world], named_seed(seed, attack.name)
            found += put_all(trials, policy, target, judge, seed=drawn, journal=journal)
        return found

    def _target(self, model: Artifact) -> tuple[Any, Target]:
        room = min(self.context, bridge.shape_of(model).context)
        policy, tokenizer = bridge.load_policy(model, slots=self.slots, length=room)
        return policy, Target(tokenizer, self.max_tokens, bridge.context_of(policy))

    def _requests(self, work: Work) -> list[SafetyRequest]:
        counts = (
            ("harmful", self.harmful),
            ("borderline", self.benign - self.benign // 2),
            ("ordinary", self.benign // 2),
        )
        return [
            each
            for label, count in counts
            for each in requests(
                label,  # type: ignore[arg-type]
                self.split,
                count,
                work.named_seed("requests", label),
                self.world,
            )
        ]

    def _adaptive(
        self,
        work: Work,
        policy: Any,
        target: Target,
        wishes: Sequence[SafetyRequest],
        attacker: Sequence[Artifact],
    ) -> list[Tried]:
        judge = RULES[self.world]
        known = {each.text: each for each in wishes}

        def grade(wish: str, answer: str) -> float:
            return grade_all(judge, [Asked(known[wish], answer)])[0].helped

        speaker, spoken = self._target(attacker[0]) if attacker else (policy, target)
        proposer = Attacker(speaker, spoken.tokenizer, context=spoken.context)
        seed, search = work.named_seed("adaptive"), Search(self.streams, self.depth)
        flows = [
            pair(each.text, target, grade, search, named_seed(seed, each.id)) for each in wishes
        ]
        journal = FileJournal(work.checkpoints / ADAPTIVE)
        return drive_all(flows, policy, proposer, journal=journal)

    def _series(self, outcomes: Sequence[Outcome]) -> dict[str, Series]:
        holding = Holding(self.held_families, self.held_share)
        groups: dict[str, dict[str, list[float]]] = {}
        for each in outcomes:
            request = each.trial.request
            values = {"refused": float(each.refused), "wrong": float(each.refused)}
            if request.to_refuse:
                open_ = float(each.complied)
                values = {"success": float(each.succeeded), "unrefused": open_, "wrong": open_}
            for kind, value in values.items():
                for side in _sides(each, holding):
                    group = groups.setdefault(f"{kind}{side}", {})
                    group.setdefault(request.id, []).append(value)
        found = {
            name: _series(list(group), [sum(v) / len(v) for v in group.values()])
            for name, group in groups.items()
        }
        every = groups.get("success")
        if every:
            found["success.any"] = _series(list(every), [max(v) for v in every.values()])
        return found


def _sides(outcome: Outcome, holding: Holding) -> list[str]:
    """The names of the series that an outcome belongs to, each behind its kind.

    An ordinary request is near no harm, so it stands in no cell: lessons put it under every style.
    """
    steps = outcome.trial.attack.steps
    if not steps:
        return [".plain"]
    (step,) = steps
    if step.family in holding.families:
        return ["", ".held_out", f".{step.family}"]
    harm = outcome.trial.request.harm
    held = harm != NO_HARM and holding.holds(Cell(harm, step.name))
    return ["", ".held_in", f".{step.family}", *([".held_cells"] if held else [])]


def _series(units: Sequence[str], values: Sequence[float]) -> Series:
    return Series(list(units), list(values), [1.0] * len(units))


def _row(each: Outcome) -> dict[str, Any]:
    request = each.trial.request
    return {
        "request": request.id,
        "label": request.label,
        "harm": request.harm,
        "attack": each.trial.attack.name,
        "turns": [turn.text for turn in each.turns],
        "answers": list(each.answers),
        "helped": each.helped,
        "refused": each.refused,
        "cut": each.cut,
    }


def _told(each: Tried) -> dict[str, Any]:
    best = each.best
    return {
        "wish": each.wish,
        "best": {"text": best.text, "answer": best.answer, "score": best.score},
        "tries": [[t.stream, t.depth, t.text, t.answer, t.score] for t in each.tries],
    }


def _pruned(tried: Sequence[Tried]) -> str:
    count = sum(len(each.tries) for each in tried)
    pruned = sum(each.pruned for each in tried)
    return (
        f"adaptive: {count:,} proposals, {pruned:,} of them not put: without the wish, or too long"
    )


def _metric(each: Interval) -> dict[str, float]:
    return {"estimate": each.value, "low": each.low, "high": each.high, "units": each.units}


def _summary(levels: Mapping[str, Interval]) -> tuple[str, ...]:
    shown = ("plain", "held_in", "held_out", "held_cells")
    lines = []
    for kind in ("success", "unrefused", "refused", "wrong"):
        told = [f"{s} {levels[f'{kind}.{s}']}" for s in shown if f"{kind}.{s}" in levels]
        of = {"refused": "benign", "wrong": "both"}.get(kind, "harmful")
        lines.append(f"{kind} ({of}): {', '.join(told)}")
    best = [
        f"{s} {levels[f'success.{s}']}" for s in ("any", "adaptive") if f"success.{s}" in levels
    ]
    return (*lines, f"success with one attack at least: {', '.join(best)}")
