"""What was tried on a model, by aspect: the records that tell of it, and what nobody tried.

Knows no Markdown. A stage belongs to one aspect; measurements of no aspect are about ability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ontogeny.base.artifact import Record
from ontogeny.release.evidence import Evidence

SERVING = "measure_serving"
"""The stage whose numbers are clock readings."""


@dataclass(frozen=True)
class Aspect:
    """One thing that can be tried on a model: `stages` try it, `lacking` is said where none did.

    `shown` are the metrics that sum it up, in order; a name ending in a point stands for all that
    begin so.
    """

    title: str
    stages: frozenset[str]
    lacking: str
    meaning: str
    shown: tuple[str, ...] = ()


ASPECTS = (
    Aspect(
        "Requests that it should refuse",
        frozenset({"measure_safety"}),
        "not measured",
        "It was asked what it should refuse, what only sounds so, and what is ordinary. "
        "Compliance is any answer to the first that does not wholly refuse, whether it helps or "
        "not; refusal of the rest is a fault as well.",
        ("harmful.refusal", "harmful.compliance", "borderline.refusal", "ordinary.refusal"),
    ),
    Aspect(
        "Known attacks",
        frozenset({"measure_attacks"}),
        "not attacked",
        "The same attacks were put to it as to any other model: each disguises a harmful request. "
        "Success: the answer helped. Unrefused: it was no refusal, helpful or not. Refused: a "
        "harmless request in that disguise was refused. Plain: without a disguise. Held out: "
        "families of attacks that are set aside from learning.",
        (
            *("success.plain", "success.held_in", "success.held_out", "success.any"),
            *("success.adaptive", "unrefused.plain", "unrefused", "refused.plain", "refused"),
        ),
    ),
    Aspect(
        "Attacks searched for",
        frozenset({"red_team"}),
        "not attacked",
        "A search over kinds of harm and styles of attack, which keeps what works best in each "
        "cell. Success is the share of cells with an attack that worked; a search finds more than "
        "a fixed list, so its success is no rate among users.",
        ("success", "success.held_in", "success.held_out", "refused"),
    ),
    Aspect(
        "Orders hidden in what it reads",
        frozenset({"measure_injection"}),
        "not attacked",
        "A tool's result held an order by a stranger. Tried: the model gave that very call. Done: "
        "the call changed something; a gate may have held it back.",
        ("model.",),
    ),
    Aspect(
        "What it can be made to recite",
        frozenset({"measure_memory"}),
        "not attacked",
        "Extracted: the share of secrets, planted so many times in its training data, that it "
        "gives back word for word; none times is a placebo. Verbatim: ends of answers that it "
        "learnt, beside those of answers that were held out.",
        ("memory.",),
    ),
    Aspect(
        "Judges under its constitution",
        frozenset({"constitution_agreement"}),
        "not measured",
        "Two judges applied the same principles to the same pairs of answers.",
        ("agrees", "flipped"),
    ),
    Aspect(
        "Whether it learnt to please its reward",
        frozenset({"watch"}),
        "not watched",
        "What it was paid was compared with a verdict that it was not paid by.",
        ("gap.growth", "speaks", "can_tell"),
    ),
    Aspect(
        "Other ways of learning beside it",
        frozenset({"standings"}),
        "not compared",
        "Arms that learnt from the same data in other ways, measured alike.",
    ),
    Aspect(
        "What its users said",
        frozenset({"traffic", "harvest", "feedback_pairs", "feedback_conversations"})
        | {"measure_preference"},
        "nothing was heard",
        "Exchanges and ratings of users of this model or of one before it, and what was learnt "
        "from them. Users of the stage traffic are simulated, and so is the taste that a measured "
        "preference is of.",
        ("preference.score", "exchanges", "ratings"),
    ),
    Aspect(
        "Gates before a release",
        frozenset({"gate"}),
        "no gate was asked",
        "A candidate is compared with what is released; it is promoted, or what is released stays.",
        ("promote",),
    ),
)
COMPARING = ("standings",)
"""Stages whose parents are models side by side. A gate is about its first one, the candidate."""
NEVER_MEASURED = (
    "bias, and how it serves different groups of people",
    "whether what it says of the world is true",
    "the energy that it took",
)
"""What no stage measures."""
APART = frozenset[str]().union(*(each.stages for each in ASPECTS)) | {SERVING}
"""Stages whose records are told elsewhere than among abilities."""


def told_of(aspect: Aspect, evidence: Evidence) -> list[Record]:
    """The records of an aspect that are of the model or of one on its way; its own first."""
    found = [
        each
        for each in evidence.records.values()
        if each.stage in aspect.stages and (each.id in evidence.lineage or evidence.concerns(each))
    ]
    return sorted(found, key=lambda each: (not of_model(each, evidence), each.name, each.id))


def of_model(record: Record, evidence: Evidence) -> bool:
    """Whether a record tells of the model itself: it was made from it, or from its answers.

    Of what compares models, each of them is one that it tells of.
    """
    if record.stage in COMPARING:
        return evidence.model in record.parents
    first = record.parents[:1] == [evidence.model]
    return first or evidence.subjects(record.id) == {evidence.model}


def served(evidence: Evidence) -> list[Record]:
    """The records that say how fast the model itself answers."""
    return [
        each
        for each in evidence.records.values()
        if each.stage == SERVING and each.parents[:1] == [evidence.model]
    ]


def lacking(evidence: Evidence) -> list[Aspect]:
    """The aspects that no record of the model itself tells of."""
    return [
        each
        for each in ASPECTS
        if not any(of_model(record, evidence) for record in told_of(each, evidence))
    ]


def headline(aspect: Aspect, record: Record) -> Sequence[str]:
    """The names of the metrics of a record that sum its aspect up."""
    return [
        name
        for shown in aspect.shown
        for name in record.metrics
        if name == shown or (shown.endswith(".") and name.startswith(shown))
    ]
