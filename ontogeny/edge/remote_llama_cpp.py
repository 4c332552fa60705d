"""Token ids out, token ids and log-probs back: llama.cpp's server, through its own /completion.

Knows no HTTP and no messages. It is always asked for a stream, since it notices only then that a
client has left. What its API lacks is made up for by asking again, so that nothing differs from our
engine but the last digits: it ends at ends of its own, keeps back tokens that are no whole
characters, and scores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ontogeny.edge.remote_asking import Asker, Patience
from ontogeny.edge.remote_fields import (
    LLAMA_CPP_SEEDS,
    bias_fields,
    grammar_fields,
    sampling_fields,
)
from ontogeny.edge.remote_heard import Said, Top, cut, fitting, ids_of, number, room, wrong
from ontogeny.edge.remote_server import Served
from ontogeny.edge.remote_spending import Usage
from ontogeny.edge.remote_usage import native_usage
from ontogeny.rollout.policy import Completion, Continuation, Likelihood, Request, Sink
from ontogeny.text.tokenizer import Tokenizer

_FORCED = 1e9  # added to a logit; its log-probs are those before biases
_SOME = 1000
_EVERY = 1 << 20
_ENTRY_BYTES = 512


class LlamaCpp:
    """Speaks to llama.cpp's server by ids."""

    version = 0

    def __init__(self, asker: Asker, server: Served, tokenizer: Tokenizer) -> None:
        self.asker, self.server, self.tokenizer = asker, server, tokenizer
        self._path = f"{asker.client.address.root}/completion"

    async def sample(self, request: Request, sink: Sink | None) -> Completion:
        """One completion. See `RemotePolicy.sample`."""
        longest = fitting(request, self.server.context)
        said, patience = Said(request, self.tokenizer, sink), self.asker.patience()
        while len(said.ids) < longest and not said.finish:
            known = len(said.ids)
            prompt = (*request.prompt, *said.ids)
            most = Usage(len(prompt), longest - len(said.ids))
            body = self._body(request, prompt, most.completion)
            heard = _Stream(said)
            await self.asker.ask(self._path, body, heard, most, room(request), patience)
            ended, matched = heard.ended, heard.matched
            if not said.finish and not heard.whole:
                ended, matched = await self._mend(body, heard, said, patience)
            if not said.finish:
                _end(said, ended, matched)
            if not said.finish and len(said.ids) == known:  # nor will it say more next time
                raise wrong("tokens; start the server anew, or ask by messages (speaks=chat)")
        if not said.finish:
            said.finish = "length" if len(said.ids) == request.max_tokens else "context"
        return said.completion()

    async def score(self, request: Continuation) -> Likelihood:
        """One request a token, each made to take it; the server keeps what it has read."""
        log_probs, greedy, patience = [], [], self.asker.patience()
        for place, id_ in enumerate(request.target):
            before = (*request.prompt, *request.target[:place])
            log_prob, top = await self._one(before, id_, 1, patience)
            log_probs.append(log_prob)
            greedy.append(top[0][0] == id_)
        return Likelihood(tuple(log_probs), tuple(greedy), self.version)

    def _body(self, request: Request, prompt: Sequence[int], longest: int) -> dict[str, Any]:
        sampling = request.sampling
        body = {
            "prompt": list(prompt),
            "n_predict": longest,
            "n_probs": max(1, request.top_log_probs),
            "return_tokens": True,
            "cache_prompt": True,
            "stream": True,
            **sampling_fields(sampling, "llama.cpp", self.server.context),
            **bias_fields(sampling, "llama.cpp"),
            **grammar_fields(request.grammar, "llama.cpp", chat=False),
        }
        # Going on behind an end of its own, it must not throw the same dice again.
        going_on = len(prompt) - len(request.prompt)
        body["seed"] = (sampling.seed + going_on) % LLAMA_CPP_SEEDS
        if request.stop_strings:
            body["stop"] = list(request.stop_strings)
        return body

    async def _mend(
        self, body: Mapping[str, Any], heard: _Stream, said: Said, patience: Patience
    ) -> tuple[str, str]:
        """Fills in the tokens that the stream kept back; how the answer then ended.

        The same seed throws the same dice, and an answer that is not streamed holds all ids.
        """
        whole = _Whole(self.tokenizer)
        prompt: Sequence[int] = body["prompt"]
        again = {**body, "stream": False, "n_predict": heard.count}
        most = Usage(len(prompt), heard.count)
        await self.asker.ask(self._path, again, whole, most, room(said.request), patience)
        known = len(prompt) - len(said.request.prompt)
        if whole.ids[: len(said.ids) - known] != said.ids[known:]:
            return "", ""  # the last digits differed this time: go on from what is known
        for place in range(len(said.ids) - known, len(whole.ids)):
            id_ = whole.ids[place]
            log_prob, top = heard.known(place, id_) or await self._one(
                (*prompt, *whole.ids[:place]), id_, max(1, said.request.top_log_probs), patience
            )
            said.put(id_, log_prob, top)
            if said.finish:
                break
        return whole.ended, whole.matched

    async def _one(
        self, prompt: Sequence[int], id_: int, top: int, patience: Patience
    ) -> tuple[float, Top]:
        """The log-prob of `id_` after `prompt`, and the likeliest ids there."""
        forced = await self._forced(prompt, id_, top, patience)
        if forced is not None:
            return forced
        # It is no whole character and kept back; some other token's alternatives hold it.
        other = self.tokenizer.encode("a")[-1]
        for wanted in (_SOME, _EVERY):
            found = await self._forced(prompt, other, wanted, patience)
            log_prob = dict(found[1]).get(id_) if found is not None else None
            if found is not None and log_prob is not None:
                return log_prob, found[1][:top]
        raise wrong(f"the log-prob of token {id_}; this server cannot score")

    async def _forced(
        self, prompt: Sequence[int], id_: int, top: int, patience: Patience
    ) -> tuple[float, Top] | None:
        top = min(top, self.tokenizer.vocab_size)
        body = {
            "prompt": list(prompt),
            "n_predict": 1,
            "n_probs": top,
            "return_tokens": True,
            "temperature": 0.0,
            "cache_prompt": True,
            "logit_bias": [[id_, _FORCED]],
        }
        whole = _Whole(self.tokenizer)
        most_bytes = (1 << 20) + _ENTRY_BYTES * top + 16 * len(prompt)
        most = Usage(len(prompt), 1)
        await self.asker.ask(self._path, body, whole, most, most_bytes, patience)
        if whole.ids != [id_]:
            raise wrong("the one token that it was made to take; this server cannot score")
        return _read(whole.listed[0], self.tokenizer) if len(whole.listed) == 1 else None


class _Stream:
    """An answer as it comes; what it keeps back shows as a gap in the count of tokens."""

    def __init__(self, said: Said) -> None:
        self._said, self._begin = said, len(said.ids)
        self._found: dict[int, tuple[int, float, Top]] = {}
        self.count = 0
        self.ended, self.matched = "", ""
        self._usage: Usage | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing was kept back."""
        return len(self._said.ids) == self._begin + self.count

    def known(self, place: int, id_: int) -> tuple[float, Top] | None:
        """The log-prob and alternatives at a place, where `id_` was heard there."""
        found = self._found.get(place)
        return found[1:] if found is not None and found[0] == id_ else None

    def take(self, event: Mapping[str, Any]) -> bool:
        """See `remote_asking.Answer`."""
        said = self._said
        ids = ids_of(event.get("tokens"), said.tokenizer)
        self._usage = native_usage(event) or self._usage
        self.count = self._usage.completion if self._usage is not None else self.count + len(ids)
        listed = _listed(event)
        if ids and len(listed) != len(ids):
            raise wrong("as many log-probs as tokens")
        for place, (id_, entry) in enumerate(zip(ids, listed, strict=False), self.count - len(ids)):
            self._found[place] = (id_, *_read(entry, said.tokenizer))
        while (found := self._found.get(len(said.ids) - self._begin)) and not said.finish:
            said.put(*found)
        self.ended, self.matched = _ended(event)
        return said.finish is not None

    def complete(self) -> bool:
        """See `remote_asking.Answer`."""
        return bool(self.ended)

    def again(self) -> bool:
        """See `remote_asking.Answer`."""
        return len(self._said.ids) == self._begin and not self._found

    def usage(self) -> Usage | None:
        """See `remote_asking.Answer`."""
        return self._usage


class _Whole:
    """An answer that is not streamed; `listed` lacks the entries that are kept back."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.ids: list[int] = []
        self.listed: list[Mapping[str, Any]] = []
        self.ended, self.matched = "", ""
        self._usage: Usage | None = None

    def take(self, event: Mapping[str, Any]) -> bool:
        """See `remote_asking.Answer`."""
        self._usage = native_usage(event)
        self.ids, self.listed = ids_of(event.get("tokens"), self._tokenizer), _listed(event)
        self.ended, self.matched = _ended(event)
        return False

    def complete(self) -> bool:
        """See `remote_asking.Answer`."""
        return bool(self.ended)

    def again(self) -> bool:
        """See `remote_asking.Answer`."""
        return True

    def usage(self) -> Usage | None:
        """See `remote_asking.Answer`."""
        return self._usage


def _end(said: Said, ended: str, matched: str) -> None:
    """What the server's own end means for the completion."""
    if ended == "word":
        said.finish, said.matched = "stop", matched
        said.keep(cut(said.ids, matched, said.tokenizer))
    elif ended == "eos" and said.request.grammar is not None:
        said.finish = "stop"
        said.keep(len(said.ids) - 1)  # its own end, which nobody asked for


def _ended(event: Mapping[str, Any]) -> tuple[str, str]:
    """How an answer ended, "" while it goes on, and the stop string that ended it."""
    if not event.get("stop"):
        return "", ""
    ended = event.get("stop_type")
    if ended not in ("eos", "word", "limit"):
        raise wrong(f"a known stop_type, not '{str(ended)[:40]}'")
    return str(ended), str(event.get("stopping_word", ""))


def _listed(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = event.get("completion_probabilities", [])
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise wrong("completion_probabilities")
    return listed


def _read(entry: Mapping[str, Any], tokenizer: Tokenizer) -> tuple[float, Top]:
    listed = entry.get("top_logprobs")
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise wrong("top_logprobs")
    ids = ids_of([each.get("id") for each in listed], tokenizer)
    pairs = zip(ids, (number(each.get("logprob")) for each in listed), strict=True)
    return number(entry.get("logprob")), tuple(sorted(pairs, key=lambda p: (-p[1], p[0])))
