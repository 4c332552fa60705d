"""What a grammar allows ends as a text of it; what is wrong or hostile is one line."""

from __future__ import annotations

import json
import random
import re
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from ontogeny.base.errors import InputError
from ontogeny.text import constraint
from ontogeny.text.constraint import Constraint
from ontogeny.text.grammar import MOST_BYTES, Grammar
from ontogeny.text.tokenizer import Tokenizer

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "likes": {"type": "array", "items": {"enum": ["tea", "été"]}, "maxItems": 2},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/node"}, "v": {"type": "boolean"}},
            "required": ["v"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
REGEX = r"(yes|no|été 🙂)( [a-z]{1,3}[0-9]?){0,4}\n"
LARK = 'start: item ("," item)*\nitem: /[a-c]{2}/ | "(" start ")"'
OWN = "own"
STYLES = [OWN, "qwen", "llama3", "smollm", "llama2", "mistral", "gemma"]


@pytest.fixture(scope="session")
def tokenizers(tokenizer: Tokenizer, open_styles: dict[str, Path]) -> dict[str, Tokenizer]:
    return {OWN: tokenizer} | {name: Tokenizer.load(path) for name, path in open_styles.items()}


def ids_of(words: np.ndarray) -> list[int]:
    return np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little")).tolist()


def walked(
    grammar: Grammar, tokenizer: Tokenizer, seed: int, most: int = 400
) -> tuple[list[int], bool]:
    """Ids drawn among those that are allowed, and whether the grammar ended them."""
    draw, found = random.Random(seed), Constraint(grammar, tokenizer, tokenizer.stops(chats=True))
    ids: list[int] = []
    while len(ids) < most:
        ids.append(draw.choice(ids_of(found.allowed())))
        if ids[-1] in tokenizer.stops(chats=True) or found.accept(ids[-1]):
            return ids, True
    return ids, False


@pytest.mark.parametrize("style", STYLES)
def test_what_is_allowed_ends_as_a_text_of_the_grammar(
    tokenizers: dict[str, Tokenizer], style: str
) -> None:
    tokenizer = tokenizers[style]
    person, tree = (Grammar("json_schema", json.dumps(each)) for each in (PERSON, TREE))
    for seed in range(6):
        ids, ended = walked(person, tokenizer, seed)
        assert ended
        found = json.loads(tokenizer.continuation(ids))
        assert {"name", "age"} <= set(found) <= set(PERSON["properties"])  # type: ignore[call-overload]
        assert len(found["name"]) <= 8
        assert 0 <= found["age"] <= 120
        assert set(found.get("likes", ())) <= {"tea", "été"}
        ids, ended = walked(Grammar("regex", REGEX), tokenizer, seed)
        assert ended
        assert re.fullmatch(REGEX, tokenizer.continuation(ids))
        ids, ended = walked(tree, tokenizer, seed)
        assert not ended or "v" in json.loads(tokenizer.continuation(ids))
        ids, ended = walked(Grammar("lark", LARK), tokenizer, seed)
        assert set(tokenizer.continuation(ids)) <= set("abc,()")


@pytest.mark.parametrize("style", STYLES)
def test_the_end_may_come_exactly_where_the_text_is_whole(
    tokenizers: dict[str, Tokenizer], style: str
) -> None:
    tokenizer = tokenizers[style]
    stops, regex = set(tokenizer.stops(chats=True)), r"[a-d]{2,4}(-[a-d]+)?"
    for seed in range(8):
        draw, text = random.Random(seed), ""
        found = Constraint(Grammar("regex", regex), tokenizer, stops)
        for _ in range(12):
            allowed = set(ids_of(found.allowed()))
            assert stops <= allowed if re.fullmatch(regex, text) else not stops & allowed
            assert not allowed & set(tokenizer.specials.values()) - stops
            id_ = draw.choice(sorted(allowed - stops))
            text += tokenizer.continuation([id_])
            if found.accept(id_):
                break


@pytest.mark.parametrize("style", STYLES)
def test_a_text_of_the_grammar_may_be_said_as_the_tokenizer_spells_it(
    tokenizers: dict[str, Tokenizer], style: str
) -> None:
    """Where the grammar forces a text its tokens are the usual ones, and no others."""
    tokenizer = tokenizers[style]
    text = '{"name": "def", "age": 42, "likes": ["été", "tea"]}'
    ids = tokenizer.encode("\n" + text)
    while tokenizer.continuation(ids) != text:
        ids = ids[1:]
    found = Constraint(Grammar("json_schema", json.dumps(PERSON)), tokenizer)
    for place, id_ in enumerate(ids):
        assert id_ in ids_of(found.allowed())
        assert found.accept(id_) == (place == len(ids) - 1)


def test_a_stop_id_that_is_also_text_ends_it_where_it_may_end_and_is_no_text(
    tokenizer: Tokenizer,
) -> None:
    (line,) = tokenizer.encode("\n")
    found = Constraint(Grammar("regex", r"a\n?b*"), tokenizer, [line])
    assert line not in ids_of(found.allowed())
    found.accept(tokenizer.encode("a")[0])
    assert line in ids_of(found.allowed())


def test_without_a_stop_id_only_the_grammar_ends_a_text(tokenizer: Tokenizer) -> None:
    found = Constraint(Grammar("regex", "a{2}"), tokenizer)
    a = tokenizer.encode("a")[0]
    assert not found.accept(a)
    assert ids_of(found.allowed()) == [a]
    assert found.accept(a)


def test_two_that_follow_one_grammar_do_not_meet(tokenizer: Tokenizer) -> None:
    grammar = Grammar("json_schema", json.dumps(PERSON))
    alone = [walked(grammar, tokenizer, seed)[0] for seed in range(4)]
    together = [Constraint(grammar, tokenizer, tokenizer.stops(chats=True)) for _ in alone]
    for step in range(max(map(len, alone))):
        for ids, found in zip(alone, together, strict=True):
            if step < len(ids):
                assert ids[step] in ids_of(found.allowed())
                assert found.accept(ids[step]) == (step == len(ids) - 1)


def test_an_id_that_is_not_allowed_is_refused_in_one_line(tokenizer: Tokenizer) -> None:
    found = Constraint(Grammar("regex", "a+b"), tokenizer)
    with pytest.raises(InputError) as caught:
        found.accept(tokenizer.encode("x")[0])
    assert "\n" not in str(caught.value)


CHAIN = "\n".join(f'r{i}: "a" r{i + 1} "b"' for i in range(3000))
REFS = {f"d{i}": {"type": "array", "items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(1500)}
REFUSED: dict[str, tuple[str, str, str]] = {
    "regex, twice repeated": ("regex", "foo**", "repeats a repeat"),
    "regex, look-around": ("regex", "(?=a)b", "look-around"),
    "regex, back reference": ("regex", r"(a)\1", "backreferences"),
    "regex, open group": ("regex", "(a", "unclosed group"),
    "regex, too deep": ("regex", "(" * 9000 + ")" * 9000, "cannot be followed"),
    "regex, nothing matches": ("regex", r"[^\s\S]", "no text satisfies it"),
    "regex, half a character": ("regex", "a\ud800", "Unicode"),
    "schema, no JSON": ("json_schema", '{"type":', "no JSON"),
    "schema, no object": ("json_schema", "3", "no object"),
    "schema, false": ("json_schema", "false", "no object"),
    "schema, never": ("json_schema", '{"allOf": [false]}', "Unsatisfiable"),
    "schema, unknown type": ("json_schema", '{"type": "strin"}', "Invalid type: strin"),
    "schema, unknown keyword": ("json_schema", '{"not": {}}', 'Unimplemented keys: ["not"]'),
    "schema, unknown reference": ("json_schema", '{"$ref": "#/$defs/x"}', "does not exist"),
    "schema, file": ("json_schema", '{"$ref": "file:///etc/hosts"}', "does not fetch"),
    "schema, itself": ("json_schema", '{"$ref": "#"}', "no text satisfies it"),
    "schema, too long": ("json_schema", json.dumps({"enum": ["x"] * 250_000}), "at most 100000"),
    "schema, deep": ("json_schema", '{"items":' * 9000, "nested too deeply"),
    "schema, chain": (
        "json_schema",
        json.dumps({"$defs": REFS | {"d1500": {}}, "$ref": "#/$defs/d0"}),
        "nested too deeply",
    ),
    "schema, number": ("json_schema", '{"minimum": 1e999}', "out of range"),
    "lark, wrong": ("lark", "start: :", "Expected value"),
    "lark, no start": ("lark", 'x: "a"', "no start rule"),
    "lark, chain": ("lark", f'start: r0\n{CHAIN}\nr3000: "c"', "nested too deeply"),
    "lark, special token": ("lark", 'start: "a" <|end|>', "special token"),
    "lark, file": ("lark", '%import "/etc/hosts"\nstart: "a"', "cannot be followed"),
}


@pytest.mark.parametrize(("kind", "text", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_followed_is_refused_in_one_line(
    tokenizer: Tokenizer, kind: str, text: str, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        Constraint.check(Grammar(kind, text), tokenizer)  # type: ignore[arg-type]
    assert reason in caught.value.reason
    assert "\n" not in caught.value.reason
    assert len(caught.value.reason) < 500


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar(
            "json_schema",
            json.dumps({"allOf": [{"type": "string", "pattern": f"x{i}.*"} for i in range(20)]}),
        ),
        Grammar("lark", "start: A\nA: " + " & ".join(f"/[a-z]*x{i}.*/" for i in range(100))),
    ],
    ids=lambda grammar: grammar.kind,
)
def test_what_would_take_for_ever_is_ended(
    tokenizer: Tokenizer, grammar: Grammar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llguidance alone works on the second of these for longer than anybody has waited."""
    monkeypatch.setattr(constraint, "CPU_SECONDS", 1)
    started = time.process_time()
    with pytest.raises(InputError, match="cannot be followed"):
        Constraint.check(grammar, tokenizer)
    assert time.process_time() - started < 0.5  # of this process


@pytest.mark.parametrize(
    "regex", ["(a+)+b", "(a|a)*b", ".*a.{25}", "(a{1,99}){1,99}b", "(.?){500}x", "(a?){90}a{90}"]
)
def test_a_regex_that_others_choke_on_is_followed_in_no_time(
    tokenizer: Tokenizer, regex: str
) -> None:
    found = Constraint(Grammar("regex", regex), tokenizer)
    a = tokenizer.encode("a")[0]
    started = time.process_time()
    for _ in range(40):
        assert a in ids_of(found.allowed())
        found.accept(a)
    assert time.process_time() - started < 2.0


def test_a_reference_to_a_url_fetches_nothing(tokenizer: Tokenizer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        with pytest.raises(InputError, match="does not fetch"):
            Constraint.check(Grammar("json_schema", json.dumps({"$ref": url})), tokenizer)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_grammar_is_tried_once(tokenizer: Tokenizer) -> None:
    grammar = Grammar("regex", "tried[0-9]once")
    Constraint.check(grammar, tokenizer)
    started = time.perf_counter()
    for _ in range(100):
        Constraint.check(Grammar("regex", "tried[0-9]once"), tokenizer)
    assert time.perf_counter() - started < 0.1


def test_the_line_of_a_mistake_in_a_schema_is_told(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError) as caught:
        Constraint.check(Grammar("json_schema", '{"type": "object",\n "x": }'), tokenizer)
    assert caught.value.line == 2


def test_a_grammar_checks_itself() -> None:
    for kind, text in (("xml", "a"), ("regex", ""), ("regex", "a" * (MOST_BYTES + 1))):
        with pytest.raises(InputError):
            Grammar(kind, text)  # type: ignore[arg-type]
    for fine in ("a+?", "[*+]+", r"\**", "(a*)*", "x{2}", "[]*]+", "a{b}"):
        Grammar("regex", fine)
    for twice in ("a*+", "a++", "a{2}{3}", "(a)?*", "[a]+*", "a{1,}?+"):
        with pytest.raises(InputError, match="repeats a repeat"):
            Grammar("regex", twice)
