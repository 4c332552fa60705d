"""A completion of token ids in the making, and how far a stranger's numbers are believed.

Knows no server; `remote_tokens` and `remote_llama_cpp` read theirs with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import Completion, Finish, Request, Sink
from ontogeny.rollout.trajectory import finite
from ontogeny.text.tokenizer import Tokenizer

BYTES_A_TOKEN = 1024
BYTES_A_TOP = 256
"""Of an answer's JSON: more than a token and one of its alternatives take."""
Top = tuple[tuple[int, float], ...]


class Said:
    """Ids with log-probs in order; a sink hears them as they come.

    Under a grammar the last one is held back until it is clear that it is no end of the model's
    own, which would not belong to the completion.
    """

    def __init__(self, request: Request, tokenizer: Tokenizer, sink: Sink | None) -> None:
        self.request, self.tokenizer, self._sink = request, tokenizer, sink
        self.ids: list[int] = []
        self._log_probs: list[float] = []
        self._top: list[Top] = []
        self._told = 0
        self.finish: Finish | None = None
        self.matched: str | None = None

    def put(self, id_: int, log_prob: float, top: Top) -> None:
        """One token; a stop id ends the completion."""
        self.ids.append(id_)
        self._log_probs.append(log_prob)
        self._top.append(top[: self.request.top_log_probs])
        if id_ in self.request.stop:
            self.finish = "stop"
        held = self.request.grammar is not None and self.finish is None
        self._tell(len(self.ids) - held)

    def keep(self, count: int) -> None:
        """Only the first so many belong to the completion."""
        for each in (self.ids, self._log_probs, self._top):
            del each[count:]

    def completion(self) -> Completion:
        """The completion, which must have its finish."""
        assert self.finish is not None
        self._tell(len(self.ids))
        top = tuple(self._top) if self.request.top_log_probs else ()
        ids, log_probs = tuple(self.ids), tuple(self._log_probs)
        return Completion(ids, log_probs, (0,) * len(ids), self.finish, self.matched, top)

    def _tell(self, count: int) -> None:
        while self._sink is not None and self._told < count:
            self._told += 1
            self._sink(self.ids[self._told - 1], self._log_probs[self._told - 1])


def room(request: Request) -> int:
    """The most bytes that an answer may take, with room for the prompt that some repeat."""
    token = BYTES_A_TOKEN + BYTES_A_TOP * (request.top_log_probs + 1)
    return (1 << 20) + 16 * len(request.prompt) + token * request.max_tokens


def fitting(request: Request, context: int | None) -> int:
    """How many new tokens the context leaves room for; 0 where the prompt fills it."""
    if context is None:
        return request.max_tokens
    return max(0, min(request.max_tokens, context - len(request.prompt)))


def ids_of(value: Any, tokenizer: Tokenizer) -> list[int]:
    """A list of ids of our vocabulary.

    Raises:
        InputError: it is none.
    """
    if not isinstance(value, list) or not all(type(each) is int for each in value):
        raise wrong("token_ids (vLLM gives them from 0.11 on)")
    most = 1 << 31 if tokenizer.vocabulary.rows_beyond else tokenizer.vocab_size
    if not all(0 <= each < most for each in value):
        raise InputError("the server says ids that our tokenizer does not have; it is another one")
    return value


def number(value: Any) -> float:
    """A log-prob. Raises InputError."""
    found = finite(value)
    if found is None:
        raise wrong("log-probs that are numbers")
    return found


def cut(ids: Sequence[int], text: str, tokenizer: Tokenizer) -> int:
    """How many of `ids` run up to the token that completes `text`; all, where none does."""
    count = len(ids)
    if text not in tokenizer.continuation(ids):
        return count
    while count > 1 and text in tokenizer.continuation(ids[: count - 1]):
        count -= 1
    return count


def wrong(what: str) -> InputError:
    """The line for an answer of another form."""
    return InputError(f"the server's answer is not what was asked for: it lacks {what}")
