"""What is answered over OpenAI's schema is what our own commands and engine say."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from serve.running import NAME, SAY, Inside, endless, inside, model, policy, served
from support.bench import Bench, small_tokenizer

from ontogeny.bridge.models import save_model
from ontogeny.cli.app import run_app
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.policy import Request, sample_all
from ontogeny.serve.gate import Limits, salt_of
from ontogeny.text.message import Message
from ontogeny.text.template import render

CHAT = "/v1/chat/completions"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def asked(*bodies: dict[str, Any], path: str = CHAT, **options: Any) -> list[Any]:
    """The replies to some bodies, asked at once."""

    async def play(app: Inside) -> list[Any]:
        return await asyncio.gather(*(app.ask(path, body) for body in bodies))

    return inside(play, **options)


def test_a_greedy_answer_is_what_chat_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(tmp_path)
    save_model(bench.payload(), model(), bench.tokenizer, chats=True)
    bench.store.set_name("small", bench.keep("sft", "model").id)
    words = ["chat", "small", "--store", str(bench.store.root), "--json", "--temperature", "0"]
    run_app([*words, "--prompt", "Say <|end|> é", "--max-tokens", "40"])
    told = json.loads(capsys.readouterr().out)["answer"]
    messages = [{"role": "user", "content": "Say <|end|> é"}]
    body = SAY | {"messages": messages, "temperature": 0, "max_tokens": 40}
    (reply,) = asked(body)
    assert reply.json["choices"][0]["message"]["content"] == told
    assert told


def test_the_answer_and_its_log_probs_are_the_engines() -> None:
    tokenizer = small_tokenizer()
    prompt = render([Message("user", "Say")], tokenizer, generation_prompt=True).ids
    sampling = Sampling(temperature=1.0, seed=7)
    request = Request(prompt, 20, sampling, tokenizer.stops(chats=True), top_log_probs=3)
    (said,) = sample_all(policy(), [request])
    more = {"seed": 7, "max_tokens": 20, "logprobs": True, "top_logprobs": 3}
    (reply,) = asked(SAY | more)
    ids = [id_ for id_ in said.ids if id_ not in request.stop]
    content = reply.json["choices"][0]["logprobs"]["content"]
    assert [entry["bytes"] for entry in content] == [list(tokenizer.token_bytes(i)) for i in ids]
    found = [entry["logprob"] for entry in content]
    assert found == pytest.approx(said.log_probs[: len(ids)], abs=1e-4)
    assert all(len(entry["top_logprobs"]) == 3 for entry in content)
    usage = {"prompt_tokens": len(prompt), "completion_tokens": len(said.ids)}
    assert usage.items() <= reply.json["usage"].items()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"logprobs": True, "top_logprobs": 2},
        {"stop": ["e", "33"]},
        {"n": 3},
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "required"},
        {"response_format": {"type": "json_object"}, "max_tokens": 12},
    ],
    ids=lambda more: "-".join(more) or "plain",
)
def test_a_stream_says_together_what_is_said_at_once(more: dict[str, Any]) -> None:
    body = endless(40) | {"temperature": 1.0} | more
    options = {"stream": True, "stream_options": {"include_usage": True}}
    whole, stream = asked(body, body | options)
    events = stream.events
    assert events[-1]["usage"] == whole.json["usage"]
    for choice in whole.json["choices"]:
        mine = [
            each
            for event in events
            for each in event["choices"]
            if each["index"] == choice["index"]
        ]
        text = "".join(each["delta"].get("content") or "" for each in mine)
        assert text == (choice["message"]["content"] or "")
        assert mine[0]["delta"]["role"] == "assistant"
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
        scored = [e for each in mine if each["logprobs"] for e in each["logprobs"]["content"]]
        assert len(scored) == len((choice["logprobs"] or {"content": []})["content"])
        calls = [call for each in mine for call in each["delta"].get("tool_calls", [])]
        functions = [call["function"] for call in choice["message"].get("tool_calls", [])]
        assert [call["function"] for call in calls] == functions


def test_log_probs_are_of_the_tokens_that_are_told() -> None:
    body = endless(60, logprobs=True, temperature=1.0)
    whole, cut = asked(body, body | {"stop": ["33"]})
    text = cut.json["choices"][0]["message"]["content"]
    content = cut.json["choices"][0]["logprobs"]["content"]
    data = b"".join(bytes(entry["bytes"]) for entry in content)
    assert "33" not in text
    assert data.decode("utf-8", "replace").startswith(text)
    assert len(data) < len(whole.json["choices"][0]["message"]["content"].encode())


def test_a_tool_that_must_be_called_is_called_as_its_schema_says() -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    for choice in ("required", named):
        (reply,) = asked(SAY | {"tools": [TOOL], "tool_choice": choice, "max_tokens": 300})
        (found,) = reply.json["choices"]
        (call,) = found["message"]["tool_calls"]
        assert found["finish_reason"] == "tool_calls"
        assert json.loads(call["function"]["arguments"])["city"] in ("Rome", "Oslo")
        turns = [*SAY["messages"], found["message"]]
        answered = {"role": "tool", "tool_call_id": call["id"], "content": "<|end|> sunny"}
        (reply,) = asked(SAY | {"messages": [*turns, answered], "tools": [TOOL]})
        assert reply.status == 200, reply.body


def test_answers_have_the_form_that_is_asked_for() -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 22]}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    ends = {"additionalProperties": False}
    schema |= ends
    (reply,) = asked(SAY | {"response_format": form, "max_tokens": 200, "n": 4, "seed": 3})
    for choice in reply.json["choices"]:
        assert choice["finish_reason"] == "stop"
        assert json.loads(choice["message"]["content"])["a"] in (1, 22)


def test_completions_continue_texts_and_ids() -> None:
    ids = small_tokenizer().encode("def main")
    begin = small_tokenizer().begin
    body = {"model": NAME, "temperature": 0, "max_tokens": 6, "logprobs": 1}
    text, both, echo = asked(
        body | {"prompt": "def main"},
        body | {"prompt": [[begin, *ids], ids]},
        {"model": NAME, "temperature": 0, "max_tokens": 6, "prompt": "def main", "echo": True},
        path="/v1/completions",
    )
    (alone,) = text.json["choices"]
    assert both.json["choices"][0]["text"] == alone["text"]
    assert len(both.json["choices"]) == 2
    assert echo.json["choices"][0]["text"] == "def main" + alone["text"]
    assert "".join(alone["logprobs"]["tokens"]) == alone["text"]


def test_the_first_of_many_answers_is_the_only_one() -> None:
    one, many = asked(SAY | {"seed": 5}, SAY | {"seed": 5, "n": 4})
    contents = [choice["message"]["content"] for choice in many.json["choices"]]
    assert contents[0] == one.json["choices"][0]["message"]["content"]
    assert len(set(contents)) > 1


def test_a_model_that_has_not_learnt_to_chat_says_where_to_ask() -> None:
    (reply,) = asked(SAY, chats=False)
    assert (reply.status, "/v1/completions" in reply.reason) == (400, True)


def test_nobody_profits_from_what_another_asked() -> None:
    long = {"messages": [{"role": "user", "content": "a long question " * 20}]}

    async def play(app: Inside) -> list[int]:
        reused = []
        for key, user in (("k", ""), ("k", ""), ("o", ""), ("k", "someone"), ("k", "someone")):
            before = app.policy.engine.counts.reused_tokens
            headers = {"authorization": f"Bearer {key * 16}"}
            more = {"user": user} if user else {}
            reply = await app.ask(CHAT, SAY | long | more, headers=headers)
            assert reply.status == 200
            reused.append(app.policy.engine.counts.reused_tokens - before)
        return reused

    first, again, other, user, same = inside(play, keys={"me": "k" * 16, "you": "o" * 16})
    assert (first, other, user) == (0, 0, 0)
    assert again > 50 and same > 50
    assert salt_of("a", "") != salt_of("b", "") != salt_of("", "b")


def test_those_who_ask_at_once_share_nothing_either() -> None:
    long = {"messages": [{"role": "user", "content": "a long question " * 20}]}

    async def play(app: Inside) -> int:
        headers = [{"authorization": f"Bearer {key * 16}"} for key in "ko"]
        await asyncio.gather(*(app.ask(CHAT, SAY | long, headers=each) for each in headers))
        return app.policy.engine.counts.reused_tokens

    assert inside(play, keys={"me": "k" * 16, "you": "o" * 16}) == 0


def test_what_is_counted_is_told() -> None:
    async def play(app: Inside) -> tuple[str, int]:
        reply = await app.chat()
        await app.chat(model="other")
        metrics = await app.ask("/metrics", method="GET")
        return metrics.body.decode(), reply.json["usage"]["completion_tokens"]

    text, tokens = inside(play, Limits())
    assert f"ontogeny_sampled_tokens_total {tokens}\n" in text
    assert re.search(r'requests_total\{route="/v1/chat/completions",status="200"\} 1\n', text)
    assert re.search(r'requests_total\{route="/v1/chat/completions",status="404"\} 1\n', text)
    assert "ontogeny_request_seconds_count 2\n" in text
    assert "ontogeny_healthy 1\n" in text


def test_models_and_the_document_tell_what_is_served() -> None:
    async def play(app: Inside) -> list[Any]:
        paths = ("/v1/models", f"/v1/models/{NAME}", "/openapi.json", "/health")
        return [(await app.ask(path, method="GET")).json for path in paths]

    models, one, document, health = inside(play)
    assert models["data"] == [one]
    assert (one["id"], one["root"]) == (NAME, served().id)
    schema = document["paths"][CHAT]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(SAY) <= set(schema["properties"])
    assert health == {"status": "ok"}
