"""Inline SVG: elements, and the small drawings of the table of effects.

Knows no file and no page; colours are classes, so that a style sheet gives them. Every text is
escaped, every drawing that says something has a title.

Lengths are in the drawing's own units, a CSS pixel at full size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup, escape

from ontogeny.report.figures import decimals_for, fixed, plain, shown

WIDTH, HEIGHT = 240.0, 50.0
MARGIN = 8.0
LINE = 25.0  # height of the interval
LETTER = 6.0  # the most that a letter of a label is wide


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """One element; `class_` is class, other underscores are hyphens, None leaves one out."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(escape(child) for child in children)
    return Markup(f"<{name}{words}>{inside}</{name}>")


def svg(width: float, height: float, title: str, *children: str, **attributes: object) -> Markup:
    """A drawing with its title; without one it is decoration and hidden from a screen reader."""
    title = shown(title)
    told = {"role": "img", "aria_label": title} if title else {"aria_hidden": "true"}
    head = (tag("title", title),) if title else ()
    box = f"0 0 {_plain(width)} {_plain(height)}"
    size = {"width": width, "height": height}
    return tag("svg", *head, *children, viewBox=box, **size, **told, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def interval(row: Mapping[str, Any]) -> Markup:
    """An effect's interval against its null value and its target; rings are other seeds."""
    place = _scale(row)
    parts = [_goal(row, place), line(MARGIN, LINE, WIDTH - MARGIN, LINE, "rule")]
    if row["null"] is not None:
        x = place(row["null"])
        parts.append(line(x, LINE - 12, x, LINE + 12, "null"))
        parts.append(_label(x, HEIGHT - 3, f"null {plain(row['null'])}", "label"))
    if row["estimate"] is not None:
        low, high = place(row["low"]), place(row["high"])
        parts += [line(end, LINE - 4, end, LINE + 4, "bar thin") for end in (low, high)]
        parts.append(line(low, LINE, high, LINE, "bar"))
        parts += [
            tag("circle", cx=place(seed["estimate"]), cy=LINE + 8, r=2.4, class_="ring")
            for seed in row["seeds"][1:]
        ]
        parts.append(tag("circle", cx=place(row["estimate"]), cy=LINE, r=4.2, class_="dot"))
    return svg(WIDTH, HEIGHT, sentence(row), *parts, class_="interval")


def sentence(row: Mapping[str, Any]) -> str:
    """What the drawing shows, in words."""
    sense = str(row["sense"]).replace("_", " ")
    goal = f"target {sense} {plain(row['target'])}"
    null = "" if row["null"] is None else f", null value {plain(row['null'])}"
    if row["estimate"] is None:
        return f"{row['name']}: not measured; {goal}{null}"
    decimals = decimals_for(row["high"] - row["low"])
    value, low, high = (fixed(row[key], decimals) for key in ("estimate", "low", "high"))
    return f"{row['name']}: {value}, 95 % interval from {low} to {high}; {goal}{null}"


def span_of(low: float, high: float) -> float:
    """How wide a range is; of one that numbers can hardly tell from a point, its size, or 1."""
    size = max(abs(low), abs(high))
    if high - low > 1e-9 * size and size > 1e-300:
        return high - low
    return size if size > 1e-300 else 1.0


def _scale(row: Mapping[str, Any]) -> Callable[[float], float]:
    known = [row[key] for key in ("low", "high", "null") if row[key] is not None]
    known += [seed["estimate"] for seed in row["seeds"]]
    target = row["target"]
    known += [-abs(target), abs(target)] if row["sense"] == "within" else [target]
    first, last = min(known), max(known)
    span = span_of(first, last)
    first, last = first - 0.1 * span, last + 0.1 * span
    return lambda value: MARGIN + (value - first) / (last - first) * (WIDTH - 2 * MARGIN)


def _goal(row: Mapping[str, Any], place: Callable[[float], float]) -> Markup:
    """The side of the target where the claim holds, shaded, its edge drawn."""
    target, sense = row["target"], row["sense"]
    left = place(-abs(target)) if sense == "within" else MARGIN
    right = place(target)
    if sense == "at_least":
        left, right = right, WIDTH - MARGIN
    edges = {"at_least": [left], "at_most": [right], "within": [left, right]}[sense]
    word = f"target {'±' if sense == 'within' else ''}{plain(target)}"
    middle = (left + right) / 2 if sense == "within" else edges[0]
    return Markup("").join(
        [
            tag("rect", x=left, y=LINE - 12, width=right - left, height=24, class_="goal"),
            *(line(x, LINE - 12, x, LINE + 12, "target") for x in edges),
            _label(middle, 9, word, "label strong"),
        ]
    )


def _label(x: float, y: float, text: str, class_: str) -> Markup:
    """A label under or over `x`, moved inwards where it would leave the drawing."""
    half = len(text) * LETTER / 2
    middle = min(max(x, half), WIDTH - half)
    return tag("text", text, x=middle, y=y, text_anchor="middle", class_=class_)


def mark(verdict: str) -> Markup:
    """The verdict's sign: full with a hook, half full, a ring, a cross, a dashed ring."""
    shapes = {
        "holds": [
            tag("circle", cx=8, cy=8, r=7, class_="mark-full"),
            tag("path", d="M4.6 8.3l2.3 2.4 4.5-5", class_="mark-hook"),
        ],
        "short": [
            tag("circle", cx=8, cy=8, r=6.25, class_="mark-line"),
            tag("path", d="M8 1.75a6.25 6.25 0 0 0 0 12.5z", class_="mark-half"),
        ],
        "null": [tag("circle", cx=8, cy=8, r=6.25, class_="mark-line")],
        "worse": [tag("path", d="M3 3l10 10M13 3L3 13", class_="mark-cross")],
        "untested": [tag("circle", cx=8, cy=8, r=6.25, class_="mark-line dashed")],
    }
    return svg(16, 16, "", *shapes[verdict], class_=f"mark {verdict}")


def share_bar(share: float) -> Markup:
    """A share of 1 as a bar; the number stands beside it. Nothing is no bar."""
    if share <= 0:
        return Markup("")
    full = max(0.0, min(1.0, share)) * 100
    return svg(
        *(100, 6, ""),
        tag("rect", x=0, y=0, width=100, height=6, class_="bar-ground"),
        tag("rect", x=0, y=0, width=full, height=6, class_="bar-full"),
        preserveAspectRatio="none",
        class_="share",
    )


def _plain(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
