"""Token ids out, token ids and log-probs back: vLLM. Knows no HTTP and no messages.

From vLLM 0.11 on, which returns ids (`return_token_ids`) and takes `structured_outputs`. Its
log-probs are those of the unmodified distribution unless it was started with another
`--logprobs-mode`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.edge.remote_asking import Asker
from ontogeny.edge.remote_fields import bias_fields, grammar_fields, sampling_fields
from ontogeny.edge.remote_heard import (
    BYTES_A_TOKEN,
    Said,
    Top,
    cut,
    fitting,
    ids_of,
    number,
    room,
    wrong,
)
from ontogeny.edge.remote_server import Served
from ontogeny.edge.remote_spending import Usage
from ontogeny.edge.remote_usage import usage_of
from ontogeny.rollout.policy import Completion, Continuation, Likelihood, Request, Sink
from ontogeny.text.tokenizer import Tokenizer


class VLLM:
    """Speaks to vLLM by ids."""

    version = 0

    def __init__(self, asker: Asker, server: Served, tokenizer: Tokenizer) -> None:
        self.asker, self.server, self.tokenizer = asker, server, tokenizer
        self._path = f"{asker.client.address.path}/completions"

    async def sample(self, request: Request, sink: Sink | None) -> Completion:
        """One completion. See `RemotePolicy.sample`."""
        longest = fitting(request, self.server.context)
        if not longest:
            return Completion((), (), (), "context")
        heard = _Ids(Said(request, self.tokenizer, sink))
        body: dict[str, Any] = {
            "model": self.server.model,
            "prompt": list(request.prompt),
            "max_tokens": longest,
            "logprobs": request.top_log_probs,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            "stop_token_ids": list(request.stop),
            # A grammar ends by the model's own end; anything else ends by what is asked for.
            "ignore_eos": request.grammar is None,
            **sampling_fields(request.sampling, "vllm", self.server.context),
            **bias_fields(request.sampling, "vllm"),
            **grammar_fields(request.grammar, "vllm", chat=False),
        }
        if request.stop_strings:
            body["stop"] = list(request.stop_strings)
        if sink is not None:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        most = Usage(len(request.prompt), longest)
        await self.asker.ask(self._path, body, heard, most, room(request))
        return heard.completion(longest)

    async def score(self, request: Continuation) -> Likelihood:
        """One forward pass over both; the server must also write one token, which is dropped."""
        ids = (*request.prompt, *request.target)
        heard = _Scores(request.target)
        body = {
            "model": self.server.model,
            "prompt": list(ids),
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprobs": 0,
        }
        most_bytes = (1 << 20) + BYTES_A_TOKEN * len(ids)
        await self.asker.ask(self._path, body, heard, Usage(len(ids), 1), most_bytes)
        return heard.likelihood(self.version)


class _Ids:
    """Ids, log-probs and alternatives, as they come."""

    def __init__(self, said: Said) -> None:
        self._said = said
        self._reason = ""
        self._ended: Any = None
        self._usage: Usage | None = None

    def take(self, event: Mapping[str, Any]) -> bool:
        """See `remote_asking.Answer`."""
        said = self._said
        self._usage = usage_of(event) or self._usage
        choice = _first_choice(event)
        if choice is None:
            return False
        prompt = choice.get("prompt_token_ids")
        if prompt is not None and prompt != list(said.request.prompt):
            raise InputError("the server put other tokens before the answer than it was sent")
        ids = ids_of(choice.get("token_ids"), said.tokenizer)
        listed = choice.get("logprobs")
        if not isinstance(listed, dict):
            raise wrong("logprobs")
        log_probs = listed.get("token_logprobs")
        if not isinstance(log_probs, list) or len(log_probs) != len(ids):
            raise wrong("as many log-probs as token_ids")
        for place, id_ in enumerate(ids):
            said.put(id_, number(log_probs[place]), self._top(listed.get("top_logprobs"), place))
        if choice.get("finish_reason"):
            self._reason, self._ended = str(choice["finish_reason"]), choice.get("stop_reason")
        return False

    def complete(self) -> bool:
        """See `remote_asking.Answer`."""
        return bool(self._reason)

    def again(self) -> bool:
        """See `remote_asking.Answer`."""
        return not self._said.ids

    def usage(self) -> Usage | None:
        """See `remote_asking.Answer`."""
        return self._usage

    def completion(self, longest: int) -> Completion:
        """The answer, when all of it is heard."""
        said = self._said
        if self._reason == "stop":
            if isinstance(self._ended, str):
                said.matched = self._ended
                said.keep(cut(said.ids, self._ended, said.tokenizer))
            elif said.request.grammar is not None and said.finish is None:
                said.keep(len(said.ids) - 1)  # the model's own end, which nobody asked for
            said.finish = "stop"
        elif self._reason == "length":
            short = len(said.ids) < said.request.max_tokens
            said.finish = "context" if short and len(said.ids) >= longest else "length"
        else:
            raise wrong(f"a known finish_reason, not '{self._reason[:40]}'")
        return said.completion()

    def _top(self, tops: Any, place: int) -> Top:
        """vLLM spells alternatives "token_id:17", and gives the sampled token besides."""
        if not self._said.request.top_log_probs:
            return ()
        table = tops[place] if isinstance(tops, list) and place < len(tops) else None
        if not isinstance(table, dict):
            raise wrong("top_logprobs of each token")
        pairs = [
            (ids_of([int(name)], self._said.tokenizer)[0], number(value))
            for spelled, value in table.items()
            if (name := spelled.removeprefix("token_id:")).isdecimal() and len(name) < 10
        ]
        return tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


class _Scores:
    """Log-probs of the prompt's last tokens."""

    def __init__(self, target: Sequence[int]) -> None:
        self._target = target
        self._entries: list[Any] = []
        self._usage: Usage | None = None

    def take(self, event: Mapping[str, Any]) -> bool:
        """See `remote_asking.Answer`."""
        self._usage = usage_of(event)
        choice = _first_choice(event)
        listed = None if choice is None else choice.get("prompt_logprobs")
        if not isinstance(listed, list) or len(listed) < len(self._target):
            raise wrong("prompt_logprobs; this server cannot score")
        self._entries = listed[-len(self._target) :]
        return False

    def complete(self) -> bool:
        """See `remote_asking.Answer`."""
        return bool(self._entries)

    def again(self) -> bool:
        """See `remote_asking.Answer`."""
        return True

    def usage(self) -> Usage | None:
        """See `remote_asking.Answer`."""
        return self._usage

    def likelihood(self, version: int) -> Likelihood:
        """The scores of the target's tokens."""
        log_probs, greedy = [], []
        for id_, table in zip(self._target, self._entries, strict=True):
            entry = table.get(str(id_)) if isinstance(table, dict) else None
            if not isinstance(entry, dict):
                raise wrong("a log-prob of each token of the prompt")
            log_probs.append(number(entry.get("logprob")))
            greedy.append(entry.get("rank") == 1)
        return Likelihood(tuple(log_probs), tuple(greedy), version)


def _first_choice(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The one choice of an answer; None in a part that has none (the last, with the usage)."""
    choices = event.get("choices")
    if not isinstance(choices, list) or (choices and not isinstance(choices[0], dict)):
        raise wrong("choices")
    return choices[0] if choices else None
