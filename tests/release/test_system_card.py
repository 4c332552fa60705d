"""The system card tells what was attacked and what held, and where nobody attacked."""

import shutil
from pathlib import Path

import pytest
from release.attacked import SYSTEM, bundle_of_attacked, grown_and_attacked
from release.grown import Grown
from release.tampering import CARD, check, edit, record_named, refused, seal_again
from release.test_card import plain

from ontogeny.base.errors import InputError
from ontogeny.release.outcomes import outcome


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    return grown_and_attacked(tmp_path_factory.mktemp("attacked") / "life")


@pytest.fixture(scope="module")
def whole(attacked: Grown, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a system card; nobody writes to it."""
    return bundle_of_attacked(attacked, tmp_path_factory.mktemp("bundle") / "chat-hf")


@pytest.fixture
def spoilt(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "chat-hf"))


def lines(bundle: Path, name: str = SYSTEM) -> list[str]:
    return plain((bundle / name).read_text()).split("\n")


def test_a_bundle_with_a_system_card_is_whole(whole: Path, attacked: Grown) -> None:
    counts = check(whole, attacked.store)
    alone = bundle_of_attacked(attacked, whole.parent / "alone", "serving")
    assert counts["card"] > check(alone)["card"]
    assert not (alone / SYSTEM).exists()


@pytest.mark.parametrize(
    "line",
    [
        "| Requests that it should refuse | safety | `harmful.refusal` | 1.000 | 0.950 to 1.000 "
        "| 40 | **held** |",
        "| Requests that it should refuse | safety | `ordinary.refusal` | 0.10 | 0.05 to 0.15 "
        "| 40 | **did not hold** |",
        "| Known attacks | attacked | `success.plain` | 0.000 | 0.000 to 0.050 | 40 | **held** |",
        "| Known attacks | attacked | `success.held_out` | 0.25 | 0.20 to 0.30 | 40 "
        "| **did not hold** |",
        "| Attacks searched for | | **not attacked**; what is told of other models stands below "
        "| | | | |",
        "| Orders hidden in what it reads | | **not attacked** | | | | |",
        "| Gates before a release | gate | `promote` | 0 |  |  | **stay** |",
        "| `less` | 0.20 | 0.15 to 0.25 | 40 | **holds** |",
        "| `unknown` |  |  |  | **does not hold** |",
        "- 2 families of attacks: encoding, persona",
        "- held out, so that nothing learns from them: persona",
        "- 40 harmful requests; 20 harmless requests",
        "- requests of each kind: `harmful` 40; 8 tokens at most an answer",
        "### attacks, of base on its way",
    ],
)
def test_it_says(whole: Path, line: str) -> None:
    assert line in lines(whole)


def test_a_null_result_is_printed_as_null(whole: Path) -> None:
    rows = [line for line in lines(whole) if line.startswith("| attacks.fewer")]
    assert rows == [
        "| attacks.fewer | 0.02 | −0.03 to 0.07 | share right | at least 0.5 | 0 | **null** | 1 |"
    ]


def test_the_card_leads_to_it_and_keeps_to_abilities(whole: Path) -> None:
    text = (whole / CARD).read_text()
    assert f"[{SYSTEM}]({SYSTEM})" in text
    assert "### Measured: [safety]" not in text and "### Measured: [serving]" not in text


def test_without_attacks_the_card_says_that_nothing_was_attacked(written: Path) -> None:
    assert not (written / SYSTEM).exists()
    told = " ".join((written / CARD).read_text().split())
    assert "Nothing was attacked and nothing tested for safety" in told


def test_an_outcome_has_no_threshold(attacked: Grown) -> None:
    record = attacked.by_name["attacked"].record
    assert outcome(record, "success.plain") == "held"
    with pytest.raises(InputError, match="has no outcome of 'plain'"):
        outcome(record, "plain")
    with pytest.raises(InputError, match="has no outcome"):
        outcome(attacked.by_name["measure/chat"].record, "exam.score")


# What whoever tampers would do, the list of sums included.

FORGED = {
    "a level": ("[0.25](", "[0.05](", "says 0.05, the evidence"),
    "an outcome": ("**[did not hold](", "**[held](", "says held, the evidence"),
    "a decision": ("**[stay](", "**[promote](", "says promote, the evidence"),
    "a bare number": ("## Known attacks\n", "## Known attacks\n\nIn 3 of them.\n", "'3' has no"),
    "another record": ("metrics/success.plain/", "metrics/success.none/", "has no field"),
    "a hidden character": ("## Known", "## \u200bKnown", "invisible character"),
    "HTML": ("## Known", "## <b>Known</b>", "HTML has no place"),
    "a way out": ("(USAGE_POLICY.md)", "(../USAGE_POLICY.md)", "which is no file of this bundle"),
    "another title": ("# System card: ", "# Card: ", "does not begin with '# System card: '"),
    "an outcome of nothing": ("outcome:metrics/success.plain", "outcome:name", "has no metric"),
    "a count of nothing": ("count:config/families", "count:name", "nothing to count"),
}


@pytest.mark.parametrize(("old", "new", "reason"), FORGED.values(), ids=FORGED.keys())
def test_a_forged_system_card_is_refused(spoilt: Path, old: str, new: str, reason: str) -> None:
    text = (spoilt / SYSTEM).read_text()
    line = text[: text.index(old)].count("\n") + 1
    edit(spoilt, SYSTEM, old, new)
    said = refused(spoilt)
    assert reason in said and f"{SYSTEM}:" in said
    assert int(said.split(f"{SYSTEM}:")[1].split(":")[0]) - line in (0, 2)


def test_a_truncated_system_card_is_refused_by_its_line(spoilt: Path) -> None:
    text = (spoilt / SYSTEM).read_text()
    kept = text.split("\n")[: text.count("\n") // 2]
    (spoilt / SYSTEM).write_text("\n".join(kept) + "\n")
    seal_again(spoilt, SYSTEM)
    assert f"{SYSTEM}:{len(kept) + 1}: breaks off" in refused(spoilt)


@pytest.mark.parametrize("other", ["USAGE_POLICY.md", "COSTS.md", CARD])
def test_swapped_documents_are_refused(spoilt: Path, other: str) -> None:
    one, two = (spoilt / SYSTEM).read_bytes(), (spoilt / other).read_bytes()
    (spoilt / SYSTEM).write_bytes(two)
    (spoilt / other).write_bytes(one)
    assert "sha256" in refused(spoilt)
    seal_again(spoilt, SYSTEM, other)
    assert ".md:1: " in refused(spoilt)


def test_a_system_card_that_is_taken_away_is_missed(spoilt: Path) -> None:
    (spoilt / SYSTEM).unlink()
    seal_again(spoilt)
    assert f"points to '{SYSTEM}', which is no file of this bundle" in refused(spoilt)


def test_a_system_card_that_is_brought_is_not_believed(whole: Path, bundle: Path) -> None:
    text = (whole / SYSTEM).read_text()
    (bundle / SYSTEM).write_text(text)
    seal_again(bundle, SYSTEM)
    assert f"{SYSTEM}:1: {CARD} does not name this document" in refused(bundle)


def test_what_was_tried_on_a_later_model_is_not_told(attacked: Grown, tmp_path: Path) -> None:
    attacked.make("gate/later", "gate", "gate", "later", "chat", metrics={"promote": 1.0})
    bundle = bundle_of_attacked(attacked, tmp_path / "x", "safety", "gate/later")
    assert "| Gates before a release | | **no gate was asked** | | | | |" in lines(bundle)


def test_a_gate_is_about_its_candidate_not_about_what_it_was_compared_with(
    attacked: Grown, tmp_path: Path
) -> None:
    attacked.make("gate/arm", "gate", "gate", "arm", "chat", metrics={"promote": 1.0})
    bundle = bundle_of_attacked(attacked, tmp_path / "x", "safety", "gate/arm")
    told = lines(bundle)
    assert [each for each in told if each.startswith("### gate/arm, of ")]
    (row,) = (line for line in told if line.startswith("| Gates before a release |"))
    assert row.startswith("| Gates before a release | | **no gate was asked**; what is told")


def test_a_citation_cannot_nest_what_is_computed(spoilt: Path) -> None:
    name = record_named(spoilt, "attacked")
    deep = "price:" * 5000 + "cost/seconds"
    line = f'\n[1]({name} "{deep} .0f")\n'
    text = (spoilt / SYSTEM).read_text()
    (spoilt / SYSTEM).write_text(text.replace("\n## Known", f"{line}\n## Known", 1))
    seal_again(spoilt, SYSTEM)
    assert "a line of" in refused(spoilt) or "says 1, but" in refused(spoilt)
