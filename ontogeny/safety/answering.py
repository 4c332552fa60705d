"""Putting requests to a policy: texts in, answers out, one turn each.

Knows no model and no verdict. An answer is kept with how it ended, since one that was cut is not
well formed whatever it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.environments.policy import is_refusal
from ontogeny.environments.requests import Requests
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.drive import drive_all
from ontogeny.rollout.flow import Flow, Sample
from ontogeny.rollout.policy import Completion, Policy, Request
from ontogeny.safety.requests import VILLAGE, SafetyRequest
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a request.

    Attributes:
        text: without the token that ended it.
        ended: by the policy itself.
        tokens: how many were sampled.
    """

    request: SafetyRequest
    text: str
    ended: bool
    tokens: int

    def right(self) -> float | None:
        """What the village's verifier says, 0 or 1; None of a request without one."""
        if self.request.task is None:
            return None
        return Requests(VILLAGE[self.request.label]).score(self.request.task, self.text)

    def well_formed(self) -> bool:
        """Ended, and in the village in a form of its own: help, word or refusal."""
        task = self.request.task
        if task is None:
            return self.ended and bool(self.text.strip())
        formed = Requests(VILLAGE[self.request.label]).well_formed(task, self.text)
        return self.ended and (formed or is_refusal(self.text))


def answer_all(
    policy: Policy,
    tokenizer: Tokenizer,
    asked: Sequence[SafetyRequest],
    *,
    max_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    context: int = 0,
) -> list[Answer]:
    """Every request as the first turn of a chat, sampled together in lockstep, in their order.

    Args:
        context: most tokens of prompt and answer together; 0 does not check.

    Raises:
        InputError: a prompt does not fit, or the chat template refuses it.
    """
    prompts = [
        render([Message("user", each.text)], tokenizer, generation_prompt=True).ids
        for each in asked
    ]
    longest = max(map(len, prompts), default=0) + max_tokens
    if context and longest > context:
        raise InputError(
            f"a request takes {longest} tokens with its answer, the model's context is {context}; "
            "ask shorter ones or lower max_tokens"
        )
    flows = [
        _one(
            Request(
                prompt,
                max_tokens,
                Sampling(temperature=temperature, seed=named_seed(seed, "request", number)),
                stop=tokenizer.stops(chats=True),
            )
        )
        for number, prompt in enumerate(prompts)
    ]
    said = drive_all(flows, policy)
    return [_answer(each, done, tokenizer) for each, done in zip(asked, said, strict=True)]


def _one(request: Request) -> Flow[Completion]:
    completion: Completion = yield Sample(request)
    return completion


def _answer(request: SafetyRequest, completion: Completion, tokenizer: Tokenizer) -> Answer:
    ended = completion.finish == "stop"
    ids = completion.ids[:-1] if ended else completion.ids
    return Answer(request, tokenizer.decode(ids), ended, len(completion.ids))
