"""A bundle is checked to the last bit: whatever was changed is found, and named."""

import json
import os
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from release.grown import Grown
from release.tampering import CARD, SUMS, change_record, check, edit, refused, seal_again

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.store import Store

FLIPS = 300


def files_of(bundle: Path) -> list[Path]:
    return sorted(path for path in bundle.rglob("*") if path.is_file())


def test_a_bundle_as_written_is_whole(written: Path, life: Grown) -> None:
    counts = check(written, life.store)
    assert list(counts) == ["files", "load", "evidence", "materials", "card", "store"]
    assert counts["files"] == len(files_of(written))
    assert counts["evidence"] == len(list((written / "evidence").iterdir())) == counts["store"]
    texts = [(written / name).read_text() for name in (CARD, "USAGE_POLICY.md", "COSTS.md")]
    cited = [found for text in texts for found in re.findall(r'\]\([\w./-]+ "', text)]
    assert counts["card"] == len(cited) + texts[0].count("    value: ") > 100


def test_any_flipped_bit_is_found(bundle: Path) -> None:
    draw = random.Random(7)
    files = files_of(bundle)
    sizes = [path.stat().st_size for path in files]
    drawn = [*files, *draw.choices(files, sizes, k=FLIPS - len(files))]
    for path in drawn:
        data = path.read_bytes()
        place, bit = draw.randrange(len(data)), draw.randrange(8)
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        said = refused(bundle)
        if path.name != SUMS:  # a path in the list may become another's
            assert path.name in said, (path.name, place, bit)
        path.write_bytes(data)
    assert len(drawn) == FLIPS
    check(bundle)


def test_any_truncation_is_found(bundle: Path) -> None:
    for path in files_of(bundle):
        data = path.read_bytes()
        for place in range(20):
            path.write_bytes(data[: len(data) * place // 20])
            assert path.name in refused(bundle)
        path.write_bytes(data)


def swap(bundle: Path) -> str:
    first, second = sorted((bundle / "evidence").iterdir())[:2]
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    return f"{first.name}:1: sha256"


def link(bundle: Path) -> str:
    (bundle / "config.json").rename(bundle.parent / "config.json")
    (bundle / "config.json").symlink_to(bundle.parent / "config.json")
    return "config.json:1: a symbolic link"


def linked_folder(bundle: Path) -> str:
    (bundle / "evidence").rename(bundle.parent / "evidence")
    (bundle / "evidence").symlink_to(bundle.parent / "evidence")
    return "evidence:1: a symbolic link"


def rename(bundle: Path) -> str:
    (bundle / CARD).rename(bundle / "ReadMe.md")
    return "README.md:1: this file is missing"


def missing(bundle: Path) -> str:
    (bundle / "tokenizer.json").unlink()
    return "tokenizer.json:1: this file is missing"


def no_list(bundle: Path) -> str:
    (bundle / "generation_config.json").unlink()
    seal_again(bundle)
    return "SHA256SUMS:"


def no_template(bundle: Path) -> str:
    (bundle / "chat_template.jinja").unlink()
    seal_again(bundle)
    return "chat_template.jinja:1: not the bytes that the sealed record"


def extra(bundle: Path) -> str:
    (bundle / "more.json").write_text("{}")
    return "more.json:1: this file is not listed"


def folder(bundle: Path) -> str:
    (bundle / "custom_generate").mkdir()
    return "custom_generate:1: no regular file"


def deep_folder(bundle: Path) -> str:
    (bundle / "evidence" / "0").mkdir()
    return "0:1: no regular file"


def pipe(bundle: Path) -> str:
    (bundle / "config.json").unlink()
    os.mkfifo(bundle / "config.json")
    return "config.json:1: no regular file"


@pytest.mark.parametrize(
    "spoil",
    [
        swap,
        link,
        linked_folder,
        rename,
        missing,
        no_list,
        no_template,
        extra,
        folder,
        deep_folder,
        pipe,
    ],
)
def test_a_file_that_is_not_the_one_written_is_named(
    bundle: Path, spoil: Callable[[Path], str]
) -> None:
    expected = spoil(bundle)
    assert expected in refused(bundle)


LISTS = {
    "upper case": lambda text: text[:64].upper() + text[64:],
    "one blank": lambda text: text.replace("  ", " ", 1),
    "binary mark": lambda text: text.replace("  ", " *", 1),
    "no end of line": lambda text: text[:-1],
    "empty line": lambda text: text + "\n",
    "carriage return": lambda text: text.replace("\n", "\r\n"),
    "comment": lambda text: "# mine\n" + text,
    "twice": lambda text: text.splitlines(True)[0] + text,
    "other order": lambda text: "".join(reversed(text.splitlines(True))),
    "parent": lambda text: text.replace("  README.md", "  ../README.md"),
    "absolute": lambda text: text.replace("  README.md", "  /README.md"),
    "other place": lambda text: text.replace("  README.md", "  evidence/README.md"),
    "dot": lambda text: text.replace("  README.md", "  ./README.md"),
    "empty": lambda text: text[:0],
}


@pytest.mark.parametrize("change", LISTS.values(), ids=LISTS.keys())
def test_the_list_has_one_spelling(bundle: Path, change: Callable[[str], str]) -> None:
    path = bundle / SUMS
    path.write_bytes(change(path.read_text()).encode())
    assert re.search(r"SHA256SUMS:\d+: ", refused(bundle))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.pkl", "x.pt", "modeling_x.py"])
def test_a_pickle_or_code_is_refused_even_where_the_list_names_it(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes(b"\x80\x04cposix\nsystem\n.")
    seal_again(bundle, name)
    assert f"'{name}' is no file that a bundle has" in refused(bundle)


def header(text: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + data


def entry(end: int, shape: list[int]) -> bytes:
    return json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()


WEIGHTS = {
    "pickle": b"\x80\x04cposix\nsystem\n.",
    "zip": b"PK\x03\x04" + b"\0" * 40,
    "too short": b"1234",
    "header beyond the file": struct.pack("<Q", 2**63) + b"{}",
    "no JSON": header(b"{"),
    "gap": header(entry(8, [2]), b"\0" * 12),
    "other shape": header(entry(8, [3]), b"\0" * 8),
    "overflow": header(entry(8, [2**62, 4]), b"\0" * 8),
    "twice": header(b'{"a":1,"a":2}'),
}


@pytest.mark.parametrize("data", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights_that_are_no_sound_safetensors_are_refused(bundle: Path, data: bytes) -> None:
    (bundle / "model.safetensors").write_bytes(data)
    seal_again(bundle, "model.safetensors")
    assert "model.safetensors:1: " in refused(bundle)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("key", ["auto_map", "custom_generate", "trust_remote_code"])
def test_a_configuration_that_asks_for_code_is_refused(bundle: Path, name: str, key: str) -> None:
    path = bundle / name
    inner = {"deep": [{key: {"AutoModel": "evil.Model"}}]}
    path.write_text(json.dumps({**json.loads(path.read_text()), **inner}))
    seal_again(bundle, name)
    assert f"{name}:1: '{key}'" in refused(bundle)


def test_a_hostile_template_is_refused(bundle: Path) -> None:
    (bundle / "chat_template.jinja").write_text("a\n{{ ''.__class__.__mro__ }}")
    seal_again(bundle, "chat_template.jinja")
    assert "chat_template.jinja:2: " in refused(bundle)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "config.json", "chat_template.jinja"]
)
def test_other_weights_or_words_are_not_the_model_of_the_evidence(bundle: Path, name: str) -> None:
    data = bytearray((bundle / name).read_bytes())
    if name == "model.safetensors":
        data[-1] ^= 1
    else:
        data += b"\n"
    (bundle / name).write_bytes(bytes(data))
    seal_again(bundle, name)
    assert f"{name}:1: not the bytes that the sealed record of chat" in refused(bundle)


def test_other_end_tokens_are_found(bundle: Path) -> None:
    edit(bundle, "generation_config.json", '"pad_token_id": ', '"pad_token_id": 1')
    assert "generation_config.json:1: pad_token_id" in refused(bundle)


def test_a_store_that_knows_otherwise_is_heard(bundle: Path, life: Grown) -> None:
    change_record(bundle, "tokens", summary=["what tokens is in 1 line"], code="other")
    check(bundle)
    with pytest.raises(CorruptArtifact, match="not the record of"):
        check(bundle, life.store)


def test_a_store_that_knows_nothing_confirms_nothing(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match="has no artifact"):
        check(bundle, Store.create(tmp_path / "other"))


def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match=r"no such directory|no bundle"):
            check(path)


def test_an_artifact_in_a_store_is_not_called_damaged(life: Grown, bundle: Path) -> None:
    (bundle / "record.json").write_bytes((life.by_name["chat"].path / "record.json").read_bytes())
    with pytest.raises(InputError, match="an artifact in a store"):
        check(bundle)
