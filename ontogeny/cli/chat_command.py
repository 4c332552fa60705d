"""`ontogeny chat`: a person writes, the model answers; a base model continues the text."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ontogeny import bridge
from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.base.store import Store
from ontogeny.cli.arguments import at
from ontogeny.cli.chat_form import Manner
from ontogeny.cli.terminal import forgiving, visible
from ontogeny.rollout.policy import Completion, Policy, Request
from ontogeny.text.message import Message
from ontogeny.text.stop_strings import StopStrings
from ontogeny.text.template import check_prefix_stable, extend, render
from ontogeny.text.tokenizer import Tokenizer


def chat(reference: str, root: Path, *, prompt: str | None, manner: Manner) -> None:
    """Answers one prompt, or each line of standard input until its end.

    A model that has learnt to answer hears the turns before, too, as long as they fit its context;
    any other continues the text of each line by itself.

    Raises:
        InputError: when there is no such model, a prompt does not fit its context, or the form
            asked for cannot be followed.
    """
    artifact = Store.open(root).resolve(reference)
    # what the turns before have left in the slot is not read again
    policy, tokenizer = bridge.load_policy(
        artifact, slots=1, admission="ready", weights=manner.weights
    )
    grammar = manner.checked(tokenizer)
    context = bridge.context_of(policy)
    answers = bridge.chats(artifact)
    if prompt is None and sys.stdin.isatty() and not manner.as_json:
        what = "answers" if answers else "continues"
        print(f"{artifact.name} {what} what you write (context {context} tokens); end with Ctrl-D")
    talk = _talk(tokenizer, context) if answers else Continue(tokenizer, context)
    texts = [prompt] if prompt is not None else _lines(manner.as_json)
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends a chat like Ctrl-D
        for number, text in enumerate(texts):
            try:
                heard = talk.heard(text)
            except InputError as error:
                raise error if prompt is None else at("--prompt", error.reason) from None
            request = Request(
                prompt=heard,
                max_tokens=manner.max_tokens,
                sampling=manner.sampling(named_seed(manner.seed, "chat", number)),
                stop=talk.stop,
                stop_strings=manner.stop,
                grammar=grammar,
            )
            answer = _answer(policy, talk, request, stream=not manner.as_json)
            talk.said(answer)
            if grammar is not None and answer.completion.finish != "stop":
                print(f"note: {_CUT[answer.completion.finish]}", file=sys.stderr)
            if manner.as_json:
                completion = answer.completion
                told = {"prompt": text, "answer": answer.text, "finish": completion.finish}
                print(json.dumps(told | {"matched": completion.matched}))


_CUT = {
    "length": "the answer was cut before its form was whole; raise --max-tokens",
    "context": "the context was full before the form of the answer was whole; shorten the prompt",
}


@dataclass(frozen=True)
class Answer:
    """What was sampled, and its text without a stop string that ended it."""

    completion: Completion
    text: str


class Continue:
    """Each text by itself, continued."""

    def __init__(self, tokenizer: Tokenizer, context: int) -> None:
        self.tokenizer, self.context = tokenizer, context
        self.stop: tuple[int, ...] = tokenizer.stops(chats=False)

    def heard(self, text: str) -> tuple[int, ...]:
        """The ids to continue.

        Raises:
            InputError: when the text does not fit the context.
        """
        return self._fitting((self.tokenizer.begin, *self.tokenizer.encode(text)))

    def said(self, answer: Answer) -> None:
        """Nothing is remembered."""

    def opened(self, text: str) -> str:
        """The beginning of what is said, as it is shown."""
        return text

    def _fitting(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        if len(ids) >= self.context:
            raise InputError(
                f"the prompt is {len(ids)} tokens, the model's context {self.context}; shorten it"
            )
        return ids


class Talk(Continue):
    """Turns of user and assistant; what was sampled stays as it was sampled.

    Turns that no longer fit the context with room for an answer are forgotten, all at once.
    """

    def __init__(self, tokenizer: Tokenizer, context: int) -> None:
        super().__init__(tokenizer, context)
        self.stop = tokenizer.stops(chats=True)
        self.ids: list[int] = []

    def heard(self, text: str) -> tuple[int, ...]:
        """The conversation with a new turn, ready for the answer."""
        turn = [_asked(text)]
        ids = extend(self.ids, turn, self.tokenizer)
        if self.ids and len(ids) > self.context * 3 // 4:
            print("(the conversation has filled the context and begins anew)", file=sys.stderr)
            ids = extend([], turn, self.tokenizer)
        self.ids = ids
        return self._fitting(tuple(ids))

    def said(self, answer: Answer) -> None:
        """The answer belongs to the conversation."""
        self.ids += answer.completion.ids

    def opened(self, text: str) -> str:
        """Without the space that some tokenizers put before a text (see `Tokenizer.decode`)."""
        return text.removeprefix(" ") if self.tokenizer.vocabulary.prefixes_space else text


class Retold(Talk):
    """The whole conversation told anew each time.

    For templates of open weights that tell earlier turns differently once later ones follow
    (Qwen 3 leaves out what was thought).
    """

    def __init__(self, tokenizer: Tokenizer, context: int) -> None:
        super().__init__(tokenizer, context)
        self.turns: list[Message] = []

    def heard(self, text: str) -> tuple[int, ...]:
        """The conversation with a new turn, ready for the answer."""
        self.turns.append(_asked(text))
        ids = self._told()
        if len(self.turns) > 1 and len(ids) > self.context * 3 // 4:
            print("(the conversation has filled the context and begins anew)", file=sys.stderr)
            self.turns = self.turns[-1:]
            ids = self._told()
        return self._fitting(ids)

    def said(self, answer: Answer) -> None:
        """The answer belongs to the conversation; one that says nothing is taken back."""
        if answer.text:
            self.turns.append(Message("assistant", answer.text))
        else:
            self.turns.pop()

    def _told(self) -> tuple[int, ...]:
        return render(self.turns, self.tokenizer, generation_prompt=True).ids


def _asked(text: str) -> Message:
    if not text:
        raise InputError("there is nothing to answer; write something")
    return Message("user", text)


def _talk(tokenizer: Tokenizer, context: int) -> Talk:
    try:
        check_prefix_stable(tokenizer)
    except InputError:
        return Retold(tokenizer, context)
    return Talk(tokenizer, context)


def _lines(as_json: bool) -> Iterator[str]:
    forgiving()
    while True:
        if sys.stdin.isatty() and not as_json:
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.rstrip("\n")


def _answer(policy: Policy, talk: Continue, request: Request, *, stream: bool) -> Answer:
    """Samples an answer; streamed text is printed as soon as it is known to belong to it."""
    follower = StopStrings(request.stop_strings, talk.tokenizer)
    shown = ""

    def show(text: str) -> None:
        nonlocal shown
        new = text if shown else talk.opened(text)
        shown += text
        if stream:
            print(visible(new), end="", flush=True)

    def hear(token: int, _log_prob: float) -> None:
        if token not in request.stop:
            show(follower.read(token))

    try:
        completion = asyncio.run(policy.sample(request, hear))
        show(follower.rest())
    except BaseException:
        if stream and shown:  # what is told of it begins on a line of its own
            print(flush=True)
        raise
    if stream:
        print()
    return Answer(completion, talk.opened(follower.text))
