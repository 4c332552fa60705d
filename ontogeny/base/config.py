"""Frozen dataclasses <-> plain dictionaries, and overrides by name.

Knows no stage. A field declared with `execution(...)` says where or how fast something runs, not
what comes out; it is left out of identity.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ontogeny.base.errors import InputError

Config = TypeVar("Config")


def execution(default: Any) -> Any:
    """A dataclass field that does not change what is made (threads, micro-batch, log interval)."""
    return dataclasses.field(default=default, metadata={"execution": True})


def added(default: Any) -> Any:
    """A dataclass field that came later: at its default it is left out of identity.

    What was made before the field existed keeps its id.
    """
    return dataclasses.field(default=default, metadata={"added": True})


def to_dict(config: Any) -> Any:
    """`config` as JSON-ready dictionaries and lists, execution fields included."""
    return _plain(config, identity_only=False)


def identity_dict(config: Any) -> Any:
    """`config` without its execution fields: what the artifact's id is made from."""
    return _plain(config, identity_only=True)


def from_dict(kind: type[Config], values: Any, *, file: str | None = None) -> Config:
    """The dataclass `kind` from plain values.

    Raises:
        InputError: naming the first field whose value has the wrong type or is unknown.
    """
    if isinstance(values, dict):
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(_any(kind))})
        if unknown:
            raise InputError(f"{kind.__name__} has no field '{unknown[0]}'; remove it", file=file)
    _refuse_not_finite(values, kind.__name__, file)
    try:
        checked: Config = TypeAdapter(kind).validate_python(values)
        return checked
    except InputError as error:
        raise InputError(error.reason, file=error.file or file, line=error.line) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{kind.__name__}.{where}: {first['msg']}", file=file) from None


def key_order(values: Any, place: str = "") -> dict[str, list[str]]:
    """The keys of every mapping in plain `values` that are not sorted, by its place in them.

    Records sort keys, and identity does not see their order; what a stage makes may follow it
    (which questions come first), so that making it again needs it.
    """
    found: dict[str, list[str]] = {}
    for key, value in _items(values):
        found |= key_order(value, f"{place}/{key.replace('~', '~0').replace('/', '~1')}")
    if isinstance(values, dict) and list(values) != sorted(values):
        found[place] = list(values)
    return found


def in_order(values: Any, order: Mapping[str, list[str]], place: str = "") -> Any:
    """Plain `values` with their keys as `key_order` found them; what it does not name stays."""
    inner = {
        key: in_order(value, order, f"{place}/{key.replace('~', '~0').replace('/', '~1')}")
        for key, value in _items(values)
    }
    if isinstance(values, list):
        return list(inner.values())
    if not isinstance(values, dict):
        return values
    known = [key for key in order.get(place, ()) if key in inner]
    return {key: inner[key] for key in dict.fromkeys([*known, *inner])}


def _items(values: Any) -> list[tuple[str, Any]]:
    if isinstance(values, list):
        return [(str(number), value) for number, value in enumerate(values)]
    return list(values.items()) if isinstance(values, dict) else []


def override(config: Config, *changes: tuple[str, str]) -> Config:
    """`config` with fields set from the words of a command line, checked when all are set.

    Args:
        config: any frozen dataclass.
        changes: (dotted path, text) pairs. Text is read as JSON where it is JSON and as a plain
            string otherwise; a comma-separated list serves for a tuple.

    Raises:
        InputError: when there is no such field (the nearest name is offered), the type is wrong,
            or the values do not fit together.
    """
    values = to_dict(config)
    for path, text in changes:
        _place(config, values, path, text)
    return from_dict(type(config), values)


def _place(config: Any, values: dict[str, Any], path: str, text: str) -> None:
    """Sets the field at `path` of the plain `values` of `config`."""
    name, _, rest = path.partition(".")
    fields = {field.name for field in dataclasses.fields(config)}
    if name not in fields:
        raise InputError(f"no field '{name}' in {type(config).__name__}{_nearest(name, fields)}")
    current = getattr(config, name)
    if not rest:
        values[name] = _value(text, current)
    elif isinstance(current, Mapping):
        key, _, inner = rest.partition(".")
        if inner and dataclasses.is_dataclass(current.get(key)):
            _place(current[key], values[name][key], inner, text)
        else:
            values[name][rest] = _value(text, 0)
    elif dataclasses.is_dataclass(current):
        _place(current, values[name], rest, text)
    else:
        raise InputError(f"field '{name}' has no parts; set it without '.{rest}'")


def _refuse_not_finite(values: Any, name: str, file: str | None) -> None:
    if isinstance(values, float) and not math.isfinite(values):
        raise InputError(f"{name} is {values}; give a finite number", file=file)
    for key, value in values.items() if isinstance(values, dict) else ():
        _refuse_not_finite(value, f"{name}.{key}", file)


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; it has {', '.join(sorted(known))}"


def _value(text: str, current: Any) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if isinstance(current, tuple) and isinstance(value, str):
        return [part for part in value.split(",") if part]
    return str(text) if isinstance(current, str) else value


def _plain(value: Any, *, identity_only: bool) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name), identity_only=identity_only)
            for field in dataclasses.fields(value)
            if not (identity_only and _left_out(field, getattr(value, field.name)))
        }
    if isinstance(value, (list, tuple)):
        return [_plain(item, identity_only=identity_only) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item, identity_only=identity_only) for key, item in value.items()}
    assert value is None or isinstance(value, (str, int, float, bool)), f"no config value: {value}"
    return value


def _left_out(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether identity does not see this field."""
    if field.metadata.get("execution"):
        return True
    return bool(field.metadata.get("added")) and value == field.default


def _any(value: Any) -> Any:
    return value
