"""Model + conversations -> measurement: what it gives back word for word of what it learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import ClassVar, NamedTuple

import numpy as np

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import write_jsonl
from ontogeny.corpus.shards import Shard, domains, read_shard
from ontogeny.evaluate.intervals import Interval
from ontogeny.evaluate.series import Series, level, proportion, write_series
from ontogeny.rollout.policy import Continuation, Likelihood, Policy, score_all
from ontogeny.run.work import Made, Work
from ontogeny.safety.canaries import Canary, alternatives, exposure, read_canaries
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

FILE = "asked.jsonl"
FEWEST = 15
"""Secrets beside the own one that show where a secret begins, whether they are scored or not."""


@dataclass(frozen=True, kw_only=True)
class MeasureMemory:
    """Asks for planted secrets, and for the ends of answers that were learnt.

    A canary is *extracted* when the model, given the question and the answer up to the secret,
    finds each further token of it the likeliest, which is what greedy decoding writes. Its
    *exposure* compares the secret's likelihood with `alternatives` others (`safety.canaries`); 0
    leaves it out, which is several times as fast. Of
    `rows` conversations of either split that have an answer longer than `tail` tokens, the last
    `tail` are asked for in the same way; what was held out is the control, since a model may know
    how an answer ends without having learnt it.

    Series, one unit a canary or conversation: memory.extracted.K and memory.exposure.K of those
    planted K times (0: never, a placebo); memory.verbatim.train and memory.verbatim.heldout.

    Raises:
        InputError: there is neither a canary nor an answer so long.
    """

    alternatives: int = 255
    tail: int = 16
    rows: int = 400
    slots: int = 64

    stage: ClassVar[str] = "measure_memory"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "conversations")
    makes: ClassVar[str] = "measurement"

    def __post_init__(self) -> None:
        if min(self.tail, self.slots) < 1 or min(self.rows, self.alternatives) < 0:
            raise InputError(
                "measure_memory: tail and slots are at least 1, rows and alternatives at least 0"
            )

    def __call__(self, work: Work, model: Artifact, conversations: Artifact) -> Made:
        """Writes series.json and asked.jsonl."""
        policy, tokenizer = bridge.load_policy(model, slots=self.slots)
        canaries, own = read_canaries(conversations)
        seed, read = work.named_seed("alternatives"), 0
        asked: list[_Asked] = []
        for number, canary in enumerate(canaries):
            found, tokens = _ask(policy, tokenizer, canary, self.alternatives, seed)
            asked.append(found)
            read += tokens
            work.progress(number + 1, len(canaries), "canaries")
        series = _series(asked, self.alternatives)
        for split in ("train", "heldout"):
            ends = _ends(conversations, split, own, self.tail)
            order = np.random.default_rng(work.named_seed("rows", split)).permutation(len(ends))
            chosen = [ends[place] for place in sorted(order[: self.rows])]
            if chosen:
                told = score_all(policy, [end for _, end in chosen])
                read += sum(len(end.prompt) + len(end.target) for _, end in chosen)
                values = [float(all(each.greedy)) for each in told]
                names = [name for name, _ in chosen]
                series[f"memory.verbatim.{split}"] = Series(names, values, [1.0] * len(names))
        if not series:
            raise InputError(
                f"'{conversations.name}' has no canaries and no answer longer than {self.tail} "
                "tokens; plant some (PlantCanaries) or lower tail"
            )
        write_series(work.payload, series)
        write_jsonl(work.payload / FILE, (each.row() for each in asked))
        levels = {name: _level(name, each, work.seed) for name, each in series.items()}
        return Made(
            metrics={name: _metric(each) for name, each in levels.items()},
            summary=_summary(levels, self.tail),
            tokens=read,
            flops=read * bridge.shape_of(model).forward_flops_per_token(),
        )


class _Asked(NamedTuple):
    canary: Canary
    extracted: bool
    exposure: float
    nats: float

    def row(self) -> Mapping[str, str | int | float | bool]:
        """For a reader; the secret is made up."""
        name, secret, repeats = self.canary.name, self.canary.secret, self.canary.repeats
        told = {"extracted": self.extracted, "exposure": self.exposure, "nats": self.nats}
        return {"name": name, "secret": secret, "repeats": repeats, **told}


def _ask(
    policy: Policy, tokenizer: Tokenizer, canary: Canary, count: int, seed: int
) -> tuple[_Asked, int]:
    """What is found of one canary, and how many tokens were read for it."""
    secrets = [canary.secret, *alternatives(canary, max(count, FEWEST), seed)]
    asked = apart([render(canary.talk(each), tokenizer).ids for each in secrets])[: 1 + count]
    told: list[Likelihood] = score_all(policy, asked)
    own, *others = (each.total() for each in told)
    read = len(asked[0].prompt) + sum(len(each.target) for each in asked)
    return _Asked(canary, all(told[0].greedy), exposure(own, others), -own), read


def apart(rendered: Sequence[Sequence[int]]) -> list[Continuation]:
    """Sequences that differ in their middle, as what they share in front and what follows.

    What they share behind is left out, so that the target is what makes them differ.
    """
    before = _shared(rendered)
    behind = _shared([each[before:][::-1] for each in rendered])
    return [
        Continuation(tuple(each[:before]), tuple(each[before : len(each) - behind]))
        for each in rendered
    ]


def _shared(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all begin with; less than the shortest has."""
    most = min(map(len, rows)) - 1
    return len(list(takewhile(lambda each: len(set(each)) == 1, zip(*rows, strict=False)))[:most])


def _ends(
    conversations: Artifact, split: str, own: Mapping[str, int], tail: int
) -> list[tuple[str, Continuation]]:
    """The last `tail` learnt tokens of each conversation whose last answer is longer than that."""
    found = []
    for domain in domains(conversations, split):
        shard = read_shard(conversations, split, domain)
        count = own.get(domain, len(shard)) if split == "train" else len(shard)
        for index in range(count):
            end = _end(shard, index, tail)
            if end is not None:
                found.append((f"{split}/{domain}/{index}", end))
    return found


def _end(shard: Shard, index: int, tail: int) -> Continuation | None:
    ids = shard.document(index)
    weights = shard.document_weights(index)
    learnt = np.flatnonzero(weights)
    if not len(learnt):
        return None
    stop = int(learnt[-1]) + 1
    if stop <= tail or not weights[stop - tail - 1 : stop].all():
        return None
    prompt, target = ids[: stop - tail], ids[stop - tail : stop]
    return Continuation(tuple(map(int, prompt)), tuple(map(int, target)))


def _series(asked: Sequence[_Asked], alternatives: int) -> dict[str, Series]:
    found: dict[str, Series] = {}
    for repeats in sorted({each.canary.repeats for each in asked}):
        group = [each for each in asked if each.canary.repeats == repeats]
        names, ones = [each.canary.name for each in group], [1.0] * len(group)
        extracted = [float(each.extracted) for each in group]
        found[f"memory.extracted.{repeats}"] = Series(names, extracted, ones)
        if alternatives:
            exposures = [each.exposure for each in group]
            found[f"memory.exposure.{repeats}"] = Series(names, exposures, ones)
    return found


def _level(name: str, series: Series, seed: int) -> Interval:
    make = level if ".exposure." in name else proportion
    return make(series, f"{name} {seed}")


def _metric(each: Interval) -> dict[str, float]:
    return {"estimate": each.value, "low": each.low, "high": each.high, "units": each.units}


def _summary(levels: Mapping[str, Interval], tail: int) -> tuple[str, ...]:
    lines = []
    for name, each in levels.items():
        if name.startswith("memory.extracted."):
            repeats = name.rpartition(".")[2]
            told = levels.get(f"memory.exposure.{repeats}")
            bits = ""
            if told is not None:
                bits = f"exposure {told.value:.2f} [{told.low:.2f}, {told.high:.2f}] bits, "
            lines.append(
                f"planted {repeats} times: extracted {each.value:.1%} [{each.low:.1%}, "
                f"{each.high:.1%}], {bits}{each.units} canaries"
            )
        elif name.startswith("memory.verbatim."):
            lines.append(
                f"{name.rpartition('.')[2]}: the last {tail} tokens of an answer given back in "
                f"{each.value:.1%} [{each.low:.1%}, {each.high:.1%}] of {each.units} conversations"
            )
    return tuple(lines)
