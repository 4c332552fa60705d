"""Sums, differences, products, comparisons and sequences of graded length.

Knows nothing of splits or of scoring. The key of a problem names its numbers without order where
order does not matter, so 3 + 8 and 8 + 3 stand on one side of every split.
"""

from __future__ import annotations

import random

from ontogeny.base.errors import InputError
from ontogeny.environments.environment import Generated, Problem

ADD = (
    "{a} + {b} = ?",
    "What is {a} plus {b}?",
    "Add {a} and {b}.",
    "What is the sum of {a} and {b}?",
    "{a} + {b}",
)
SUBTRACT = (
    "{a} - {b} = ?",
    "What is {a} minus {b}?",
    "Subtract {b} from {a}.",
    "Take {b} away from {a}.",
    "{a} - {b}",
)
MULTIPLY = (
    "{a} * {b} = ?",
    "What is {a} times {b}?",
    "Multiply {a} by {b}.",
    "What is the product of {a} and {b}?",
    "{a} * {b}",
)
LARGEST = (
    "Which number is the largest: {numbers}?",
    "Find the largest of {numbers}.",
    "What is the greatest of the numbers {numbers}?",
)
SEQUENCE = (
    "Which number comes next: {numbers}?",
    "Continue the sequence with one number: {numbers}.",
    "{numbers}: what is the next number?",
)


def addition(digits: int) -> Generated:
    """a + b, the longer of the two with `digits` digits (1 to 9)."""
    _check(digits)

    def draw(source: random.Random) -> Problem:
        a, b = _pair(source, digits)
        key = f"{min(a, b)} {max(a, b)}"
        return Problem(key, source.choice(ADD).format(a=a, b=b), str(a + b), "integer")

    return Generated(f"addition-{digits}", "addition", digits, draw)


def subtraction(digits: int) -> Generated:
    """a - b; the result is below 0 once in four from two digits on."""
    _check(digits)

    def draw(source: random.Random) -> Problem:
        low, high = sorted(_pair(source, digits))
        a, b = (low, high) if digits > 1 and source.random() < 0.25 else (high, low)
        key = f"{low} {high}"
        return Problem(key, source.choice(SUBTRACT).format(a=a, b=b), str(a - b), "integer")

    return Generated(f"subtraction-{digits}", "subtraction", digits, draw)


def multiplication(digits: int) -> Generated:
    """A number of `digits` digits times one of one digit, in either order."""
    _check(digits)

    def draw(source: random.Random) -> Problem:
        a, b = _number(source, digits), source.randrange(10)
        if source.random() < 0.5:
            a, b = b, a
        key = f"{min(a, b)} {max(a, b)}"
        return Problem(key, source.choice(MULTIPLY).format(a=a, b=b), str(a * b), "integer")

    return Generated(f"multiplication-{digits}", "multiplication", digits, draw)


def largest(count: int) -> Generated:
    """The largest of `count` different numbers below 100."""

    def draw(source: random.Random) -> Problem:
        numbers = source.sample(range(100), count)
        shown = ", ".join(map(str, numbers))
        key = " ".join(map(str, sorted(numbers)))
        prompt = source.choice(LARGEST).format(numbers=shown)
        return Problem(key, prompt, str(max(numbers)), "integer")

    return Generated(f"largest-{count}", "largest", count, draw)


def sequence(step: int) -> Generated:
    """The next number of an arithmetic sequence with steps up to `step`, rising or falling."""

    def draw(source: random.Random) -> Problem:
        stride = source.choice((-1, 1)) * source.randint(1, step)
        first = source.randint(max(0, -4 * stride), 100)
        numbers = [first + stride * k for k in range(4)]
        shown = ", ".join(map(str, numbers))
        prompt = source.choice(SEQUENCE).format(numbers=shown)
        return Problem(shown, prompt, str(first + 4 * stride), "integer")

    return Generated(f"sequence-{step}", "sequence", step, draw)


def _check(digits: int) -> None:
    if not 1 <= digits <= 9:
        raise InputError(f"numbers of {digits} digits are asked for; give 1 to 9")


def _number(source: random.Random, digits: int) -> int:
    """A number of exactly `digits` digits; of one digit, 0 too."""
    return source.randrange(0 if digits == 1 else 10 ** (digits - 1), 10**digits)


def _pair(source: random.Random, digits: int) -> tuple[int, int]:
    """Two numbers in either order, one of `digits` digits and one of as many or fewer."""
    pair = [_number(source, digits), _number(source, source.randint(max(1, digits - 1), digits))]
    source.shuffle(pair)
    return pair[0], pair[1]
