"""Claims about rows: every kind of file gives the same objects, everything else is counted."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.corpus import decode, row_files
from ontogeny.corpus.rows import Row, read_rows
from ontogeny.corpus.sources import fingerprint, place, read
from ontogeny.corpus.table import Removal

ROWS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "1 + 1?"}], "score": 1.5},
    {"messages": [{"role": "user", "content": "häh\n?"}], "score": None},
]


def _read(path: Path, **options: Any) -> tuple[list[Row], list[Removal]]:
    found = list(read_rows(f"chat=path:{path}", **options))
    return (
        [each for each in found if isinstance(each, Row)],
        [each for each in found if isinstance(each, Removal)],
    )


def _write_each_kind(folder: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "a.jsonl").write_text(lines)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "c.json").write_text(lines)
    (folder / "d.json").write_text(json.dumps(ROWS))
    (folder / "e.json.gz").write_bytes(gzip.compress(json.dumps(ROWS, indent=2).encode()))
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "f.parquet")


def test_every_kind_of_file_gives_the_same_rows_under_names_of_their_own(tmp_path: Path) -> None:
    _write_each_kind(tmp_path)
    rows, removed = _read(tmp_path)
    assert not removed
    assert [row.value for row in rows] == ROWS * 6
    label = tmp_path.name
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    assert names[:3] == [f"{label}/a.jsonl:1", f"{label}/a.jsonl:2", f"{label}/b.jsonl.gz:1"]
    column = json.dumps(ROWS).index('{"messages"', 2) + 1
    assert names[6:8] == [f"{label}/d.json:1", f"{label}/d.json:1:{column}"]
    assert names[8:] == [f"{label}/{n}" for n in ("e.json.gz:2", "e.json.gz:11")] + [
        f"{label}/f.parquet:1",
        f"{label}/f.parquet:2",
    ]
    assert {(row.file, row.line) for row in rows[2:4]} == {
        (tmp_path / "b.jsonl.gz", 1),
        (tmp_path / "b.jsonl.gz", 2),
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"a": "broken"', "broken_json"),
        (b'{"a": "\0"}', "broken_json"),
        (b'\xef\xbb\xbf{"a": "a mark within"}', "broken_json"),
        (b'{"a": {"b": 1, "b": 2}}', "duplicate_key"),
        (b'{"a": [NaN]}', "not_finite"),
        (b'{"a": Infinity}', "not_finite"),
        (b'{"a": -1e999}', "number_too_large"),
        (b'{"a": ' + b"9" * 1_000_000 + b"}", "number_too_large"),
        (b'{"a":' * 100_000, "nested_too_deeply"),
        (b'{"a": [{"deep": "\\udc00"}]}', "lone_surrogate"),
        (b'{"\\ud800": 1}', "lone_surrogate"),
        (b'{"a": "\xff"}', "not_utf8"),
        ('{"a": "caf\xe9"}'.encode("latin-1"), "not_utf8"),
        (b'"text"', "not_an_object"),
        (b"null", "not_an_object"),
        (b"\t", "blank_line"),
    ],
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "array.json"])
def test_a_malformed_row_is_a_removal_that_names_its_line(
    tmp_path: Path, row: bytes, reason: str, name: str
) -> None:
    good = b'{"a": "\\ud83d\\ude00"}'
    lines = b"%s\n%s\n%s" % (good, row, good)
    if name == "array.json":
        if reason in ("blank_line", "nested_too_deeply") or row.endswith(b'"broken"'):
            pytest.skip("an array has no blank lines, and what it does not close swallows the rest")
        lines = b"[%s,\n%s,\n%s]" % (good, row, good)
    (tmp_path / name).write_bytes(lines)
    rows, removed = _read(tmp_path / name)
    assert [each.value for each in rows] == [{"a": "😀"}] * 2
    assert [each.line for each in rows] == [1, 3]
    assert [each.reason for each in removed] == [reason]
    assert removed[0].id == f"{name}/{name}:2"
    assert removed[0].detail.startswith(f"{name}:2: ")
    assert place(f"chat=path:{tmp_path}/{name}", removed[0]) == (str(tmp_path / name), 2)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jsonl", b"", "empty"),
        ("array.json", b"[]", "empty"),
        ("one.json", b'{\n"data": []\n}', "not_rows"),
        ("wide.jsonl", '{"a": 1}'.encode("utf-16"), "not_utf8"),
        ("wider.json", '[{"a": 1}]'.encode("utf-32"), "not_utf8"),
        ("cut.jsonl.gz", gzip.compress(b'{"a": 1}\n', mtime=0)[:-3], "broken_gzip"),
        ("bomb.json.gz", gzip.compress(b" " * (64 << 20)), "compression_bomb"),
        ("page.parquet", b"<html></html>", "broken_parquet"),
        ("notes.txt", b"no rows", "unknown_suffix"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_removal(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "zz.jsonl").write_text('{"a": 1}')
    rows, removed = _read(tmp_path)
    assert rows[-1].name == f"{tmp_path.name}/zz.jsonl:1"
    assert [each.reason for each in removed] == [reason]
    assert place(f"chat=path:{tmp_path}", removed[0]) == (str(tmp_path / name), 1)


@pytest.mark.parametrize(("mark", "name"), [("utf-16", "UTF-16"), ("utf-32", "UTF-32")])
def test_another_encoding_is_named_with_its_remedy(tmp_path: Path, mark: str, name: str) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"a": 1}'.encode(mark))
    removed = _read(tmp_path)[1]
    assert f"byte order mark of {name}" in removed[0].detail
    assert f"iconv -f {name} -t UTF-8" in removed[0].detail


@pytest.mark.parametrize("name", ["long.jsonl", "long.json"])
def test_a_line_past_the_limit_is_counted_and_never_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(decode, "MAX_DOCUMENT_BYTES", 100)
    (tmp_path / name).write_bytes(b'{"a": "' + b"x" * 3_000_000 + b'"}\n{"a": 1}\n')
    rows, removed = _read(tmp_path)
    assert [each.reason for each in removed] == ["line_too_long"]
    assert [(each.line, each.value) for each in rows] == [(2, {"a": 1})]


def test_a_file_in_which_hardly_a_row_is_right_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_files, "MAX_SKIPPED", 10)
    (tmp_path / "a.jsonl").write_text("\n" * 1000)
    (tmp_path / "b.jsonl").write_text('{"a": 1}\n\n' * 1000)
    rows, removed = _read(tmp_path)
    assert len(rows) == 1000
    in_first = [each.reason for each in removed if "a.jsonl" in each.id]
    assert in_first == ["blank_line"] * 10 + ["mostly_unreadable"]


def test_no_such_place_and_no_file_of_rows_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    for path in (tmp_path / "gone.jsonl", tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(InputError) as caught:
            read_rows(f"chat=path:{path}")
        assert str(caught.value).startswith(f"{path}:1: ")
    for options in ("#column=body", "#rules=code", "#colum=body"):
        with pytest.raises(InputError, match="options"):
            read_rows(f"chat=path:{tmp_path}{options}")


def test_a_file_that_changes_while_it_is_read_is_an_error_after_the_last_row(
    tmp_path: Path,
) -> None:
    _write_each_kind(tmp_path)
    (tmp_path / "notes.txt").write_text("text")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "dangling.parquet").symlink_to(tmp_path / "gone")
    spec = f"chat=path:{tmp_path}"
    mark = fingerprint(spec)
    assert len(_read(tmp_path, expected=mark)[0]) == 12
    reading = read_rows(spec, mark)
    while not isinstance(next(reading), Row):
        pass
    (tmp_path / "f.parquet").write_bytes(b"")
    with pytest.raises(InputError, match="changed while it was read"):
        list(reading)


def test_a_table_that_vanishes_after_its_listing_is_counted_once_for_identity(
    tmp_path: Path,
) -> None:
    _write_each_kind(tmp_path)
    spec = f"chat=path:{tmp_path}"
    reading = read_rows(spec)
    next(reading)
    (tmp_path / "f.parquet").unlink()
    removed = [each for each in reading if isinstance(each, Removal)]
    assert [each.reason for each in removed] == ["unreadable"]


@pytest.mark.parametrize("name", ["eval", "Eval"])
def test_nothing_under_an_eval_folder_is_trained_on(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exam = tmp_path / name / "gsm8k"
    exam.mkdir(parents=True)
    (exam / "exam.jsonl").write_text('{"text": "secret"}')
    (tmp_path / "link").symlink_to(exam)
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "eval.jsonl").write_text('{"text": "fine"}')
    (tmp_path / "evaluation" / "linked.jsonl").symlink_to(exam / "exam.jsonl")
    monkeypatch.chdir(exam)
    for spec in (
        f"a=path:{exam}",
        f"a=path:{exam}/exam.jsonl",
        f"a=path:{tmp_path}/link",
        "a=path:.",
    ):
        for refused in (read, read_rows, fingerprint):
            with pytest.raises(InputError, match="nothing there is ever trained on"):
                refused(spec)
        allowed = list(read_rows(spec, fingerprint(spec, trains=False), trains=False))
        assert [each.value["text"] for each in allowed if isinstance(each, Row)] == ["secret"]
    rows, removed = _read(tmp_path)
    assert [row.value["text"] for row in rows] == ["fine"]
    reasons = {each.id.partition("/")[2]: each.reason for each in removed}
    assert reasons == {
        name: "eval_folder",
        "evaluation/linked.jsonl": "eval_folder",
        "link": "eval_folder",
    }
    assert read(f"a=path:{tmp_path}").kept["text"].to_pylist() == ["fine"]
    assert "secret" in {row.value["text"] for row in _read(tmp_path, trains=False)[0]}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_ends_in_rows_or_counted_reasons_and_never_in_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["a.jsonl", "b.jsonl.gz", "d.json", "e.json.gz"]))
    folder = tmp_path_factory.mktemp("damage")
    _write_each_kind(folder)
    content = bytearray((folder / kind).read_bytes())
    for at in data.draw(st.lists(st.integers(0, 8 * len(content) - 1), max_size=3)):
        content[at // 8] ^= 1 << at % 8
    del content[data.draw(st.integers(0, len(content))) :]
    (folder / kind).write_bytes(content)
    rows, removed = _read(folder / kind)
    assert rows or removed
    assert all(each.id.startswith(f"{kind}/{kind}") for each in removed)
