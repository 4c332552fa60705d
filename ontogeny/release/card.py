"""The model card: rendered from records, nothing in it typed by hand but the user's own words.

Knows no store. What the records do not hold, and nobody said, is said to be unknown. Its nine
sections are those of Mitchell et al. 2019 (see `sections`); it holds no clock reading, so that
equal runs give equal cards: those stand in COSTS.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ontogeny.release.coverage import NEVER_MEASURED, lacking
from ontogeny.release.evidence import CONFIG, FOLDER, WEIGHTS, Evidence, pointer
from ontogeny.release.examples import CHAT, CONTINUE, CONTINUE_IMPORTED
from ontogeny.release.files import COSTS, LICENCES, POLICY, SUMS, SYSTEM
from ontogeny.release.front import front_of
from ontogeny.release.measures import evaluation_lines, factor_lines, metric_lines
from ontogeny.release.sections import OUT_OF_SCOPE, OWN, SECTIONS, by_section
from ontogeny.release.tables import data_lines, personal_lines, result_lines
from ontogeny.release.words import Words

DRAFT = "It is a draft: places in it are not filled in, and nobody answers for it yet."
"""What a card says of a usage policy that still says TODO."""


def card(evidence: Evidence, words: Words, *, system: bool, draft: bool) -> str:
    """The text of README.md.

    Args:
        system: whether there is a system card.
        draft: whether the usage policy has places that nobody filled in.

    Raises:
        InputError: what the user wrote cites nothing that is there, or a record is not of the form
            that its kind has.
    """
    chats = isinstance(evidence.config.get("eos_token_id"), list)
    said = by_section(words.filled(evidence))
    written = (
        _details(evidence, words, said, chats),
        _intended(said, draft),
        factor_lines(evidence, words.languages),
        metric_lines(evidence),
        evaluation_lines(evidence),
        _training(evidence),
        _results(evidence, words, system),
        _ethics(evidence, system),
        _caveats(evidence),
    )
    body = [f"# {words.title}", "", *_opening(evidence, chats)]
    for name, lines in zip(SECTIONS, written, strict=True):
        body += ["", f"## {name}", "", *lines]
        if name in said and name != "Intended use":
            body += ["", "In its makers' words:", "", said[name]]
    body += ["", "## Cost", "", *_cost(evidence)]
    body += ["", "## How to check this card", "", *_checking()]
    return f"---\n{front_of(evidence, words, chats=chats)}\n---\n\n{_joined(body)}\n"


def _joined(lines: list[str]) -> str:
    """The lines with never two blank ones in a row outside of what a person wrote."""
    kept = [line for line, after in zip(lines, [*lines[1:], "."], strict=True) if line or after]
    return "\n".join(kept)


def _opening(evidence: Evidence, chats: bool) -> Iterator[str]:
    does = "answers in turns" if chats else "continues text"
    cite = evidence.cite
    yield (
        f"A language model of {cite(WEIGHTS, 'parameters', '.2f M')} parameters that {does}; "
        f"architecture {cite(CONFIG, 'architectures/0', 's')}, "
        f"{cite(CONFIG, 'num_hidden_layers', ',.0f')} layers, a vocabulary of "
        f"{cite(CONFIG, 'vocab_size', ',.0f')} tokens, a context of "
        f"{cite(CONFIG, 'max_position_embeddings', ',.0f')} tokens."
    )
    yield ""
    yield (
        "Every number on this card is a link: to the sealed record that holds it, and in its "
        "title the field of that record. No number stands here without one. The sections are "
        "those of Mitchell et al., Model Cards for Model Reporting."
    )


def _details(
    evidence: Evidence, words: Words, said: Mapping[str, str], chats: bool
) -> Iterator[str]:
    record = f"[its record]({FOLDER}/{evidence.model}.json)"
    yield (
        f"Recorded as {evidence.cite(evidence.model, 'name', 's')}, made by the stage "
        f"{evidence.cite(evidence.model, 'stage', 's')}; when and on which computer, {record} says."
    )
    if OWN in said:
        yield from ("", "### In its makers' words", "", said[OWN])
    elif "Model details" not in said:
        yield from ("", "Who made it and whom to ask, nobody said.")
    use = CHAT if chats else CONTINUE_IMPORTED if evidence.imported else CONTINUE
    yield from ("", "### How to use it", "", use)
    yield from ("", "### How it was made", "", *_making(evidence))
    yield from ("", "### Licence", "", *_licence(evidence, words))


def _making(evidence: Evidence) -> Iterator[str]:
    cite = evidence.cite
    if evidence.foreign:
        yield (
            "What was done here, first to last; what it took to train what was imported, no record "
            "knows. Shares are of the FLOPs spent here."
        )
    else:
        yield "All that went into it, first to last; shares are of the FLOPs."
    yield ""
    yield "| made | by the stage | tokens | FLOPs | share | seed |"
    yield "|---|---|--:|--:|--:|--:|"
    for each in evidence.lineage:
        cells = [str(cite(each, "name", "s")), str(cite(each, "stage", "s"))]
        if evidence.records[each].cost.get("flops"):
            forms = {"cost/tokens": ",.0f", "cost/flops": ".1e", "share:cost/flops": ".1%"}
            cells += [str(cite(each, field, form)) for field, form in forms.items()]
        else:
            cells += ["", "", ""]
        yield f"| {' | '.join(cells)} | {cite(each, 'seed', '.0f')} |"
    yield f"| all | | | {cite(evidence.model, 'sum:cost/flops', '.1e')} | | |"
    yield ""
    versions = evidence.records[evidence.model].execution.get("versions", {})
    used = [
        f"{name} {cite(evidence.model, pointer('execution', 'versions', name), 's')}"
        for name in ("ontogeny", "torch")
        if name in versions
    ]
    if used:
        yield f"Made with {' and '.join(used)}. The settings of each stage stand in its record."


def _licence(evidence: Evidence, words: Words) -> Iterator[str]:
    if words.license == "other":
        yield "Whoever made this bundle chose no licence for the weights."
    else:
        yield f"The licence of the weights is `{words.license}`."
    sources = (
        "what was imported, and each source of data," if evidence.foreign else "each source of data"
    )
    yield f"[{LICENCES}]({LICENCES}) holds what {sources} says of itself."


def _intended(said: Mapping[str, str], draft: bool) -> Iterator[str]:
    yield said.get("Intended use", "What it is for, nobody said.")
    yield from ("", "### Out of scope", "")
    yield said.get(OUT_OF_SCOPE, "What it is not for, nobody said beyond the usage policy.")
    yield ""
    yield f"[{POLICY}]({POLICY}) says what it may be used for and what not."
    if draft:
        yield DRAFT


def _training(evidence: Evidence) -> Iterator[str]:
    yield (
        "What it learnt from, what was kept, held out, changed and removed, and for which reason. "
        f"What each source says of its own licence stands in [{LICENCES}]({LICENCES}); the data "
        "itself is not in this bundle."
    )
    if evidence.foreign:
        yield "What was imported learnt from data that these records do not know."
    yield ""
    yield from data_lines(evidence)
    yield from ("", "### Personal data", "", *personal_lines(evidence))


def _results(evidence: Evidence, words: Words, system: bool) -> Iterator[str]:
    yield from result_lines(evidence, words.claims)
    yield ""
    if system:
        yield f"What was attacked, and what held, has a card of its own: [{SYSTEM}]({SYSTEM})."
    else:
        yield "Nothing was attacked and nothing tested for safety, so there is no system card."
    yield "Results by several factors at once were not measured."


def _ethics(evidence: Evidence, system: bool) -> Iterator[str]:
    if system:
        yield f"- What was attacked, and what held: [{SYSTEM}]({SYSTEM})."
    for each in lacking(evidence):
        yield f"- {each.title}: {each.lacking}."
    yield (
        "- How much personal data was found and replaced stands under Training data; patterns do "
        "not find all of it."
    )
    yield f"- Uses that are prohibited stand in [{POLICY}]({POLICY})."


def _caveats(evidence: Evidence) -> Iterator[str]:
    cite = evidence.cite
    yield (
        f"- Prompt and answer together: {cite(CONFIG, 'max_position_embeddings', ',.0f')} tokens."
    )
    yield "- It was tested for what these documents say, and for nothing else."
    yield f"- Measured by no stage: {'; '.join(NEVER_MEASURED)}."
    if evidence.foreign:
        yield "- What was learnt before it was imported, these records do not say."
    else:
        yield "- It knows only the kinds of text listed under Training data."
    yield "- Before you build on it, measure it on your own task, in your own words."


def _cost(evidence: Evidence) -> Iterator[str]:
    flops = evidence.cite(evidence.model, "sum:cost/flops", ".1e")
    if evidence.foreign:
        yield f"{flops} FLOPs spent here; what it took to train what was imported, no record knows."
    else:
        yield f"To train: {flops} FLOPs in all."
    yield (
        f"Seconds and prices depend on a computer and stand in [{COSTS}]({COSTS}), with what it "
        "costs to serve where that was measured."
    )


def _checking() -> Iterator[str]:
    yield "```bash"
    yield f"sha256sum -c {SUMS}   # every byte"
    yield "ontogeny verify .         # every byte, every record, every number on these documents"
    yield "```"
    yield ""
    yield (
        f"`{FOLDER}/` holds the records, each sealed by a digest of itself, of everything that the "
        "model and the measurements came from. A record's config and seed are what its stage was "
        "given; the same stage on the same parents measures the same again, its speed apart."
    )
