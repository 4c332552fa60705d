"""Two models + their measurements + tokens -> comparison: what the stages between them changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import write_json
from ontogeny.corpus.shards import domains, read_shard
from ontogeny.environments.catalogue import ENVIRONMENTS, environment
from ontogeny.environments.environment import Task
from ontogeny.evaluate.damage import (
    Paired,
    differences,
    examined,
    flips,
    paired,
    plain,
    summary,
)
from ontogeny.evaluate.series import Series, level, read_series, write_series
from ontogeny.run.work import Made, Work
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

FILE = "comparison.json"
PROMPTS, ANSWERS = "prompts", "answers"
Passage = tuple[Sequence[int], Sequence[float]]
"""Token ids, and a weight that is not 0 where the distributions after an id are compared."""
Passages = dict[str, Passage]


@dataclass(frozen=True)
class Compare:
    """Damage and gain of the second model against the first.

    Args:
        domains: of held-out text for the divergence; empty: every one that is held out.
        documents: of each domain, evenly from all of them.
        tokens: of each document, from its beginning; at most the shorter context of the two.
        exam: environments of the prompts; empty: the generated ones that both measurements
            examined.
        tasks: prompts of each environment.

    Raises:
        InputError: a number below 1; measurements of other models, or that share no series;
            models of other vocabularies or shapes.
    """

    domains: tuple[str, ...] = ()
    documents: int = 24
    tokens: int = 192
    exam: tuple[str, ...] = ()
    tasks: int = 8

    stage: ClassVar[str] = "compare"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "model", "measurement", "measurement", "tokens")
    makes: ClassVar[str] = "comparison"

    def __post_init__(self) -> None:
        for name in ("documents", "tokens", "tasks"):
            if getattr(self, name) < 1:
                raise InputError(f"compare: {name} is {getattr(self, name)}; give at least 1")

    def __call__(
        self,
        work: Work,
        before: Artifact,
        after: Artifact,
        measured_before: Artifact,
        measured_after: Artifact,
        tokens: Artifact,
    ) -> Made:
        """Writes comparison.json, for `ontogeny compare`, and the divergences as series.json."""
        for model, measurement in ((before, measured_before), (after, measured_after)):
            if model.id not in measurement.record.parents:
                raise InputError(f"'{measurement.name}' does not measure '{model.name}'")
        shared = paired(read_series(measured_before), read_series(measured_after))
        pair = bridge.load_pair(before, after)
        weights = pair.weights()
        passages = self._text(tokens, pair.tokenizer, pair.context)
        passages |= _chat(
            dict.fromkeys(self.exam, self.tasks) or self._examined(shared),
            pair.tokenizer,
            pair.context,
            work.named_seed("prompts"),
        )
        drift = _drift(pair, passages, work)
        comparison = {
            "before": {"id": before.id, "name": before.name},
            "after": {"id": after.id, "name": after.name},
            "differences": differences(shared),
            "flips": flips(shared),
            "divergence": {name: plain(level(each, name)) for name, each in drift.items()},
            "weights": weights,
        }
        write_series(work.payload, drift)
        write_json(work.payload / FILE, comparison)
        read = sum(len(ids) for group in passages.values() for ids, _ in group.values())
        return Made(
            metrics=_metrics(comparison),
            summary=tuple(summary(comparison)),
            tokens=read,
            flops=read * pair.flops_per_token,
        )

    def _text(self, tokens: Artifact, tokenizer: Tokenizer, context: int) -> dict[str, Passages]:
        """Domain -> the beginnings of its held-out documents; every id counts."""
        known = domains(tokens, "heldout")
        found: dict[str, Passages] = {}
        for domain in self.domains or known:
            if domain not in known:
                raise InputError(
                    f"nothing of domain '{domain}' is held out; there is {', '.join(known)}"
                )
            shard = read_shard(tokens, "heldout", domain)
            places = np.linspace(0, len(shard) - 1, min(self.documents, len(shard)))
            found[domain] = {}
            for index in places.round().astype(int).tolist():
                beginning = shard.document(index)[: min(self.tokens, context) - 1]
                ids = [tokenizer.begin, *beginning.tolist()]
                found[domain][f"{domain}/{index}"] = (ids, [1.0] * len(ids))
        return found

    def _examined(self, shared: Paired) -> dict[str, int]:
        """Tasks of each generated environment of the exam, no more than it was examined with."""
        return {
            name: min(self.tasks, count)
            for name, count in examined(shared).items()
            if name in ENVIRONMENTS
        }


def _chat(
    exam: Mapping[str, int], tokenizer: Tokenizer, context: int, seed: int
) -> dict[str, Passages]:
    """Exam tasks as chat, those that fit: their prompts, and their gold answers behind them."""
    prompts: Passages = {}
    answers: Passages = {}
    for name, count in exam.items():
        for task in environment(name).tasks("exam", count, seed):
            prompt, answer = _rendered(task, tokenizer)
            if len(answer[0]) <= context:
                prompts[task.id], answers[task.id] = prompt, answer
    return {PROMPTS: prompts, ANSWERS: answers} if prompts else {}


def _rendered(task: Task, tokenizer: Tokenizer) -> tuple[Passage, Passage]:
    """The prompt, up to where an answer begins; and the answer, where the assistant speaks."""
    question = Message("user", task.prompt)
    asked = render([question], tokenizer, generation_prompt=True).ids
    told = render([question, Message("assistant", task.answer)], tokenizer)
    return (asked, [1.0] * len(asked)), (told.ids[:-1], told.weights[1:])


def _drift(pair: Any, passages: Mapping[str, Passages], work: Work) -> dict[str, Series]:
    """Series NAME.kl, NAME.kl_reverse (nats) and NAME.agree over tokens, one unit a passage."""
    found: dict[str, Series] = {}
    total, done = sum(len(group) for group in passages.values()), 0
    for name, group in passages.items():
        drift = pair.drift(list(group.values()))
        done += len(group)
        work.progress(done, total, "passages")
        counted = drift.tokens.tolist()
        found[f"{name}.kl"] = Series(list(group), drift.forward.tolist(), counted)
        found[f"{name}.kl_reverse"] = Series(list(group), drift.reverse.tolist(), counted)
        found[f"{name}.agree"] = Series(list(group), drift.agreed.tolist(), counted)
    return found


def _metrics(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """Differences under the names of their series, divergences, flips and the weights' change."""
    weights = comparison["weights"]
    groups = [weights["all"], *weights["layers"]]
    return {
        **{name: each["difference"] for name, each in comparison["differences"].items()},
        **comparison["divergence"],
        **{f"exam.{key}": n for key, n in comparison["flips"].get("exam.score", {}).items()},
        **{
            f"weights.{group['name'].replace(' ', '_')}": group["relative"]
            for group in groups
            if group["relative"] is not None
        },
    }
