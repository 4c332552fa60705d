"""One small plot: a number over steps, its axes with numbers; the other seeds as thin lines.

Knows no stage and no file.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ontogeny.report.drawing import line, span_of, svg, tag
from ontogeny.report.figures import count, fixed

WIDTH, HEIGHT = 320.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 312.0, 10.0, 160.0
MOST_POINTS = 240
NOISY = 10.0  # a line that goes up and down ten times its range is shown with its running mean
WINDOW = 1 / 20  # of the points, for that mean


@dataclass(frozen=True)
class Points:
    """A line: `y` over `x`, both as long, `x` ascending."""

    x: Sequence[float]
    y: Sequence[float]

    @classmethod
    def of(cls, at: Sequence[float], values: Sequence[float | None]) -> Points:
        """The places where a value was told."""
        told = [(x, y) for x, y in zip(at, values, strict=True) if y is not None]
        return cls([x for x, _ in told], [y for _, y in told])


def plot(title: str, unit: str, total: float, main: Points, others: Sequence[Points]) -> Markup:
    """The plot of `main`, with `others` thin and dashed behind it.

    Args:
        title: what is shown, for who cannot see it.
        unit: of x, e.g. "steps".
        total: where x ends.
        main: the run's own line, of at least one point.
        others: the other seeds'.
    """
    everything = [y for points in (main, *others) for y in points.y]
    low, high = min(everything), max(everything)
    room = 0.06 * span_of(low, high)
    low, high = low - room, high + room
    y_ticks = _inside(low, high)
    end = max(total, main.x[-1])
    x_ticks = _inside(0.0, end)

    def across(x: float) -> float:
        return LEFT + x / end * (RIGHT - LEFT) if end else LEFT

    def down(y: float) -> float:
        return BOTTOM - (y - low) / (high - low) * (BOTTOM - TOP)

    parts = _axes(x_ticks, y_ticks, across, down, unit)
    parts += [_path(running_mean(each), across, down, "curve other") for each in others if each.x]
    if noise(main) > NOISY:
        parts.append(_path(main, across, down, "curve raw"))
        parts.append(_path(running_mean(main), across, down, "curve"))
    else:
        parts.append(_path(main, across, down, "curve"))
    return svg(WIDTH, HEIGHT, title, *parts, class_="plot")


def ticks(low: float, high: float, wanted: int) -> list[float]:
    """About `wanted` round numbers (1, 2 or 5 times a power of ten) that reach around the range."""
    span = span_of(low, high)
    if span > high - low:
        low, high = low - span / 2, high + span / 2
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next((m for m in (1, 2, 5, 10) if raw <= m * power), 10)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(n * step, digits) for n in range(first, max(last, first + 1) + 1)]


def _inside(low: float, high: float) -> list[float]:
    """Three ticks or more that lie in the range."""
    found: list[float] = []
    for wanted in (4, 6, 9, 14):
        found = [tick for tick in ticks(low, high, wanted) if low <= tick <= high]
        if len(found) > 2:
            break
    return found


def noise(points: Points) -> float:
    """How often the line crosses its own range: the sum of its moves over its range."""
    moves = sum(abs(b - a) for a, b in zip(points.y, points.y[1:], strict=False))
    spread = max(points.y) - min(points.y)
    return moves / spread if spread else 0.0


def running_mean(points: Points) -> Points:
    """A noisy line's mean over a window around each point; a calm line unchanged."""
    if noise(points) <= NOISY:
        return points
    half = max(1, round(len(points.y) * WINDOW / 2))
    means = []
    for place in range(len(points.y)):
        window = points.y[max(0, place - half) : place + half + 1]
        means.append(sum(window) / len(window))
    return Points(points.x, means)


def _path(
    points: Points, across: Callable[[float], float], down: Callable[[float], float], class_: str
) -> Markup:
    every = max(1, math.ceil(len(points.x) / MOST_POINTS))
    chosen = sorted({*range(0, len(points.x), every), len(points.x) - 1})
    places = [f"{across(points.x[i]):.1f} {down(points.y[i]):.1f}" for i in chosen]
    if len(places) == 1:
        x, y = places[0].split()
        return tag("circle", cx=x, cy=y, r=2.5, class_="dot")
    return tag("path", d="M" + "L".join(places), class_=class_)


def _decimals(found: Sequence[float]) -> int:
    """So many that neighbouring ticks read differently."""
    steps = [b - a for a, b in itertools.pairwise(found)]
    return min(8, max(0, math.ceil(-math.log10(min(steps)) - 1e-9))) if steps else 2


def _axes(
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    across: Callable[[float], float],
    down: Callable[[float], float],
    unit: str,
) -> list[Markup]:
    parts = []
    decimals = _decimals(y_ticks)
    for y in y_ticks:
        parts.append(line(LEFT, down(y), RIGHT, down(y), "grid"))
        words = count(y) if y >= 10_000 else fixed(y, decimals)
        parts.append(tag("text", words, x=LEFT - 6, y=down(y) + 3.5, text_anchor="end"))
    for x in x_ticks:
        parts.append(line(across(x), BOTTOM, across(x), BOTTOM + 4, "axis"))
        anchor = "end" if across(x) > RIGHT - 12 else "middle"
        place = RIGHT if anchor == "end" else across(x)
        parts.append(tag("text", count(x), x=place, y=BOTTOM + 15, text_anchor=anchor))
    parts.append(line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"))
    middle = (LEFT + RIGHT) / 2
    parts.append(tag("text", unit, x=middle, y=HEIGHT - 2, text_anchor="middle", class_="unit"))
    return parts
