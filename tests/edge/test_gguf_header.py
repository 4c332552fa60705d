"""The header of a GGUF file: what the library reads, and nothing that lies gets through."""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path

import pytest
from edge.small_gguf import SHAPES, model_of, smollm2, write

from ontogeny.base.errors import CorruptArtifact, InputError, OntogenyError
from ontogeny.edge.gguf_file import read_gguf
from ontogeny.edge.gguf_header import read_header

gguf = pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small Llama of 3 as a file."""
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    write(path, model_of(SHAPES["llama3"]))
    return path.read_bytes()


def end_of_header(data: bytes, path: Path) -> int:
    path.write_bytes(data)
    return min(entry.begin for entry in read_header(path).entries.values())


def refused(data: bytes, path: Path) -> str:
    """The one line that reading these bytes ends in, within a second."""
    path.write_bytes(data)
    began = time.monotonic()
    with pytest.raises(OntogenyError) as caught:
        read_gguf(path)
    assert time.monotonic() - began < 1
    line = str(caught.value)
    assert caught.value.exit_code in (2, 3) and "\n" not in line
    assert line.startswith(f"{path}:1: ")
    return line


@pytest.mark.parity
def test_fields_and_tensors_are_those_that_the_library_reads() -> None:
    path = smollm2()
    ours, theirs = read_header(path), gguf.GGUFReader(path)
    expected = {name: field.contents() for name, field in theirs.fields.items()}
    assert ours.fields == {k: v for k, v in expected.items() if not k.startswith("GGUF.")}
    assert len(ours.entries) == len(theirs.tensors) == 272
    for tensor in theirs.tensors:
        entry = ours.entries[tensor.name]
        assert (entry.kind, entry.begin) == (tensor.tensor_type, tensor.data_offset)
        assert (entry.shape, entry.size) == (tuple(reversed(tensor.shape)), tensor.n_bytes)


def test_a_file_cut_anywhere_is_one_line(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    header = end_of_header(whole, path)
    places = [*random.Random(0).sample(range(header), 60), 0, 1, 4, 23, 24, header]
    for place in [*places, header + 1, len(whole) // 2, len(whole) - 64]:
        assert "again" in refused(whole[:place], path)


def test_a_bit_flipped_in_the_header_is_refused_or_changes_no_tensors_place(
    whole: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "flipped.gguf"
    header = end_of_header(whole, path)
    places = {name: (each.begin, each.size) for name, each in read_header(path).entries.items()}
    draw = random.Random(1)
    told = []
    for _ in range(400):
        data = bytearray(whole)
        data[draw.randrange(header)] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        began = time.monotonic()
        try:
            read_gguf(path)
        except OntogenyError as error:
            told.append((error.exit_code, str(error)))
        else:  # a letter of a token, say
            entries = read_header(path).entries
            assert places == {name: (each.begin, each.size) for name, each in entries.items()}
        assert time.monotonic() - began < 1
    assert len(told) > 50
    assert {code for code, _ in told} == {2, 3}
    assert all(line.startswith(f"{path}:1: ") and "\n" not in line for _, line in told)


def test_counts_and_lengths_that_lie_are_one_line(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "lies.gguf"
    for place in (8, 16, 24):  # tensors, fields, the length of the first field's name
        for lie in (1 << 20, 1 << 40, 1 << 63, (1 << 64) - 1):
            data = bytearray(whole)
            data[place : place + 8] = struct.pack("<Q", lie)
            assert "again" in refused(bytes(data), path)


def head(tensors: int, fields: bytes, count: int) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, count) + fields


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def field(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, dimensions: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    shape = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return text(name) + shape + struct.pack("<IQ", kind, offset)


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "no GGUF file"),
    "a pickle": (b"\x80\x04" + bytes(64), "no GGUF file"),
    "an old version": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
    "the other byte order": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "version 50331648"),
    "a key twice": (head(0, field("a", 7, b"\1") * 2, 2), "twice"),
    "no key": (head(0, field("", 7, b"\1"), 1), "no name"),
    "a type of field": (head(0, field("a", 13, b"\1"), 1), "unknown type 13"),
    "arrays of arrays": (
        head(0, field("a", 9, struct.pack("<IQ", 9, 1 << 30) + bytes(64)), 1),
        "array of the type 9",
    ),
    "a billion empty texts": (
        head(0, field("a", 9, struct.pack("<IQ", 8, 10**9) + bytes(1 << 20)), 1),
        "1000000000 texts",
    ),
    "a million numbers in ten bytes": (
        head(0, field("a", 9, struct.pack("<IQ", 12, 10**6) + bytes(10)), 1),
        "ends in its header",
    ),
    "no UTF-8": (head(0, text("a") + struct.pack("<IQ", 8, 1) + b"\xff", 1), "UTF-8"),
    "no dimensions": (head(1, tensor("t", ()), 0), "0 dimensions"),
    "nine dimensions": (head(1, tensor("t", (1,) * 9), 0), "9 dimensions"),
    "an empty tensor": (head(1, tensor("t", (0, 5)) + bytes(64), 0), "shape"),
    "more than memory": (head(1, tensor("t", (1 << 62, 1 << 62)) + bytes(64), 0), "shape"),
    "a type of tensor": (head(1, tensor("t", (4,), 999) + bytes(64), 0), "unknown type 999"),
    "rows that are no blocks": (head(1, tensor("t", (33,), 8) + bytes(64), 0), "blocks of 32"),
    "a gap": (head(1, tensor("t", (4,), 0, 64) + bytes(256), 0), "starts at 64"),
    "an overlap": (
        head(2, tensor("t", (64,)) + tensor("u", (64,)) + bytes(512), 0),
        "starts at 0, expected 256",
    ),
    "a tensor twice": (
        head(2, tensor("t", (8,)) + tensor("t", (8,), 0, 32) + bytes(256), 0),
        "stands twice",
    ),
    "beyond the end": (head(1, tensor("t", (64,)) + bytes(40), 0), "ends at"),
    "bytes of nothing": (head(1, tensor("t", (8,)) + bytes(4096), 0), "belong to none"),
    "an alignment of 3": (
        head(0, field("general.alignment", 4, struct.pack("<I", 3)), 1) + bytes(64),
        "general.alignment is 3",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named(tmp_path: Path, name: str) -> None:
    data, reason = BAD[name]
    assert reason in refused(data, tmp_path / "bad.gguf")


def test_no_file_and_no_tensors_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_header(tmp_path / "absent.gguf")
    with pytest.raises(InputError, match="Is a directory"):
        read_header(tmp_path)
    assert "'token_embd.weight' is missing" in refused(head(0, b"", 0), tmp_path / "empty.gguf")


def test_control_characters_of_a_stranger_are_escaped(tmp_path: Path) -> None:
    line = refused(head(1, tensor("\x1b[31m\n", (33,), 8) + bytes(64), 0), tmp_path / "a.gguf")
    assert "\x1b" not in line and "x1b" in line


def test_corruption_is_exit_3(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(CorruptArtifact):
        read_header(path)
