"""A card that says something else than its evidence is refused, whoever changed which of them."""

import re
from pathlib import Path

import pytest
from release.tampering import CARD, change_record, edit, record_named, refused, seal_again


def test_a_number_changed_together_with_its_sum_is_found(bundle: Path) -> None:
    name = record_named(bundle, "measure/chat")
    edit(bundle, CARD, "[0.63](", "[0.70](")
    line = next(
        number
        for number, text in enumerate((bundle / CARD).read_text().split("\n"), start=1)
        if "[0.70](" in text
    )
    said = refused(bundle)
    field = "metrics/exam.score/estimate"
    assert f"README.md:{line}: says 0.70, the evidence ({name}, {field}) says 0.63" in said


def test_every_value_of_the_card_is_compared(bundle: Path) -> None:
    text = (bundle / CARD).read_text()
    places = [found.start(1) for found in re.finditer(r'\[[^\[\]\n]*?(\w)\]\([\w./-]+ "', text)]
    assert len(places) > 60
    for place in places:
        other = "8" if text[place] != "8" else "9"
        (bundle / CARD).write_text(text[:place] + other + text[place + 1 :])
        seal_again(bundle, CARD)
        line = text.count("\n", 0, place) + 1
        assert f"README.md:{line}: says " in refused(bundle)


FORGED = {
    "a verdict": ("**[null](", "**[holds](", "says holds, the evidence"),
    "a metric in front": ("value: 0.63\n", "value: 0.64\n", "says 0.64, the evidence"),
    "a bare number": ("## Factors\n", "## Factors\n\nIt scores 0.99.\n", "'0.99' has no evidence"),
    "a number in front": ("license: ", "score: 0.99\nlicense: ", "'score' is nothing"),
    "a date in front": ("- en\n", "- 2026-01-01\n", "'2026-01-01' has no evidence"),
    "words in front": ("- conversational", "- scores 0.99", "holds a number without evidence"),
    "a tag with a number": ("- conversational", "- accuracy-0.99", "is no tag of ours"),
    "another metric in front": ("type: exam.score", "type: exam.all", "value is of 'metrics/exam"),
    "another name in front": ("name: exam.score", "name: exam.all", "says 'exam.all'"),
    "another exam in front": ("type: measure/chat", "type: mmlu", "is not what measured it"),
    "another model in front": ("- name: chat\n", "- name: other\n", "a result of another model"),
    "a seal in front": ("value: 0.63\n", "value: 0.63\n      verified: true\n", "result of ours"),
    "a value spelled oddly": ("value: 0.63\n", "value: +0.63\n", "says +0.63"),
    "a number as a picture": (
        "## Factors\n",
        "## Factors\n\n![accuracy](https://img.example/97.png)\n",
        "a picture can show a number",
    ),
    "a number behind what only looks like a block of code": (
        "## Factors\n",
        "## Factors\n\n```python```\nIt scores 97 percent.\n```\n\n```python\nx\n```\n",
        "begins at the margin",
    ),
    "a link that runs something": (
        "## Factors\n",
        "## Factors\n\n[more](javascript:alert)\n",
        "points to 'javascript:alert'",
    ),
    "a sum of nothing": ("sum:cost/flops .1e", "sum:metrics/harm .1e", "has no sum of"),
    "a key twice": ("license: ", "license: mit\nlicense: ", "'license' stands twice"),
    "an anchor": ("license: ", "tags: &a [x]\nlicense: ", "an anchor or a tag"),
    "another field": ("metrics/plain .4g", "metrics/nothing .4g", "has no field"),
    "another format": ("metrics/plain .4g", "metrics/plain xx", "is no format"),
    "another file": ('](config.json "vocab', '](LICENSES.md "vocab', "there is no evidence"),
    "a way out": ("(LICENSES.md)", "(../LICENSES.md)", "which is no file of this bundle"),
    "HTML": ("## Factors", "## <b>Factors</b>", "HTML has no place"),
    "a hidden character": ("## Factors", "## Factors\u200b", "invisible character"),
    "open code": ("## Factors", "~~~python\n## Factors", "never ends"),
    "another model": ("ontogeny_model: ", "ontogeny_model: x", "is not in the evidence"),
    "no front matter": ("---\n", "", "no front matter"),
}


@pytest.mark.parametrize(("old", "new", "reason"), FORGED.values(), ids=FORGED.keys())
def test_a_forged_card_is_refused(bundle: Path, old: str, new: str, reason: str) -> None:
    edit(bundle, CARD, old, new)
    said = refused(bundle)
    assert re.search(r"README.md:\d+: ", said) and reason in said


def test_a_record_changed_under_its_seal_is_found(bundle: Path) -> None:
    file = change_record(bundle, "measure/chat", sealed=False, metrics={})
    assert f"{file}:1: the record does not match its seal" in refused(bundle)


def test_a_record_that_is_none_is_found(bundle: Path) -> None:
    file = change_record(bundle, "measure/chat", parents=7)
    assert f"{file}:1: no record" in refused(bundle)
    change_record(bundle, "measure/chat", format=99)
    assert "no record of format" in refused(bundle)


def test_a_record_that_says_something_else_contradicts_the_card(bundle: Path) -> None:
    changed = {"exam.score": {"estimate": 0.9, "low": 0.8, "high": 0.99, "units": 40}}
    change_record(bundle, "measure/chat", metrics=changed)
    assert "the evidence" in refused(bundle)


def test_a_record_under_another_id_is_found(bundle: Path) -> None:
    file = record_named(bundle, "measure/chat")
    (bundle / file).rename(bundle / "evidence/0000000000000000.json")
    seal_again(bundle, "evidence/0000000000000000.json")
    assert "evidence/0000000000000000.json:1: the record is of" in refused(bundle)


def test_a_missing_ancestor_is_found(bundle: Path) -> None:
    (bundle / record_named(bundle, "corpus")).unlink()
    seal_again(bundle)
    assert "is not in the evidence" in refused(bundle)


def test_a_record_that_comes_from_itself_is_found(bundle: Path) -> None:
    base = record_named(bundle, "base")
    file = change_record(bundle, "corpus", parents=[base.removeprefix("evidence/")[:16]])
    assert "comes from itself" in refused(bundle) and file
