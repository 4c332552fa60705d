"""A prompt's log-probs over HTTP are the engine's, in the shape that OpenAI's clients read."""

from __future__ import annotations

import asyncio
import json
import types
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from serve.running import CONTEXT, NAME, Inside, endless, inside, policy
from support.bench import small_tokenizer

from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.policy import Continuation, Request, sample_all, score_all
from ontogeny.serve.shapes import encoded_apart

PATH = "/v1/completions"
TEXTS = ("Say 3, then say é and stop.", "3", "def main(argv):\n    return 0\n", "日本 \U0001f600!")
NO_END = endless()["logit_bias"]
FIELDS = ("tokens", "token_logprobs", "top_logprobs")
ECHO = {"model": NAME, "echo": True, "temperature": 0}


def asked(*bodies: dict[str, Any], **options: Any) -> list[Any]:
    async def play(app: Inside) -> list[Any]:
        return await asyncio.gather(*(app.ask(PATH, body) for body in bodies))

    return inside(play, **options)


def told(body: dict[str, Any]) -> dict[str, Any]:
    """The first choice."""
    (reply,) = asked(ECHO | body)
    assert reply.status == 200, reply.body
    choice: dict[str, Any] = reply.json["choices"][0]
    return choice


@pytest.mark.parametrize("text", TEXTS)
def test_every_token_read_and_said_is_told_where_it_stands(text: str) -> None:
    choice = told({"prompt": text, "logprobs": 3, "max_tokens": 4, "logit_bias": NO_END})
    found, whole = choice["logprobs"], choice["text"]
    ids = small_tokenizer().encode(text)
    count = 1 + len(ids)
    assert whole.startswith(text) and len(whole) > len(text)
    assert {len(each) for each in found.values()} == {count + 4}
    assert found["tokens"][0] == small_tokenizer().token_bytes(small_tokenizer().begin).decode()
    assert found["token_logprobs"][0] is None and found["top_logprobs"][0] is None
    assert all(number <= 0 for number in found["token_logprobs"][1:])
    for token, number, top in list(zip(*map(found.get, FIELDS), strict=True))[1:]:
        assert len(top) <= 3
        assert top.get(token, number) == pytest.approx(number, abs=1e-5)
    offsets = found["text_offset"]
    assert offsets == sorted(offsets) and offsets[count] == len(text)
    for token, start in zip(found["tokens"][1:], offsets[1:], strict=True):
        if not token.startswith("bytes:"):
            assert whole[start:].startswith(token)


def test_a_prompts_log_probs_are_the_engines_scores() -> None:
    prompts = [[1, *small_tokenizer().encode(text)] for text in TEXTS]
    expected = score_all(policy(), [Continuation((1,), tuple(ids[1:]), 2) for ids in prompts])
    (reply,) = asked(ECHO | {"prompt": prompts, "logprobs": 2, "max_tokens": 0})
    assert reply.json["usage"]["completion_tokens"] == 0
    for choice, scored in zip(reply.json["choices"], expected, strict=True):
        assert choice["finish_reason"] == "length"
        found = choice["logprobs"]
        assert found["token_logprobs"][1:] == pytest.approx(scored.log_probs, abs=1e-4)
        best = [max(top.values()) for top in found["top_logprobs"][1:]]
        assert best == pytest.approx([top[0][1] for top in scored.top], abs=1e-4)


def test_what_was_sampled_has_the_same_log_probs_when_it_is_asked_about() -> None:
    prompt = tuple(small_tokenizer().encode("Say"))
    (said,) = sample_all(policy(), [Request(prompt, 30, Sampling(1.5, seed=3))])
    again = told({"prompt": [*prompt, *said.ids], "logprobs": 0, "max_tokens": 0})["logprobs"]
    assert again["top_logprobs"] is None
    assert again["token_logprobs"][len(prompt) :] == pytest.approx(said.log_probs, abs=1e-4)


def test_a_stream_tells_the_same() -> None:
    body = ECHO | {"prompt": TEXTS[0], "logprobs": 2, "max_tokens": 5, "n": 2, "seed": 1}
    whole, streamed = asked(body, body | {"stream": True})
    for choice in whole.json["choices"]:
        parts = [each["choices"][0] for each in streamed.events]
        mine = [each for each in parts if each["index"] == choice["index"]]
        assert "".join(each["text"] for each in mine) == choice["text"]
        for name, values in choice["logprobs"].items():
            joined = [v for each in mine if each["logprobs"] for v in each["logprobs"][name]]
            if name in ("tokens", "text_offset"):
                assert joined == values


def test_without_log_probs_an_echo_is_the_text_alone() -> None:
    choice = told({"prompt": "Say", "max_tokens": 0})
    assert (choice["text"], choice["logprobs"]) == ("Say", None)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"echo": False, "max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"logprobs": 21}, "logprobs"),
        ({"prompt": [[1] * 3900] * 8, "n": 4, "logprobs": 20}, "logprobs"),
    ],
)
def test_what_cannot_be_is_refused_by_name(more: dict[str, Any], param: str) -> None:
    (reply,) = asked(ECHO | {"prompt": "Say"} | more)
    assert reply.status == 400 and reply.json["error"]["param"] == param


def test_a_prompt_that_fills_the_context_is_scored_and_one_more_is_not() -> None:
    full, more = ([1 + n % 500 for n in range(count)] for count in (CONTEXT, CONTEXT + 1))
    bodies = [
        ECHO | {"prompt": ids, "logprobs": 0, "max_tokens": most}
        for ids, most in ((full, 0), (full, 1), (more, 0))
    ]
    scored, longer, beyond = asked(*bodies)
    assert scored.status == 200
    assert len(scored.json["choices"][0]["logprobs"]["token_logprobs"]) == CONTEXT
    assert longer.json["error"]["code"] == beyond.json["error"]["code"] == "context_length_exceeded"


def test_while_a_long_prompt_is_scored_others_are_answered() -> None:
    ids = [[1 + n * 7 % 500 for n in range(3900)] for _ in range(4)]
    for place, each in enumerate(ids):
        each[0] = place
    long = ECHO | {"prompt": ids, "logprobs": 1, "max_tokens": 0}
    ended: list[str] = []

    async def play(app: Inside) -> None:
        async def one(name: str, body: dict[str, Any]) -> None:
            reply = await app.ask(PATH, body)
            assert reply.status == 200
            ended.append(name)

        waiting = asyncio.create_task(one("long", long))
        while not app.policy._between.busy:
            await asyncio.sleep(0)
        await one("short", {"model": NAME, "prompt": "Say", "max_tokens": 2})
        await waiting

    inside(play)
    assert ended == ["short", "long"]


@pytest.mark.parametrize("stream", [False, True])
def test_log_probs_of_a_prompt_are_written_aside(stream: bool) -> None:
    """Seconds of work where there are many, for which everybody else would wait."""

    class Counting(ThreadPoolExecutor):
        count = 0

        def submit(self, *args: Any, **more: Any) -> Any:
            self.count += 1
            return super().submit(*args, **more)

    async def play(app: Inside) -> tuple[int, int]:
        pool = Counting(1)
        asyncio.get_running_loop().set_default_executor(pool)
        body = {"model": NAME, "prompt": "Say", "max_tokens": 1, "stream": stream}
        assert (await app.ask(PATH, body)).status == 200
        before = pool.count
        assert (await app.ask(PATH, body | ECHO | {"logprobs": 1})).status == 200
        return before, pool.count - before

    assert inside(play) == (0, 1)


def test_an_answer_written_row_by_row_is_the_same_json() -> None:
    value = {"id": "a", "choices": [{"x": 1.5}, {}], "usage": {"n": 2}}
    for each in (value, {"choices": []}, {"choices": [1], "b": '"}'}):
        assert json.loads(encoded_apart(each, "choices")) == each


def test_a_client_who_leaves_ends_the_scoring() -> None:
    ids = [[place, *(1 + n * 7 % 500 for n in range(3900))] for place in range(8)]

    async def play(app: Inside) -> bool:
        leaves = asyncio.Event()
        body = ECHO | {"prompt": ids, "logprobs": 1, "max_tokens": 0}
        waiting = asyncio.create_task(app.ask(PATH, body, leaves=leaves))
        while not app.policy._between.busy:
            await asyncio.sleep(0)
        leaves.set()
        assert (await waiting).status == 0
        while app.policy._between.busy or app.policy._scoring:
            await asyncio.sleep(0)
        reply = await app.ask(PATH, {"model": NAME, "prompt": "Say", "max_tokens": 1})
        return bool(reply.status == 200)

    assert inside(play)


@pytest.mark.parity
def test_lm_evals_local_completions_hears_what_our_adapter_says() -> None:
    """The client's own body and its own reading of the answer."""
    adapter = pytest.importorskip("ontogeny.edge.lm_eval_model")
    theirs = pytest.importorskip("lm_eval.models.openai_completions").LocalCompletionsAPI
    tokenizer = small_tokenizer()
    contexts = ("Say 3.", "import argparse\n", "x" * 200)
    requests = [
        (None, tokenizer.encode(context), tokenizer.encode(target))
        for context in contexts
        for target in ("3", " and more of it", "\n\n    def parse(self):")
    ]
    expected = adapter.OntogenyLM(policy(), tokenizer, CONTEXT)._loglikelihood_tokens(requests)
    client = types.SimpleNamespace(model=NAME)

    def body(prompts: Sequence[Sequence[int]]) -> dict[str, Any]:
        made: dict[str, Any] = theirs._create_payload(client, prompts, generate=False, seed=1234)
        return made

    replies = asked(
        *(body([[*before, *behind]]) for _, before, behind in requests),
        body([[*before, *behind] for _, before, behind in requests]),
    )
    lengths = [len(before) for _, before, _ in requests]
    single = [
        theirs.parse_logprobs(reply.json, ctxlens=[length])[0]
        for reply, length in zip(replies, lengths, strict=False)
    ]
    together = theirs.parse_logprobs(replies[-1].json, ctxlens=lengths)
    assert len(single) == len(together) == len(expected) == 9
    for found in (single, together):
        for (number, greedy), (right, flag) in zip(found, expected, strict=True):
            assert number == pytest.approx(right, abs=1e-4)
            assert greedy == flag
