"""Model + held-out text, conversations, tasks -> measurement: unit by unit, and an exam."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.corpus.shards import Shard, domains, read_shard
from ontogeny.environments.asking import Answered, Form, ask_all, questions_of
from ontogeny.environments.own import check_counts, environments_of
from ontogeny.evaluate.intervals import Interval
from ontogeny.evaluate.series import Series, proportion, write_series
from ontogeny.run.work import Made, Work

Split = Literal["validation", "heldout"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a model knows and can do, kept by document and by problem for paired comparison.

    Text: nats of each `split` document of `domains`, the first `document_tokens` of it, seen
    through windows of `window` tokens, so models of different context compare; of conversations,
    what the assistant says in the first `window` tokens. Exam: so many problems of each environment
    of `exam` (0: all of a user's own), put as `form`; one answer each at `temperature`.
    `exam_split` is exam for reporting, heldout for choosing settings. `slots` answers are sampled
    at once.

    Series: DOMAIN.nats, exam.score, exam.form (well formed and ended), and both by environment.

    Raises:
        InputError: nothing is held out of a domain, or an environment has too few problems.
    """

    domains: tuple[str, ...] = ("english", "code")
    split: Split = "heldout"
    window: int = 256
    document_tokens: int = 1024
    exam: Mapping[str, int] = field(default_factory=dict)
    exam_split: Literal["heldout", "exam"] = "exam"
    form: Form = "chat"
    max_tokens: int = 24
    temperature: float = 0.0
    slots: int = 128

    stage: ClassVar[str] = "measure"
    version: ClassVar[int] = 2
    takes: ClassVar[tuple[str, ...]] = ("model", "tokens|conversations*", "tasks*")
    makes: ClassVar[str] = "measurement"

    def __post_init__(self) -> None:
        if not self.domains and not self.exam:
            raise InputError("measure needs domains or an exam")
        if min(self.window, self.max_tokens, self.slots) < 1 or self.document_tokens < 0:
            raise InputError("measure: window, max_tokens and slots are at least 1")
        if self.temperature < 0:
            raise InputError("measure: give a temperature of 0 or more")
        if self.exam:
            check_counts(self.exam, "measure")

    def __call__(self, work: Work, model: Artifact, *read: Artifact) -> Made:
        """Writes series.json and answers.jsonl."""
        context = bridge.shape_of(model).context
        if self.domains and self.window > context:
            raise InputError(
                f"window is {self.window}, the context of '{model.name}' {context}; lower window"
            )
        texts = [each for each in read if each.record.kind != "tasks"]
        own = [each for each in read if each.record.kind == "tasks"]
        series: dict[str, Series] = {}
        counted_tokens, flops = 0, 0.0
        for domain in self.domains:
            shard = self._shard(texts, domain)
            nats, counted, spent = bridge.score_shard(
                model, shard, work, self.window, self.document_tokens
            )
            if not counted.any():
                raise InputError(
                    f"no answer of '{domain}' begins in the first {self.window} tokens of a "
                    "conversation; raise window or bring shorter prompts"
                )
            units = [f"{domain}/{number}" for number in range(len(nats))]
            series[f"{domain}.nats"] = Series(units, nats.tolist(), counted.tolist())
            counted_tokens, flops = counted_tokens + int(counted.sum()), flops + spent
        answered = self._answers(work, model, own) if self.exam else []
        series |= _exam_series(answered)
        write_series(work.payload, series)
        with (work.payload / "answers.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(_row(each), ensure_ascii=False) + "\n" for each in answered)
        sampled = sum(len(each.trajectory.ids()) for each in answered)
        levels = {name: proportion(each, f"{name} {work.seed}") for name, each in series.items()}
        return Made(
            metrics={name: _metric(each) for name, each in levels.items()},
            summary=_summary(levels, self.form),
            tokens=counted_tokens + sampled,
            flops=flops + sampled * bridge.shape_of(model).forward_flops_per_token(),
        )

    def _shard(self, texts: Sequence[Artifact], domain: str) -> Shard:
        for each in texts:
            if domain in domains(each, self.split):
                return read_shard(each, self.split, domain)
        names = ", ".join(f"'{each.name}'" for each in texts) or "nothing"
        raise InputError(f"nothing of domain '{domain}' is in the {self.split} split of {names}")

    def _answers(self, work: Work, model: Artifact, own: Sequence[Artifact]) -> list[Answered]:
        policy, tokenizer = bridge.load_policy(model, slots=self.slots)
        worlds = environments_of(self.exam, own)
        counts = [(worlds[name], count) for name, count in self.exam.items()]
        seed = work.named_seed("exam")
        questions = questions_of(counts, self.exam_split, seed, tokenizer, self.form)
        longest = max(len(each.prompt) for each in questions) + self.max_tokens
        if longest > bridge.context_of(policy):
            raise InputError(
                f"an exam question takes {longest} tokens with its answer, the model's context is "
                f"{bridge.context_of(policy)}; ask shorter ones"
            )
        return ask_all(
            policy,
            tokenizer,
            questions,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=work.named_seed("answers"),
        )


def _exam_series(answered: Sequence[Answered]) -> dict[str, Series]:
    groups: dict[str, list[Answered]] = {}
    for each in answered:
        for name in ("exam", f"exam.{each.question.environment.name}"):
            groups.setdefault(name, []).append(each)
    series: dict[str, Series] = {}
    for name, group in groups.items():
        units = [each.question.task.id for each in group]
        ones = [1.0] * len(group)
        series[f"{name}.score"] = Series(units, [each.score for each in group], ones)
        series[f"{name}.form"] = Series(units, [float(each.well_formed) for each in group], ones)
    return series


def _row(each: Answered) -> dict[str, Any]:
    task = each.question.task
    notes = each.trajectory.notes
    return {
        "environment": each.question.environment.name,
        "task": task.id,
        "prompt": task.prompt,
        "gold": task.answer,
        "answer": each.answer,
        "score": each.score,
        "well_formed": each.well_formed,
        **({"notes": dict(notes)} if notes else {}),
    }


def _metric(each: Interval) -> dict[str, float]:
    return {"estimate": each.value, "low": each.low, "high": each.high, "units": each.units}


def _summary(levels: Mapping[str, Interval], form: Form) -> tuple[str, ...]:
    text = [
        f"{name.removesuffix('.nats')} {each.value:.3f} [{each.low:.3f}, {each.high:.3f}]"
        for name, each in levels.items()
        if name.endswith(".nats")
    ]
    lines = [f"nats a token: {', '.join(text)}"] if text else []
    if "exam.score" in levels:
        score, well = levels["exam.score"], levels["exam.form"]
        lines.append(
            f"exam as {form}: right {score.value:.1%} [{score.low:.1%}, {score.high:.1%}], "
            f"well formed {well.value:.1%}, {score.units} problems"
        )
    return tuple(lines)
