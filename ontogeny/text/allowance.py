"""What a stranger's template may use up: characters made, and seconds of this processor.

Knows no template. The allowance is the thread's (a context variable), so that whatever runs within
it is charged without being told.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

CHARACTERS = 16 * 2**20
PER_CHARACTER = 64
"""Characters that may be made for each one that was given."""
SECONDS = 10.0
_EXPANDED = 2**18  # values within a value
_TURN = 64  # what a turn of a loop costs beside the text in it


@dataclass
class _Allowance:
    left: int
    until: float


_CURRENT: ContextVar[_Allowance] = ContextVar("allowance")


@contextlib.contextmanager
def granted(given: int) -> Iterator[None]:
    """Within it, a template that reads `given` characters may make so many and run so long."""
    left = CHARACTERS + PER_CHARACTER * given
    before = _CURRENT.set(_Allowance(left, time.thread_time() + SECONDS))
    try:
        yield
    finally:
        _CURRENT.reset(before)


def passes(size: int = 0) -> str:
    """Looks at the clock and pays for a turn that prints `size` characters; nothing to print.

    Raises:
        TemplateError: the time is over, or the allowance used up.
    """
    _spend(size + _TURN)
    if time.thread_time() > _CURRENT.get().until:
        raise TemplateError(f"it ran for {SECONDS:.0f} seconds")
    return ""


def charge(value: Any) -> Any:
    """`value`, paid for: a character each, or what it would print.

    Raises:
        TemplateError: the allowance is used up.
    """
    _spend(len(value) + 1 if isinstance(value, str) else _printed_size(value))
    return value


def charge_joined(separator: Any, texts: Iterable[Any]) -> None:
    """Pays for `separator.join(texts)` before it is made."""
    sizes = [len(text) + len(str(separator)) for text in texts if isinstance(text, str)]
    _spend(sum(sizes))


def charge_replaced(text: str, old: Any = "", new: Any = "", *_: Any) -> None:
    """Pays for `text.replace(old, new)` before it is made."""
    if isinstance(old, str) and isinstance(new, str):
        _spend(text.count(old) * len(new))


def _spend(size: int) -> None:
    allowance = _CURRENT.get()
    allowance.left -= size
    if allowance.left < 0:
        raise TemplateError("it makes more text than a conversation of this size needs")


def _printed_size(value: Any) -> int:
    """About the characters that `value` prints; a value that stands in many places counts in each.

    Raises:
        TemplateError: more than 262,144 values.
    """
    size, count, waiting = 1, 0, [value]
    while waiting:
        each = waiting.pop()
        count += 1
        if count > _EXPANDED:
            raise TemplateError(f"a value holds more than {_EXPANDED} values")
        if isinstance(each, str):
            size += len(each)
        elif isinstance(each, Mapping):
            waiting.extend(each)
            waiting.extend(each.values())
        elif isinstance(each, list | tuple):
            waiting.extend(each)
        size += 8
    return size
