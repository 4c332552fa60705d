"""Model -> samples: how it continues a few prompts, for people to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import write_json
from ontogeny.rollout.policy import Request, sample_all
from ontogeny.run.work import Made, Work


@dataclass(frozen=True)
class Samples:
    """Continues each prompt once; the draws follow from the run's seed."""

    prompts: tuple[str, ...]
    max_tokens: int = 60
    temperature: float = 0.8
    top_p: float = 0.95

    stage: ClassVar[str] = "samples"
    version: ClassVar[int] = 1
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
        requests = [
            Request(
                prompt=(tokenizer.end_of_text, *tokenizer.encode(prompt)),
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                top_p=self.top_p,
                stop=(tokenizer.end_of_text,),
                seed=work.named_seed("sample", number),
            )
            for number, prompt in enumerate(self.prompts)
        ]
        completions = sample_all(policy, requests)
        rows = [
            {"prompt": prompt, "continuation": tokenizer.decode(completion.ids)}
            for prompt, completion in zip(self.prompts, completions, strict=True)
        ]
        write_json(work.payload / "samples.json", rows)
        return Made(
            metrics={"samples": len(rows)},
            summary=tuple(f"{row['prompt']}|{row['continuation']}" for row in rows),
            tokens=sum(len(completion.ids) for completion in completions),
        )
