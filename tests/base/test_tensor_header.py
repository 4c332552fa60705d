"""A safetensors header tells the tensors, and a false one is refused before anything is read."""

import json
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ontogeny.base.errors import CorruptArtifact
from ontogeny.base.tensor_header import Entry, read_header

TWO = {
    "__metadata__": {"format": "pt"},
    "b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [8, 20]},
    "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
}


def write(path: Path, header: Any, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entries(path: Path) -> list[Entry]:
    with path.open("rb") as file:
        return read_header(file, path)


def test_the_tensors_come_in_the_order_of_the_data(tmp_path: Path) -> None:
    path = write(tmp_path / "x", TWO, bytes(range(20)))
    with path.open("rb") as file:
        found = read_header(file, path)
        rest = file.read()
    assert found == [Entry("a", "F32", (2,), 8), Entry("b", "BF16", (2, 3), 12)]
    assert [each.elements for each in found] == [2, 6]
    assert rest == bytes(range(20))


@pytest.mark.parametrize(
    "change",
    [
        {"data_offsets": [8, 21]},
        {"data_offsets": [9, 21]},
        {"data_offsets": [7, 19]},
        {"data_offsets": [-8, 4]},
        {"data_offsets": [8]},
        {"shape": [2, -3]},
        {"shape": [2**63, 2**63]},
        {"shape": [2, True]},
        {"shape": 6},
        {"shape": [1] * 9},
        {"dtype": "F8"},
        {"dtype": ["F32"]},
        {"more": 1},
    ],
)
def test_a_header_that_does_not_describe_its_data_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    header = {**TWO, "b": {**TWO["b"], **change}}
    with pytest.raises(CorruptArtifact):
        entries(write(tmp_path / "x", header, bytes(20)))


@pytest.mark.parametrize(
    "header",
    [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a":1,"a":1}', b'{"__metadata__":{"a":NaN}}'],
)
def test_a_header_of_another_form_is_refused(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(CorruptArtifact):
        entries(write(tmp_path / "x", header, b""))


def test_two_hundred_thousand_tensors_are_refused_in_time_and_memory(tmp_path: Path) -> None:
    row = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    path = write(tmp_path / "x", {f"{number}": row for number in range(200_000)}, b"")
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(CorruptArtifact, match="at most"):
        entries(path)
    assert time.perf_counter() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


@pytest.mark.parametrize("begin", [b"\x80\x04cposix\nsystem\n.", b"PK\x03\x04" + bytes(40)])
def test_a_pickle_is_called_one(tmp_path: Path, begin: bytes) -> None:
    (tmp_path / "x").write_bytes(begin)
    with pytest.raises(CorruptArtifact, match="pickle"):
        entries(tmp_path / "x")


def test_a_header_is_read_without_torch() -> None:
    script = "import sys, ontogeny.base.tensor_header\nprint('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"
