"""What a tool is: a name, a sentence, and arguments in a small part of JSON Schema.

Knows no model, no tokens and no world; who runs a tool is an executor (`rollout.drive`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.text.grammar import Grammar

Schema = Mapping[str, Any]
TEXT: Schema = {"type": "string"}
MOST_TEXT = 300
"""Characters of a text argument that a grammar allows where its schema does not say."""
MOST_RESULT = 2_000
"""Characters of a result that a model is shown."""
GATED = "refused: "
"""Begins the result of a call that was held back, since a stranger's words made it."""
BROKEN = "the tool broke: "
"""Begins the result of a call whose tool failed by a mistake of its own."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_KEYS = {
    "string": {"enum", "minLength", "maxLength"},
    "integer": {"enum", "minimum", "maximum"},
    "number": {"minimum", "maximum"},
    "boolean": set[str](),
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required"},
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Tool:
    """What a model is told of a tool.

    Args:
        name: letters, digits, `_` and `-`, at most 64.
        description: a sentence or two.
        arguments: name -> schema. A schema has a `type` and, by its type, `enum`, `minLength`,
            `maxLength`, `minimum`, `maximum`, `items`, `minItems`, `maxItems`, `properties` and
            `required`; an object takes no property beside those named. That is all of JSON Schema
            (draft 2020-12) that `fault` and `grammar` mean alike.
        optional: arguments that may be left out.
        changes: it changes the world. Results of the others depend on the world alone.
        ends: a call that succeeds ends the episode ("submit").

    Raises:
        InputError: a name or a schema is of another form.
    """

    name: str
    description: str
    arguments: Mapping[str, Schema]
    optional: tuple[str, ...] = ()
    changes: bool = False
    ends: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"a tool cannot be called {self.name!r}; use letters, digits, _ and -")
        if not set(self.optional) <= set(self.arguments):
            raise InputError(f"tool {self.name!r}: an optional argument is none of its arguments")
        _check_schema(self.schema, f"tool {self.name!r}")

    @property
    def schema(self) -> dict[str, Any]:
        """The arguments as one JSON schema."""
        return {
            "type": "object",
            "properties": {name: dict(schema) for name, schema in self.arguments.items()},
            "required": [name for name in self.arguments if name not in self.optional],
        }

    def fault(self, arguments: Any) -> str | None:
        """Why a call with these arguments (JSON values) cannot be made; None where it can."""
        return _misfit(arguments, self.schema, "")

    def told(self) -> dict[str, Any]:
        """Name, description and parameters, in the way of OpenAI's chat schema."""
        return {"name": self.name, "description": self.description, "parameters": self.schema}


def tools_by_name(tools: Sequence[Tool]) -> dict[str, Tool]:
    """Raises InputError where two have one name."""
    named = {tool.name: tool for tool in tools}
    if len(named) < len(tools):
        raise InputError("two tools have one name; rename one")
    return named


def grammar(tools: Sequence[Tool]) -> Grammar:
    """The texts `{"name": ..., "arguments": {...}}` of every call that fits one of `tools`."""
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": _closed(tool.schema)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return Grammar("json_schema", json.dumps({"anyOf": calls}))


def capped(text: str, most: int = MOST_RESULT) -> str:
    """`text`, or its first `most` characters and how many were left out."""
    left = len(text) - most
    return text if left <= 0 else f"{text[:most]}... ({left} more characters were left out)"


def _closed(schema: Schema) -> dict[str, Any]:
    """The schema with an end to every text, and without further properties."""
    if schema["type"] == "string" and "enum" not in schema:
        return {"maxLength": MOST_TEXT, **schema}
    if schema["type"] == "array":
        return {**schema, "items": _closed(schema["items"])}
    if schema["type"] == "object":
        inner = {name: _closed(each) for name, each in schema.get("properties", {}).items()}
        return {**schema, "properties": inner, "additionalProperties": False}
    return dict(schema)


def _check_schema(schema: Schema, where: str) -> None:
    kind = str(schema.get("type"))
    if kind not in _TYPES:
        raise InputError(f"{where}: type {kind!r} is none of {', '.join(_TYPES)}")
    unknown = set(schema) - _KEYS[kind] - {"type", "description"}
    if unknown:
        raise InputError(f"{where}: a schema of {kind} knows no {sorted(unknown)[0]!r}")
    if kind == "array":
        _check_schema(schema.get("items", {}), f"{where} items")
    if kind == "object":
        properties = schema.get("properties", {})
        if not set(schema.get("required", ())) <= set(properties):
            raise InputError(f"{where}: a required property is not named among the properties")
        for name, inner in properties.items():
            _check_schema(inner, f"{where} argument {name!r}")


def _misfit(value: Any, schema: Schema, where: str) -> str | None:
    """What is wrong with `value`, for the model to read."""
    kind, place = schema["type"], where or "the arguments"
    truth = isinstance(value, bool)  # a bool is an int in Python, not in JSON
    if not isinstance(value, _TYPES[kind]) or truth != (kind == "boolean"):
        return f"{place} must be of type {kind}"
    given: Any = value
    if "enum" in schema and value not in schema["enum"]:
        return f"{place} must be one of {', '.join(map(str, schema['enum']))}"
    size = given if kind in ("integer", "number") else len(given) if not truth else 0
    for key in ("minimum", "minLength", "minItems"):
        if size < schema.get(key, size):
            return f"{place} is below {key} {schema[key]}"
    for key in ("maximum", "maxLength", "maxItems"):
        if size > schema.get(key, size):
            return f"{place} is above {key} {schema[key]}"
    if kind == "array":
        faults = (_misfit(v, schema["items"], f"{place}[{n}]") for n, v in enumerate(given))
        return next((fault for fault in faults if fault), None)
    return _misfit_object(given, schema, where) if kind == "object" else None


def _misfit_object(value: Mapping[str, Any], schema: Schema, where: str) -> str | None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"argument {where}{'.' if where else ''}{name} is missing"
    for name, inner in value.items():
        path = f"{where}.{name}" if where else name
        if name not in properties:
            known = ", ".join(properties) or "none"
            return f"there is no argument {capped(path, 60)!r}; there are: {known}"
        if fault := _misfit(inner, properties[name], path):
            return fault
    return None
