"""Claims about arrays: elements are what JSON says they are, and each fault costs one row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ontogeny.corpus import decode, json_array
from ontogeny.corpus.decode import Unreadable
from ontogeny.corpus.json_array import BrokenArray, Element, elements
from ontogeny.corpus.sources import read

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\[]{},\n é'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('k"}'), inner, max_size=3),
    max_leaves=8,
)


def _pieces(whole: bytes, size: int) -> Iterator[bytes]:
    return (whole[at : at + size] for at in range(0, len(whole), size))


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, max_size=5), st.integers(1, 7), st.sampled_from([None, 1]), st.booleans())
def test_the_elements_are_those_of_the_array_however_the_bytes_arrive(
    values: list[object], size: int, indent: int | None, ascii_only: bool
) -> None:
    whole = b" \n" + json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode() + b"\r\n "
    found = list(elements(_pieces(whole, size)))
    assert [json.loads(each.raw or b"") for each in found] == values
    lines = whole.splitlines(keepends=True)
    for each in found:
        assert each.raw
        rest = b"".join([lines[each.line - 1][each.column - 1 :], *lines[each.line :]])
        assert rest.startswith(each.raw.rstrip())
    assert len({(each.line, each.column) for each in found}) == len(found)
    assert [each.first for each in found] == [
        place == 0 or each.line != found[place - 1].line for place, each in enumerate(found)
    ]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.integers(1, 5))
def test_any_bytes_end_in_elements_or_in_one_fault(noise: bytes, size: int) -> None:
    outcomes = []
    for step in (size, len(noise) + 1):
        found: list[Element] = []
        fault = None
        try:
            for each in elements(_pieces(b"[" + noise, step)):
                found.append(each)
        except BrokenArray as broken:
            fault = (broken.line, str(broken))
        outcomes.append((found, fault))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_lines_are_counted_as_on_any_system(end: str, size: int) -> None:
    whole = end.join(["[", '{"a": 1},', "", ' {"a": 2}, {"a": 3}', "]"]).encode()
    found = list(elements(_pieces(whole, size)))
    assert [each[:3] for each in found] == [(2, 1, True), (4, 2, True), (4, 12, False)]


def _outcome(path: Path, content: bytes) -> tuple[list[str], dict[str, str]]:
    """Texts, and the reason of each removal by what follows the file's name."""
    good = path / "good.txt"
    good.write_text("good")
    (path / "rows.json").write_bytes(content)
    kept, removed = read(f"english=path:{path}")
    names = [name.partition("rows.json")[2] for name in removed["id"].to_pylist()]
    texts = [text for text in kept["text"].to_pylist() if text != "good"]
    return texts, dict(zip(names, removed["reason"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("content", "texts", "reasons"),
    [
        (b'[{"text": "a"}, {"text": "b"}]', ["a", "b"], {}),
        (b'{"text": "a"}\n{"text": "b"}\n', ["a", "b"], {}),
        (b'\xef\xbb\xbf[{"text": "a"}]', ["a"], {}),
        (b'[{"text": "a"},\n{"text": 1e999},\n{"text": "b"}]', ["a", "b"], {":2": "text"}),
        (b'[{"text": "a"},\n{"text": "b", "text": "c"}]', ["a"], {":2": "duplicate_key"}),
        (b'[{"text": "a"}, {"text": NaN}]', ["a"], {":1:17": "not_finite"}),
        (b'[{"text": "\\ud800"}, {"text": "b"}]', ["b"], {":1": "lone_surrogate"}),
        (b'[{"text": "\xff"}, {"text": "b"}]', ["b"], {":1": "not_utf8"}),
        (b'["a", {"text": "b"}]', ["b"], {":1": "not_an_object"}),
        (b'[{"text": "a"},]', ["a"], {":1:16": "broken_json"}),
        (b'[{"text": "a"},,{"text": "b"}]', ["a", "b"], {":1:16": "broken_json"}),
        (b'[{"text": "a"} {"text": "b"}, {"text": "c"}]', ["c"], {":1": "broken_json"}),
        (b'[{"text": "a"},\n{"text": "b"', ["a"], {":2": "broken_json"}),
        (b'[{"text": "a"}]\n[{"text": "b"}]', ["a"], {":2": "broken_json"}),
        (b'[{"text": "a"},\n}', ["a"], {":2": "broken_json"}),
        (b"[" * 100_000 + b"]" * 100_000, [], {":1": "nested_too_deeply"}),
        (b"[" * 100_000, [], {":1": "broken_json"}),
        (b"[]", [], {"": "empty"}),
        (b"", [], {"": "empty"}),
        (b'{"data": [\n{"text": "a"}\n]}', [], {"": "not_rows"}),
        (b"a,b\n1,2\n", [], {":1": "broken_json", ":2": "broken_json"}),
        ('[{"text": "a"}]'.encode("utf-16"), [], {"": "not_utf8"}),
        ('[{"text": "a"}]'.encode("utf-32"), [], {"": "not_utf8"}),
    ],
)
def test_each_fault_costs_one_row_and_is_named_by_its_place(
    tmp_path: Path, content: bytes, texts: list[str], reasons: dict[str, str]
) -> None:
    if reasons.get(":2") == "text":
        reasons = {":2": "number_too_large"}
    assert _outcome(tmp_path, content) == (texts, reasons)


def test_an_element_past_the_limit_is_read_past_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "MAX_DOCUMENT_BYTES", 100)
    content = b'[{"text": "a"},\n{"text": "' + b'x\\"]' * 1_000_000 + b'"},\n{"text": "b"}]'
    assert _outcome(tmp_path, content) == (["a", "b"], {":2": "too_large"})


def test_an_element_of_nothing_but_brackets_is_left_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_array, "MAX_SIGNS", 1000)
    content = b'[{"text": "a"},\n[' + b"[][]" * 1000 + b'], {"text": "b"}]'
    assert _outcome(tmp_path, content) == (["a"], {":2": "too_large"})


def test_the_line_of_an_error_is_that_of_the_element() -> None:
    with pytest.raises(Unreadable) as caught:
        list(elements([b'[1,\n2,\n"', b"abc"]))
    assert isinstance(caught.value, BrokenArray) and caught.value.line == 3
