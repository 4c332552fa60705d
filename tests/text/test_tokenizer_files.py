from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.vocabulary import LARGEST_FILE_BYTES, byte_alphabet

Edit = Callable[[dict[str, Any]], object]


def test_saving_what_was_loaded_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    Tokenizer.load(saved).save(tmp_path / "again")
    names = sorted(file.name for file in saved.iterdir())
    assert names == ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]
    for name in names:
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_byte_alphabet_is_that_of_gpt2() -> None:
    alphabet = byte_alphabet()
    assert len(set(alphabet)) == 256
    assert (alphabet[ord(" ")], alphabet[ord("\n")], alphabet[0xAD]) == ("Ġ", "Ċ", "Ń")
    assert all(c.isprintable() and not c.isspace() for c in alphabet)


def _swap_merges(file: dict[str, Any]) -> None:
    merges = file["model"]["merges"]
    position = next(i for i, (a, b) in enumerate(merges) if len(a + b) == 3)
    merges.insert(0, merges.pop(position))


def _merge_cycle(file: dict[str, Any]) -> None:
    tokens = file["model"]["vocab"]
    longest = max(tokens, key=len)
    file["model"]["merges"] = [[longest[:-1], longest[-1]]]


def _vocab(name: str, value: object) -> Edit:
    return lambda file: file["model"]["vocab"].update({name: value})


DAMAGE: dict[str, Edit] = {
    "id twice": _vocab("Ġt", 3),
    "id gap": _vocab("Ġt", 100_000),
    "id negative": _vocab("Ġt", -1),
    "id as text": _vocab("Ġt", "7"),
    "id is true": _vocab("Ġt", True),
    "token outside the alphabet": _vocab("日本", 584),
    "empty token": _vocab("", 584),
    "token without a merge": _vocab("Ġzzzzq", 584),
    "byte missing": lambda file: file["model"]["vocab"].pop("Ġ"),
    "no vocabulary": lambda file: file["model"].pop("vocab"),
    "vocabulary a list": lambda file: file["model"].update(vocab=[]),
    "no merges": lambda file: file["model"].pop("merges"),
    "merges emptied": lambda file: file["model"].update(merges=[]),
    "merge twice": lambda file: file["model"]["merges"].append(file["model"]["merges"][0]),
    "merge of three": lambda file: file["model"]["merges"].append(["a", "b", "c"]),
    "merge as text": lambda file: file["model"]["merges"].append("a b"),
    "merge of unknown": lambda file: file["model"]["merges"].append(["日", "本"]),
    "merge into nothing": lambda file: file["model"]["merges"].append(["z", "\\"]),
    "merges out of order": _swap_merges,
    "merges in a cycle": _merge_cycle,
    "special missing": lambda file: file["added_tokens"].pop(0),
    "special id moved": lambda file: file["added_tokens"][0].update(id=0),
    "special id gap": lambda file: file["added_tokens"][-1].update(id=10**6),
    "special renamed": lambda file: file["added_tokens"][0].update(content="the"),
    "special not special": lambda file: file["added_tokens"][0].update(special=False),
    "no specials": lambda file: file.update(added_tokens=None),
    "normalizer": lambda file: file.update(normalizer={"type": "Lowercase"}),
    "catastrophic regex": lambda file: file["pre_tokenizer"]["pretokenizers"][0].update(
        pattern={"Regex": "(a+)+$"}
    ),
    "dropout": lambda file: file["model"].update(dropout=0.5),
    "extra key": lambda file: file.update(code="import os"),
    "truncation": lambda file: file.update(truncation={"max_length": 1}),
    "no model": lambda file: file.pop("model"),
    "other model": lambda file: file["model"].update(type="Unigram"),
}


def _refused(directory: Path) -> str:
    started = time.monotonic()
    with pytest.raises(CorruptArtifact) as caught:
        Tokenizer.load(directory)
    assert time.monotonic() - started < 1
    line = str(caught.value)
    assert line.startswith(f"{directory / 'tokenizer.json'}:")
    assert "\n" not in line
    assert caught.value.exit_code == 3
    return line


@pytest.mark.parametrize("edit", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_tokenizer_is_refused_by_name(saved: Path, edit: Edit) -> None:
    file = saved / "tokenizer.json"
    contents = json.loads(file.read_text(encoding="utf-8"))
    edit(contents)
    file.write_text(json.dumps(contents), encoding="utf-8")
    _refused(saved)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"model":' * 100_000,
        b'{"model": {"a": ' + b"9" * 10_000 + b"}}",
        b'{"model": {}, "model": {}}',
        b'{"model": {"vocab": NaN}}',
        b"\x80\x04\x95cposix\nsystem\n.",
    ],
)
def test_what_is_no_json_object_is_refused(saved: Path, data: bytes) -> None:
    (saved / "tokenizer.json").write_bytes(data)
    _refused(saved)


def test_a_broken_line_is_named(saved: Path) -> None:
    (saved / "tokenizer.json").write_text('{\n"model": {\n"a": }\n}')
    assert ":3: " in _refused(saved)


def test_every_truncation_is_found(saved: Path) -> None:
    file = saved / "tokenizer.json"
    data = file.read_bytes()
    for length in range(0, len(data), len(data) // 20):
        file.write_bytes(data[:length])
        _refused(saved)


def test_an_oversized_file_is_not_read(saved: Path) -> None:
    with (saved / "tokenizer.json").open("r+b") as file:
        file.truncate(LARGEST_FILE_BYTES * 1000)
    assert "more than" in _refused(saved)


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CorruptArtifact, match="cannot read a part of the tokenizer"):
        Tokenizer.load(saved)


def test_a_hostile_template_is_refused_on_loading(saved: Path) -> None:
    (saved / "chat_template.jinja").write_text("hello\n{{ ''.__class__.__mro__ }}")
    with pytest.raises(InputError) as caught:
        Tokenizer.load(saved)
    assert str(caught.value).startswith(f"{saved / 'chat_template.jinja'}:2: ")


def test_a_template_that_is_not_utf8_is_refused(saved: Path) -> None:
    (saved / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(CorruptArtifact, match="UTF-8"):
        Tokenizer.load(saved)
