"""Claims about reading: what is malformed is counted and skipped, or is one line of error."""

from __future__ import annotations

import gzip
import json
import os
import socket
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.corpus import decode
from ontogeny.corpus.sources import Source, fingerprint, parse, read, rules_of

GOOD = '{"text": "a good row"}\n'


def _reasons(path: Path) -> dict[str, int]:
    removed = read(f"english=path:{path}").removed
    counts: dict[str, int] = {}
    for reason in removed["reason"].to_pylist():
        counts[reason] = counts.get(reason, 0) + 1
    return counts


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"text": "broken"', "broken_json"),
        (b'{"text": "\0"}', "broken_json"),
        (b'{"text": "a", "text": "b"}', "duplicate_key"),
        (b'{"text": "a", "n": NaN}', "not_finite"),
        (b'{"text": "a", "n": -Infinity}', "not_finite"),
        (b'{"text": "a", "n": 1e999}', "number_too_large"),
        (b'{"text": "a", "n": ' + b"9" * 1_000_000 + b"}", "number_too_large"),
        (b"[" * 100_000, "nested_too_deeply"),
        (b'{"a":' * 100_000, "nested_too_deeply"),
        (b'{"text": "\\ud800"}', "lone_surrogate"),
        (b'{"text": "\xff"}', "not_utf8"),
        (b'{"text": 3}', "text_not_a_string"),
        (b'{"text": null}', "text_not_a_string"),
        (b'{"other": "a"}', "no_text"),
        (b'["text"]', "not_an_object"),
        (b"17", "not_an_object"),
        (b'{"text": " "}', "empty"),
        (b"  ", "blank_line"),
    ],
)
def test_a_malformed_row_is_skipped_and_counted_by_line(
    tmp_path: Path, row: bytes, reason: str
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(GOOD.encode() + row + b"\n" + GOOD.encode())
    outcome = read(f"english=path:{file}")
    assert outcome.kept["text"].to_pylist() == ["a good row"] * 2
    assert outcome.kept["id"].to_pylist() == ["rows.jsonl/rows.jsonl:1", "rows.jsonl/rows.jsonl:3"]
    assert outcome.removed["reason"].to_pylist() == [reason]
    assert outcome.removed["detail"][0].as_py().startswith("rows.jsonl:2: ")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_may_end_as_on_any_system_and_begin_with_a_mark(tmp_path: Path, end: bytes) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + end.join([b'{"text": "one"}', b'{"text": "two"}']))
    assert read(f"english=path:{file}").kept["text"].to_pylist() == ["one", "two"]


@given(st.lists(st.text(alphabet="ab\r\n", max_size=9)), st.integers(1, 5))
def test_lines_do_not_depend_on_how_the_bytes_arrive(pieces: list[str], size: int) -> None:
    whole = "".join(pieces).encode()
    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
    lines = [(line or b"").rstrip(b"\r\n") for _, line in decode.lines(chunks)]
    assert lines == whole.splitlines()


def test_a_line_past_the_limit_is_read_past_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "MAX_DOCUMENT_BYTES", 100)
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"text": "' + b"x" * 3_000_000 + b'"}\n' + GOOD.encode())
    outcome = read(f"english=path:{file}")
    assert outcome.removed["reason"].to_pylist() == ["line_too_long"]
    assert outcome.kept["text"].to_pylist() == ["a good row"]


def test_a_gzip_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "fine.txt").write_text("fine")
    for name in ("bomb.txt.gz", "bomb.jsonl.gz"):
        with gzip.open(tmp_path / name, "wb", compresslevel=6) as file:
            for _ in range(64):
                file.write(b" " * (1 << 20))
    started = time.monotonic()
    assert _reasons(tmp_path) == {"compression_bomb": 2}
    assert time.monotonic() - started < 1.0


def test_gzip_members_are_joined_and_damage_is_named(tmp_path: Path) -> None:
    members = gzip.compress(b"one ") + gzip.compress(b"two")
    (tmp_path / "two.txt.gz").write_bytes(members)
    (tmp_path / "cut.txt.gz").write_bytes(members[:-5])
    (tmp_path / "twice.txt.gz").write_bytes(gzip.compress(gzip.compress(b"inner")))
    outcome = read(f"english=path:{tmp_path}")
    assert outcome.kept["text"].to_pylist() == ["one two"]
    reasons = dict(zip(*(outcome.removed[c].to_pylist() for c in ("id", "reason")), strict=True))
    assert [reasons[f"{tmp_path.name}/{name}"] for name in ("cut.txt.gz", "twice.txt.gz")] == [
        "broken_gzip",
        "binary",
    ]


def test_a_folder_with_everything_in_it_neither_hangs_nor_hides_anything(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    listener = socket.socket(socket.AF_UNIX)
    cwd = Path.cwd()
    try:
        os.chdir(tmp_path)  # the path of a socket may have 100 characters at most
        listener.bind("socket.txt")
    finally:
        os.chdir(cwd)
        listener.close()
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.txt").symlink_to(tmp_path / "self.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    (tmp_path / "binary.txt").write_bytes(b"text\0text")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "empty.txt").touch()
    (tmp_path / ".hidden.txt").write_text("hidden")
    (tmp_path / "line\nbreak -%s.txt").write_text("kept")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")).write_text("kept too")
    outcome = read(f"english=path:{tmp_path}")
    assert sorted(outcome.kept["text"].to_pylist()) == ["kept", "kept too"]
    found = {
        name.split("/", 1)[1]: reason
        for name, reason in zip(
            outcome.removed["id"].to_pylist(), outcome.removed["reason"].to_pylist(), strict=True
        )
    }
    assert found == {
        "pipe.txt": "not_a_file",
        "socket.txt": "not_a_file",
        "loop": "linked_folder",
        "self.txt": found["self.txt"],
        "zero.txt": "not_a_file",
        "image.png": "unknown_suffix",
        "binary.txt": "binary",
        "latin.txt": "not_utf8",
        "empty.txt": "empty",
        ".hidden.txt": "hidden",
    }
    assert found["self.txt"] in ("unreadable", "not_a_file")


@pytest.mark.parametrize(
    "name", ["missing.txt", "pipe.txt", "image.png", "zero.txt", "empty.jsonl"]
)
def test_a_source_that_gives_nothing_is_one_line_naming_it(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    (tmp_path / "zero.txt").write_bytes(bytes(100))
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(InputError) as caught:
        read(f"english=path:{tmp_path / name}")
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    ["", "english", "=path:a", "English=path:a", "english=path:", "english=web:a", "a=stdlib:b"],
)
def test_a_specification_of_another_form_is_refused(spec: str) -> None:
    with pytest.raises(InputError):
        parse(spec)


def test_the_column_can_be_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"body": "here"}))
    assert read(f"english=path:{file}#column=body").kept["text"].to_pylist() == ["here"]


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        ("poems=path:a", Source("poems", "path", "a", "text", "text")),
        ("english=path:a", Source("english", "path", "a", "text", "english")),
        ("code=stdlib", Source("code", "stdlib", "", "text", "code")),
        ("tasks=path:a", Source("tasks", "path", "a", "text", "tasks")),
        ("poems=path:a#rules=english", Source("poems", "path", "a", "text", "english")),
        ("a=path:b#column=c&rules=code", Source("a", "path", "b", "c", "code")),
        ("a=path:b#rules=code&column=c&d", Source("a", "path", "b", "c&d", "code")),
        ("a=path:C#/b", Source("a", "path", "C#/b", "text", "text")),
    ],
)
def test_options_follow_the_path(spec: str, source: Source) -> None:
    assert parse(spec) == source


@pytest.mark.parametrize(
    "options",
    ["column=", "rules=poems", "rules=tasks", "colum=a", "column=a&column=b", "rules=code&x=y"],
)
def test_an_option_that_cannot_be_meant_is_refused(options: str) -> None:
    with pytest.raises(InputError, match="rules"):
        parse(f"english=path:a#{options}")


def test_a_domain_has_one_set_of_rules() -> None:
    assert rules_of(["english=stdlib", "a=path:b", "a=path:c#rules=text"]) == {
        "english": "english",
        "a": "text",
    }
    with pytest.raises(InputError, match="two domains"):
        rules_of(["a=path:b", "a=path:c#rules=code"])


def test_fingerprints_are_what_they_were_before_there_were_rules(tmp_path: Path) -> None:
    """Ids of artifacts are made from them: these were computed by the first version."""
    folder = tmp_path / "notes"
    (folder / "more").mkdir(parents=True)
    (folder / "a.txt").write_text("first")
    (folder / "b.jsonl").write_text(GOOD)
    (folder / "more" / "c.md").write_bytes(b"\xff")
    spec = f"english=path:{folder}"
    marks = [spec, f"{spec}#rules=english", spec.replace("english", "code"), f"{spec}#column=body"]
    assert [fingerprint(mark)[:16] for mark in marks] == [
        "f07ae0399e279c00",
        "f07ae0399e279c00",
        "36600a40b15adf93",
        "7cd12dedc38bee20",
    ]
    assert fingerprint(f"{spec}#rules=text")[:16] not in ("f07ae0399e279c00", "36600a40b15adf93")


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.parquet"])
def test_a_column_that_no_row_has_is_one_line_with_the_columns_there_are(
    tmp_path: Path, name: str
) -> None:
    row = {"question": "a", "answer": "b"}
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist([row] * 3), tmp_path / name)
    else:
        (tmp_path / name).write_text(f"\n{json.dumps(row)}\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError) as caught:
        read(f"english=path:{tmp_path}")
    told = str(caught.value)
    line = 1 if name.endswith("parquet") else 2
    assert told.startswith(f"{tmp_path / name}:{line}: ")
    assert told.endswith(
        "no column 'text' (no_text); the row has question, answer; name one by #column="
    )


def test_a_package_must_be_pinned_and_present_at_that_version() -> None:
    for requirement in ("hypothesis", "no-such-package-at-all==1.0", "hypothesis==0.0.1"):
        with pytest.raises(InputError):
            read(f"english=package:{requirement}")
    with pytest.raises(InputError, match=r"pip install 'no-such-package-at-all==1.0'"):
        fingerprint("english=package:no-such-package-at-all==1.0")


def test_the_fingerprint_follows_names_and_contents_and_not_the_place(tmp_path: Path) -> None:
    marks = []
    for place in ("one", "two"):
        folder = tmp_path / place / "notes"
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text("first")
        (folder / "b.jsonl").write_text(GOOD)
        marks.append(fingerprint(f"english=path:{folder}"))
    assert marks[0] == marks[1]
    (folder / "a.txt").write_text("First")
    changed = fingerprint(f"english=path:{folder}")
    (folder / "a.txt").rename(folder / "c.txt")
    assert len({marks[0], changed, fingerprint(f"english=path:{folder}")}) == 3


def test_a_file_that_changes_between_listing_and_reading_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(GOOD)
    mark = fingerprint(f"english=path:{tmp_path}")
    read(f"english=path:{tmp_path}", mark)
    file.write_text(GOOD + GOOD)
    with pytest.raises(InputError, match="changed while it was read"):
        read(f"english=path:{tmp_path}", mark)


def test_the_standard_library_is_code_without_tests_or_packages() -> None:
    table = read("code=stdlib").kept
    names = [name.split("/", 1)[1] for name in table["id"].to_pylist()]
    assert "json/decoder.py" in names
    assert not [n for n in names if "/test/" in f"/{n}" or "site-packages" in n]
    assert names == sorted(names)
