"""Whatever comes in, what goes out is an answer or an error of OpenAI's shape, never a 5xx."""

from __future__ import annotations

import asyncio
import io
import json
import random
import time
from typing import Any

import pytest
from serve.running import CONTEXT, KEY, NAME, OTHER, SAY, Inside, Reply, endless, inside, served
from support.bench import small_tokenizer

from ontogeny.serve.asked import chat_asked
from ontogeny.serve.fields import read_object
from ontogeny.serve.gate import Keys, Limits
from ontogeny.serve.openapi import document
from ontogeny.serve.refusal import Refused

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
TEXT = {"model": NAME, "prompt": "Say", "max_tokens": 2}


def refused(*bodies: Any, path: str = CHAT, **headers: str) -> list[Reply]:
    """Replies to bodies that are asked one by one, each in OpenAI's error shape."""

    async def play(app: Inside) -> list[Reply]:
        return [await app.ask(path, body, headers=headers) for body in bodies]

    replies = inside(play)
    for body, reply in zip(bodies, replies, strict=True):
        assert 400 <= reply.status < 500, (body, reply.body)
        assert set(reply.json["error"]) == {"message", "type", "param", "code"}
        assert reply.reason.isprintable() and len(reply.reason) < 400
    return replies


BROKEN = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[1]",
    "deep lists": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "infinite": b'{"model": "small", "temperature": 1e999}',
    "NaN": b'{"model": "small", "temperature": NaN}',
    "a key twice": b'{"model": "small", "model": "other"}',
    "no UTF-8": b'{"model": "\xff"}',
    "UTF-16": '{"model": "small"}'.encode("utf-16"),
    "many digits": b'{"n": ' + b"9" * 5000 + b"}",
    "quotes that end no string": b'"' + b'\\"' * 500_000,
    "brackets behind an end": b"]" * 1000 + b"[" * 100_000,
    "a NUL": b'{"model": "small"}\x00',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_body_that_is_no_json_is_refused(name: str) -> None:
    began = time.process_time()
    with pytest.raises(Refused) as caught:
        read_object(BROKEN[name])
    assert caught.value.status == 400
    assert time.process_time() - began < 0.5


def test_brackets_in_texts_are_no_depth() -> None:
    text = '[{"\\' * 500
    assert read_object(json.dumps({"a": text}).encode()) == {"a": text}
    assert read_object(json.dumps({"a": [[]] * 500}).encode()) == {"a": [[]] * 500}


@pytest.mark.parametrize("kind", ["text/plain", "", "multipart/form-data", "application/xml"])
def test_another_content_type_is_refused(kind: str) -> None:
    (reply,) = refused(SAY, **{"content-type": kind})
    assert (reply.status, "application/json" in reply.reason) == (400, True)


STRICT = {"type": "function", "function": {"name": "f", "strict": True}}


def defined(value: Any) -> dict[str, Any]:
    """A tool whose parameters define this."""
    return {"type": "function", "function": {"name": "f", "parameters": {"$defs": value}}}


NUMBERS: dict[str, Any] = {
    "n": (-1, 0, 17, 1.5, "1", True, [1], 10**30),
    "max_tokens": (-1, 0, CONTEXT + 1, "5", 1e300, {}),
    "max_completion_tokens": (-1, 0, CONTEXT + 1),
    "temperature": (-0.1, 2.1, "1", True, [], 1e300, 1e-9),
    "top_p": (-1, 0, 1.1, "1"),
    "top_k": (-1, 10**12, "1", 1.5),
    "min_p": (-1, 1, "0"),
    "repetition_penalty": (0, -1, 1e9, "1"),
    "frequency_penalty": (-2.1, 2.1, "0"),
    "presence_penalty": (-2.1, 2.1, "0"),
    "seed": (10**30, "1", 1.5, -(10**30)),
    "top_logprobs": (-1, 21, "1", 2),
    "stop": ("", [""], [1], ["a"] * 17, ["a" * 501], {}, 1),
    "logit_bias": ({"x": 1}, {"-1": 1}, {"99999": 1}, {"1": 101}, {"1": "1"}, [], {"\u0661": 1}),
    "stream": (1, "true", []),
    "stream_options": ({"include_usage": True}, {}, 1),
    "user": (1, "u" * 201),
    "best_of": (2,),
    "functions": ([],),
    "store": (True,),
    "chat_template": ("{{''.__class__}}", "x" * 100_000),
    "modalities": (["audio"], "text"),
    "response_format": (
        "json",
        {},
        {"type": "xml"},
        {"type": "json_schema"},
        {"type": "text", "a": 1},
    ),
    "tools": ({}, [], [1], [{"type": "x"}], [{"type": "function"}], [STRICT], [defined([1])]),
    "tool_choice": ("required", "any", {"type": "function"}, 1),
    "messages": ([], {}, "a", [1], [[]]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_wrong_value_is_refused_by_name(name: str) -> None:
    for value, reply in zip(
        NUMBERS[name], refused(*(SAY | {name: v} for v in NUMBERS[name])), strict=True
    ):
        assert reply.status == 400, value
        assert name.split("_")[-1] in reply.reason or name in str(reply.json), (value, reply.reason)


@pytest.mark.parametrize("value", [[1], "abc", True, [["a", 1]]])
def test_definitions_of_a_tool_are_an_object(value: Any) -> None:
    (reply,) = refused(SAY | {"tools": [defined(value)], "tool_choice": "required"})
    assert "$defs" in reply.reason


def test_names_of_two_fields_are_two_askers() -> None:
    told = [
        {},
        {"user": "a"},
        {"prompt_cache_key": "a"},
        {"safety_identifier": "a"},
        {"user": "a", "prompt_cache_key": "b"},
        {"user": "a\x1fb"},
    ]
    askers = [chat_asked(SAY | each, served()).wanted.asker for each in told]
    assert len(set(askers)) == len(told)


def test_half_a_million_biases_are_refused_before_anything_is_encoded() -> None:
    body = SAY | {"logit_bias": {str(n): 1 for n in range(500_000)}}
    began = time.process_time()
    with pytest.raises(Refused, match="logit_bias"):
        chat_asked(body, served())
    assert time.process_time() - began < 0.5


def test_a_body_over_the_limit_is_refused() -> None:
    (reply,) = refused(SAY | {"messages": [{"role": "user", "content": "a" * (1 << 20)}]})
    assert (reply.status, reply.headers["connection"]) == (413, "close")


@pytest.mark.parametrize("text", ["a" * 900_000, "word " * 20_000, "\u00e9" * 150_000])
def test_a_prompt_longer_than_the_context_is_refused_soon(text: str) -> None:
    began = time.process_time()
    replies = refused(SAY | {"messages": [{"role": "user", "content": text}]})
    replies += refused(TEXT | {"prompt": text}, TEXT | {"prompt": [1] * 5000}, path=COMPLETIONS)
    assert {reply.json["error"]["code"] for reply in replies} == {"context_length_exceeded"}
    assert time.process_time() - began < 6.0


PROMPTS: list[Any] = [None, [], {}, 1, [""] * 129, [[]], [["a"]], [1, "a"], [-1], [10**9], [True]]


def test_a_prompt_that_is_none_is_refused() -> None:
    for reply in refused(*(TEXT | {"prompt": each} for each in PROMPTS), path=COMPLETIONS):
        assert reply.status == 400


NAMES = ["../../etc/passwd", "%2e%2e/x", "a\0b", "/etc/passwd", "http://x/y", "n" * 20_000, "é\n"]


def test_a_model_name_is_a_name_and_no_path() -> None:
    for reply in refused(*(SAY | {"model": name} for name in NAMES)):
        assert (reply.status, reply.json["error"]["code"]) == (404, "model_not_found")

    async def play(app: Inside) -> list[int]:
        return [(await app.ask(f"/v1/models/{n}", method="GET")).status for n in NAMES]

    assert inside(play) == [404] * len(NAMES)


USER = {"role": "user", "content": "a"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TURNS: dict[str, list[Any]] = {
    "an unknown role": [{"role": "root", "content": "a"}],
    "a system turn later": [USER, {"role": "system", "content": "a"}],
    "no content": [{"role": "user"}],
    "a picture": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
    "a call without id": [USER, {"role": "assistant", "tool_calls": [{**CALL, "id": None}]}],
    "a call of no JSON": [
        USER,
        {"role": "assistant", "tool_calls": [CALL | {"function": {"name": "f", "arguments": "{"}}]},
    ],
    "an answer to no call": [USER, {"role": "tool", "content": "a", "tool_call_id": "c"}],
    "an answer without id": [
        USER,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "content": "a"},
    ],
    "a user who calls": [{"role": "user", "content": "a", "tool_calls": [CALL]}],
    "an unknown field": [USER | {"weight": 1}],
    "ten thousand turns": [USER, {"role": "assistant", "content": "b"}] * 5000,
}


@pytest.mark.parametrize("name", TURNS)
def test_turns_that_cannot_be_are_refused(name: str) -> None:
    (reply,) = refused(SAY | {"messages": TURNS[name]})
    assert reply.status == 400


def test_what_a_person_writes_is_no_special_token() -> None:
    tokenizer = small_tokenizer()
    special = next(iter(tokenizer.specials))

    async def play(app: Inside) -> list[int]:
        replies = [
            await app.chat(messages=[{"role": "user", "content": text}]) for text in ("a", special)
        ]
        return [reply.json["usage"]["prompt_tokens"] for reply in replies]

    short, long = inside(play)
    assert long - short == len(tokenizer.encode(special)) - len(tokenizer.encode("a")) > 1


SCHEMAS: list[Any] = [
    {"type": "strin"},
    {"$ref": "http://localhost:1/schema"},
    {"$ref": "#/$defs/none"},
    {"type": "string", "pattern": "("},
    {"type": "object", "not": {}},
    {"type": "string", "pattern": "a" * 200_000},
    1,
    "a",
]


def test_schemas_that_cannot_be_followed_are_refused_and_others_answered() -> None:
    def form(schema: Any) -> dict[str, Any]:
        return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}

    recursive = {"$defs": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a"}]}}}

    async def play(app: Inside) -> list[int]:
        bad = [app.chat(response_format=form(schema)) for schema in SCHEMAS]
        odd = [recursive | {"$ref": "#/$defs/a"}, {"type": "string", "pattern": "foo**"}]
        good = [app.chat(), *(app.chat(response_format=form(schema)) for schema in odd)]
        return [reply.status for reply in await asyncio.gather(*bad, *good)]

    *bad, good, around, twice = inside(play)
    assert bad == [400] * len(SCHEMAS)
    assert good == 200 and around in (200, 400) and twice in (200, 400)


def test_a_key_is_needed_everywhere_but_for_health() -> None:
    wrong = ["", "Bearer", f"Bearer {OTHER}", KEY, f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \xff"]
    gets = ["/metrics", "/openapi.json", "/v1/models", f"/v1/models/{NAME}", "/none"]

    async def play(app: Inside) -> list[int]:
        found = []
        for key in wrong:
            headers = {"authorization": key}
            found.append((await app.ask(CHAT, SAY, headers=headers)).status)
            found += [(await app.ask(p, method="GET", headers=headers)).status for p in gets]
        found.append((await app.ask(f"{CHAT}?api_key={KEY}", SAY)).status)
        headers = {"authorization": f"Bearer {KEY}"}
        assert (await app.ask(CHAT, SAY, headers=headers)).status == 200
        assert (await app.ask("/health", method="GET")).status == 200
        return found

    assert set(inside(play, keys={"me": KEY})) == {401}


def test_every_key_is_compared_and_none_is_kept() -> None:
    keys = Keys({"me": KEY, "you": OTHER})
    assert (keys.owner(f"Bearer {KEY}"), keys.owner(f"bearer {OTHER}")) == ("me", "you")
    assert KEY not in repr(vars(keys))


def test_without_keys_a_strange_host_is_refused() -> None:
    for host in ("evil.example", "evil.example:80", "localhost.evil.example", ""):
        (reply,) = refused(SAY, host=host)
        assert (reply.status, reply.headers["connection"]) == (421, "close")
    for host in ("LOCALHOST:8000", "127.0.0.1", "[::1]:80"):
        assert (
            inside(lambda app, host=host: app.ask(CHAT, SAY, headers={"host": host})).status == 200
        )


def test_a_keys_rate_is_its_own_and_no_header_evades_it() -> None:
    now = [0.0]

    async def play(app: Inside) -> list[int]:
        found = []
        for turn in range(8):
            headers = {"authorization": f"Bearer {KEY}", "x-forwarded-for": f"10.0.0.{turn}"}
            reply = await app.ask(CHAT, SAY, headers=headers)
            found.append(reply.status)
        assert int(reply.headers["retry-after"]) >= 1
        other = await app.ask(CHAT, SAY, headers={"authorization": f"Bearer {OTHER}"})
        now[0] += int(reply.headers["retry-after"])
        later = await app.ask(CHAT, SAY, headers=headers)
        return [*found, other.status, later.status]

    limits = Limits(requests_a_minute=10)
    statuses = inside(play, limits, {"me": KEY, "you": OTHER}, clock=lambda: now[0])
    assert statuses == [200] * 5 + [429] * 3 + [200, 200]


def test_the_log_tells_no_text_and_no_key_and_stays_on_its_line() -> None:
    log = io.StringIO()
    secret = "a secret\n\x1b[31mforged"

    async def play(app: Inside) -> None:
        headers = {"authorization": f"Bearer {KEY}"}
        said = SAY | {"messages": [{"role": "user", "content": secret}], "user": secret}
        await app.ask(CHAT, said, headers=headers)
        await app.ask("/v1/models/x\n\x1b[31mforged", method="GET", headers=headers)
        await app.ask(CHAT, said, headers={"authorization": f"Bearer {OTHER}"})

    inside(play, keys={"me": KEY}, log=log)
    rows = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [row["status"] for row in rows] == [200, 404, 401]
    assert [row["key"] for row in rows] == ["me", "me", ""]
    assert log.getvalue().isascii() and "\x1b" not in log.getvalue()
    assert not any(each in log.getvalue() for each in (KEY, OTHER, "secret"))


WORDS = [
    "",
    "a",
    "é🙂",
    "\0",
    "\ud800",
    "<|end|>",
    "{{x}}",
    NAME,
    "text",
    "function",
    "user",
    "tool",
]


def noise(draw: random.Random, depth: int = 0) -> Any:
    """Any JSON."""
    kind = draw.randrange(8 if depth < 3 else 6)
    if kind == 6:
        return [noise(draw, depth + 1) for _ in range(draw.randrange(4))]
    if kind == 7:
        return {draw.choice(WORDS): noise(draw, depth + 1) for _ in range(draw.randrange(4))}
    plain = [None, draw.random() < 0.5, draw.choice(WORDS), draw.randint(-3, 30)]
    return [*plain, draw.uniform(-3, 3), draw.choice([1e308, -(10**20), 2**63])][kind]


def like(schema: Any, draw: random.Random) -> Any:
    """Something that a schema of ours allows, or now and then noise."""
    if draw.random() < 0.04:
        return noise(draw)
    if "anyOf" in schema:
        return like(draw.choice(schema["anyOf"]), draw)
    if "const" in schema or "enum" in schema:
        return draw.choice(schema.get("enum") or [schema["const"]])
    kind = schema["type"]
    if kind == "object" and "properties" in schema:
        fields = schema["properties"]
        chosen = [n for n in fields if n in schema["required"] or draw.random() < 0.15]
        return {name: like(fields[name], draw) for name in chosen}
    if kind == "object":
        each = schema.get("additionalProperties")
        names = [str(draw.randrange(20)) for _ in range(draw.randrange(3))]
        return {name: like(each, draw) for name in names} if each else noise(draw)
    if kind == "array":
        most = min(schema["maxItems"], 3)
        return [like(schema["items"], draw) for _ in range(draw.randint(schema["minItems"], most))]
    if kind == "integer":
        return draw.randint(schema["minimum"], min(schema["maximum"], 8))
    simple = {"string": draw.choice(WORDS), "boolean": draw.random() < 0.5, "null": None}
    return draw.uniform(schema["minimum"], schema["maximum"]) if kind == "number" else simple[kind]


def mangled(data: bytes, draw: random.Random) -> bytes:
    """Now and then a byte other than it was, or an end that came too soon."""
    if draw.random() < 0.9 or not data:
        return data
    place = draw.randrange(len(data))
    rest = b"" if draw.random() < 0.5 else data[place + 1 :]
    return data[:place] + bytes([draw.randrange(256)]) + rest


def test_two_thousand_requests_like_the_document_get_no_5xx() -> None:
    async def play(app: Inside) -> dict[int, int]:
        paths = document(app.service.served, keyed=False)["paths"]
        draw, found = random.Random(4), dict[int, int]()
        forms = ({"type": "text"}, {"type": "json_object"})

        async def one(path: str, data: bytes) -> None:
            reply = await app.ask(path, data)
            found[reply.status] = found.get(reply.status, 0) + 1
            assert reply.status < 500, (path, data, reply.body)
            if reply.status != 200:
                assert reply.reason

        for _ in range(40):
            batch = []
            for path in draw.choices((CHAT, COMPLETIONS), k=50):
                content = paths[path]["post"]["requestBody"]["content"]["application/json"]
                body = like(content["schema"], draw)
                if isinstance(body, dict) and "max_completion_tokens" not in body:
                    body.setdefault("max_tokens", 2)
                if isinstance(body, dict) and draw.random() < 0.8:  # each schema costs a trial
                    body["response_format"] = draw.choice(forms)
                batch.append(one(path, mangled(json.dumps(body).encode(), draw)))
            await asyncio.gather(*batch)
        assert not app.gate.inside and len(app.policy.engine.slots) == app.gate.limits.slots
        return found

    found = inside(play, Limits(slots=32, waiting=2000))
    assert sum(found.values()) == 2000
    assert found[200] > 300 and found[400] > 300, found


def test_endless_answers_are_cut_by_their_deadline() -> None:
    async def timed(app: Inside) -> list[tuple[int, bytes]]:
        whole = await app.chat(**endless())
        stream = await app.chat(**endless(stream=True))
        return [(each.status, each.body) for each in (whole, stream)]

    (status, _), (streamed, body) = inside(timed, Limits(seconds=0.6))
    assert (status, streamed) == (503, 200)
    assert b'"code":"deadline"' in body and b"[DONE]" not in body
