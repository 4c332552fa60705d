"""Model -> measurement: how simulated users like what it says to questions nobody asked before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import write_jsonl
from ontogeny.base.seeds import named_seed
from ontogeny.evaluate.series import Series, proportion, write_series
from ontogeny.feedback.open_questions import OpenQuestion, open_questions
from ontogeny.feedback.tastes import taste
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.policy import Policy, Request, sample_all
from ontogeny.run.work import Made, Work
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class MeasurePreference:
    """`questions` open questions of the `split`, `answers` to each, judged by the hidden `taste`.

    A question is a unit; its value is the mean of its answers. The judge looks at one answer at a
    time, so two models may be compared in any order: `Effect` form "wins" is the share of the
    decided questions in which the second is liked better. Traffic asks questions of the split
    train alone; choose settings on heldout, report on exam. Draws follow from the question and the
    seed, the same for every model.

    Series: preference.score, from 0 to 1.

    Raises:
        InputError: no such taste, a number that cannot be meant, too few questions in the split, or
            one that the model has no room for.
    """

    taste: str = "words"
    questions: int = 400
    answers: int = 4
    split: Literal["heldout", "exam"] = "exam"
    max_tokens: int = 24
    temperature: float = 1.0
    slots: int = 128

    stage: ClassVar[str] = "measure_preference"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model",)
    makes: ClassVar[str] = "measurement"

    def __post_init__(self) -> None:
        taste(self.taste)
        if min(self.questions, self.answers, self.max_tokens, self.slots) < 1:
            raise InputError(
                "measure_preference: questions, answers, max_tokens and slots are at least 1"
            )
        if self.temperature < 0:
            raise InputError("measure_preference: give a temperature of 0 or more")

    def __call__(self, work: Work, model: Artifact) -> Made:
        """Writes series.json and answers.jsonl."""
        policy, tokenizer = bridge.load_policy(model, slots=self.slots)
        asked = open_questions(self.split, self.questions, work.named_seed("questions"))
        requests = [
            self._request(each, number, tokenizer, work.named_seed("answers"))
            for each in asked
            for number in range(self.answers)
        ]
        longest = max(len(each.prompt) for each in requests) + self.max_tokens
        if longest > bridge.context_of(policy):
            raise InputError(
                f"a question takes {longest} tokens with its answer, the context of "
                f"'{model.name}' is {bridge.context_of(policy)}; lower max_tokens"
            )
        said, tokens = _sampled(policy, tokenizer, requests)
        likes = taste(self.taste)
        rows: list[dict[str, Any]] = []
        for place, each in enumerate(asked):
            texts = said[place * self.answers : (place + 1) * self.answers]
            rows.append({"question": each.id, "prompt": each.prompt, "answers": texts})
            rows[-1]["liked"] = [likes(text) for text in texts]
        values = [sum(row["liked"]) / self.answers for row in rows]
        series = Series([each.id for each in asked], values, [1.0] * len(asked))
        write_series(work.payload, {"preference.score": series})
        write_jsonl(work.payload / "answers.jsonl", rows)
        found = proportion(series, f"preference.score {work.seed}")
        return Made(
            metrics={
                "preference.score": {
                    "estimate": found.value,
                    "low": found.low,
                    "high": found.high,
                    "units": found.units,
                }
            },
            summary=(
                f"liked {found.value:.1%} [{found.low:.1%}, {found.high:.1%}] of "
                f"{len(said):,} answers to {len(asked):,} questions",
            ),
            tokens=tokens,
            flops=tokens * bridge.shape_of(model).forward_flops_per_token(),
        )

    def _request(
        self, asked: OpenQuestion, number: int, tokenizer: Tokenizer, seed: int
    ) -> Request:
        rendered = render([Message("user", asked.prompt)], tokenizer, generation_prompt=True)
        drawn = named_seed(seed, asked.id, number)
        sampling = Sampling(temperature=self.temperature, seed=drawn)
        stop = tokenizer.stops(chats=True)
        return Request(rendered.ids, self.max_tokens, sampling, stop=stop)


def _sampled(
    policy: Policy, tokenizer: Tokenizer, requests: list[Request]
) -> tuple[list[str], int]:
    """What is said to each request, without what ends it, and the tokens of all."""
    texts, tokens = [], 0
    for request, found in zip(requests, sample_all(policy, requests), strict=True):
        ids = found.ids[:-1] if found.finish == "stop" else found.ids
        texts.append(tokenizer.decode(ids))
        tokens += len(request.prompt) + len(found.ids)
    return texts, tokens
