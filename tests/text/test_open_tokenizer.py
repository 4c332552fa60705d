"""Tokenizers of open families encode, decode and stop as their own library has it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from text.open_styles import STYLES, added

from ontogeny.base.errors import InputError
from ontogeny.text.tokenizer import Tokenizer

SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
ALPHABET = list(
    "aAzZ éÉßñ 日本語한🙂\u0301\u200d\t\n\r\u2028\x85 '’s'll'T 0129٣½²<|>_!?.,-/\\\"#({[▁"
)
WORDS = [
    "the",
    " of",
    "def ",
    "don't",
    "I'LL",
    "  ",
    "\n\n",
    "    ",
    "<think>",
    "</s>",
    "<|im_end|>",
]
WORDS += [
    "<eos>",
    "[INST]",
    "<unk>",
    "<0x0A>",
    "\n\n\n",
    "e\u0301",
    " <s> ",
    "<table>",
    "<|eot_id|>",
]


def texts(count: int, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    made = (
        "".join(draw.choice(ALPHABET + WORDS) for _ in range(draw.randint(0, 30)))
        for _ in "x" * count
    )
    return ["", " ", "Hello", " Hello", "  Hello world ", *made]


@pytest.fixture(params=STYLES)
def directory(request: pytest.FixtureRequest, open_styles: dict[str, Path]) -> Path:
    return open_styles[request.param]


@pytest.mark.parity
def test_ids_equal_those_of_transformers(directory: Path, code: list[str]) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(directory)
    ours = Tokenizer.load(directory)
    whole = [*texts(400), *(source[:4000] for source in code)]
    for text, batched in zip(whole, ours.encode_batch(whole), strict=True):
        expected = theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert ours.encode(text) == expected == batched.tolist()
        assert ours.decode(expected) == theirs.decode(expected)
    assert ours.vocab_size == len(theirs)
    assert (ours.vocabulary.eos, ours.specials) == (theirs.eos_token_id, _special(theirs))


def _special(theirs: Any) -> dict[str, int]:
    return {t.content: i for i, t in theirs.added_tokens_decoder.items() if t.special}


def test_text_never_becomes_a_special_token(directory: Path) -> None:
    ours = Tokenizer.load(directory)
    unknown = ours.specials.get("<unk>", -1)
    control = set(ours.specials.values()) - {unknown}
    for name in ours.specials:
        for text in (name, f"a{name}b {name}", f" {name}\n"):
            ids = ours.encode(text)
            assert not control & set(ids)
            assert unknown not in ids
            assert ours.continuation(ids).strip() == text.strip()


def test_tokens_that_are_not_special_are_found_in_text(open_styles: dict[str, Path]) -> None:
    for style, name in (("qwen", "<think>"), ("gemma", "\n\n\n"), ("gemma", "<table>")):
        ours = Tokenizer.load(open_styles[style])
        ids = ours.encode(f"a{name}b")
        assert ours.vocabulary.ids[name] in ids  # type: ignore[union-attr]
        assert ours.decode(ids) == f"a{name}b"


@pytest.mark.parametrize(
    ("style", "begin", "end", "turn", "pad"),
    [
        ("qwen", "<|endoftext|>", "<|endoftext|>", "<|im_end|>", "<|endoftext|>"),
        ("llama3", "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|end_of_text|>"),
        ("smollm", "<|endoftext|>", "<|endoftext|>", "<|im_end|>", "<|endoftext|>"),
        ("llama2", "<s>", "</s>", "</s>", "</s>"),
        ("mistral", "<s>", "</s>", "</s>", "</s>"),
        ("zephyr", "<s>", "</s>", "</s>", "</s>"),
        ("gemma", "<bos>", "<eos>", "<end_of_turn>", "<pad>"),
    ],
)
def test_what_begins_and_ends_is_derived(
    open_styles: dict[str, Path], style: str, begin: str, end: str, turn: str, pad: str
) -> None:
    ours = Tokenizer.load(open_styles[style])
    names = {i: name for name, i in ours.specials.items()}
    found = (ours.begin, ours.end_of_text, ours.end_of_turn, ours.pad)
    assert [names[i] for i in found] == [begin, end, turn, pad]
    assert set(ours.stops(chats=True)) == {ours.end_of_turn, ours.end_of_text}
    assert len(ours.stops(chats=True)) == len(set(ours.stops(chats=True)))
    assert ours.stops(chats=False) == (ours.end_of_text,)


def test_any_bytes_round_trip(directory: Path) -> None:
    ours = Tokenizer.load(directory)
    data = bytes(range(256)) + b"a\xffb\xc3" + "é🙂".encode()
    prefixes = ours.vocabulary.prefixes_space
    back = ours.decode_bytes(ours.encode_bytes(data))
    assert (back.replace(b" ", b"") if prefixes else back) == (
        data.replace(b" ", b"") if prefixes else data
    )


def test_an_id_without_a_token_says_nothing(directory: Path) -> None:
    ours = Tokenizer.load(directory)
    ids = ours.encode("a")
    assert ours.token_bytes(ours.vocab_size + 5) == b""
    assert ours.decode([*ids, ours.vocab_size, ours.vocab_size + 100]) == "a"
    with pytest.raises(InputError, match="outside"):
        ours.token_bytes(-1)


def test_what_goes_on_keeps_its_space(open_styles: dict[str, Path]) -> None:
    for style in ("llama2", "mistral", "qwen"):
        ours = Tokenizer.load(open_styles[style])
        ids = ours.encode("Hello world")
        assert "".join(ours.continuation([i]) for i in ids).strip() == "Hello world"
        assert ours.decode(ids) == "Hello world"


def test_saving_what_was_loaded_gives_the_same_bytes(directory: Path, tmp_path: Path) -> None:
    Tokenizer.load(directory).save(tmp_path)
    for file in directory.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_a_model_without_a_template_still_encodes(
    open_styles: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((open_styles["smollm"] / name).read_bytes())
    ours = Tokenizer.load(tmp_path)
    assert ours.decode(ours.encode("Hello")) == "Hello"
    assert ours.end_of_turn == ours.specials["<|im_end|>"]


Edit = Callable[[dict[str, Any]], object]
DAMAGE: dict[str, Edit] = {
    "id twice": lambda file: file["model"]["vocab"].update({"Ġt": 3}),
    "id negative": lambda file: file["model"]["vocab"].update({"Ġt": -1}),
    "id huge": lambda file: file["model"]["vocab"].update({"Ġt": 2**40}),
    "id as text": lambda file: file["model"]["vocab"].update({"Ġt": "7"}),
    "no vocabulary": lambda file: file["model"].pop("vocab"),
    "no model": lambda file: file.pop("model"),
    "merge of three": lambda file: file["model"]["merges"].append(["a", "b", "c"]),
    "merge of nothing": lambda file: file["model"]["merges"].append(["", "a"]),
    "merge of numbers": lambda file: file["model"]["merges"].append([1, 2]),
    "merge of unknown": lambda file: file["model"]["merges"].append(["日", "本"]),
    "unigram": lambda file: file["model"].update(type="Unigram"),
    "dropout": lambda file: file["model"].update(dropout=0.5),
    "unknown token": lambda file: file["model"].update(unk_token="<nothing>"),
    "catastrophic regex": lambda file: file["pre_tokenizer"]["pretokenizers"][0].update(
        pattern={"Regex": "(a+)+$"}
    ),
    "regex in a normalizer": lambda file: file.update(
        normalizer={"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}
    ),
    "a huge replacement": lambda file: file.update(
        normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "b" * 10**6}
    ),
    "precompiled": lambda file: file.update(normalizer={"type": "Precompiled"}),
    "normalizer damaged": lambda file: file.update(normalizer=[]),
    "steps damaged": lambda file: file.update(
        pre_tokenizer={"type": "Sequence", "pretokenizers": 3}
    ),
    "other pre-tokenizer": lambda file: file.update(pre_tokenizer={"type": "BertPreTokenizer"}),
    "added twice": lambda file: file["added_tokens"].append(file["added_tokens"][0]),
    "added under the id of another": lambda file: file["added_tokens"].append(added("<x>", 5)),
    "added under two ids": lambda file: file["added_tokens"].append(added("Ġt", 90_000)),
    "added without an id": lambda file: file["added_tokens"].append({"content": "<x>"}),
    "added far away": lambda file: file["added_tokens"].append(added("<x>", 2**40)),
    "greedy special": lambda file: file["added_tokens"][1].update(rstrip=True),
    "one letter": lambda file: file["added_tokens"].append(added("\u1234", 90_000)),
    "a special with a space": lambda file: file["added_tokens"].append(added("<a b>", 90_000)),
    "no end of a text": lambda file: file["added_tokens"].clear(),
}


@pytest.mark.parametrize("edit", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_refused_in_one_line(
    open_styles: dict[str, Path], tmp_path: Path, edit: Edit
) -> None:
    for file in open_styles["qwen"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "tokenizer.json"
    contents = json.loads(path.read_text(encoding="utf-8"))
    edit(contents)
    path.write_text(json.dumps(contents), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Tokenizer.load(tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{path}:1: this tokenizer cannot be read: ")
    assert "\n" not in line and len(line) < 400


@pytest.mark.parametrize("data", [b"", b"null", b"{", b"\xff", b"[" * 100_000, b'{"a":1,"a":1}'])
def test_what_is_no_object_is_refused(
    open_styles: dict[str, Path], tmp_path: Path, data: bytes
) -> None:
    for file in open_styles["qwen"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer.json").write_bytes(data)
    with pytest.raises(InputError, match="cannot be read"):
        Tokenizer.load(tmp_path)
