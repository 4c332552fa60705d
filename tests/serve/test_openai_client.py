"""The `openai` client, untouched, against a server of ours on a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from serve.running import KEY, NAME, SAY, Live, endless, live

from ontogeny.serve.gate import Limits

openai = pytest.importorskip("openai")
MESSAGES = SAY["messages"]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live(Limits(slots=2), {"me": KEY}) as found:
        yield found


@pytest.fixture
def client(server: Live) -> Iterator[Any]:
    url = f"http://127.0.0.1:{server.port}/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as made:
        yield made


def test_it_lists_the_model(client: Any) -> None:
    assert [model.id for model in client.models.list()] == [NAME]


def test_it_streams_what_it_is_told_at_once(client: Any) -> None:
    asked = {"model": NAME, "messages": MESSAGES, "max_tokens": 20, "seed": 2}
    whole = client.chat.completions.create(**asked)
    text, usage = "", None
    options = {"include_usage": True}
    for chunk in client.chat.completions.create(**asked, stream=True, stream_options=options):
        usage = chunk.usage or usage
        text += (chunk.choices and chunk.choices[0].delta.content) or ""
    assert (text, usage) == (whole.choices[0].message.content, whole.usage)


def test_it_reads_log_probs(client: Any) -> None:
    asked = endless(6) | {"logprobs": True, "top_logprobs": 2}
    found = client.chat.completions.create(**asked).choices[0]
    content = found.logprobs.content
    said = b"".join(bytes(entry.bytes) for entry in content).decode("utf-8", "replace")
    assert said == found.message.content
    assert all(entry.logprob <= 0 and len(entry.top_logprobs) == 2 for entry in content)


def test_it_plays_a_whole_round_of_a_tool(client: Any) -> None:
    asked: dict[str, Any] = {"model": NAME, "tools": [TOOL], "max_tokens": 300, "seed": 4}
    first = client.chat.completions.create(
        **asked, messages=MESSAGES, tool_choice="required", stream=True
    )
    calls = [call for chunk in first for call in chunk.choices[0].delta.tool_calls or ()]
    (call,) = calls
    assert json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")
    told = {"name": call.function.name, "arguments": call.function.arguments}
    turn = {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function"}]}
    turn["tool_calls"][0]["function"] = told  # type: ignore[index]
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    again = client.chat.completions.create(
        **asked | {"max_tokens": 5}, messages=[*MESSAGES, turn, result]
    )
    assert again.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_it_gets_the_form_that_it_asks_for(client: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"yes": {"type": "boolean"}},
        "required": ["yes"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}}
    found = client.chat.completions.create(
        model=NAME, messages=MESSAGES, max_tokens=300, response_format=form, seed=1
    )
    assert type(json.loads(found.choices[0].message.content)["yes"]) is bool


def test_it_continues_a_text(client: Any) -> None:
    found = client.completions.create(model=NAME, prompt="def", max_tokens=4, temperature=0, n=2)
    assert len({choice.text for choice in found.choices}) == 1


def test_it_raises_its_own_errors(client: Any, server: Live) -> None:
    chat = client.chat.completions.create
    with pytest.raises(openai.BadRequestError, match="temperature"):
        chat(model=NAME, messages=MESSAGES, temperature=9)
    with pytest.raises(openai.NotFoundError, match="no model"):
        chat(model="../x", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.embeddings.create(model="other", input="a")
    url = f"http://127.0.0.1:{server.port}/v1"
    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
