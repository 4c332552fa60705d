"""What a model cost to train and what it costs to serve: clock readings of records, and money.

Knows no store. It is a document of its own, since its numbers differ between equal runs: seconds
are those of one computer under its load. Money stands on it only where somebody named a price.
"""

from __future__ import annotations

from collections.abc import Iterator

from ontogeny.base.artifact import Record
from ontogeny.release.coverage import served
from ontogeny.release.evidence import Evidence, file_of, pointer
from ontogeny.release.files import CARD
from ontogeny.release.price import PRICES

TITLE = "# Costs"
END = "Here the costs end."
_SPEEDS = "speeds"


def costs(evidence: Evidence) -> str:
    """The text of COSTS.md.

    Raises:
        InputError: a record is not of the form that its kind has.
    """
    body = [
        f"{TITLE}: {evidence.cite(evidence.model, 'name', 's')}",
        "",
        f"Of the model of [{CARD}]({CARD}). Seconds are readings of the clock of the computer that "
        "made it, under the load that it had; another computer needs others. Every number is a "
        "link to the sealed record that holds it.",
        "",
        *_price(evidence),
        "",
        "## What it cost to make",
        "",
        *_training(evidence),
        "",
        "## What it costs to serve",
        "",
        *_serving(evidence),
        "",
        END,
    ]
    return "\n".join(body) + "\n"


def _price(evidence: Evidence) -> Iterator[str]:
    if evidence.price is None:
        yield "Nobody named a price, so no money stands here."
        return
    given = evidence.price.per_hour
    form = ",.2f" if round(given, 2) == given else ".4g"
    per_hour = evidence.cite(PRICES, "per_hour", form)
    currency = evidence.cite(PRICES, "currency", "s")
    yield (
        f"Money follows from one number, which whoever made this bundle gave and no record holds: "
        f"an hour of the computer costs {per_hour} {currency}. It is the price of the computer "
        "alone, without people, data or space."
    )


def _training(evidence: Evidence) -> Iterator[str]:
    money = _currency(evidence)
    yield f"| made | by the stage | seconds | tokens | FLOPs |{money and f' {money} |'}"
    yield f"|---|---|--:|--:|--:|{money and '--:|'}"
    for each in evidence.lineage:
        record = evidence.records[each]
        cells = [
            str(evidence.cite(each, "name", "s")),
            str(evidence.cite(each, "stage", "s")),
            _cell(evidence, record, "seconds", ",.1f"),
            _cell(evidence, record, "tokens", ",.0f"),
            _cell(evidence, record, "flops", ".1e"),
        ]
        if money:
            cells.append(_money(evidence, each, "price:cost/seconds") if cells[2] else "")
        yield f"| {' | '.join(cells)} |"
    cells = ["all", ""] + [
        str(evidence.cite(evidence.model, f"sum:cost/{name}", form))
        for name, form in (("seconds", ",.1f"), ("tokens", ",.0f"), ("flops", ".1e"))
    ]
    if money:
        cells.append(_money(evidence, evidence.model, "price:sum:cost/seconds"))
    yield f"| {' | '.join(cells)} |"
    yield ""
    yield from _unmeasured(evidence)


def _unmeasured(evidence: Evidence) -> Iterator[str]:
    record = evidence.records[evidence.model]
    found = [
        f"{meaning} {evidence.cite(record.id, pointer('execution', name), form)}"
        for name, meaning, form in (
            ("platform", "made on", "s"),
            ("processors", "processors:", ".0f"),
            ("threads", "threads:", "s"),
            ("peak_memory_bytes", "most memory that its process held:", ".2f GB"),
        )
        if _fits(record.execution.get(name), form)
    ]
    if found:
        yield f"- The last stage: {', '.join(found)}."
    if evidence.foreign:
        yield (
            "- Unknown: what it took to train what was imported. The rows count what was done here."
        )
    yield (
        "- Tokens are those that a stage read or wrote; the sum counts a text anew in every stage "
        "that it went through."
    )
    yield "- Energy: unknown. Nothing measured it."
    yield (
        "- Not counted: measuring, control arms, settings that were tried and given up, other "
        "seeds, people's work. Of a stage that was killed and went on, what it had done since its "
        "last checkpoint."
    )


def _serving(evidence: Evidence) -> Iterator[str]:
    measured = served(evidence)
    if not measured:
        yield "How fast it answers was not measured, so there is no price of an answer."
    for record in measured:
        yield from _measured(evidence, record)


def _measured(evidence: Evidence, record: Record) -> Iterator[str]:
    cite, money = evidence.cite, _currency(evidence)
    prompt, answer = (
        cite(record.id, f"config/{name}", ",.0f") for name in ("prompt_tokens", "answer_tokens")
    )
    rounds = cite(record.id, "config/rounds", ".0f")
    yield (
        f"{cite(record.id, 'name', 's')}: requests of {prompt} tokens, each answered by {answer}, "
        f"by the engine alone, without a network; medians of {rounds} rounds."
    )
    yield ""
    head = "| at a time | tokens answered a second | seconds a thousand | seconds to the first |"
    yield head + (f" {money} a million |" if money else "")
    yield f"|--:|--:|--:|--:|{money and '--:|'}"
    for number, clients in enumerate(record.config["clients"]):
        field = pointer("execution", _SPEEDS, f"{clients}.")
        cells = [
            cite(record.id, pointer("config", "clients", number), ",.0f"),
            cite(record.id, f"{field}tokens_per_second", ",.1f"),
            cite(record.id, f"{field}seconds_per_thousand", ".3g"),
            cite(record.id, f"{field}first_token_seconds", ".3g"),
        ]
        told = [str(each) for each in cells]
        if money:
            told.append(_money(evidence, record.id, f"million:{field}tokens_per_second"))
        yield f"| {' | '.join(told)} |"
    if money:
        yield ""
        yield (
            "The price of a million answered tokens is the price of the time that they take at "
            "this speed, without pause: a computer that waits costs as much and answers less."
        )


def _currency(evidence: Evidence) -> str:
    """The currency as a cell, empty where nobody named a price."""
    return "" if evidence.price is None else str(evidence.cite(PRICES, "currency", "s"))


def _money(evidence: Evidence, record: str, field: str) -> str:
    value = evidence.value(file_of(record), field)
    assert isinstance(value, float), field
    return str(evidence.cite(record, field, _form(value)))


def _form(value: float) -> str:
    """Cents where there are any, two digits of what is less."""
    return ",.2f" if value >= 1 else ".2g"


def _cell(evidence: Evidence, record: Record, name: str, form: str) -> str:
    return str(evidence.cite(record.id, f"cost/{name}", form)) if record.cost.get(name) else ""


def _fits(value: object, form: str) -> bool:
    kind = str if form == "s" else (int, float)
    return isinstance(value, kind) and not isinstance(value, bool)
