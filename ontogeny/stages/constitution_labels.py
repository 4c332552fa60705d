"""Model (+ judge) -> preference pairs: two of its answers, labelled under a constitution."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import write_jsonl
from ontogeny.corpus.own import folded
from ontogeny.run.work import Made, Work
from ontogeny.safety.constitution_labels import LABELS, Labelled, label, label_row, pair_row
from ontogeny.safety.feedback import bias
from ontogeny.stages.constitution_revisions import UnderConstitution

SIDES = ("pairs", "heldout")


@dataclass(frozen=True, kw_only=True)
class ConstitutionLabels(UnderConstitution):
    """Draws `answers` to each prompt and has two compared that differ, if possible in behaviour.

    The label is soft: the probability that an answer is better, the mean of both orders in which
    the judge saw the two. With `thinks` a judge in words writes its thoughts first. A label that is
    even makes no pair. Pairs of the share `heldout` of the prompts are kept from training. With
    `shuffled` a coin turns each label around: the placebo. With `refusal` the fixed refusal is the
    last draw, so that one answer is enough; it is for models that never refuse.

    Raises:
        InputError: see `UnderConstitution`, or nothing told two answers apart.
    """

    answers: int = 2
    thinks: bool = False
    heldout: float = 0.1
    shuffled: bool = False
    refusal: bool = False

    stage: ClassVar[str] = "constitution_labels"
    version: ClassVar[int] = 1
    makes: ClassVar[str] = "pairs"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.answers < 2 - self.refusal or self.temperature < 0:
            raise InputError("labels need at least 2 answers, or 1 beside a refusal")
        if self.temperature == 0 and not self.refusal:
            raise InputError("labels need a temperature above 0; else all answers are one")
        if self.thinks and self.by == "rules":
            raise InputError("rules do not think; give by 'words' or 'server'")
        if not 0 <= self.heldout < 1:
            raise InputError(f"heldout is {self.heldout}; give a share from 0 to below 1")

    def __call__(self, work: Work, *models: Artifact) -> Made:
        """Writes pairs.jsonl, heldout.jsonl, labels.jsonl (all labels) and constitution.json."""
        constitution, prompts = self.read(work)
        with self.cast(work, models) as (cast, author, judge):
            flows = [
                label(
                    each,
                    constitution,
                    author,
                    judge,
                    answers=self.answers,
                    seed=work.named_seed("episode", each.id),
                    thinks=self.thinks,
                    refusal=self.refusal,
                )
                for each in prompts
            ]
            found = [each for each in self.play(work, cast, flows) if each is not None]
        if self.shuffled:
            found = [_turned(each, work.named_seed("coin", each.asked.id)) for each in found]
        kept = self._write(work.payload, found)
        if not kept["pairs"]:
            raise InputError(
                f"none of {len(prompts)} prompts got two answers from '{models[0].name}' that a "
                "principle tells apart; ask more prompts, or raise answers or temperature"
            )
        said = sum(len(ids) for each in found for ids in each.ids)
        return Made(
            metrics={"prompts": len(prompts), "labels": len(found), **_judged(found), **kept},
            summary=_summary(found, len(prompts), kept),
            tokens=said,
            flops=said * bridge.shape_of(models[0]).forward_flops_per_token(),
        )

    def _write(self, directory: Path, found: Sequence[Labelled]) -> dict[str, int]:
        write_jsonl(directory / LABELS, map(label_row, found))
        sides: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
        for each in found:
            row = pair_row(each)
            if row is not None:
                sides[SIDES[self._held_out(each.asked.text)]].append(row)
        for name, rows in sides.items():
            write_jsonl(directory / f"{name}.jsonl", rows)
        return {name: len(rows) for name, rows in sides.items()}

    def _held_out(self, prompt: str) -> bool:
        """By the folded prompt alone: equal ones stand on one side."""
        place = hashlib.sha256(f"held out\0{folded(prompt)}".encode()).digest()[:8]
        return int.from_bytes(place, "big") / 2.0**64 < self.heldout


def _turned(each: Labelled, coin: int) -> Labelled:
    """With the label turned around, or not."""
    opinion = each.opinion
    if coin % 2:
        first, second = opinion.orders
        opinion = replace(opinion, p=1.0 - opinion.p, orders=(1.0 - first, 1.0 - second))
    return replace(each, opinion=opinion)


def _judged(found: Sequence[Labelled]) -> dict[str, Any]:
    """How many labels each principle decided, and the bias of a judge in words."""
    opinions = [each.opinion for each in found]
    by = Counter(each.principle for each in opinions if each.decided)
    favour = bias(opinions)
    told = {"bias": favour.first, "flipped": favour.flipped} if favour else {}
    even = sum(not each.decided for each in opinions)
    return {"even": even, **told, **{f"by.{name}": count for name, count in sorted(by.items())}}


def _summary(found: Sequence[Labelled], prompts: int, kept: dict[str, int]) -> tuple[str, ...]:
    even = sum(not each.opinion.decided for each in found)
    lines = [
        f"{prompts:,} prompts, {len(found):,} with two answers, {even:,} of these labels are even; "
        f"{kept['pairs']:,} pairs to learn from, {kept['heldout']:,} held out"
    ]
    favour = bias([each.opinion for each in found])
    if favour:
        lines.append(
            f"position: (A) gets {favour.first:+.3f} more than half of the probability; the "
            f"order decides {favour.flipped:.1%} of {favour.pairs:,} labels"
        )
    return tuple(lines)
