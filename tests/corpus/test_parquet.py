"""Claims about tables: JSON-like rows come through, and no file hurts whoever reads it."""

from __future__ import annotations

import datetime
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus.parquet_by_hand import by_hand, varint
from hypothesis import given, settings
from hypothesis import strategies as st

from ontogeny.corpus import decode, parquet, parquet_child
from ontogeny.corpus.decode import Unreadable
from ontogeny.corpus.parquet import parquet_rows
from ontogeny.corpus.sources import read


def _read(path: Path, column: str | None = None) -> list[Any]:
    """The rows' values; of a file that cannot be read (further), its reason last."""
    found: list[Any] = []
    try:
        for number, row in parquet_rows(path, column):
            assert number == len(found) + 1
            found.append(row.reason if isinstance(row, Unreadable) else row)
    except Unreadable as broken:
        found.append(broken.reason)
    return found


def _write(path: Path, columns: Any, **options: Any) -> Path:
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
    return path


def test_what_json_can_say_comes_through_and_the_rest_is_left_out(tmp_path: Path) -> None:
    struct = pa.struct([("a", pa.int64()), ("b", pa.list_(pa.float64()))])
    columns = {
        "text": pa.array(["é\n", None]),
        "large": pa.array(["big", ""], pa.large_string()),
        "coded": pa.array(["x", "x"]).dictionary_encode(),
        "number": pa.array([2**63, 0], pa.uint64()),
        "share": pa.array([float("nan"), 0.5]),
        "flag": pa.array([True, None]),
        "nothing": pa.nulls(2),
        "turns": pa.array([[{"role": "user", "content": "hi"}], []]),
        "struct": pa.array([{"a": 1, "b": [1.5, None]}, None], struct),
        "map": pa.array([[("k", [1])], None], pa.map_(pa.string(), pa.list_(pa.int64()))),
        "maps": pa.array(
            [[{"m": [("k", 1)]}], []], pa.list_(pa.struct([("m", pa.map_(pa.string(), pa.int8()))]))
        ),
        "bytes": pa.array([b"\0", b""]),
        "day": pa.array([datetime.date(2020, 1, 1)] * 2),
        "image": pa.array([{"bytes": b"\0"}] * 2),
    }
    assert _read(_write(tmp_path / "t.parquet", columns)) == [
        {
            "text": "é\n",
            "large": "big",
            "coded": "x",
            "number": 2**63,
            "share": None,
            "flag": True,
            "nothing": None,
            "turns": [{"role": "user", "content": "hi"}],
            "struct": {"a": 1, "b": [1.5, None]},
            "map": {"k": [1]},
            "maps": [{"m": {"k": 1}}],
        },
        {
            "text": None,
            "large": "",
            "coded": "x",
            "number": 0,
            "share": 0.5,
            "flag": None,
            "nothing": None,
            "turns": [],
            "struct": None,
            "map": None,
            "maps": [],
        },
    ]


def test_one_column_of_many_is_read_alone_and_rows_are_counted_over_groups(tmp_path: Path) -> None:
    texts = [f"row {number}" for number in range(1000)]
    table = {"text": texts, "text.more": [0] * 1000, "other": [b""] * 1000}
    path = _write(tmp_path / "t.parquet", table, row_group_size=300)
    assert _read(path, "text") == [{"text": text} for text in texts]
    kept = read(f"poems=path:{path}").kept
    assert kept["id"].to_pylist()[999] == "t.parquet/t.parquet:1000"


@pytest.mark.parametrize(
    ("columns", "reasons"),
    [
        ({"text": pa.array([b"\xff", b"fine"], pa.binary()).view(pa.string())}, ["not_utf8", 0]),
        ({"n": [float("inf"), 1.0]}, ["not_finite", 0]),
        ({"m": pa.array([[("k", 1), ("k", 2)], []], pa.map_(pa.string(), pa.int8()))}, ["dup", 0]),
        (pa.table([["a"], ["b"]], names=["text", "text"]), ["duplicate_key"]),
        ({"n": [b"\0"]}, ["no_columns"]),
        ({"text": pa.array([], pa.string())}, []),
    ],
)
def test_a_row_or_a_file_that_json_cannot_say_is_counted(
    tmp_path: Path, columns: Any, reasons: list[Any]
) -> None:
    found = _read(_write(tmp_path / "t.parquet", columns))
    told = [row if isinstance(row, str) else 0 for row in found]
    assert told == ["duplicate_key" if reason == "dup" else reason for reason in reasons]


def test_the_file_by_hand_is_a_good_one() -> None:
    """Otherwise the false ones below would be refused for nothing."""
    assert pq.read_table(pa.BufferReader(by_hand())).to_pydict() == {"text": ["hello"]}


_NULLS = varint(10**9 << 1) + b"\0"  # one run of a billion values that are not there
NULLS = by_hand(rows=10**9, optional=True, page=len(_NULLS).to_bytes(4, "little") + _NULLS)
LYING = {
    "a footer longer than the file": by_hand()[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1",
    "a footer that is too short": by_hand()[:-8] + (9).to_bytes(4, "little") + b"PAR1",
    "a billion rows in 300 bytes": by_hand(rows=10**9),
    "a billion values in one page": by_hand(page_values=10**9, rows=10**9, page=b"\0" * 20),
    "a page that unpacks to 2 GB": by_hand(unpacked=2**31 - 1, codec=1),
    "a page that unpacks to less than nothing": by_hand(unpacked=-5, codec=1),
    "a page checksum that is wrong": by_hand(crc=1),
    "a value longer than its page": by_hand(page=b"\xff\xff\xff\x7fhello"),
    "nesting a million deep": by_hand(depth=1_000_000),
    "nesting ten thousand deep": by_hand(depth=10_000),
    "nothing but marks": b"PAR1" * 3,
    "one mark": b"PAR1",
    "an encrypted footer": by_hand()[:-4] + b"PARE",
    "a page of comma-separated values": b"text\nhello\n" * 9,
}


@pytest.mark.parametrize("content", LYING.values(), ids=LYING.keys())
def test_a_file_that_lies_is_refused_in_time(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(content)
    began = time.monotonic()
    found = _read(path)
    assert found[-1] in ("broken_parquet", "parquet_bomb")
    assert all(isinstance(row, dict) for row in found[:-1])
    assert time.monotonic() - began < 30


def test_a_dictionary_bomb_stops_at_the_limit_after_the_same_rows_each_time(
    tmp_path: Path,
) -> None:
    codes = pa.array([0] * 1_000_000, pa.int32())
    table = {"text": pa.DictionaryArray.from_arrays(codes, pa.array(["y" * 100_000]))}
    path = _write(tmp_path / "t.parquet", table, compression="zstd")
    assert path.stat().st_size < 10_000
    first, second = _read(path), _read(path)
    assert first[-1] == "parquet_bomb"
    assert len(first) == len(second) == decode.BOMB_FLOOR_BYTES // 100_000 + 1


def test_a_billion_nulls_in_a_few_bytes_end_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(NULLS)
    assert len(NULLS) < 300
    (tmp_path / "good.txt").write_text("good")
    began = time.monotonic()
    removed = read(f"english=path:{tmp_path}").removed["reason"].to_pylist()
    assert removed[-1] == "mostly_unreadable" and set(removed[:-1]) == {"text_not_a_string"}
    assert time.monotonic() - began < 30


def test_what_needs_more_memory_than_is_allowed_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(by_hand(unpacked=2**31 - 1, codec=1))
    with pytest.raises(Unreadable, match="needs more than 512 MB of memory"):
        list(parquet_rows(path))


def test_a_row_past_the_limit_is_counted_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "t.parquet", {"text": ["z" * 5000, "fine"]})
    monkeypatch.setattr(decode, "MAX_DOCUMENT_BYTES", 100)
    assert _read(path) == ["too_large", {"text": "fine"}]


def test_a_reader_that_is_silent_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "t.parquet", {"text": ["fine"]})
    monkeypatch.setattr(parquet, "SILENCE_SECONDS", 0.001)
    began = time.monotonic()
    assert _read(path) == ["parquet_bomb"]
    assert time.monotonic() - began < 2


class _Canary:
    """Pickled, it would create a file on being read."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", [b"arrow.py_extension_type", b"unknown.type"])
def test_an_extension_type_is_left_out_and_its_pickle_is_not_opened(
    tmp_path: Path, name: bytes
) -> None:
    canary = tmp_path / "canary"
    payload = pickle.dumps(_Canary(canary))
    told = {b"ARROW:extension:name": name, b"ARROW:extension:metadata": payload}
    inner = pa.field("inner", pa.string(), metadata=told)
    fields = [
        pa.field("text", pa.string()),
        pa.field("evil", pa.string(), metadata=told),
        pa.field("deep", pa.struct([inner])),
    ]
    columns = [["fine"], ["evil"], pa.array([{"inner": "evil"}], fields[2].type)]
    path = _write(tmp_path / "t.parquet", pa.table(columns, schema=pa.schema(fields)))
    assert _read(path) == [{"text": "fine"}]
    assert not canary.exists()


def test_the_reader_needs_no_folder_and_takes_no_module_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "t.parquet", {"text": ["fine"]})
    (tmp_path / "pyarrow.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    assert _read(Path("t.parquet")) == [{"text": "fine"}]


def test_the_reader_may_use_little_memory_write_no_file_and_leave_no_core() -> None:
    code = (
        "import resource as r, sys; sys.path.insert(0, sys.argv[1]); import parquet_child as c; "
        "c.limit(1 << 20, 7); "
        "print([r.getrlimit(k)[0] for k in (r.RLIMIT_CPU, r.RLIMIT_CORE, r.RLIMIT_FSIZE)]); "
        "bytes(1 << 28)"
    )
    folder = str(Path(parquet_child.__file__).parent)
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert done.stdout.strip() == "[7, 0, 0]"
    if sys.platform == "linux":
        assert "MemoryError" in done.stderr


def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.parquet")
    assert _read(tmp_path / "t.parquet") == ["not_a_file"]
    assert _read(tmp_path / "gone.parquet") == ["unreadable"]


def test_no_reader_is_left_behind(tmp_path: Path) -> None:
    """In a process of its own, since other tests may have children in this one."""
    path = _write(tmp_path / "t.parquet", {"text": ["x" * 1000] * 10_000})
    read = "rows = parquet_rows(Path(sys.argv[1])); next(rows); %s; os.waitpid(-1, os.WNOHANG)"
    imports = "import os, sys; from pathlib import Path; from ontogeny.corpus.parquet import *;"
    for ending, told in (("rows.close()", "ChildProcessError"), ("pass", "")):
        command = [sys.executable, "-c", f"{imports} {read % ending}", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (told in done.stderr, done.returncode) == (True, int(bool(told))), done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    columns = {"text": ["some text", "and more"] * 20, "turns": [[{"role": "user"}]] * 40}
    return _write(tmp_path_factory.mktemp("flips") / "t.parquet", columns, row_group_size=15)


@settings(max_examples=12, deadline=10_000)
@given(data=st.data())
def test_truncated_or_flipped_a_file_ends_in_rows_or_a_reason(
    whole: Path, data: st.DataObject
) -> None:
    content = bytearray(whole.read_bytes())
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, 8 * len(content) - 1))
        content[place // 8] ^= 1 << place % 8
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    path = whole.with_name("damaged.parquet")
    path.write_bytes(content)
    found = _read(path)
    assert found
    assert all(isinstance(row, dict) for row in found[:-1] if not isinstance(row, str))
    assert isinstance(found[-1], str) or len(found) == 40


def test_a_reader_starts_in_half_a_second(whole: Path) -> None:
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        assert len(_read(whole)) == 40
        seconds.append(time.monotonic() - began)
    assert min(seconds) < 0.5
