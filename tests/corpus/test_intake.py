"""Rows of a user's files: each is taken, or counted under a reason; too much that is wrong ends."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.corpus.intake import Form, Intake, Item, repeated, take_in
from ontogeny.corpus.own import OwnRows, OwnTalks, contaminated, folded, texts_of, with_texts
from ontogeny.corpus.sources import fingerprint
from ontogeny.text import rows
from ontogeny.text.message import Message, ToolCall
from ontogeny.text.rows import Misfit

Asked = tuple[str, str]


def with_both(_: Asked, texts: Sequence[str]) -> Asked:
    if not all(texts):
        raise Misfit("empty_turn", "nothing is left")
    return texts[0], texts[1]


FORM: Form[Asked] = Form(lambda row: rows.task(row, {}), list, with_both)


def row(question: str, answer: Any = "yes") -> dict[str, Any]:
    return {"question": question, "answer": answer}


def write(file: Path, found: Sequence[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(each, ensure_ascii=False) for each in found]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def taken(place: Path, *, trains: bool = True, **options: Any) -> Intake[Asked]:
    spec = f"own=path:{place}"
    known = fingerprint(spec, trains=trains)
    return take_in(spec, known, FORM, **{"tolerated": 0.1, "trains": trains, **options})


GOOD = [row(f"Is {number} a number?") for number in range(30)]


def test_a_row_that_does_not_fit_is_counted_with_file_line_and_reason(tmp_path: Path) -> None:
    file = write(tmp_path / "asked.jsonl", [*GOOD, row(" "), {"text": "x"}, row("Last?")])
    found = taken(file)
    assert len(found.items) == 31
    assert found.items[-1] == Item("asked.jsonl/asked.jsonl:33", "own", ("Last?", "yes"))
    assert found.reasons() == {"empty_turn": 1, "no_column": 1}
    assert [(each.id, each.domain, each.source) for each in found.removed] == [
        ("asked.jsonl/asked.jsonl:31", "own", "asked.jsonl"),
        ("asked.jsonl/asked.jsonl:32", "own", "asked.jsonl"),
    ]
    assert "the row has text" in found.removed[1].detail


@pytest.mark.parametrize(
    ("bad", "line", "told"),
    [
        (b'{"question": "", "answer": "x"}', 31, "(empty_turn)"),
        (b"{", 31, "(broken_json)"),
        (b'{"question": "\xff", "answer": "x"}', 31, "no UTF-8 (not_utf8)"),
        (b'["x"]', 31, "(not_an_object)"),
        (b'{"question": "\\ud800", "answer": "x"}', 31, "(lone_surrogate)"),
    ],
)
def test_more_than_the_tolerated_share_is_one_line_with_the_first_wrong_row(
    tmp_path: Path, bad: bytes, line: int, told: str
) -> None:
    file = write(tmp_path / "asked.jsonl", GOOD)
    for count in (3, 4):
        file.write_bytes(write(file, GOOD).read_bytes() + (bad + b"\n") * count)
        if count == 3:
            assert sum(taken(file, tolerated=3 / 33).reasons().values()) == 3
    with pytest.raises(InputError) as caught:
        taken(file, tolerated=3 / 33)
    error = caught.value
    assert (error.exit_code, error.file, error.line) == (2, str(file), line)
    assert str(error).startswith(f"{file}:{line}: ")
    assert told in error.reason
    assert "the first of 4 wrong rows among 34: mend them, or raise tolerated" in error.reason
    assert str(error).count("asked.jsonl") == 1


def test_where_nothing_fits_the_line_names_the_columns_there_are(tmp_path: Path) -> None:
    file = write(tmp_path / "rows" / "a.jsonl", [{"text": "x", "label": 1}] * 3)
    with pytest.raises(InputError) as caught:
        taken(tmp_path / "rows", tolerated=0.99)
    assert (caught.value.file, caught.value.line) == (str(file), 1)
    for part in ("the row has text, label", "columns.prompt", "none is right"):
        assert part in caught.value.reason


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe{\x00}\x00"])
def test_a_file_without_rows_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "empty.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        taken(file)
    assert str(file) in str(caught.value)


def test_what_says_nothing_about_rows_is_not_held_against_them(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", GOOD[:2])
    (tmp_path / "a.jsonl").write_text((tmp_path / "a.jsonl").read_text() + "\n \n")
    (tmp_path / "README.txt").write_text("About these rows.")
    (tmp_path / ".hidden.jsonl").write_text("{")
    (tmp_path / "picture.png").write_bytes(b"x")
    write(tmp_path / "eval" / "exam.jsonl", GOOD[2:])
    found = taken(tmp_path, tolerated=0.0)
    assert len(found.items) == 2
    assert set(found.reasons()) == {"hidden", "unknown_suffix", "eval_folder", "blank_line"}


def test_what_lies_under_eval_is_read_only_where_nobody_trains_on_it(tmp_path: Path) -> None:
    file = write(tmp_path / "eval" / "exam.jsonl", GOOD)
    with pytest.raises(InputError, match="eval"):
        taken(file)
    assert len(taken(file, trains=False).items) == 30
    assert len(taken(tmp_path, trains=False).items) == 30


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", GOOD)
    kinds = {
        "b.json": json.dumps(GOOD).encode(),
        "c.jsonl.gz": gzip.compress(file.read_bytes()),
        "d.jsonl": b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"),
    }
    expected = [item.value for item in taken(file).items]
    for name, content in kinds.items():
        (tmp_path / name).write_bytes(content)
        assert [item.value for item in taken(tmp_path / name).items] == expected


def test_a_source_that_changed_since_it_was_identified_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", GOOD)
    known = fingerprint(f"own=path:{file}")
    write(file, GOOD[:-1])
    with pytest.raises(InputError, match="changed while it was read"):
        take_in(f"own=path:{file}", known, FORM, tolerated=0.1)


def test_personal_data_is_scrubbed_and_counted_by_text(tmp_path: Path) -> None:
    said = [
        row("Write to ann@example.com or bob@example.com."),
        row("Call 555-123-4567!", "a@b.org"),
    ]
    file = write(tmp_path / "a.jsonl", [*GOOD, *said])
    found = taken(file)
    assert found.items[-2].value == ("Write to [mail] or [mail].", "yes")
    assert found.items[-1].value == ("Call [phone]!", "[mail]")
    assert found.changed == {"scrubbed_mail": 2, "scrubbed_phone": 1}
    kept = taken(file, scrubbed=False)
    assert kept.items[-1].value == ("Call 555-123-4567!", "a@b.org")
    assert kept.changed == {}


def test_the_policy_for_unicode_applies_to_every_text(tmp_path: Path) -> None:
    hidden = "".join(chr(0xE0000 + ord(c)) for c in "obey")
    file = write(
        tmp_path / "a.jsonl",
        [*GOOD, row(f"Cafe\u0301?{hidden}", "a\u200bb\u202e"), row("\u200b\u2060", "x")],
    )
    found = taken(file)
    assert found.items[-1].value == ("Caf\u00e9?", "ab")
    assert found.changed["tag_character"] == found.changed["bidi_control"] == 1
    assert found.changed["not_nfc"] == 1
    assert found.changed["zero_width"] == 2
    assert found.reasons() == {"empty_turn": 1}  # nothing is left of the last one
    assert found.removed[0].id == "a.jsonl/a.jsonl:32"


def test_special_tokens_in_contents_stay_the_text_they_are(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [row("What is <|end|>?", "<|endoftext|>")])
    assert taken(file).items[0].value == ("What is <|end|>?", "<|endoftext|>")


def test_the_same_content_is_taken_once(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [*GOOD, GOOD[3], row("Is 3 a number?", "no")])
    found = taken(file)
    found.drop(repeated())
    assert len(found.items) == 31
    assert found.reasons() == {"exact_duplicate": 1}
    assert found.removed[0].detail == "the same as a.jsonl/a.jsonl:4"


def nobody(*_: Any) -> None:
    """Is told how far it is."""


def own(*places: Path, **fields: Any) -> OwnRows:
    return OwnRows(sources=tuple(f"own=path:{place}" for place in places), **fields)


def test_rows_of_two_files_of_one_name_keep_apart(tmp_path: Path) -> None:
    """Whatever is kept by name (ids, lengths, units of a series) would else mix them up."""
    first = write(tmp_path / "a" / "rows.jsonl", [*GOOD, row("")])
    second = write(tmp_path / "b" / "rows.jsonl", [row("Another?"), row(""), *GOOD])
    found = own(first, second, tolerated=0.2).taken(FORM, nobody)
    names = [item.name for item in found.items]
    assert len(set(names)) == len(names) == 31
    assert names[-1] == "rows.jsonl#2/rows.jsonl:1"
    assert found.reasons() == {"exact_duplicate": 30, "empty_turn": 2}
    wrong = [each.id for each in found.removed if each.reason == "empty_turn"]
    assert wrong == ["rows.jsonl/rows.jsonl:31", "rows.jsonl#2/rows.jsonl:2"]
    assert {each.source for each in found.removed} == {"rows.jsonl", "rows.jsonl#2"}


def test_what_lies_in_the_files_is_identity_and_where_they_lie_is_not(tmp_path: Path) -> None:
    here, there = write(tmp_path / "x" / "a.jsonl", GOOD), write(tmp_path / "y" / "a.jsonl", GOOD)
    other = write(tmp_path / "z" / "a.jsonl", GOOD[1:])
    assert own(here).identity() == own(there).identity()
    assert own(here).identity() != own(other).identity()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"sources": ()}, "no sources"),
        ({"columns": {"question": "x"}}, "no column means 'question'; give messages, prompt"),
        ({"tolerated": 1.0}, "tolerated is a share below 1"),
        ({"tolerated": -0.1}, "tolerated is a share below 1"),
        ({"longest": -1}, "longest a number of tokens"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        OwnRows(**{"sources": ("own=path:x",), **fields})


def talks(place: Path, heldout: float = 0.3) -> OwnTalks:
    return OwnTalks(sources=(f"own=path:{place}",), heldout=heldout)


def asked(value: Asked) -> str:
    return value[0]


def sides_of(place: Path, heldout: float = 0.3) -> dict[str, str]:
    """Question -> the side it stands on."""
    config = talks(place, heldout)
    sides = config.sides(config.taken(FORM, nobody), asked)
    return {question: split for split, side in sides["own"].items() for _, (question, _) in side}


MANY = [row(f"Is {number} a number?", str(answer)) for number in range(60) for answer in (1, 2)]


def test_equal_prompts_stand_on_one_side_whatever_the_order(tmp_path: Path) -> None:
    shouted = [row(each["question"].upper().replace(" ", "\n"), "x") for each in GOOD]
    shuffled = [*MANY, *shouted]
    random.Random(0).shuffle(shuffled)
    sides = sides_of(write(tmp_path / "a.jsonl", shuffled))
    assert set(sides.values()) == {"train", "heldout"}
    for number in range(30):
        question = f"Is {number} a number?"
        assert sides[question] == sides[question.upper().replace(" ", "\n")]
    assert sides_of(write(tmp_path / "b.jsonl", [*shouted, *MANY])) == sides


def test_more_rows_move_no_other_to_another_side(tmp_path: Path) -> None:
    before = sides_of(write(tmp_path / "a.jsonl", MANY))
    more = [row(f"Is {number} prime?") for number in range(100)]
    after = sides_of(write(tmp_path / "b.jsonl", [*more, *MANY]))
    assert {question: after[question] for question in before} == before


def test_a_larger_share_holds_out_all_that_a_smaller_one_does(tmp_path: Path) -> None:
    place = write(tmp_path / "a.jsonl", MANY)
    held: dict[float, set[str]] = {}
    for share in (0.1, 0.3, 0.6):
        sides = sides_of(place, share)
        held[share] = {question for question, side in sides.items() if side == "heldout"}
        assert abs(len(held[share]) / 60 - share) < 0.15
    assert held[0.1] < held[0.3] < held[0.6]
    assert set(sides_of(place, 0.0).values()) == {"train"}


def test_a_side_that_a_later_stage_would_miss_is_told_at_once(tmp_path: Path) -> None:
    few = write(tmp_path / "a.jsonl", GOOD[:2])
    with pytest.raises(
        InputError, match=r"none of the 2 of domain 'own' falls into the share 0.01"
    ):
        sides_of(few, 0.01)
    with pytest.raises(InputError, match="nothing of domain 'own' is left to train on"):
        sides_of(few, 0.999999)
    assert sides_of(few, 0.0)


def dropping(why: Callable[[Item[Asked]], tuple[str, str] | None]) -> Intake[Asked]:
    found = Intake([Item(f"a/{n}", "own", (text, "x")) for n, text in enumerate(["What?", "Who?"])])
    found.drop(why)
    return found


def test_what_an_exam_asks_is_left_out_however_it_is_written() -> None:
    examined = frozenset([folded("  what?\n")])
    found = dropping(contaminated(examined, lambda value: [value[0]]))
    assert [item.value[0] for item in found.items] == ["Who?"]
    assert found.reasons() == {"contaminated": 1}


def test_what_is_too_long_is_left_out() -> None:
    config = own(Path("x"), longest=5)
    found = dropping(config.too_long({"a/0": 5, "a/1": 6}))
    assert [item.name for item in found.items] == ["a/0"]
    assert [each.detail for each in found.removed] == ["6 tokens, 5 allowed"]
    assert len(dropping(own(Path("x")).too_long({"a/0": 5, "a/1": 6})).items) == 2


CALLS = (ToolCall("mail", '{"to": "ann@example.com"}', "c"), ToolCall("f"))
SAID = (
    Message("system", "Be brief."),
    Message("user", "Write."),
    Message("assistant", "", CALLS),
    Message("tool", "", tool_call_id="c"),
    Message("assistant", "Done."),
)


def test_the_arguments_of_tool_calls_are_texts_too() -> None:
    texts = texts_of(SAID)
    assert '{"to": "ann@example.com"}' in texts
    assert with_texts(SAID, texts) == SAID
    cleaned = with_texts(SAID, [each.replace("ann@example.com", "[mail]") for each in texts])
    assert cleaned[2].tool_calls[0].arguments == '{"to": "[mail]"}'
    with pytest.raises(Misfit, match="bad_turn: after cleaning"):
        with_texts(SAID, [each.replace('"ann@example.com"', "[mail]") for each in texts])


@pytest.mark.parametrize("turn", [0, 1, 4])
def test_a_turn_of_which_cleaning_leaves_nothing_is_a_misfit(turn: int) -> None:
    texts = texts_of(SAID)
    texts[texts.index(SAID[turn].content)] = ""
    with pytest.raises(Misfit, match=f"empty_turn.*{SAID[turn].role}"):
        with_texts(SAID, texts)


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert folded(f" {text}\n".upper().lower()) == folded(text.upper().lower())
