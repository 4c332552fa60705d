"""Model + preference pairs -> model: puts pairs, reference and objective of DPO together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.seeds import named_seed
from ontogeny.bridge.adapters import train_flops_per_token
from ontogeny.bridge.device import device
from ontogeny.bridge.fit import fit
from ontogeny.bridge.models import chats, load_model, save_model
from ontogeny.bridge.packing import Said, pack, pieces, row_width
from ontogeny.infer.scoring import score
from ontogeny.objectives.batch import Batch, Pairs
from ontogeny.objectives.preference import DPO
from ontogeny.plan.memory import Load
from ontogeny.plan.optimization import OverPairs
from ontogeny.run.work import Made, Work

PAIRS = "pairs.jsonl"
HELDOUT = "heldout.jsonl"
ROW = 1024
"""Tokens of a row, unless an answer is longer or the context shorter."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt with their log-probs under the reference, in nats."""

    chosen: Said
    rejected: Said
    reference: tuple[float, float] = (0.0, 0.0)


def prefer(config: OverPairs, work: Work, parent: Artifact, pairs: Artifact) -> Made:
    """Trains `parent`, which is also the reference, on all pairs and writes the model.

    The reference's log-probs are taken once, before the first step.

    Raises:
        InputError: when there are fewer pairs than one step takes, or a pair exceeds the context.
    """
    model, tokenizer = load_model(parent)
    model.to(device(config.device))
    known = _with_reference(model, read_pairs(pairs))
    at_once = config.pairs_a_step
    count = len(known) * config.epochs // at_once
    if count < 1:
        raise InputError(
            f"'{pairs.name}' has {len(known)} pairs, a step takes {at_once}; make more pairs"
        )
    steps = PairSteps(
        known,
        at_once,
        count,
        _width(known, model.shape.context),
        tokenizer.pad,
        work.named_seed("data"),
        config.micro_rows,
    )
    objective = DPO(
        config.beta, config.loss, config.label_smoothing, config.length_normalised, config.nll
    )
    counters, speed = fit(work, model, objective, steps, config, count)
    save_model(work.payload, model, parent, chats=chats(parent))
    read = sum(pair.chosen.positions + pair.rejected.positions for pair in known)
    seen = read * count * at_once / len(known)
    return Made(
        metrics={"steps": count, "pairs": len(known), "skipped_steps": counters.skipped},
        summary=(f"{len(known):,} pairs, {count} steps of {at_once}",),
        notes=(speed.note(),) if speed is not None else (),
        tokens=round(seen),
        flops=round(seen) * train_flops_per_token(model.shape, config.adapter, steps.width),
    )


def margins(parent: Artifact, pairs: Artifact) -> tuple[list[str], list[float], int]:
    """How much likelier `parent` finds the chosen than the rejected answer of held-out pairs.

    Returns:
        Names of the pairs, log p(chosen) - log p(rejected) of each in nats, and the tokens read.

    Raises:
        InputError: none of the pairs is held out, or one exceeds the model's context.
    """
    if HELDOUT not in pairs.record.files or not pairs.file(HELDOUT).stat().st_size:
        raise InputError(f"'{pairs.name}' holds out no pairs; load them with a heldout share")
    model, _ = load_model(parent)
    known = _with_reference(model, read_pairs(pairs, HELDOUT))
    lines = pairs.file(HELDOUT).read_text(encoding="utf-8").split("\n")[:-1]
    names = [str(json.loads(line)["task"]) for line in lines]
    read = sum(pair.chosen.positions + pair.rejected.positions for pair in known)
    return names, [pair.reference[0] - pair.reference[1] for pair in known], read


def read_pairs(artifact: Artifact, name: str = PAIRS) -> list[Pair]:
    """The pairs in one file of an artifact, verified.

    Raises:
        CorruptArtifact: naming the line that holds no pair.
    """
    path = artifact.file(name)
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], start=1):
        try:
            row = json.loads(line)
            prompt = tuple(int(each) for each in row["prompt"])
            chosen, rejected = (
                Said(prompt, tuple(int(each) for each in row[name]))
                for name in ("chosen", "rejected")
            )
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            reason = f"no preference pair ({error}); make it again"
            raise CorruptArtifact(reason, file=path, line=number) from None
        if chosen == rejected:
            reason = "chosen and rejected are the same answer; make it again"
            raise CorruptArtifact(reason, file=path, line=number)
        found.append(Pair(chosen, rejected))
    return found


def _with_reference(model: Any, pairs: Sequence[Pair]) -> list[Pair]:
    said = [each for pair in pairs for each in (pair.chosen, pair.rejected)]
    sums = [sum(each[0]) for each in score(model, [(each.prompt, each.answer) for each in said])]
    return [
        Pair(pair.chosen, pair.rejected, (sums[2 * number], sums[2 * number + 1]))
        for number, pair in enumerate(pairs)
    ]


def _width(pairs: Sequence[Pair], context: int) -> int:
    longest = max(each.positions for pair in pairs for each in (pair.chosen, pair.rejected))
    return row_width(longest, context, ROW)


class PairSteps:
    """`count` steps of so many pairs each, in a new order each epoch.

    A micro-batch has at most `micro_rows` rows of `width` tokens, or one pair.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        at_once: int,
        count: int,
        width: int,
        fill: int,
        seed: int,
        micro_rows: int = 32,
    ) -> None:
        self.pairs, self.at_once, self.count = pairs, at_once, count
        self.width, self.fill, self.seed, self.micro_rows = width, fill, seed, micro_rows
        self.taken = 0
        self._order = -1, np.empty(0, np.int64)

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        if self.taken == self.count:
            raise StopIteration
        drawn = self._drawn(self.taken)
        self.taken += 1
        found = self._pieces(drawn, self.micro_rows)
        numbers = [""] if len(found) == 1 else [f" part {n + 1}" for n in range(len(found))]
        return [
            self.batch(drawn[part.start // 2 : part.stop // 2], f"step {self.taken}{number}")
            for (part, _), number in zip(found, numbers, strict=True)
        ]

    def batch(self, pairs: Sequence[Pair], name: str) -> Batch:
        """A micro-batch of whole pairs."""
        return pair_batch(pairs, self.width, self.fill, name)

    def load(self) -> Load:
        """The most that a step holds."""
        drawn = [self._drawn(step) for step in range(self.count)]
        rows = max(self._pieces(step, self.at_once * 2)[0][1] for step in drawn)
        together = max(self._pieces([pair], 2)[0][1] for pair in self.pairs)
        return Load(rows=rows, width=self.width, together=together, scored=True)

    def _pieces(self, drawn: Sequence[Pair], most_rows: int) -> list[tuple[slice, int]]:
        positions = [each.positions for pair in drawn for each in (pair.chosen, pair.rejected)]
        return pieces(positions, self.width, most_rows, together=2)

    def _drawn(self, step: int) -> list[Pair]:
        first = step * self.at_once
        return [self._pair(place) for place in range(first, first + self.at_once)]

    def _pair(self, place: int) -> Pair:
        epoch, inside = divmod(place, len(self.pairs))
        if self._order[0] != epoch:
            source = np.random.default_rng(named_seed(self.seed, "order", epoch))
            self._order = epoch, source.permutation(len(self.pairs))
        return self.pairs[int(self._order[1][inside])]

    def state(self) -> dict[str, int]:
        """The number of steps taken; everything else follows from it."""
        return {"taken": self.taken}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue behind `taken` steps."""
        self.taken = int(state["taken"])


def pair_batch(pairs: Sequence[Pair], width: int, fill: int, name: str) -> Pairs:
    """The batch of `pairs`, each chosen answer before its rejected one."""
    packed = pack([each for p in pairs for each in (p.chosen, p.rejected)], width, fill)
    return Pairs(
        packed.tokens_BT,
        packed.targets_BT,
        packed.weights_BT,
        packed.documents,
        name,
        answer_BT=packed.answer_BT,
        answers=2 * len(pairs),
        reference_S=torch.tensor([each for pair in pairs for each in pair.reference]),
    )
