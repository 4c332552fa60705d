"""Model + preference pairs -> reward model: puts pairs and the objective together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.seeds import named_seed
from ontogeny.bridge.adapters import train_flops_per_token
from ontogeny.bridge.device import device
from ontogeny.bridge.fit import fit
from ontogeny.bridge.models import load_model
from ontogeny.bridge.packing import Said, Told, pack, pieces
from ontogeny.bridge.preference import HELDOUT, PAIRS, ROW, Pair, PairSteps, read_pairs
from ontogeny.bridge.reward_model import RewardModel, judged, save_reward
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.reward import BradleyTerry, Compared
from ontogeny.plan.rewards import OverComparisons
from ontogeny.plan.shape import Shape
from ontogeny.run.work import Made, Work
from ontogeny.text.tokenizer import Tokenizer

LEADS = "heldout.jsonl"


@dataclass(frozen=True, slots=True)
class Comparison(Pair):
    """Two whole sequences, each behind a target that nothing reads, and how sure the label is.

    `asked` is the prompt, whose pairs are not independent of one another.
    """

    probability: float = 1.0
    asked: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the stage is told: how the held-out pairs were judged, and what training says.

    Attributes:
        leads: reward of the chosen answer less that of the rejected one, of each held-out pair.
        labels: how likely the chosen one was said to be the better.
        prompts: which prompt it answers, counted from 0.
    """

    made: Made
    leads: list[float]
    labels: list[float]
    prompts: list[int]


def learn_reward(config: OverComparisons, work: Work, parent: Artifact, pairs: Artifact) -> Learnt:
    """Trains `parent` with a scalar head on the pairs, asks the held-out ones, writes it all.

    Rewards are shifted so that the mean over the answers that were learnt from is 0: these are
    what the parent, or whoever the pairs come from, says.

    Raises:
        InputError: when there are fewer pairs than one step takes, or a pair exceeds the context
            or the vocabulary.
        CorruptArtifact: a line holds no pair.
    """
    model, tokenizer = load_model(parent)
    model.add_score()
    model.to(device(config.device))
    known, heldout = comparisons(pairs, tokenizer, config.heldout)
    at_once = config.pairs_a_step
    count = len(known) * config.epochs // at_once
    if count < 1:
        raise InputError(
            f"'{pairs.name}' has {len(known)} pairs to learn from, a step takes {at_once}; "
            "make more pairs"
        )
    width = _width([*known, *heldout], model.shape)
    seed = work.named_seed("data")
    steps = ComparisonSteps(known, at_once, count, width, tokenizer.pad, seed, config.micro_rows)
    counters, speed = fit(
        work, model, BradleyTerry(config.margin, config.centring), steps, config, count
    )
    model.eval()
    plain = RewardModel(model, tokenizer, 0.0)
    seen = _rated(plain, known)
    offset = -float(seen.mean())
    save_reward(work.payload, model, parent, offset)
    rated = _rated(plain, heldout) + offset
    _write_leads(work.payload / LEADS, heldout, rated)
    read = sum(map(joined_length, known)) / len(known)
    tokens = round(read * count * at_once + read * (len(known) + len(heldout)))
    # no logits: three products less with the head, two where it is frozen
    rate = train_flops_per_token(model.shape, config.adapter, width)
    rate -= (6 if config.adapter is None else 4) * model.shape.head_parameters
    made = Made(
        metrics={
            "steps": count,
            "pairs": len(known),
            "skipped_steps": counters.skipped,
            "offset": offset,
            "deviation": float(seen.std()),
        },
        summary=(f"{len(known):,} pairs, {count} steps of {at_once}",),
        notes=(speed.note(),) if speed is not None else (),
        tokens=tokens,
        flops=round(read * count * at_once) * rate,
    )
    leads = [float(pair[0] - pair[1]) for pair in rated]
    distinct = dict.fromkeys(each.asked for each in heldout)
    numbers = {prompt: number for number, prompt in enumerate(distinct)}
    prompts = [numbers[each.asked] for each in heldout]
    return Learnt(made, leads, [each.probability for each in heldout], prompts)


def _width(pairs: Sequence[Pair], shape: Shape) -> int:
    """Tokens of a row that holds every pair.

    Raises:
        InputError: an answer with its prompt exceeds the context, or holds a strange id.
    """
    said = [each for pair in pairs for each in (pair.chosen, pair.rejected)]
    context, last = shape.context, shape.vocab_size - 1
    strange = {id_ for each in said for id_ in each.prompt if not 0 <= id_ <= last}
    if strange:
        raise InputError(
            f"a pair holds id {max(strange)}, the model's vocabulary ends at {last}; make the "
            "pairs with the model's tokenizer"
        )
    longest = max(each.positions for each in said)
    if longest > context:
        raise InputError(
            f"a prompt with its answer takes {longest} tokens, the model's context is {context}; "
            "shorten the answers or lengthen the context"
        )
    return max(min(context, ROW), *map(joined_length, pairs))


def comparisons(
    artifact: Artifact, tokenizer: Tokenizer, share: float
) -> tuple[list[Comparison], list[Comparison]]:
    """(pairs to learn from, pairs to ask) of an artifact.

    What it holds out itself is asked; where it holds out nothing, `share` of its pairs, chosen by
    the prompt's ids, so that answers to one prompt stay on one side.

    Raises:
        CorruptArtifact: a line holds no pair, or its probability is none.
    """
    known = _read(artifact, PAIRS, tokenizer)
    if HELDOUT in artifact.record.files and artifact.file(HELDOUT).stat().st_size:
        return known, _read(artifact, HELDOUT, tokenizer)
    sides: tuple[list[Comparison], list[Comparison]] = ([], [])
    for pair in known:
        sides[_draw(pair.asked) < share].append(pair)
    return sides


def _draw(prompt: tuple[int, ...]) -> float:
    """A number in [0, 1) that follows from the prompt alone."""
    return np.random.default_rng(named_seed(0, "heldout", *prompt)).random()


def _read(artifact: Artifact, name: str, tokenizer: Tokenizer) -> list[Comparison]:
    """Answers end behind their last end of a turn, where a sampled answer ends, too."""
    path, stops = artifact.file(name), frozenset(tokenizer.stops(chats=True))
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    found = []
    for number, (pair, line) in enumerate(
        zip(read_pairs(artifact, name), lines, strict=True), start=1
    ):
        sure = json.loads(line).get("probability", 1.0)
        if not isinstance(sure, (int, float)) or not 0 <= sure <= 1:
            reason = "probability is no number from 0 to 1; make the pairs again"
            raise CorruptArtifact(reason, file=path, line=number)
        chosen, rejected = (_whole(e, stops, tokenizer.pad) for e in (pair.chosen, pair.rejected))
        asked = pair.chosen.prompt
        found.append(Comparison(chosen, rejected, probability=float(sure), asked=asked))
    return found


def _whole(said: Said, stops: frozenset[int], fill: int) -> Said:
    ends = [place for place, each in enumerate(said.answer) if each in stops]
    return judged((*said.prompt, *said.answer[: ends[-1] + 1 if ends else None]), fill)


class ComparisonSteps(PairSteps):
    """`PairSteps` that are compared by reward; what both answers of a pair begin with is read once.

    The beginning is a stem of which the two answers are branches (`Batch.forks`).
    """

    def batch(self, pairs: Sequence[Pair], name: str) -> Batch:
        """A micro-batch of whole pairs."""
        width = snug([joined_length(each) for each in pairs], self.width)
        packed = pack([_joined(each, self.fill) for each in pairs], width, self.fill)
        weights_M = packed.weights_BT.flatten()
        answer_M = (weights_M.cumsum(0) - 1) * weights_M
        divided = iter([_fork(each) for each in pairs])
        counts = (packed.weights_BT.sum(1) / 2).int().tolist()  # padding stands behind them
        longest = max(e.positions for pair in pairs for e in (pair.chosen, pair.rejected))
        documents = [
            [*row[:count], *_padding(row[count:], longest)]
            for row, count in zip(packed.documents, counts, strict=True)
        ]
        forks = [
            [next(divided) if place < count else None for place in range(len(row))]
            for row, count in zip(documents, counts, strict=True)
        ]
        sure = [each.probability for each in pairs if isinstance(each, Comparison)]
        return Compared(
            packed.tokens_BT,
            packed.targets_BT,
            packed.weights_BT,
            documents,
            name,
            forks,
            answer_BT=answer_M.long().view_as(packed.answer_BT),
            answers=2 * len(pairs),
            probability_P=torch.tensor(sure),
        )

    def _pieces(self, drawn: Sequence[Pair], most_rows: int) -> list[tuple[slice, int]]:
        found = pieces([joined_length(each) for each in drawn], self.width, most_rows)
        return [(slice(2 * part.start, 2 * part.stop), rows) for part, rows in found]


def _padding(lengths: Sequence[int], longest: int) -> list[int]:
    """These tokens in documents of at most `longest`: a row may hold more than a context does."""
    left = sum(lengths)
    return [min(longest, left - start) for start in range(0, left, longest)]


def snug(lengths: Sequence[int], width: int) -> int:
    """Tokens of a row so that as few rows as `width` could do with hold all, padded little."""
    rows = -(-sum(lengths) // width)
    found = max(max(lengths), -(-sum(lengths) // rows))
    while len(pieces(lengths, found, rows)) > 1:
        found += 8
    return found


def joined_length(pair: Pair) -> int:
    """Tokens that are read of a pair."""
    return _fork(pair)[1] + len(pair.rejected.prompt)


def _fork(pair: Pair) -> tuple[int, int]:
    """(what both begin with, what the first has behind it); both have a last token of their own."""
    one, other = pair.chosen.prompt, pair.rejected.prompt
    most = min(len(one), len(other)) - 1
    stem = next((n for n in range(most) if one[n] != other[n]), most)
    return stem, len(one) - stem


def _joined(pair: Pair, fill: int) -> Told:
    """Stem, first branch, second branch; the last token of each branch carries the weight."""
    stem, _ = _fork(pair)
    ids = (*pair.chosen.prompt, *pair.rejected.prompt[stem:], fill)
    ends = (len(pair.chosen.prompt), len(ids) - 1)  # a token's weight is that of its target
    return Told(ids, tuple(place in ends for place in range(len(ids))))


def _rated(reward: RewardModel, pairs: Sequence[Comparison]) -> NDArray[np.float64]:
    """(pairs, 2): rewards of chosen and rejected."""
    sequences = [each.prompt for pair in pairs for each in (pair.chosen, pair.rejected)]
    return reward.rate(sequences).reshape(-1, 2)


def _write_leads(path: Path, pairs: Sequence[Comparison], rated: NDArray[np.float64]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for pair, (chosen, rejected) in zip(pairs, rated.tolist(), strict=True):
            row = {"probability": pair.probability, "rewards": [chosen, rejected]}
            file.write(json.dumps(row) + "\n")
