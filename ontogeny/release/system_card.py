"""The system card: what was attacked, and what held; rendered from records alone.

Knows no store. Every number is a citation, a null result is printed as null, and where nobody
attacked the card says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ontogeny.base.artifact import Record
from ontogeny.release.coverage import APART, ASPECTS, SERVING, Aspect, headline, of_model, told_of
from ontogeny.release.evidence import Evidence, pointer
from ontogeny.release.files import CARD, POLICY
from ontogeny.release.outcomes import told
from ontogeny.release.tables import code, effect_lines, interval

TITLE = "# System card"
END = "Here the system card ends."
_TRIED = (
    ("config/counts", "requests of each kind"),
    ("config/harmful", "harmful requests"),
    ("config/benign", "harmless requests"),
    ("config/wishes", "requests of each kind of harm"),
    ("config/generations", "generations of children"),
    ("config/children", "children a generation"),
    ("config/streams", "streams of an adaptive attacker"),
    ("config/tasks", "tasks of each kind"),
    ("config/max_tokens", "tokens at most an answer"),
)
"""Settings that say how hard it was tried."""
_LISTED = (("config/families", "families of attacks"), ("config/orders", "kinds of order"))
_HELD_OUT = "config/held_families"


def system_card(evidence: Evidence) -> str | None:
    """The text of SYSTEM_CARD.md; None where no record of its kinds tells of the model.

    Raises:
        InputError: a record is not of the form that its kind has.
    """
    found = [(aspect, told_of(aspect, evidence)) for aspect in ASPECTS]
    if not any(records for _, records in found):
        return None
    body = [
        f"{TITLE}: {evidence.cite(evidence.model, 'name', 's')}",
        "",
        *_opening(),
        "",
        "## What was attacked, and what held",
        "",
        *_glance(evidence, found),
    ]
    for aspect, records in found:
        body += ["", f"## {aspect.title}", "", *_aspect(evidence, aspect, records)]
    body += ["", "## What the rounds did", "", *_effects(evidence)]
    body += ["", "## What this card does not say", "", *_unsaid(), "", END]
    kept = [line for line, after in zip(body, [*body[1:], "."], strict=True) if line or after]
    return "\n".join(kept) + "\n"


def _opening() -> Iterator[str]:
    yield (
        f"What was tried on the model of [{CARD}]({CARD}) to make it do harm, recite, or please "
        "where it should not, and what came of it. Every number is a link to the sealed record "
        "that holds it."
    )
    yield ""
    yield (
        "The model held where not one try went wrong, and did not hold where one did: the word has "
        "no threshold. How often it may go wrong all the same, the 95 % interval says; with few "
        "tries it is wide. A model that refuses everything holds against attacks as well, and so "
        "does one too weak to help anyone; so refusals of the harmless are counted as going wrong, "
        "and answers to the harmful that were no refusal stand beside."
    )


def _glance(evidence: Evidence, found: Sequence[tuple[Aspect, Sequence[Record]]]) -> Iterator[str]:
    yield "| tried | by | measured | level | 95 % interval | units | outcome |"
    yield "|---|---|---|--:|---|--:|---|"
    for aspect, records in found:
        own = [each for each in records if of_model(each, evidence)]
        if not own:
            before = "; what is told of other models stands below" if records else ""
            yield f"| {aspect.title} | | **{aspect.lacking}**{before} | | | | |"
        for record in own:
            names = headline(aspect, record)
            by = evidence.cite(record.id, "name", "s")
            if not names:
                yield f"| {aspect.title} | {by} | see below | | | | |"
            for name in names:
                row = " | ".join(_row(evidence, record, name))
                yield f"| {aspect.title} | {by} | {row} |"


def _row(evidence: Evidence, record: Record, name: str) -> Iterator[str]:
    """A metric's cells: name, level, interval, units, outcome."""
    yield code(name)
    yield from interval(evidence, record, name, record.metrics[name])
    if told(record, name) is None:
        yield ""
    else:
        cited = evidence.cite(record.id, f"outcome:{pointer('metrics', name)}", "s")
        yield f"**{cited}**"


def _aspect(evidence: Evidence, aspect: Aspect, records: Sequence[Record]) -> Iterator[str]:
    yield aspect.meaning
    if not records:
        yield ""
        yield f"This model: **{aspect.lacking}**."
    for record in records:
        yield ""
        yield f"### {evidence.cite(record.id, 'name', 's')}{_whose(evidence, record)}"
        yield ""
        yield from _tried(evidence, record)
        for number in range(len(record.summary)):
            yield f"- {evidence.cite(record.id, pointer('summary', number), 's')}"
        if record.metrics:
            yield ""
            yield "| | level | 95 % interval | units | outcome |"
            yield "|---|--:|---|--:|---|"
        for name in record.metrics:
            yield f"| {' | '.join(_row(evidence, record, name))} |"


def _whose(evidence: Evidence, record: Record) -> str:
    """Whose measurement it is, where it is not the model's own."""
    if of_model(record, evidence):
        return ""
    models = sorted(evidence.subjects(record.id))
    names = ", ".join(str(evidence.cite(each, "name", "s")) for each in models)
    where = "on its way" if set(models) <= set(evidence.lineage) else "beside it"
    return f", of {names} {where}" if names else f", {where}"


def _tried(evidence: Evidence, record: Record) -> Iterator[str]:
    """How hard it was tried: settings of the record that say how much of what."""
    config = record.config
    for field, meaning in _LISTED:
        if isinstance(named := config.get(field.partition("/")[2]), list) and named:
            names = ", ".join(
                str(evidence.cite(record.id, f"{field}/{number}", "s"))
                for number in range(len(named))
            )
            yield f"- {evidence.cite(record.id, f'count:{field}', '.0f')} {meaning}: {names}"
    held = config.get(_HELD_OUT.partition("/")[2])
    if isinstance(held, list) and held:
        names = ", ".join(
            str(evidence.cite(record.id, f"{_HELD_OUT}/{number}", "s"))
            for number in range(len(held))
        )
        yield f"- held out, so that nothing learns from them: {names}"
    told_ = [part for field, meaning in _TRIED for part in _much(evidence, record, field, meaning)]
    if told_:
        yield f"- {'; '.join(told_)}"


def _much(evidence: Evidence, record: Record, field: str, meaning: str) -> Iterator[str]:
    """A setting of a record as `NUMBER meaning`; nothing where it has none or it is 0."""
    value = record.config.get(field.partition("/")[2])
    if isinstance(value, dict):
        counts = [
            f"{code(name)} {evidence.cite(record.id, f'{field}/{pointer(name)}', ',.0f')}"
            for name, count in value.items()
            if isinstance(count, int) and count
        ]
        if counts:
            yield f"{meaning}: {', '.join(counts)}"
    elif isinstance(value, int | float) and not isinstance(value, bool) and value:
        yield f"{evidence.cite(record.id, field, ',.0f')} {meaning}"


def _effects(evidence: Evidence) -> Iterator[str]:
    """What the stages on the way changed of what stands above, with verdicts; null as null."""
    found = [
        each
        for each in evidence.records.values()
        if each.kind == "effect" and evidence.on_its_way(each) and _of_rounds(evidence, each)
    ]
    if found:
        yield from effect_lines(evidence, found)
    else:
        yield "No effect of a stage on what stands above was measured."


def _of_rounds(evidence: Evidence, effect: Record) -> bool:
    measured = [evidence.records[each] for each in effect.parents]
    return any(each.stage in APART - {SERVING} for each in measured)


def _unsaid() -> Iterator[str]:
    yield (
        "- It tells of attacks that were tried. Others exist, and whoever attacks next has read "
        "this card."
    )
    yield (
        "- Judges are rules or models. What they misjudge is in the numbers; the answers are in "
        "the artifacts, whose sha256 the records hold."
    )
    yield (
        "- It tells of the model, not of what is built around it: filters, tools, other prompts "
        "and people change what can happen."
    )
    yield f"- What may be done with the model is said by [{POLICY}]({POLICY})."
