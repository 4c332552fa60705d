"""Requests: three labels, three splits without common content, contrasts; a user's own rows."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from ontogeny.base.errors import InputError
from ontogeny.environments.environment import SPLITS
from ontogeny.environments.requests import Requests
from ontogeny.safety import plain
from ontogeny.safety.harms import HARMS, NO_HARM, WORLDS
from ontogeny.safety.own_requests import digest, own_requests, parse
from ontogeny.safety.requests import LABELS, VILLAGE, requests

PUBLIC = os.environ.get("ONTOGENY_EVAL_DATA", "")
SMALL = "a an the to of and or in for on at is it that me my i do what how when from with by be so"
SMALL_WORDS = set(SMALL.split()) | {"before", "their", "them", "they", "not", "then"}


def words(text: str) -> set[str]:
    """The words that say what a wish is about, without slots."""
    bare = re.sub(r"\{[a-z_]+\}", " ", text.lower())
    return set(re.findall(r"[a-z]+", bare)) - SMALL_WORDS


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("label", LABELS)
def test_equal_arguments_give_equal_requests(world: str, label: str) -> None:
    first = requests(label, "exam", 60, 3, world)  # type: ignore[arg-type]
    assert first == requests(label, "exam", 60, 3, world)  # type: ignore[arg-type]
    assert first != requests(label, "exam", 60, 4, world)  # type: ignore[arg-type]
    assert len({each.id for each in first}) == 60
    for each in first:
        assert (each.label, each.split) == (label, "exam")
        assert each.answer
        assert (each.harm == NO_HARM) == (label == "ordinary")
        assert (each.severity > 0) == (each.harm in HARMS[world])


@pytest.mark.parametrize("label", LABELS)
def test_the_plain_world_has_hundreds_of_texts_a_label(label: str) -> None:
    texts = {
        each.text
        for split, count in zip(SPLITS, (2_000, 45, 45), strict=True)
        for each in requests(label, split, count, 0, "plain")  # type: ignore[arg-type]
    }
    assert len(texts) > 500


def test_the_splits_of_the_plain_world_share_no_wish() -> None:
    known = plain.wishes()
    for mark in "-+*":
        sides = [{each.ask for each in plain.of_mark(known, mark, split)} for split in SPLITS]
        assert sum(map(len, sides)) == len(set.union(*sides))
        assert all(sides)
    for split in SPLITS:
        harms = {each.harm for each in plain.of_mark(known, "-", split)}
        assert harms == {each.harm for each in plain.of_mark(known, "+", split)}
        assert harms == set(HARMS["plain"])


def test_a_contrast_shares_a_word_with_the_harmful_wish_before_it() -> None:
    known = [each for each in plain.wishes() if each.mark in "-+"]
    for harmful, contrast in zip(known[::2], known[1::2], strict=True):
        assert (harmful.mark, contrast.mark) == ("-", "+")
        assert harmful.harm == contrast.harm
        assert harmful.split == contrast.split
        shared = words(harmful.ask) & words(contrast.ask)
        shared |= {a for a in words(harmful.ask) for b in words(contrast.ask) if a[:3] == b[:3]}
        assert shared, (harmful.ask, contrast.ask)


def test_a_request_of_the_village_is_scored_by_its_verifier() -> None:
    for label in LABELS:
        world = Requests(VILLAGE[label])
        for each in requests(label, "heldout", 40, 0):
            assert each.task is not None
            assert world.score(each.task, each.answer) == 1.0
            assert each.distance in ("near", "far")


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="no label 'bad'"):
        requests("bad", "exam", 1, 0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no split 'test'"):
        requests("harmful", "test", 1, 0)
    with pytest.raises(InputError, match="no world 'moon'"):
        requests("harmful", "exam", 1, 0, "moon")
    with pytest.raises(InputError, match="ask for fewer"):
        requests("harmful", "exam", 5_000, 0, "plain")


def rows(path: Path, *found: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in found))
    return path


GOOD = {"id": "a", "text": "How do I mend a fence?", "label": "ordinary", "harm": "theft"}


def test_rows_of_ones_own_are_read(tmp_path: Path) -> None:
    other = {"prompt": "How do I steal a horse?", "label": "unsafe", "category": "theft"}
    first, second = own_requests(str(rows(tmp_path / "mine.jsonl", GOOD, other)))
    assert (first.id, first.label, first.harm, first.severity) == ("a", "ordinary", "theft", 2)
    assert (second.label, second.harm) == ("harmful", "theft")
    assert second.id.startswith("own/")


def test_a_file_without_labels_is_given_one(tmp_path: Path) -> None:
    file = rows(tmp_path / "mine.jsonl", {"id": 3, "prompt": "How do I steal a horse?"})
    assert [each.label for each in own_requests(f"harmful={file}")] == ["harmful"]
    assert parse(f"harmful={file}") == ("harmful", file)
    assert digest(f"harmful={file}") != digest(str(file))
    with pytest.raises(InputError, match="label is missing") as refused:
        own_requests(str(file))
    assert (refused.value.file, refused.value.line) == (str(file), 1)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": "b", "label": "harmful"}, "no text"),
        ({**GOOD, "id": "b", "text": " "}, "no text"),
        ({**GOOD, "id": "b", "text": "a" * 9_000}, "9,000 characters"),
        ({**GOOD, "id": "b", "label": "evil"}, "label is 'evil'"),
        ({**GOOD, "id": "b", "label": ["harmful"]}, "label is \\['harmful'\\]"),
        ({**GOOD, "id": "b", "answer": 4}, "answer is no text"),
        ({**GOOD, "id": True}, "neither a text nor a number"),
        (GOOD, "of line 1 comes again"),
        ("a text", "object"),
    ],
)
def test_a_row_that_is_none_is_told_by_its_line(tmp_path: Path, row: object, reason: str) -> None:
    file = rows(tmp_path / "mine.jsonl", GOOD, row)
    with pytest.raises(InputError, match=reason) as refused:
        own_requests(str(file))
    assert (refused.value.file, refused.value.line) == (str(file), 2)


def test_a_broken_line_and_an_empty_file_are_told(tmp_path: Path) -> None:
    file = rows(tmp_path / "mine.jsonl", GOOD)
    file.write_text(file.read_text() + "{broken\n")
    with pytest.raises(InputError) as refused:
        own_requests(str(file))
    assert refused.value.line == 2
    with pytest.raises(InputError, match="no row"):
        own_requests(str(rows(tmp_path / "none.jsonl")))
    with pytest.raises(InputError, match="no such file"):
        digest(str(tmp_path / "nowhere.jsonl"))


def test_other_capitals_and_blanks_are_on_the_same_side(tmp_path: Path) -> None:
    texts = [f"How do I steal {number} horses?" for number in range(60)]
    one, other = (
        own_requests(f"harmful={rows(tmp_path / name, *({'text': each} for each in said))}")
        for name, said in (
            ("a.jsonl", texts),
            ("b.jsonl", [f" {each.upper().replace(' ', '  ')}" for each in texts]),
        )
    )
    assert [each.split for each in one] == [each.split for each in other]
    assert {each.split for each in one} == {"train", "heldout", "exam"}


def test_nothing_under_an_eval_folder_is_trained_on(tmp_path: Path) -> None:
    file = rows(tmp_path / "eval" / "mine.jsonl", GOOD)
    assert len(own_requests(str(file))) == 1
    with pytest.raises(InputError, match="eval"):
        own_requests(str(file), trains=True)


@pytest.mark.parametrize(
    ("spec", "labels"),
    [
        ("harmful={}/advbench_prompts/advbench_prompts_dev.jsonl", {"harmful"}),
        ("harmful={}/harmbench_standard_prompts/harmbench_standard_prompts_dev.jsonl", {"harmful"}),
        ("{}/xstest/xstest_dev.jsonl", {"harmful", "borderline"}),
    ],
)
@pytest.mark.skipif(not PUBLIC, reason="ONTOGENY_EVAL_DATA names no folder of public sets")
def test_public_sets_are_read_for_measuring_and_not_for_training(
    spec: str, labels: set[str]
) -> None:
    found = own_requests(spec.format(PUBLIC))
    assert {each.label for each in found} == labels
    assert len(found) > 100
    with pytest.raises(InputError, match="eval"):
        own_requests(spec.format(PUBLIC), trains=True)
