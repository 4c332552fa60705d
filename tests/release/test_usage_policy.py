"""The usage policy is a person's own, or a template that is called a draft."""

from pathlib import Path

import pytest
from release.grown import Grown, bundle_of, of
from release.tampering import CARD, check, edit, refused, seal_again

from ontogeny.base.errors import InputError
from ontogeny.release.card import DRAFT
from ontogeny.release.numbers import objections
from ontogeny.release.usage_policy import open_places, template, usage_policy
from ontogeny.release.words import Words
from ontogeny.safety.harms import HARMS

POLICY = "USAGE_POLICY.md"
FILLED = "# Policy\n\nAsk help@example.org.\n\nIt answers {{ measure/chat exam.score .1% }}.\n"


def words(policy: str) -> Words:
    return Words("mit", "A model", policy=policy, policy_file="mine.md")


def test_the_template_prohibits_every_class_of_harm_and_holds_no_number() -> None:
    text = template()
    assert list(objections(text)) == []
    for harm in HARMS["plain"].values():
        assert f": {harm.policy}" in text
    assert "{{ HARMS }}" not in text and open_places(text)
    for heading in ("Permitted", "Prohibited", "How to report", "Who answers for it"):
        assert f"\n## {heading}\n" in text


def test_a_bundle_without_a_policy_has_the_draft_and_says_so(written: Path) -> None:
    assert (written / POLICY).read_text() == template()
    assert DRAFT in (written / CARD).read_text()


def test_a_filled_policy_is_no_draft(life: Grown, tmp_path: Path) -> None:
    bundle = bundle_of(life, tmp_path / "x", policy=FILLED)
    text = (bundle / POLICY).read_text()
    assert "It answers [63.0 %](evidence/" in text
    assert open_places(text) == []
    assert DRAFT not in (bundle / CARD).read_text()
    check(bundle)


@pytest.mark.parametrize("place", ["{{ TODO: who }}", "{{ TODO }}", "TODO"])
def test_an_open_place_makes_it_a_draft(life: Grown, place: str) -> None:
    text = usage_policy(of(life), words(f"# Policy\n\nAsk {place}.\n"))
    assert open_places(text) == [3] and place in text


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("# Policy\n\nFrom 2027 on.", 3, "the number '2027' has no evidence"),
        ("# Policy\n<script>", 2, "HTML"),
        ("# Policy\n{{ nobody exam.score .1% }}", 2, "no record is called 'nobody'"),
        ("# Policy\n{{ WHO }}", 2, "not of the form {{ NAME FIELD FORMAT }}"),
    ],
)
def test_a_policy_without_evidence_is_refused_by_its_line(
    life: Grown, text: str, line: int, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        usage_policy(of(life), words(text))
    assert str(caught.value).startswith(f"mine.md:{line}: ") and reason in str(caught.value)


def test_a_number_that_is_slipped_in_is_found(bundle: Path) -> None:
    edit(bundle, POLICY, "## Permitted\n", "## Permitted\n\nUp to 100 people.\n")
    assert f"{POLICY}:" in refused(bundle) and "'100' has no evidence" in refused(bundle)


def test_a_draft_that_is_passed_off_as_a_policy_is_found(bundle: Path) -> None:
    edit(bundle, CARD, DRAFT, "")
    line = open_places(template())[0]
    assert f"{POLICY}:{line}: this place is not filled in" in refused(bundle)


def test_a_policy_that_takes_the_place_of_a_draft_is_found(bundle: Path) -> None:
    (bundle / POLICY).write_text("# Policy\n\nAll is permitted.\n")
    seal_again(bundle, POLICY)
    assert f"{POLICY}:1: {CARD} calls it a draft" in refused(bundle)
