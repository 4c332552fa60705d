"""The parts of a card that say by what a model was measured, and on what. Knows no bundle."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ontogeny.base.artifact import Record
from ontogeny.release.coverage import served
from ontogeny.release.evidence import Evidence, pointer
from ontogeny.release.files import COSTS
from ontogeny.release.numbers import identifier
from ontogeny.release.tables import COUNTED, abilities, code

MEANINGS = (
    (r"(?:.+\.)?nats", "nats a token of held-out documents; lower is better"),
    (r"(?:.+\.)?bits", "bits a byte of held-out documents; lower is better"),
    (r"exam(?:\..+)?\.score", "share of exam problems whose answer a verifier accepts"),
    (r"(?:.+\.)?form", "share of answers that have the form asked for and end by themselves"),
    (r"answers\.score", "what a verifier gives for its answers"),
    (r"answers\.reward", "what the reward model gives for the same answers"),
    (r"pairs\.right", "share of held-out pairs of which it finds the better answer likelier"),
    (r"pairs\.margin", "nats by which it finds the better answer likelier"),
    (r"kl", "divergence from its parent on the answers that it samples"),
)
_ENVIRONMENT = re.compile(r"exam\.(?P<name>.+)\.(?:score|form)")
_SETTINGS = (("temperature", ".2g"), ("max_tokens", ",.0f"), ("window", ",.0f"))


def factor_lines(evidence: Evidence, languages: Sequence[str]) -> Iterator[str]:
    """What its results may depend on, as far as records know it."""
    said = ", ".join(f"`{each}`" for each in languages) if languages else "nobody said which"
    yield f"- Languages: {said}."
    kept = [
        found["domain"]
        for each in evidence.lineage
        for name in evidence.records[each].metrics
        if (found := COUNTED.fullmatch(name)) and found["section"] == "kept" and found["domain"]
    ]
    yield f"- Domains of the text it learnt from: {_named(kept)}."
    own = abilities(evidence)
    asked = [
        found["name"]
        for each in own
        for found in map(_ENVIRONMENT.fullmatch, each.metrics)
        if found
    ]
    yield f"- Kinds of problems that it was examined in, each with its own result: {_named(asked)}."
    told = f"was measured on one and stands in [{COSTS}]({COSTS})"
    yield (
        "- The computer: answers do not depend on its speed. How fast they come "
        f"{told if served(evidence) else 'was not measured'}."
    )
    yield "- People: no record knows of groups of people, and nothing was measured by group."


def metric_lines(evidence: Evidence) -> Iterator[str]:
    """What the names of the measured numbers mean, and how intervals were made."""
    own = abilities(evidence)
    if not own:
        yield "Nothing was measured of what it can do, so there is no metric."
        return
    names = [name for each in own for name in each.metrics]
    for pattern, meaning in MEANINGS:
        found = [name for name in names if re.fullmatch(pattern, name)]
        if found:
            fewest = min(name.count(".") for name in found)
            whole = sorted({name for name in found if name.count(".") == fewest})
            yield f"- {', '.join(map(code, whole))}: {meaning}."
    yield (
        "- A 95 % interval is over independent units, documents or problems: by Wilson's score for "
        "shares, by a bootstrap over whole units for the rest."
    )
    rows = [
        (each, cells)
        for each in own
        if any(cells := [_setting(evidence, each, *setting) for setting in _SETTINGS])
    ]
    yield f"- No threshold turns an answer into a decision{'; what was set is:' if rows else '.'}"
    if rows:
        yield ""
        yield "| measured by | temperature | most tokens of an answer | window, tokens |"
        yield "|---|--:|--:|--:|"
    for each, cells in rows:
        yield f"| {evidence.cite(each.id, 'name', 's')} | {' | '.join(cells)} |"


def _setting(evidence: Evidence, record: Record, name: str, form: str) -> str:
    value = record.config.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return str(evidence.cite(record.id, pointer("config", name), form))


def evaluation_lines(evidence: Evidence) -> Iterator[str]:
    """What it was measured on, and how that was kept out of what it learnt from."""
    own = abilities(evidence)
    if not own:
        yield "Nothing was measured of what it can do."
    for record in own:
        yield f"- {evidence.cite(record.id, 'name', 's')}: {'; '.join(_asked(evidence, record))}."
    rows = [
        (each, found["domain"], found["what"], name)
        for each in evidence.lineage
        for name, count in evidence.records[each].metrics.items()
        if (found := COUNTED.fullmatch(name)) and count and not isinstance(count, dict)
        if (found["section"], found["what"]) in (("kept", "heldout"), ("removed", "contaminated"))
    ]
    if rows:
        yield ""
        yield "| of | domain | | documents |"
        yield "|---|---|---|--:|"
    for each, domain, what, name in rows:
        told = "held out" if what == "heldout" else "removed, since they hold a problem of the exam"
        made = evidence.cite(each, "name", "s")
        count = evidence.cite(each, pointer("metrics", name), ",.0f")
        yield f"| {made} | {code(domain or 'all')} | {told} | {count} |"


def _asked(evidence: Evidence, record: Record) -> Iterator[str]:
    """The documents and problems of one measurement."""
    told = False
    domains, exam = record.config.get("domains"), record.config.get("exam")
    if isinstance(domains, list) and domains:
        told = True
        side = _text(evidence, record, "split")
        yield f"documents of {_named(map(str, domains))}{side}"
    if isinstance(exam, dict) and exam:
        told = True
        counts = [
            f"{code(name)} {evidence.cite(record.id, pointer('config', 'exam', name), ',.0f')}"
            if count
            else f"{code(name)} all"
            for name, count in exam.items()
        ]
        yield f"problems{_text(evidence, record, 'exam_split')}: {', '.join(counts)}"
    if not told:
        stage = evidence.cite(record.id, "stage", "s")
        yield f"by the stage {stage}; its record holds the settings"


def _text(evidence: Evidence, record: Record, name: str) -> str:
    """Which side of the data a setting names, as the end of a phrase."""
    if not isinstance(record.config.get(name), str):
        return ""
    return f" of the split {evidence.cite(record.id, pointer('config', name), 's')}"


def _named(names: Sequence[str] | Iterator[str] | map[str]) -> str:
    """The names, each once; those that are no names, left to the tables."""
    found = [code(name) for name in dict.fromkeys(names) if identifier(name)]
    return ", ".join(found) or "none is known"
