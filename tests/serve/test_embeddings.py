"""Texts as vectors: those of the model's last states, whoever else is answered meanwhile."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import numpy as np
import pytest
import torch
from serve.running import CONTEXT, KEY, NAME, Inside, endless, inside, live, model, policy
from support.bench import small_tokenizer

from ontogeny.objectives.batch import Batch
from ontogeny.serve.gate import Limits

PATH = "/v1/embeddings"
TEXTS = ("One text.", "Another text, and a longer one: é 日本.", "One", "x")
BODY = {"model": NAME, "input": list(TEXTS)}


def asked(*bodies: dict[str, Any], **options: Any) -> list[Any]:
    async def play(app: Inside) -> list[Any]:
        return await asyncio.gather(*(app.ask(PATH, body) for body in bodies))

    return inside(play, **options)


def vectors(body: dict[str, Any], **options: Any) -> np.ndarray:
    (reply,) = asked(BODY | body, **options)
    assert reply.status == 200, reply.body
    assert [each["index"] for each in reply.json["data"]] == list(range(len(reply.json["data"])))
    return np.array([each["embedding"] for each in reply.json["data"]])


def expected(text: str) -> np.ndarray:
    """The mean of the last states of the text's own tokens, at length 1."""
    ids = torch.tensor([[small_tokenizer().begin, *small_tokenizer().encode(text)]])
    states_TC = model().states(Batch(ids, ids, torch.ones(ids.shape)))
    mean_C = states_TC[1:].double().mean(0)
    return np.asarray(mean_C / mean_C.norm())


def test_a_vector_is_the_mean_of_the_last_states_at_length_1() -> None:
    found = vectors({})
    assert np.allclose(found, [expected(text) for text in TEXTS], atol=1e-6)
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)


def test_ids_are_the_text_they_spell_and_company_changes_nothing() -> None:
    ids = [small_tokenizer().encode(text) for text in TEXTS]
    together = vectors({})
    assert np.array_equal(vectors({"input": ids}), together)
    for place, text in enumerate(TEXTS):
        assert np.allclose(vectors({"input": text})[0], together[place], atol=1e-6)
    assert np.allclose(vectors({"input": ids[1]})[0], together[1], atol=1e-6)


def test_base64_is_the_same_numbers_as_little_endian_floats() -> None:
    plain, packed = asked(BODY, BODY | {"encoding_format": "base64"})
    for one, other in zip(plain.json["data"], packed.json["data"], strict=True):
        numbers = np.frombuffer(base64.b64decode(other["embedding"]), "<f4")
        assert np.array_equal(numbers, np.array(one["embedding"], np.float32))
    count = sum(1 + len(small_tokenizer().encode(text)) for text in TEXTS)
    assert plain.json["usage"] == {"prompt_tokens": count, "total_tokens": count}


def test_the_openai_client_embeds_as_it_is() -> None:
    openai = pytest.importorskip("openai")
    with live(keys={"one": KEY}) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
            found = client.embeddings.create(model=NAME, input=list(TEXTS))
            assert np.allclose([each.embedding for each in found.data], vectors({}), atol=1e-6)
            assert found.usage.prompt_tokens > 4
            width = len(found.data[0].embedding)
            client.embeddings.create(model=NAME, input="x", dimensions=width)
            with pytest.raises(openai.BadRequestError, match="dimensions"):
                client.embeddings.create(model=NAME, input="x", dimensions=width // 2)
        with (
            openai.OpenAI(base_url=url, api_key="wrong" * 5, max_retries=0) as stranger,
            pytest.raises(openai.AuthenticationError),
        ):
            stranger.embeddings.create(model=NAME, input="x")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": ["One", ""]}, "input"),
        ({"input": []}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": ["x"] * 129}, "input"),
        ({"input": [1, "x"]}, "input"),
        ({"input": [10**9]}, "input"),
        ({"input": {"text": "x"}}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 7}, "dimensions"),
        ({"user": 3}, "user"),
        ({"truncate": True}, "truncate"),
    ],
)
def test_what_cannot_be_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    (reply,) = asked(BODY | body)
    assert reply.status == 400 and reply.json["error"]["param"] == param, reply.body


def test_a_text_that_does_not_fit_is_refused_and_one_that_just_does_is_not() -> None:
    fits, beyond, huge = asked(
        BODY | {"input": [1] * (CONTEXT - 1)},
        BODY | {"input": [1] * CONTEXT},
        BODY | {"input": "x" * 900_000},
    )
    assert fits.status == 200
    for reply in (beyond, huge):
        assert reply.status == 400 and reply.json["error"]["code"] == "context_length_exceeded"


def test_another_models_name_is_not_found() -> None:
    (reply,) = asked(BODY | {"model": "text-embedding-3-small"})
    assert reply.status == 404


def test_they_count_for_the_rate_and_the_gate() -> None:
    async def play(app: Inside) -> list[int]:
        return [(await app.ask(PATH, BODY)).status for _ in range(3)]

    limits = Limits(requests_a_minute=2.0)
    assert inside(play, limits, clock=lambda: 0.0) == [200, 429, 429]

    async def full(app: Inside) -> int:
        with app.gate.entered(app.gate.limits.capacity):
            return (await app.ask(PATH, BODY)).status

    assert inside(full, Limits(slots=1, waiting=0)) == 503


def test_an_answer_under_way_goes_on_between_steps_of_512_tokens() -> None:
    local, read = policy(), list[int]()
    texts = [[place, *(1 + n * 7 % 500 for n in range(3900))] for place in range(4)]
    note = lambda _, given: read.append(given[0].shape[0])  # noqa: E731
    hook = model().layers[0].register_forward_pre_hook(note)
    tokens_between: list[int] = []

    async def play(app: Inside) -> None:
        leaves = asyncio.Event()
        talk = asyncio.create_task(
            app.ask("/v1/completions", endless() | {"messages": None, "prompt": "x"}, leaves=leaves)
        )
        while not app.policy.engine.busy:
            await asyncio.sleep(0)
        begun = app.policy.engine.counts.sampled_tokens
        assert (await app.ask(PATH, BODY | {"input": texts})).status == 200
        tokens_between.append(app.policy.engine.counts.sampled_tokens - begun)
        leaves.set()
        await talk

    try:
        inside(play, of=local)
    finally:
        hook.remove()
    assert max(read) <= 512
    assert tokens_between[0] >= 4 * 3900 // 512


def test_a_client_who_leaves_ends_the_work() -> None:
    texts = [[place, *(1 + n * 7 % 500 for n in range(3900))] for place in range(16)]

    async def play(app: Inside) -> None:
        leaves = asyncio.Event()
        waiting = asyncio.create_task(app.ask(PATH, BODY | {"input": texts}, leaves=leaves))
        while not app.policy._between.busy:
            assert not waiting.done()
            await asyncio.sleep(0)
        leaves.set()
        assert (await waiting).status == 0
        while app.policy._between.busy:
            await asyncio.sleep(0)
        assert app.gate.inside == 0

    inside(play)


def test_states_that_are_not_finite_turn_the_server_red_and_no_vector_comes() -> None:
    weight = model().norm.weight
    kept = weight[3].clone()

    async def play(app: Inside) -> tuple[int, str]:
        reply = await app.ask(PATH, BODY)
        return reply.status, app.service.health.state

    with torch.no_grad():
        weight[3] = torch.nan
    try:
        assert inside(play) == (503, "failing")
    finally:
        with torch.no_grad():
            weight[3] = kept
