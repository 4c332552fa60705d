"""A real server, with a model of ours in float32: llama.cpp is a policy like our own engine."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from edge.llama_cpp_server import llama_cpp_server, slots
from edge.small_gguf import SHAPES, model_of, write
from support.bench import small_tokenizer

from ontogeny.bridge.local_policy import LocalPolicy
from ontogeny.edge.remote_config import RemoteConfig
from ontogeny.edge.remote_policy import RemotePolicy, connect
from ontogeny.infer.engine import Engine
from ontogeny.plan.sampling import GREEDY, Sampling
from ontogeny.rollout.policy import Continuation, Request, sample_all, score_all
from ontogeny.text.byte_codec import byte_tokenizer
from ontogeny.text.grammar import Grammar
from ontogeny.text.message import Message
from ontogeny.text.template import render

pytest.importorskip("gguf")
pytestmark = pytest.mark.parity

TOKENIZER = small_tokenizer()
CONTEXT = 2048
CLOSE = 1e-3
PROMPT = tuple(range(5, 25))


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Iterator[tuple[str, LocalPolicy]]:
    """llama.cpp's server and our engine on the same weights."""
    model = model_of(replace(SHAPES["smollm2"], context=CONTEXT))
    path = tmp_path_factory.mktemp("gguf") / "a.gguf"
    write(path, model)
    with llama_cpp_server(path, CONTEXT) as url:
        yield url, LocalPolicy(Engine(model, 2, 256))


@pytest.fixture
def remote(both) -> Iterator[RemotePolicy]:
    """Asked by ids."""
    with connect(RemoteConfig(both[0], speaks="tokens"), TOKENIZER) as policy:
        yield policy


@pytest.fixture
def local(both) -> LocalPolicy:
    """Our engine."""
    return both[1]


def close(one, other) -> bool:
    return all(abs(a - b) < CLOSE for a, b in zip(one, other, strict=True))


def test_the_server_is_seen_for_what_it_is(remote):
    assert remote.server.kind == "llama.cpp"
    assert remote.server.context == CONTEXT
    assert remote.server.notes == ()


def test_greedy_tokens_and_log_probs_are_those_of_our_engine(remote, local):
    requests = [Request(PROMPT[n:], 30, GREEDY) for n in range(4)]
    for there, here in zip(sample_all(remote, requests), sample_all(local, requests), strict=True):
        assert there.ids == here.ids
        assert close(there.log_probs, here.log_probs)
        assert (there.finish, here.finish) == ("length", "length")


def test_every_sampled_token_has_the_log_prob_that_our_engine_gives_it(remote, local):
    """Also those that are no whole characters, which the server itself keeps back."""
    requests = [Request(PROMPT, 60, Sampling(seed=seed)) for seed in range(3)]
    sampled = sample_all(remote, requests)
    assert len({each.ids for each in sampled}) == 3
    scored = score_all(local, [Continuation(PROMPT, each.ids) for each in sampled])
    for there, here in zip(sampled, scored, strict=True):
        assert close(there.log_probs, here.log_probs)
    assert remote.spent.requests > 3


def test_scores_are_those_of_our_engine(remote, local):
    pairs = [
        Continuation(PROMPT, (9, 300, 150)),
        Continuation(PROMPT[:3], (TOKENIZER.end_of_turn,)),
    ]
    pairs.append(Continuation(PROMPT, sample_all(local, [Request(PROMPT, 4, GREEDY)])[0].ids))
    for there, here in zip(score_all(remote, pairs), score_all(local, pairs), strict=True):
        assert close(there.log_probs, here.log_probs)
        assert there.greedy == here.greedy


def test_alternatives_are_those_of_our_engine(remote, local):
    request = Request(PROMPT, 5, GREEDY, top_log_probs=3)
    (there,) = sample_all(remote, [request])
    assert [len(pairs) for pairs in there.top] == [3] * 5
    for place, pairs in enumerate(there.top):
        scored = score_all(
            local, [Continuation((*PROMPT, *there.ids[:place]), (id_,)) for id_, _ in pairs]
        )
        assert close([log_prob for _, log_prob in pairs], [each.log_probs[0] for each in scored])
        assert pairs[0][0] == there.ids[place]


@pytest.mark.parametrize("end", [TOKENIZER.end_of_turn, TOKENIZER.end_of_text, 89])
def test_only_what_is_asked_for_ends_an_answer(remote, end):
    """Its own ends are gone past, and any id may be one."""
    wanted = Sampling(temperature=0.0, bias=((end, 1e4),))
    (stopped, goes_on) = sample_all(
        remote, [Request(PROMPT, 5, wanted, stop=(end,)), Request(PROMPT, 5, wanted)]
    )
    assert (stopped.ids, stopped.finish) == ((end,), "stop")
    assert (goes_on.ids, goes_on.finish) == ((end,) * 5, "length")
    assert all(map(math.isfinite, goes_on.log_probs))


def test_a_stop_string_ends_at_the_token_that_completes_it(remote, local):
    (here,) = sample_all(local, [Request(PROMPT, 12, GREEDY)])
    string = TOKENIZER.continuation(here.ids[1:3])
    assert string.isascii()
    (there,) = sample_all(remote, [Request(PROMPT, 12, GREEDY, stop_strings=("???", string))])
    assert (there.finish, there.matched) == ("stop", string)
    assert there.ids == here.ids[:3]
    assert close(there.log_probs, here.log_probs[:3])


def test_a_sink_hears_all_of_it_in_order(remote):
    for seed in range(3):
        heard: list[tuple[int, float]] = []
        request = Request(PROMPT, 60, Sampling(seed=seed))
        said = asyncio.run(remote.sample(request, lambda *token, to=heard: to.append(token)))
        assert heard == list(zip(said.ids, said.log_probs, strict=True))
        assert len(said.ids) == 60


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.0, repetition_penalty=1.8),
        Sampling(temperature=0.0, bias=((89, -math.inf), (100, 3.0))),
        Sampling(temperature=3.0, top_k=1),
        Sampling(temperature=3.0, top_p=1e-6),
        Sampling(temperature=3.0, min_p=0.999),
    ],
)
def test_rules_of_sampling_choose_as_they_do_here(remote, local, sampling):
    request = Request(PROMPT, 16, sampling)
    (there,), (here,) = sample_all(remote, [request]), sample_all(local, [request])
    assert there.ids == here.ids
    assert close(there.log_probs, here.log_probs)


def test_equal_seeds_sample_alike(remote):
    requests = [Request(PROMPT, 20, Sampling(seed=seed)) for seed in (2**62 + 5, 2**62 + 5, 6)]
    one, same, other = sample_all(remote, requests)
    assert one.ids == same.ids != other.ids


def test_a_schema_is_kept_to(remote):
    schema = json.dumps({"enum": ["yes", "no"]})
    request = Request(PROMPT, 40, Sampling(seed=1), grammar=Grammar("json_schema", schema))
    (said,) = sample_all(remote, [request])
    assert said.finish == "stop"
    assert json.loads(TOKENIZER.decode(said.ids)) in ("yes", "no")


def test_a_full_context_ends_a_completion(remote):
    long = PROMPT * (CONTEXT // 20 + 1)
    requests = [Request(long[: CONTEXT - 3], 20, GREEDY), Request((*long, *PROMPT), 20, GREEDY)]
    said = sample_all(remote, requests)
    assert [(len(each.ids), each.finish) for each in said] == [(3, "context"), (0, "context")]


def asked_by_chat(both) -> RemotePolicy:
    return connect(RemoteConfig(both[0], log_probs=True))


def question(text: str) -> tuple[int, ...]:
    return render([Message("user", text)], byte_tokenizer(), generation_prompt=True).ids


def test_a_chat_streams_what_it_would_say_at_once(both):
    request = Request(question("hi"), 12, GREEDY)
    heard: list[tuple[float, int]] = []
    with asked_by_chat(both) as policy:
        (whole,) = sample_all(policy, [request])
        sink = lambda id_, _: heard.append((time.monotonic(), id_))  # noqa: E731
        streamed = asyncio.run(policy.sample(request, sink))
    assert streamed.ids == whole.ids == tuple(id_ for _, id_ in heard)
    assert len({when for when, _ in heard}) > 1
    assert whole.ids
    assert policy.spent.estimated == 0


@pytest.mark.parametrize("speaks", ["chat", "tokens"])
def test_a_cancelled_request_frees_its_slot_within_a_second(both, speaks):
    url = both[0]

    async def cancelled(policy: RemotePolicy, prompt: tuple[int, ...]) -> float:
        task = asyncio.create_task(policy.sample(Request(prompt, 1900, GREEDY)))
        while not any(each["is_processing"] for each in await asyncio.to_thread(slots, url)):
            assert not task.done()
        task.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        while any(each["is_processing"] for each in await asyncio.to_thread(slots, url)):
            assert time.monotonic() - began < 5.0
        return time.monotonic() - began

    config = RemoteConfig(url, speaks=speaks)
    own = TOKENIZER if speaks == "tokens" else None
    with connect(config, own) as policy:
        # In chat the server ends at its own end; by ids it cannot end before it is full.
        prompt = PROMPT if speaks == "tokens" else question("hi")
        assert asyncio.run(cancelled(policy, prompt)) < 1.0
