"""`ontogeny traffic`: what a ledger holds of users and models, told in one page."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ontogeny.base.errors import printable
from ontogeny.cli.amounts import columns
from ontogeny.cli.arguments import at
from ontogeny.evaluate.alarm import Alarmed
from ontogeny.evaluate.intervals import Interval
from ontogeny.feedback.exchange import Exchange, Rating
from ontogeny.feedback.ledger import Ledger
from ontogeny.serve.signals import SIGNALS, World
from ontogeny.serve.traffic import Group, Looking, Traffic, traffic_of

SECONDS = {"m": 60, "h": 3600, "d": 86_400}
HEAD = ("arm", "model", "exchanges", "users", "ratings", "score", "refused", "cut", "tokens each")
PAGE = 1000
"""Rows of the ledger that are read at once."""
DRIFTED = 1
"""The exit code where an alarm stands."""


@dataclass(frozen=True)
class Options:
    """See `traffic_options`."""

    since: str | None = None
    judge: World = "plain"
    sample: float = 1.0
    reference: int = 200
    run_length: float = 10_000.0
    as_json: bool = False


def traffic(path: Path, options: Options) -> int:
    """Prints the page, or JSON; returns `DRIFTED` where an alarm stands, else 0.

    Raises:
        InputError: there is no such ledger, or an option says nothing sensible.
        CorruptArtifact: the ledger is damaged.
    """
    since = 0.0 if options.since is None else _since(options.since, time.time())
    looking = Looking(
        share=options.sample,
        world=options.judge,
        first=options.reference,
        run_length=options.run_length,
    )
    with Ledger.read(path) as ledger:
        found = traffic_of(_pages(ledger), looking, since)
    if options.as_json:
        print(json.dumps(_told(found, since), indent=1, sort_keys=True))
    else:
        for line in _page(found, options):
            print(printable(line))
    return DRIFTED if found.alarms else 0


def _pages(ledger: Ledger) -> Iterator[tuple[list[Exchange], list[Rating]]]:
    """What the ledger holds now, so much at once that no talk stays in memory."""
    last = ledger.last
    for after in range(0, last, PAGE):
        yield ledger.rows(after, min(after + PAGE, last))


def _since(text: str, now: float) -> float:
    """Seconds since 1970.

    Raises:
        InputError: neither an age nor a day.
    """
    if age := re.fullmatch(r"(\d{1,9})([mhd])", text):
        return now - int(age[1]) * SECONDS[age[2]]
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            raise ValueError(text)  # an hour would need a zone
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise at("--since", f"'{text}' is no age (90m, 24h, 7d) and no day (2026-11-22)") from None


def _page(found: Traffic, options: Options) -> list[str]:
    if not found.groups:
        return ["no exchanges"]
    lines = columns([HEAD, *map(_cells, found.groups)], right=(2, 3, 4, 8))
    judged = f"{options.sample:.0%} of the exchanges" if options.sample < 1 else "every exchange"
    lines.append(
        f"levels with their 95 % intervals, every user counting once; refusals of {judged}, by "
        f"{options.judge} rules"
    )
    for each in found.beside:
        change = _signed(each.change, 2 if each.signal == "score" else 1)
        lines.append(f"{each.arm} {each.model} less live {each.live}: {each.signal} {change}")
    for model, alarm in found.watched.items():
        for name, reference in alarm.references.items():
            lines.append(
                f"drift of {model}: {name} watched over {alarm.seen[name] - reference.units:,}, "
                f"reference {reference.mean:.3f} [{reference.low:.3f}, {reference.high:.3f}] of "
                f"{reference.units:,}"
            )
        if waiting := [name for name in SIGNALS if name not in alarm.references]:
            lines.append(
                f"drift of {model}: cannot tell of {', '.join(waiting)}; {options.reference:,} "
                "observations make a reference"
            )
    lines += [f"no longer live: {model}: {each.line()}" for model, each in found.past]
    lines += [f"alarm: {model}: {each.line()}" for model, each in found.alarms]
    return lines if found.alarms else [*lines, "no alarm"]


def _cells(group: Group) -> tuple[str, ...]:
    levels = group.levels
    each = group.tokens / group.exchanges
    return (
        group.arm,
        group.model,
        f"{group.exchanges:,}",
        f"{len(group.people):,}",
        f"{group.ratings:,}",
        _signed(_score(levels["score"])) if "score" in levels else "",
        _percent(levels["refused"]) if "refused" in levels else "",
        _percent(levels["cut"]) if "cut" in levels else "",
        f"{each:,.0f}",
    )


def _score(level: Interval) -> Interval:
    """From 0 to 1 as it was sent: from -1 to 1."""
    return Interval(2 * level.value - 1, 2 * level.low - 1, 2 * level.high - 1, level.units)


def _signed(level: Interval, scale: float = 1) -> str:
    value, low, high = (scale * each for each in level[:3])
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _percent(level: Interval) -> str:
    return f"{level.value:.1%} [{level.low:.1%}, {level.high:.1%}]"


def _told(found: Traffic, since: float) -> dict[str, Any]:
    """As JSON; signals from 0 to 1."""
    return {
        "since": since,
        "groups": [
            {
                "arm": each.arm,
                "model": each.model,
                "exchanges": each.exchanges,
                "users": len(each.people),
                "ratings": each.ratings,
                "tokens": each.tokens,
                "levels": {name: level._asdict() for name, level in each.levels.items()},
            }
            for each in found.groups
        ],
        "beside": [
            {
                "arm": each.arm,
                "model": each.model,
                "live": each.live,
                "signal": each.signal,
                **each.change._asdict(),
            }
            for each in found.beside
        ],
        "references": {
            model: {
                name: {"mean": each.mean, "low": each.low, "high": each.high, "units": each.units}
                for name, each in alarm.references.items()
            }
            for model, alarm in found.watched.items()
        },
        "live": found.live,
        "alarms": [_told_alarm(*each) for each in found.alarms],
        "past": [_told_alarm(*each) for each in found.past],
    }


def _told_alarm(model: str, alarmed: Alarmed) -> dict[str, Any]:
    return {
        "model": model,
        "signal": alarmed.signal,
        "way": alarmed.way,
        "at": alarmed.at,
        "since": alarmed.since,
        "mean": alarmed.mean,
    }
