"""What a tool takes is checked as its grammar means it, and said so that a model can mend it."""

import json
from typing import Any

import pytest

from ontogeny.base.errors import InputError
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.fakes import UniformPolicy
from ontogeny.rollout.policy import Request, sample_all
from ontogeny.rollout.tools import TEXT, Tool, capped, grammar, tools_by_name
from ontogeny.text.byte_codec import byte_tokenizer
from ontogeny.text.constraint import Constraint
from ontogeny.text.message import ToolCall
from ontogeny.text.tool_calls import read_calls

PERSON = {"type": "object", "properties": {"name": TEXT, "age": {"type": "integer"}}}
BOOK = Tool(
    "book",
    "Books seats.",
    {
        "day": {"type": "integer", "minimum": 1, "maximum": 31},
        "cabin": {"type": "string", "enum": ["low", "high"]},
        "people": {
            "type": "array",
            "items": {**PERSON, "required": ["name"]},
            "minItems": 1,
            "maxItems": 2,
        },
        "price": {"type": "number"},
        "meal": {"type": "boolean"},
        "note": {"type": "string", "maxLength": 4},
    },
    optional=("meal", "note"),
)
RIGHT: dict[str, Any] = {"day": 3, "cabin": "low", "people": [{"name": "Ann"}], "price": 2.5}


def test_a_right_call_has_no_fault() -> None:
    assert BOOK.fault(RIGHT) is None
    assert BOOK.fault({**RIGHT, "price": 2, "meal": True, "note": "late"}) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"day": 0}, "day is below minimum 1"),
        ({"day": 32}, "day is above maximum 31"),
        ({"day": True}, "day must be of type integer"),
        ({"day": "3"}, "day must be of type integer"),
        ({"day": 3.0}, "day must be of type integer"),
        ({"cabin": "middle"}, "cabin must be one of low, high"),
        ({"people": []}, "people is below minItems 1"),
        ({"people": [{"name": "A"}] * 3}, "people is above maxItems 2"),
        ({"people": [{"age": 3}]}, "people[0].name is missing"),
        ({"people": [{"name": "A", "x": 1}]}, "no argument 'people[0].x'"),
        ({"people": "Ann"}, "people must be of type array"),
        ({"price": None}, "price must be of type number"),
        ({"meal": 1}, "meal must be of type boolean"),
        ({"note": "later"}, "note is above maxLength 4"),
        ({"colour": "red"}, "no argument 'colour'"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(change: dict[str, Any], reason: str) -> None:
    fault = BOOK.fault({**RIGHT, **change})
    assert fault is not None
    assert reason in fault


def test_a_missing_argument_and_no_object_at_all() -> None:
    assert BOOK.fault({}) == "argument day is missing"
    assert BOOK.fault([1]) == "the arguments must be of type object"
    assert len(str(BOOK.fault({**RIGHT, "x" * 9_999: 1}))) < 300


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({}, "type 'None'"),
        ({"type": "string", "pattern": "a"}, "'pattern'"),
        ({"type": "array"}, "type 'None'"),
        ({"type": "object", "properties": {}, "required": ["x"]}, "not named"),
    ],
)
def test_a_schema_that_would_not_be_checked_is_refused(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Tool("t", "", {"x": schema})


def test_names_are_names_and_stand_once() -> None:
    with pytest.raises(InputError, match="cannot be called"):
        Tool("rm -rf", "", {})
    with pytest.raises(InputError, match="none of its arguments"):
        Tool("t", "", {}, optional=("x",))
    with pytest.raises(InputError, match="two tools"):
        tools_by_name([BOOK, BOOK])


def test_what_the_grammar_lets_through_fits_a_tool() -> None:
    """Of tokens drawn blindly; a text that ended is a call without a fault."""
    tools = {"book": BOOK, "look": Tool("look", "", {"at": {"type": "string", "enum": ["a", "b"]}})}
    made, tokenizer = grammar(list(tools.values())), byte_tokenizer()
    Constraint.check(made, tokenizer)
    policy = UniformPolicy(tokenizer.vocab_size, tokenizer=tokenizer)
    requests = [Request((1,), 1_500, Sampling(seed=n), grammar=made) for n in range(12)]
    ended = [c for c in sample_all(policy, requests) if c.finish == "stop"]
    assert len(ended) >= 6
    for completion in ended:
        (call,) = read_calls(tokenizer.decode(completion.ids))
        assert isinstance(call, ToolCall)
        assert tools[call.name].fault(json.loads(call.arguments)) is None


def test_a_huge_result_is_cut_and_says_so() -> None:
    assert capped("x" * 10, 10) == "x" * 10
    assert capped("x" * 10**6, 10) == "xxxxxxxxxx... (999990 more characters were left out)"
