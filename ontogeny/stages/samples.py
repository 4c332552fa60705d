"""Model -> samples: how it continues or answers a few prompts, for people to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import write_json
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.policy import Request, sample_all
from ontogeny.run.work import Made, Work
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Samples:
    """Continues each prompt once; a model that has learnt to chat answers it as a turn.

    The draws follow from the run's seed.
    """

    prompts: tuple[str, ...]
    max_tokens: int = 60
    temperature: float = 0.8
    top_p: float = 0.95

    stage: ClassVar[str] = "samples"
    version: ClassVar[int] = 2
    takes: ClassVar[tuple[str, ...]] = ("model",)
    makes: ClassVar[str] = "samples"

    def __post_init__(self) -> None:
        if not self.prompts:
            raise InputError("samples needs at least one prompt")
        if self.max_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise InputError(
                "samples: give max_tokens of at least 1, a temperature of 0 or more "
                "and top_p between 0 and 1"
            )

    def __call__(self, work: Work, model: Artifact) -> Made:
        """Writes samples.json: prompt and continuation of each."""
        policy, tokenizer = bridge.load_policy(model, slots=len(self.prompts))
        chats = bridge.chats(model)
        requests = [
            Request(
                prompt=_ids(prompt, tokenizer, chats),
                max_tokens=self.max_tokens,
                sampling=Sampling(
                    temperature=self.temperature,
                    top_p=self.top_p,
                    seed=work.named_seed("sample", number),
                ),
                stop=tokenizer.stops(chats),
            )
            for number, prompt in enumerate(self.prompts)
        ]
        completions = sample_all(policy, requests)
        rows = [
            {
                "prompt": prompt,
                "continuation": tokenizer.continuation(
                    completion.ids[:-1] if completion.finish == "stop" else completion.ids
                ),
            }
            for prompt, completion in zip(self.prompts, completions, strict=True)
        ]
        write_json(work.payload / "samples.json", rows)
        return Made(
            metrics={"samples": len(rows)},
            summary=tuple(f"{row['prompt']}|{row['continuation']}" for row in rows),
            tokens=sum(len(completion.ids) for completion in completions),
        )


def _ids(prompt: str, tokenizer: Tokenizer, chats: bool) -> tuple[int, ...]:
    if chats:
        return render([Message("user", prompt)], tokenizer, generation_prompt=True).ids
    return (tokenizer.begin, *map(int, tokenizer.encode(prompt)))
