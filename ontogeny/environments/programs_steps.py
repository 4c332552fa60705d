"""Single steps that small programs are made of: what is told, what is written, what it does.

Knows no tests. An expression stands for the variable of its kind (xs, s or n) as it is so far.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

Kind = Literal["list", "string", "integer"]
LETTERS = "abcdeilnorst"
"""Few, so that a letter of a problem stands in most of its texts."""
VOWELS = "aeiou"


@dataclass(frozen=True)
class Step:
    """`told` in words, `written` as an expression, `does` the same. A step that is `last` gives
    something of another kind. Equal steps are one object, so that what is known of them is kept.
    """

    told: str
    written: str
    does: Callable[[Any], Any]
    last: bool = False


Draw = Callable[[random.Random], Step]


def _fixed(told: str, written: str, does: Callable[[Any], Any], last: bool = False) -> Draw:
    step = Step(told, written, does, last)
    return lambda _: step


def _with(low: int, high: int, told: str, written: str, does: Callable[[Any, int], Any]) -> Draw:
    """A step with a number from `low` to `high`, called K in the texts."""

    @functools.cache
    def step(k: int) -> Step:
        said, code = told.replace("K", str(k)), written.replace("K", str(k))
        return Step(said, code, lambda value: does(value, k))

    return lambda source: step(source.randint(low, high))


def _lettered(
    told: str, written: str, does: Callable[[str, str], Any], size: int = 1, last: bool = False
) -> Draw:
    """A step with so many letters, called C in the texts."""

    @functools.cache
    def step(letters: str) -> Step:
        said, code = told.replace("C", letters), written.replace("C", letters)
        return Step(said, code, lambda value: does(value, letters), last)

    return lambda source: step("".join(source.choice(LETTERS) for _ in range(size)))


def _exchange(source: random.Random) -> Step:
    return _exchanged(*source.sample(LETTERS, 2))


@functools.cache
def _exchanged(old: str, new: str) -> Step:
    told, written = f"turn each {old} into {new}", f's.replace("{old}", "{new}")'
    return Step(told, written, lambda value: value.replace(old, new))


_LIST = (
    _with(1, 99, "add K to each number", "[x + K for x in xs]", lambda v, k: [x + k for x in v]),
    _with(
        1, 99, "subtract K from each number", "[x - K for x in xs]", lambda v, k: [x - k for x in v]
    ),
    _with(
        2, 12, "multiply each number by K", "[x * K for x in xs]", lambda v, k: [x * k for x in v]
    ),
    _with(
        -9, 9, "keep the numbers above K", "[x for x in xs if x > K]",
        lambda v, k: [x for x in v if x > k],
    ),
    _with(
        -9, 9, "keep the numbers below K", "[x for x in xs if x < K]",
        lambda v, k: [x for x in v if x < k],
    ),
    _with(
        2, 5, "keep the multiples of K", "[x for x in xs if x % K == 0]",
        lambda v, k: [x for x in v if x % k == 0],
    ),
    _with(1, 4, "take the first K", "xs[:K]", lambda v, k: v[:k]),
    _with(1, 4, "take the last K", "xs[-K:]", lambda v, k: v[-k:]),
    _with(1, 4, "leave out the first K", "xs[K:]", lambda v, k: v[k:]),
    _with(1, 99, "put K at the end", "xs + [K]", lambda v, k: [*v, k]),
    _with(1, 99, "put K at the front", "[K] + xs", lambda v, k: [k, *v]),
    _fixed("square each number", "[x * x for x in xs]", lambda v: [x * x for x in v]),
    _fixed("negate each number", "[-x for x in xs]", lambda v: [-x for x in v]),
    _fixed("keep the even ones", "[x for x in xs if x % 2 == 0]", lambda v: [*filter(_even, v)]),
    _fixed("keep the odd ones", "[x for x in xs if x % 2 == 1]", lambda v: [x for x in v if x % 2]),
    _fixed("reverse the order", "xs[::-1]", lambda v: v[::-1]),
    _fixed("sort upwards", "sorted(xs)", sorted),
    _fixed("sort downwards", "sorted(xs, reverse=True)", lambda v: sorted(v, reverse=True)),
    _fixed("take every second one", "xs[::2]", lambda v: v[::2]),
    _fixed("drop repetitions", "list(dict.fromkeys(xs))", lambda v: list(dict.fromkeys(v))),
    _fixed("give the sum", "sum(xs)", sum, last=True),
    _fixed("give how many there are", "len(xs)", len, last=True),
    _fixed("give the largest or 0", "max(xs, default=0)", lambda v: max(v, default=0), last=True),
    _fixed("give the smallest or 0", "min(xs, default=0)", lambda v: min(v, default=0), last=True),
)  # fmt: skip


def _even(number: int) -> bool:
    return number % 2 == 0


_STRING = (
    _fixed("turn it into capitals", "s.upper()", str.upper),
    _fixed("capitalize it", "s.capitalize()", str.capitalize),
    _fixed("reverse it", "s[::-1]", lambda v: v[::-1]),
    _fixed("sort its letters", '"".join(sorted(s))', lambda v: "".join(sorted(v))),
    _fixed("take every second letter", "s[::2]", lambda v: v[::2]),
    _fixed("double each letter", '"".join(c * 2 for c in s)', lambda v: "".join(c * 2 for c in v)),
    _fixed("put dashes between letters", '"-".join(s)', "-".join),
    _fixed(
        "leave out the vowels", '"".join(c for c in s if c not in "aeiou")',
        lambda v: "".join(c for c in v if c not in VOWELS),
    ),
    _fixed(
        "keep the vowels", '"".join(c for c in s if c in "aeiou")',
        lambda v: "".join(c for c in v if c in VOWELS),
    ),
    _with(2, 5, "repeat it K times", "s * K", lambda v, k: v * k),
    _with(1, 5, "take the first K letters", "s[:K]", lambda v, k: v[:k]),
    _with(1, 5, "take the last K letters", "s[-K:]", lambda v, k: v[-k:]),
    _with(1, 5, "leave out the first K letters", "s[K:]", lambda v, k: v[k:]),
    _lettered("put C at the end", 's + "C"', lambda v, c: v + c, size=2),
    _lettered("put C at the front", '"C" + s', lambda v, c: c + v, size=2),
    _lettered("leave out each C", 's.replace("C", "")', lambda v, c: v.replace(c, "")),
    _exchange,
    _lettered("count each C", 's.count("C")', lambda v, c: v.count(c), last=True),
    _fixed("give its length", "len(s)", len, last=True),
)  # fmt: skip
_INTEGER = (
    _with(1, 99, "add K", "n + K", lambda v, k: v + k),
    _with(1, 99, "subtract K", "n - K", lambda v, k: v - k),
    _with(2, 50, "multiply by K", "n * K", lambda v, k: v * k),
    _with(3, 30, "take the remainder by K", "n % K", lambda v, k: v % k),
    _with(2, 20, "divide by K, rounded down", "n // K", lambda v, k: v // k),
    _with(50, 500, "take K if that is more", "max(n, K)", lambda v, k: max(v, k)),
    _with(50, 500, "take K if that is less", "min(n, K)", lambda v, k: min(v, k)),
    _with(1, 500, "take the distance to K", "abs(n - K)", lambda v, k: abs(v - k)),
    _fixed("square it", "n * n", lambda v: v * v),
    _fixed("negate it", "-n", lambda v: -v),
    _fixed(
        "add up its digits", "sum(int(c) for c in str(abs(n)))",
        lambda v: sum(int(c) for c in str(abs(v))),
    ),
    _fixed("reverse its digits", "int(str(abs(n))[::-1])", lambda v: int(str(abs(v))[::-1])),
    _fixed("count its digits", "len(str(abs(n)))", lambda v: len(str(abs(v)))),
    _fixed("write it as a text", "str(n)", str, last=True),
    _fixed("say whether it is even", "n % 2 == 0", _even, last=True),
)  # fmt: skip
STEPS: Mapping[Kind, tuple[Draw, ...]] = MappingProxyType(
    {"list": _LIST, "string": _STRING, "integer": _INTEGER}
)


def value(kind: Kind, source: random.Random) -> Any:
    """Something to call a program of this kind with; edges come often."""
    if kind == "integer":
        return source.choice([0, source.randint(1, 9), source.randint(10, 99), *_large(source)])
    size = source.choice([0, 1, 2, 3, 4, 5, 6, 7])
    if kind == "string":
        return "".join(source.choice(LETTERS) for _ in range(size))
    return [source.randint(-9, 20) for _ in range(size)]


def _large(source: random.Random) -> list[int]:
    return [source.randint(100, 999) for _ in range(3)]
