"""The parts of a card that tell of data and of results, as Markdown. Knows no bundle.

Stages are told apart by the kind of artifact they make and by the names of their metrics; those
whose records stand on another document (`coverage.APART`) by their own names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ontogeny.base.artifact import Record
from ontogeny.release.coverage import APART
from ontogeny.release.evidence import FOREIGN, Evidence, pointer
from ontogeny.release.numbers import decimals, escaped, identifier

COUNTED = re.compile(
    r"(?:(?P<domain>.+)\.)?(?P<section>kept|removed|changed)\.(?P<what>[^.]+?)(?:\.documents)?"
)
"""Metrics that count documents or rows: english.removed.too_short.documents, kept.train."""
SCRUBBED = "scrubbed_"
"""Begins the name of what was changed where personal data was replaced: scrubbed_mail."""
SENSES = {"at_least": "at least", "at_most": "at most", "within": "within ±"}


def data_lines(evidence: Evidence) -> Iterator[str]:
    """What the model learnt from: sources, what was kept, held out, removed and why."""
    for each in evidence.lineage:
        record = evidence.records[each]
        imported = record.stage in FOREIGN
        if record.kind == "model" and not imported:
            continue
        yield f"**{evidence.cite(each, 'name', 's')}** ({evidence.cite(each, 'stage', 's')})"
        sources = record.config.get("sources")
        if isinstance(sources, list) and sources:
            cited = [
                evidence.cite(each, pointer("config", "sources", n), "s") for n in _to(sources)
            ]
            yield f"from {', '.join(map(str, cited))}"
        if imported:
            yield f"from {evidence.cite(each, pointer('config', 'source'), 's')}, trained elsewhere"
        yield ""
        for number in _to(record.summary):
            yield f"- {evidence.cite(each, pointer('summary', number), 's')}"
        yield from _set_aside(evidence, record)
        yield from _counted(evidence, record)
        yield ""


def _set_aside(evidence: Evidence, record: Record) -> Iterator[str]:
    exam = record.config.get("exam")
    if record.kind == "corpus" and isinstance(exam, dict) and exam:
        counts = [
            f"`{name}` {evidence.cite(record.id, pointer('config', 'exam', name), ',.0f')}"
            for name in exam
        ]
        yield (
            f"- set aside as the exam, and whatever holds one of them removed as `contaminated`: "
            f"{', '.join(counts)}"
        )


def _counted(evidence: Evidence, record: Record) -> Iterator[str]:
    rows = [
        (found, name)
        for name, count in record.metrics.items()
        if (found := COUNTED.fullmatch(name)) and not isinstance(count, dict) and count
    ]
    if not rows:
        return
    yield ""
    yield "| domain | | documents | size |"
    yield "|---|---|--:|--:|"
    for found, name in rows:
        cells = (
            code(found["domain"] or "all"),
            f"{found['section']}: {code(found['what'])}",
            str(evidence.cite(record.id, pointer("metrics", name), ",.0f")),
            _size(evidence, record, name.removesuffix(".documents") + ".bytes"),
        )
        yield f"| {' | '.join(cells)} |"


def _size(evidence: Evidence, record: Record, name: str) -> str:
    size = record.metrics.get(name, 0)
    form = ",.1f MB" if size >= 1e5 else ",.1f kB"
    return str(evidence.cite(record.id, pointer("metrics", name), form)) if size else ""


def result_lines(evidence: Evidence, claims: Sequence[str]) -> Iterator[str]:
    """Levels of the model itself, effects of its life with their verdicts, what else was seen."""
    records = list(evidence.records.values())
    own = abilities(evidence)
    effects = [each for each in records if each.kind == "effect" and evidence.on_its_way(each)]
    compared = [
        each
        for each in records
        if each.stage not in APART
        if any(_of(each, kind, evidence.model, place=1) for kind in ("comparison", "measurement"))
    ]
    measured = {each.metrics["effect"]["name"] for each in effects}
    untested = [name for name in claims if name not in measured]
    if not (own or effects or compared):
        yield "Nothing was measured of what it can do."
    for record in own:
        yield from _levels(evidence, record)
    for record in compared:
        yield f"### What the last stage changed: {evidence.cite(record.id, 'name', 's')}"
        yield ""
        for number in _to(record.summary):
            yield f"- {evidence.cite(record.id, pointer('summary', number), 's')}"
        yield ""
    if effects:
        yield from effect_lines(evidence, effects)
    if untested:
        yield ""
        yield f"Claimed in advance and untested: {', '.join(map(code, untested))}."


def abilities(evidence: Evidence) -> list[Record]:
    """The measurements of the model itself that tell what it can do."""
    return [
        each
        for each in evidence.records.values()
        if _of(each, "measurement", evidence.model) and each.stage not in APART
    ]


def personal_lines(evidence: Evidence) -> Iterator[str]:
    """What patterns found of personal data in what the model learnt from, and replaced."""
    rows = [
        (each, found["domain"], found["what"].removeprefix(SCRUBBED), name)
        for each in evidence.lineage
        for name in evidence.records[each].metrics
        if (found := COUNTED.fullmatch(name)) and found["what"].startswith(SCRUBBED)
    ]
    if not rows:
        yield (
            "No record counts personal data that was found and replaced; how much there was, "
            "nobody knows."
        )
        return
    yield "What patterns found and replaced by a placeholder, counted in documents:"
    yield ""
    yield "| in | domain | what | documents |"
    yield "|---|---|---|--:|"
    for each, domain, what, name in rows:
        count = evidence.cite(each, pointer("metrics", name), ",.0f")
        made = evidence.cite(each, "name", "s")
        yield f"| {made} | {code(domain or 'all')} | {code(what)} | {count} |"
    yield ""
    yield (
        "The patterns know mail addresses, phone numbers, card numbers and secret keys. Names and "
        "addresses of people are found by no pattern, so what is left was not counted."
    )


def _levels(evidence: Evidence, record: Record) -> Iterator[str]:
    yield f"### Measured: {evidence.cite(record.id, 'name', 's')}"
    yield ""
    for number in _to(record.summary):
        yield f"- {evidence.cite(record.id, pointer('summary', number), 's')}"
    yield ""
    yield "| | level | 95 % interval | units |"
    yield "|---|--:|---|--:|"
    for name, value in record.metrics.items():
        yield f"| {code(name)} | {' | '.join(interval(evidence, record, name, value))} |"
    yield ""


def interval(evidence: Evidence, record: Record, name: str, value: Any) -> tuple[str, str, str]:
    """Level, interval and units of one metric; a plain number has a level only.

    A criterion of a gate that could not be told has none of them.
    """
    if not isinstance(value, dict):
        return str(evidence.cite(record.id, pointer("metrics", name), ".4g")), "", ""
    if not {"low", "estimate", "high"} <= value.keys():
        return "", "", ""
    form = f".{decimals(value['low'], value['high'])}f"
    low, level, high = (
        str(evidence.cite(record.id, pointer("metrics", name, each), form))
        for each in ("low", "estimate", "high")
    )
    count = next((each for each in ("units", "documents") if each in value), None)
    units = evidence.cite(record.id, pointer("metrics", name, count), ",.0f") if count else ""
    return level, f"{low} to {high}", str(units)


def effect_lines(evidence: Evidence, effects: Sequence[Record]) -> Iterator[str]:
    """Effects with their verdicts, and what each means."""
    yield "### What each stage did"
    yield ""
    yield (
        "Targets were written down before anything was measured. A claim holds where the whole "
        "95 % interval meets the target; it falls short where the interval lies beyond the null "
        "value but not beyond the target; it is null where the interval contains the null value "
        "or another seed speaks against it, and worse where it lies on the wrong side. A claim "
        "that lacks the control it needs is untested."
    )
    yield ""
    yield "| claim | effect | 95 % interval | unit | target | null value | verdict | seeds |"
    yield "|---|--:|---|---|---|--:|---|--:|"
    for record in effects:
        yield f"| {' | '.join(map(str, _effect(evidence, record)))} |"
    yield ""
    for record in effects:
        name, meaning = (
            evidence.cite(record.id, f"metrics/effect/{each}", "s") for each in ("name", "meaning")
        )
        yield f"- {name}: {meaning}{_gate(evidence, record)}"


def _gate(evidence: Evidence, record: Record) -> str:
    """What had to be reached before an effect means anything, where there was such a thing."""
    if not record.metrics["effect"].get("gate"):
        return ""
    reached, needed = (
        evidence.cite(record.id, f"metrics/effect/gate/{each}", ".4g")
        for each in ("reached", "needed")
    )
    return f"; it counts only if {needed} is reached before, and {reached} was"


def _effect(evidence: Evidence, record: Record) -> Iterator[object]:
    """The cells of one effect."""
    said = record.metrics["effect"]
    level, between, _ = interval(evidence, record, "effect", said)
    yield evidence.cite(record.id, "metrics/effect/name", "s")
    yield level
    yield between
    yield evidence.cite(record.id, "metrics/effect/unit", "s")
    yield f"{SENSES[said['sense']]} {evidence.cite(record.id, 'metrics/effect/target', '.4g')}"
    yield evidence.cite(record.id, "metrics/effect/null", ".4g")
    yield f"**{evidence.cite(record.id, 'verdict', 's')}**"
    yield evidence.cite(record.id, "seeds", ".0f")


def _of(record: Record, kind: str, model: str, place: int = 0) -> bool:
    """Whether it is of this kind, and of this model as the parent in that place."""
    return record.kind == kind and record.parents[place : place + 1] == [model]


def code(name: str) -> str:
    """A name as code where it is one word; other text as Markdown shows it unchanged."""
    return f"`{name}`" if identifier(name) and "`" not in name else escaped(name)


def _to(values: Sequence[Any]) -> range:
    return range(len(values))
