from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.text import gigatoken_encoder
from ontogeny.text.encoders import TokenizersEncoder, safe_pieces
from ontogeny.text.tokenizer import Tokenizer

HARD_TEXTS = [
    "",
    " ",
    "\n",
    "\r\n \n",
    "\x00\x1c\x1f\x85\xa0\u180e\u200b\u2028\u3000",
    "\ufeffBOM",
    "don't DON'T 'ſ I'LL ''s",
    "1234567890 ١٢٣ Ⅷ ½ x²",
    "e\u0301cole école " + "a\u0300\u0301" * 100,
    "日本語テキスト 中文 עברית العربية हिन्दी",
    "🙂👨\u200d👩\u200d👧 \U000e0041\U0010ffff\ue000",
    "\t\tfor (;;) {\n\n\n    x += 1;  \n}\n",
    "\u202eevil\u202c",
    "x" * 5000,
    " " * 5000,
]


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_text_round_trips(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_round_trips(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=200))
def test_any_bytes_round_trip(tokenizer: Tokenizer, data: bytes) -> None:
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data


def test_valid_utf8_bytes_have_the_ids_of_their_text(tokenizer: Tokenizer) -> None:
    for text in HARD_TEXTS:
        assert tokenizer.encode_bytes(text.encode()) == tokenizer.encode(text)


def test_a_lone_surrogate_becomes_the_replacement_character(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b\udfff")) == "a\ufffdb\ufffd"
    assert tokenizer.encode("\ud83d\ude42") == tokenizer.encode("🙂")
    assert tokenizer.encode_batch(["a\ud800"])[0].tolist() == tokenizer.encode("a\ufffd")


def test_text_that_spells_a_special_token_stays_text(tokenizer: Tokenizer) -> None:
    first_special = min(tokenizer.specials.values())
    for name in tokenizer.specials:
        text = f"a{name}b {name}{name}"
        for ids in (tokenizer.encode(text), tokenizer.encode_batch([text])[0].tolist()):
            assert max(ids) < first_special
            assert tokenizer.decode(ids) == text
        assert max(tokenizer.encode_bytes(text.encode())) < first_special


def test_special_tokens_are_left_out_or_spelled_out(tokenizer: Tokenizer) -> None:
    ids = [*tokenizer.encode("a"), tokenizer.end_of_turn, tokenizer.end_of_text, tokenizer.pad]
    assert tokenizer.decode(ids) == "a"
    assert tokenizer.decode(ids, keep_special=True) == "a<|end|><|endoftext|><|pad|>"
    assert tokenizer.token_bytes(tokenizer.pad) == b"<|pad|>"


def test_half_a_character_decodes_to_the_replacement_character(tokenizer: Tokenizer) -> None:
    half = tokenizer.encode_bytes("é".encode()[:1])
    assert tokenizer.decode(half) == "\ufffd"
    assert tokenizer.decode_bytes(half) == b"\xc3"


@pytest.mark.parametrize("token_id", [-1, 600, 2**40])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer: Tokenizer, token_id: int) -> None:
    with pytest.raises(InputError, match="outside the vocabulary of 600"):
        tokenizer.decode([token_id], keep_special=True)


def test_a_batch_has_the_ids_of_its_texts(tokenizer: Tokenizer) -> None:
    batch = tokenizer.encode_batch(iter(HARD_TEXTS))
    assert [ids.tolist() for ids in batch] == [tokenizer.encode(text) for text in HARD_TEXTS]
    assert {ids.dtype for ids in batch} == {np.dtype(np.uint32)}
    assert tokenizer.encode_batch([]) == []


def test_cutting_a_long_text_changes_no_id(tokenizer: Tokenizer, code: list[str]) -> None:
    backend = tokenizers.Tokenizer.from_str(tokenizer.vocabulary.to_json())
    text = ("".join(HARD_TEXTS[:12]) + code[0]) * 15
    pieces = safe_pieces(text)
    assert len(pieces) > 1
    assert "".join(pieces) == text
    joined = [i for piece in pieces for i in backend.encode(piece).ids]
    assert joined == backend.encode(text).ids


@settings(deadline=None, max_examples=300)
@given(left=st.text(max_size=20), right=st.text(max_size=20), seam=st.sampled_from(["\n!", "a b"]))
def test_no_context_reaches_over_a_seam(
    tokenizer: Tokenizer, left: str, right: str, seam: str
) -> None:
    before, after = (left + seam[0]), (seam[1:] + right)
    parts = tokenizer.encode(before) + tokenizer.encode(after)
    assert parts == tokenizer.encode(before + after)


@pytest.mark.parity
def test_ids_equal_those_of_tokenizers_and_transformers(
    tokenizer: Tokenizer, saved: Path, code: list[str]
) -> None:
    transformers = pytest.importorskip("transformers")
    reference = tokenizers.Tokenizer.from_file(str(saved / "tokenizer.json"))
    loaded = transformers.AutoTokenizer.from_pretrained(saved)
    for text in (*HARD_TEXTS, *code):
        ids = tokenizer.encode(text)
        assert reference.encode(text).ids == ids
        assert loaded(text)["input_ids"] == ids
        assert loaded.decode(ids) == text
    spelled = f"a{'<|end|>'}b"
    assert loaded(spelled, split_special_tokens=True)["input_ids"] == tokenizer.encode(spelled)
    assert len(loaded) == tokenizer.vocab_size
    assert loaded.get_added_vocab() == tokenizer.specials
    assert (loaded.eos_token_id, loaded.pad_token_id) == (tokenizer.end_of_text, tokenizer.pad)


@pytest.mark.parity
def test_gigatoken_and_tokenizers_give_equal_ids(saved: Path, code: list[str]) -> None:
    pytest.importorskip("gigatoken")
    fast, slow = Tokenizer.load(saved, "gigatoken"), Tokenizer.load(saved, "tokenizers")
    assert (fast.encoder, slow.encoder) == ("gigatoken", "tokenizers")
    texts = [*HARD_TEXTS, *code, *(f"a{name}b" for name in fast.specials)]
    for one, other in zip(fast.encode_batch(texts), slow.encode_batch(texts), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parity
@settings(deadline=None, max_examples=300)
@given(text=st.text(st.sampled_from(list(" \n\r\t\x85\u2028aZé日1٣½'sſK<|>!_-\u0301\u200d🙂\x00"))))
def test_gigatoken_agrees_on_any_mixture_of_kinds(tokenizer: Tokenizer, text: str) -> None:
    pytest.importorskip("gigatoken")
    backend = tokenizers.Tokenizer.from_str(tokenizer.vocabulary.to_json(with_specials=False))
    assert tokenizer.encode(text) == backend.encode(text).ids


@pytest.mark.parity
def test_gigatoken_agrees_on_every_kind_of_character(saved: Path) -> None:
    pytest.importorskip("gigatoken")
    fast, slow = Tokenizer.load(saved, "gigatoken"), Tokenizer.load(saved, "tokenizers")
    # All of the first planes' start, then a stride that is coprime to the blocks' sizes.
    visited = [*range(0x3100), *range(0x3100, sys.maxunicode + 1, 37)]
    points = (p for p in visited if not 0xD800 <= p < 0xE000)
    texts = [f"a{chr(p)}b {chr(p)}{chr(p)} 1{chr(p)}\n{chr(p)} '{chr(p)}" for p in points]
    joined = ["\n!".join(texts[i : i + 500]) for i in range(0, len(texts), 500)]
    for one, other in zip(fast.encode_batch(joined), slow.encode_batch(joined), strict=True):
        assert np.array_equal(one, other)


def test_a_renewed_encoder_gives_the_same_ids(
    saved: Path, code: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gigatoken")
    monkeypatch.setattr(gigatoken_encoder, "_RENEWED_AFTER_CHARACTERS", 1)
    renewed, kept = Tokenizer.load(saved, "gigatoken"), Tokenizer.load(saved, "tokenizers")
    assert [renewed.encode(text) for text in code] == [kept.encode(text) for text in code]


def test_without_gigatoken_the_reference_encodes(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ontogeny.text.encoders.AVAILABLE", False)
    assert Tokenizer.load(saved).encoder == "tokenizers"
    with pytest.raises(InputError, match="pip install"):
        Tokenizer.load(saved, "gigatoken")


def test_an_encoder_that_disagrees_is_not_taken(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(TokenizersEncoder):
        name = "gigatoken"

        def encode(self, text: str) -> np.ndarray:
            return super().encode(text)[:-1]

    monkeypatch.setattr("ontogeny.text.encoders.AVAILABLE", True)
    monkeypatch.setattr("ontogeny.text.encoders.GigatokenEncoder", Wrong)
    assert Tokenizer.load(saved).encoder == "tokenizers"
    with pytest.raises(InputError, match="other ids"):
        Tokenizer.load(saved, "gigatoken")
