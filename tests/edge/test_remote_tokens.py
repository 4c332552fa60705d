"""Asked by ids, a server that speaks as vLLM does gives what the same model gives here."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from edge.remote_bench import Time
from support.bench import small_tokenizer
from support.openai_server import Heard, says, serving, streams, usage

from ontogeny.base.errors import InputError
from ontogeny.bridge.local_policy import LocalPolicy
from ontogeny.edge.remote_config import Limits, RemoteConfig
from ontogeny.edge.remote_policy import connect
from ontogeny.infer.engine import Engine
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.sampling import GREEDY, Sampling
from ontogeny.plan.shape import Shape
from ontogeny.rollout.policy import (
    Completion,
    Continuation,
    Request,
    sample_all,
    score_all,
)
from ontogeny.text.grammar import Grammar
from ontogeny.text.train_tokenizer import train

TOKENIZER = small_tokenizer()
CONTEXT = 48
PROMPT = (5, 6, 7, 8)
LISTED = [{"id": "small", "owned_by": "vllm", "max_model_len": CONTEXT}]


@pytest.fixture(scope="module")
def local() -> LocalPolicy:
    """Our own engine on an untrained model."""
    made = Transformer(Shape(TOKENIZER.vocab_size, 32, 2, 4, 2, 8, 64, CONTEXT))
    initialise(made, 2)
    with torch.no_grad():
        made.embedding.mul_(5.0)
    return LocalPolicy(Engine(made, 2, CONTEXT))


def spelled(id_: int) -> str:
    return f"token_id:{id_}"


class LikeVLLM:
    """Answers as vLLM's API does, with what our engine makes of it."""

    def __init__(self, local: LocalPolicy, tokenizer=TOKENIZER) -> None:
        self.local, self.tokenizer = local, tokenizer
        self.one = threading.Lock()  # a policy has one event loop at a time

    def __call__(self, heard: Heard):
        body = heard.body
        if heard.path == "/tokenize":
            return says({"tokens": self.tokenizer.encode(body["prompt"])})
        if heard.path == "/detokenize":
            return says({"prompt": self.tokenizer.decode(body["tokens"], keep_special=True)})
        assert heard.path == "/v1/completions"
        if "prompt_logprobs" in body:
            return says(self.scored(body["prompt"]))
        said = self.sampled(body)
        if not body.get("stream"):
            used = usage(len(body["prompt"]), len(said.ids))
            return says({"choices": [self.choice(body, said, 0, len(said.ids))], "usage": used})
        parts: list[Any] = [
            {"choices": [self.choice(body, said, n, n + 1)]} for n in range(len(said.ids))
        ]
        return streams([*parts, {"choices": [], "usage": usage(4, len(said.ids))}])

    def sampled(self, body) -> Completion:
        request = Request(
            tuple(body["prompt"]),
            body["max_tokens"],
            Sampling(temperature=body["temperature"], seed=body["seed"]),
            stop=tuple(body["stop_token_ids"]),
        )
        with self.one:
            (said,) = sample_all(self.local, [request])
        return said

    def choice(self, body, said: Completion, begin: int, end: int) -> dict[str, Any]:
        last = end == len(said.ids)
        logprobs: dict[str, Any] = {
            "tokens": [spelled(id_) for id_ in said.ids[begin:end]],
            "token_logprobs": said.log_probs[begin:end],
        }
        return {
            "index": 0,
            "text": "",
            "token_ids": said.ids[begin:end],
            "prompt_token_ids": body["prompt"] if begin == 0 else None,
            "logprobs": logprobs,
            "finish_reason": said.finish if last else None,
            "stop_reason": said.ids[-1] if last and said.finish == "stop" else None,
        }

    def scored(self, ids: list[int]) -> dict[str, Any]:
        with self.one:
            (found,) = score_all(self.local, [Continuation(tuple(ids[:1]), tuple(ids[1:]))])
        table = [
            {str(id_): {"logprob": log_prob, "rank": 1 if greedy else 7, "decoded_token": ""}}
            for id_, log_prob, greedy in zip(ids[1:], found.log_probs, found.greedy, strict=True)
        ]
        choice = {"index": 0, "finish_reason": "length", "prompt_logprobs": [None, *table]}
        return {"choices": [choice], "usage": usage(len(ids), 1)}


@contextmanager
def on(answer, tokenizer=TOKENIZER, models=LISTED):
    """What `answer` serves, and a policy that speaks ids with it."""
    with serving(answer, models) as server:
        config = RemoteConfig(server.url, speaks="tokens")
        with connect(config, tokenizer, waiting=Time().waiting()) as policy:
            yield server, policy


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(seed=3), Sampling(temperature=0.7, seed=9)])
def test_ids_and_log_probs_are_those_of_the_same_model_here(local, sampling):
    (here,) = sample_all(local, [Request(PROMPT, 20, sampling)])
    stop = (here.ids[6],)
    requests = [Request(PROMPT, 20, sampling), Request(PROMPT, 20, sampling, stop=stop)]
    with on(LikeVLLM(local)) as (_, remote):
        assert same(sample_all(remote, requests), sample_all(local, requests))
        heard: list[tuple[int, float]] = []
        request = requests[1]
        streamed = asyncio.run(remote.sample(request, lambda *token: heard.append(token)))
    assert same([streamed], sample_all(local, [request]))
    assert heard == list(zip(streamed.ids, streamed.log_probs, strict=True))


def same(one: list[Completion], other: list[Completion]) -> bool:
    """All but versions, which no server tells; log-probs vary with what is computed together."""
    return [(a.ids, a.finish) for a in one] == [(b.ids, b.finish) for b in other] and all(
        a.log_probs == pytest.approx(b.log_probs, abs=1e-5) for a, b in zip(one, other, strict=True)
    )


def test_scores_are_those_of_the_same_model_here(local):
    pairs = [Continuation(PROMPT, (9, 10, 11)), Continuation((5,), (6,))]
    (greedy,) = sample_all(local, [Request(PROMPT, 3, GREEDY)])
    pairs.append(Continuation(PROMPT, greedy.ids))
    with on(LikeVLLM(local)) as (_, remote):
        there, here = score_all(remote, pairs), score_all(local, pairs)
    for one, other in zip(there, here, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)
        assert one.greedy == other.greedy
    assert there[2].greedy == (True, True, True)


def test_a_full_context_ends_a_completion_as_it_does_here(local):
    long = tuple(range(5, 5 + CONTEXT))
    requests = [Request(long[: CONTEXT - 3], 20, GREEDY), Request(long, 20, GREEDY)]
    with on(LikeVLLM(local)) as (server, remote):
        sampled = sample_all(remote, requests)
    assert [(len(each.ids), each.finish) for each in sampled] == [(3, "context"), (0, "context")]
    assert len([heard for heard in server.posts if heard.path == "/v1/completions"]) == 1


def test_another_tokenizer_is_noticed_before_anything_is_asked(local):
    other = train(["another text altogether, and not a long one"], 600)
    with pytest.raises(InputError, match="other ids than ours"), on(LikeVLLM(local, other)):
        pass


def test_a_server_that_cannot_be_compared_is_used_and_it_is_said(local):
    like = LikeVLLM(local)

    def hidden(heard):
        return says({}, 404) if "tokenize" in heard.path else like(heard)

    with on(hidden) as (_, remote):
        assert "/tokenize" in remote.server.notes[0]
        assert sample_all(remote, [Request(PROMPT, 3, GREEDY)])[0].ids


@pytest.mark.parametrize("owner", ["library", "somebody"])
def test_a_server_that_takes_no_ids_is_refused(local, owner):
    listed = [{"id": "small", "owned_by": owner}]
    with (
        pytest.raises(InputError, match="does not take token ids"),
        on(LikeVLLM(local), models=listed),
    ):
        pass
    with (
        pytest.raises(InputError, match="needs the model's tokenizer"),
        on(LikeVLLM(local), tokenizer=None),
    ):
        pass


def answer_with(local, **choice):
    """A choice that is right but for what is given."""
    like = LikeVLLM(local)

    def wrong(heard):
        if heard.path != "/v1/completions":
            return like(heard)
        right = {
            "token_ids": [9, 10],
            "logprobs": {"token_logprobs": [-1.0, -2.0], "top_logprobs": None},
            "finish_reason": "stop",
            "stop_reason": None,
        }
        return says({"choices": [{**right, **choice}], "usage": usage(4, 2)})

    return wrong


@pytest.mark.parametrize(
    ("choice", "match"),
    [
        ({"token_ids": None}, "token_ids"),
        ({"token_ids": [9, "x"]}, "token_ids"),
        ({"token_ids": [9, 600]}, "our tokenizer does not have"),
        ({"token_ids": [9, -1]}, "our tokenizer does not have"),
        ({"token_ids": [9]}, "as many log-probs"),
        ({"logprobs": None}, "logprobs"),
        ({"logprobs": {"token_logprobs": [-1.0, None]}}, "numbers"),
        ({"logprobs": {"token_logprobs": [-1.0, 1e999]}}, "JSON|numbers"),
        ({"logprobs": {"token_logprobs": [-1.0, -(10**400)]}}, "numbers"),
        ({"logprobs": {"token_logprobs": [-1.0, False]}}, "numbers"),
        ({"finish_reason": "abort"}, "finish_reason"),
        ({"prompt_token_ids": [1, 5, 6, 7, 8]}, "other tokens before the answer"),
    ],
)
def test_an_answer_of_another_shape_is_one_line(local, choice, match):
    with (
        on(answer_with(local, **choice)) as (server, remote),
        pytest.raises(InputError, match=match) as caught,
    ):
        sample_all(remote, [Request(PROMPT, 20)])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(server.url)


def test_alternatives_are_the_likeliest_first_and_only_as_many_as_asked(local):
    tops = [{"token_id:9": -1.0, "token_id:3": -0.5, "token_id:4": -3.0}, {"token_id:10": -2.0}]
    logprobs = {"token_logprobs": [-1.0, -2.0], "top_logprobs": tops}
    with on(answer_with(local, logprobs=logprobs)) as (server, remote):
        (said,) = sample_all(remote, [Request(PROMPT, 20, top_log_probs=2)])
    assert said.top == (((3, -0.5), (9, -1.0)), ((10, -2.0),))
    assert server.posts[-1].body["logprobs"] == 2


def test_a_stop_string_ends_at_the_token_that_completes_it(local):
    ids = TOKENIZER.encode("say STOP now")
    done = TOKENIZER.encode("say STOP")
    assert ids[: len(done)] == done
    given = {
        "token_ids": ids,
        "logprobs": {"token_logprobs": [-1.0] * len(ids)},
        "stop_reason": "STOP",
    }
    with on(answer_with(local, **given)) as (server, remote):
        (said,) = sample_all(remote, [Request(PROMPT, 20, stop_strings=("STOP",))])
    assert (said.ids, said.matched, said.finish) == (tuple(done), "STOP", "stop")
    assert server.posts[-1].body["stop"] == ["STOP"]


def test_the_models_own_end_ends_a_grammar_and_is_not_part_of_it(local):
    grammar = Grammar("regex", "[a-z]+")
    with on(answer_with(local)) as (server, remote):
        (said,) = sample_all(remote, [Request(PROMPT, 20, grammar=grammar)])
        (kept,) = sample_all(remote, [Request(PROMPT, 20, stop=(10,), grammar=grammar)])
    assert (said.ids, kept.ids) == ((9,), (9, 10))
    assert server.posts[-1].body["structured_outputs"] == {"regex": "[a-z]+"}
    assert server.posts[-1].body["ignore_eos"] is False


def test_a_bias_goes_out_by_id_and_only_as_far_as_vllm_takes_it(local):
    with on(LikeVLLM(local)) as (server, remote):
        sample_all(remote, [Request(PROMPT, 1, Sampling(bias=((7, -100.0),)))])
        assert server.posts[-1].body["logit_bias"] == {"7": -100.0}
        with pytest.raises(InputError, match="beyond 100"):
            sample_all(remote, [Request(PROMPT, 1, Sampling(bias=((7, -math.inf),)))])


LLAMA = [{"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx": 100}}]


def part(ids, ended="", predicted=None):
    """A part of an answer as llama.cpp's server streams it."""
    listed = [{"id": id_, "logprob": -1.0, "top_logprobs": []} for id_ in ids]
    counts = {"tokens_evaluated": 3, "tokens_predicted": predicted or len(ids)}
    told = {"tokens": ids, "completion_probabilities": listed, "stop": bool(ended), **counts}
    return told | ({"stop_type": ended} if ended else {})


@contextmanager
def like_llama_cpp(answer, **config):
    """A server that answers each /completion so, a policy on it, and how often it was asked."""
    asked = []

    def act(heard):
        if heard.path != "/completion":
            return says({"error": {"message": "no such path"}}, 404)
        asked.append(heard.body)
        return answer(heard.body, len(asked))

    with serving(act, LLAMA) as server:
        config = RemoteConfig(
            server.url, speaks="tokens", limits=Limits(most_requests=50), **config
        )
        with connect(config, TOKENIZER) as remote:
            yield remote, asked


@pytest.mark.parametrize("ended", ["eos", "limit"])
@pytest.mark.parametrize("first", [[], [5]])
def test_a_server_that_adds_no_token_is_not_asked_for_ever(ended, first):
    def answer(_body, count):
        begun = [part(first)] if count == 1 and first else []
        return streams([*begun, part([], ended, len(first) if count == 1 else 0)])

    with like_llama_cpp(answer) as (remote, asked):
        with pytest.raises(InputError, match="lacks tokens"):
            sample_all(remote, [Request((1, 2, 3), 10)])
        assert len(asked) == 1 + len(first)


def test_a_server_that_never_says_the_same_twice_is_not_asked_for_ever():
    """What its stream keeps back is asked for again, and what it then says begins otherwise."""

    def answer(body, count):
        if body["stream"]:
            begun = [part([5])] if count == 1 else []
            return streams([*begun, part([], "limit", 7)])
        return says(part([6, 7] if count == 2 else [], "limit", 2))

    with like_llama_cpp(answer) as (remote, asked):
        with pytest.raises(InputError, match="lacks tokens"):
            sample_all(remote, [Request((1, 2, 3), 10)])
        assert len(asked) == 4


def test_one_deadline_holds_for_all_that_is_asked_for_a_completion():
    def answer(_body, _count):
        return streams([part([5]), part([], "limit", 1)], 0.1)

    with like_llama_cpp(answer, deadline_seconds=0.9) as (remote, asked):
        began = time.monotonic()
        with pytest.raises(InputError, match="no answer within deadline_seconds"):
            sample_all(remote, [Request((1, 2, 3), 40)])
        assert time.monotonic() - began < 3.0
        assert 1 < len(asked) < 10
