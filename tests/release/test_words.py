"""A person's own words: numbers in them are filled in from evidence, or refused by their line."""

from typing import Any

import pytest
from release.grown import Grown, of

from ontogeny.base.errors import InputError
from ontogeny.release.numbers import citations
from ontogeny.release.words import Words

FILE = "notes.md"


def words(about: str = "", **fields: Any) -> Words:
    return Words(**{"license": "mit", "title": "A model", "about": about, "file": FILE, **fields})


FILLED = {
    "{{ measure/chat exam.score .1% }}": "63.0 %",
    "{{measure/chat exam.score/low .2f}}": "0.58",
    "{{ measure/chat plain .2f }}": "1.25",
    "{{ sft.gain estimate .1f }}": "0.8",
    "{{ sft.gain verdict s }}": "null",
    "{{ chat cost/tokens ,.0f }}": "3,000",
    "{{ chat sum:cost/flops .1e }}": "6.0 × 10⁹",
    "{{ model.safetensors parameters .1f k }}": "1.2 k",
    "{{ config.json vocab_size .0f }}": "300",
    "{{ corpus config/exam/add-2 .0f }}": "3",
}


@pytest.mark.parametrize(("place", "text"), FILLED.items())
def test_a_place_is_filled_from_its_evidence(life: Grown, place: str, text: str) -> None:
    filled = words(f"It is {place}, we think.").filled(of(life))
    assert [cited.text for _, cited in citations(filled)] == [text]
    assert filled.startswith("It is [") and filled.endswith(", we think.")


def test_an_id_names_its_record(life: Grown) -> None:
    artifact = life.by_name["measure/chat"]
    assert "[0.63]" in words(f"{{{{ {artifact.id} exam.score .2f }}}}").filled(of(life))


def test_code_stays_as_it_is(life: Grown) -> None:
    about = "```python\nx = {{3}}\n```"
    assert words(about).filled(of(life)) == about


@pytest.mark.parametrize(
    ("about", "line", "reason"),
    [
        ("fine\n\nIt scores 0.97 there.", 3, "the number '0.97' has no evidence; cite it as {{"),
        ("fine\n<b>no</b>", 2, "HTML"),
        ("```python\nx", 1, "never ends"),
        ("fine\nAsk {{ TODO: whom }}.", 2, "not filled in"),
    ],
)
def test_a_number_without_evidence_is_refused_by_its_line(
    about: str, line: int, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        words(about)
    assert str(caught.value).startswith(f"{FILE}:{line}: ") and reason in str(caught.value)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("{{ nobody exam.score .1% }}", "no record is called 'nobody'"),
        ("{{ measure/chat exam.nothing .1% }}", "it measured exam.add-2.score"),
        ("{{ measure/chat exam.score }}", "not of the form {{ NAME FIELD FORMAT }}"),
        ("{{ measure/chat exam.score nice }}", "is no format"),
        ("{{ measure/chat name .1f }}", "holds no number"),
    ],
)
def test_a_place_without_evidence_is_refused_by_its_line(
    life: Grown, place: str, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        words(f"fine\n{place}").filled(of(life))
    assert str(caught.value).startswith(f"{FILE}:2: ") and reason in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"license": "Apache 2.0"}, "license is 'Apache 2.0'"),
        ({"license": "mit\nx: 1"}, "license is"),
        ({"title": "A model of 7 parameters"}, "title: the number '7'"),
        ({"title": " "}, "the title is one line"),
        ({"languages": ("english",)}, "language is 'english'"),
        ({"claims": ("0.97",)}, "is no claim's name"),
    ],
)
def test_what_is_said_beside_has_its_form(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        words(**fields)
