"""Small tokenizers in the styles of open families, trained and written here, with chat templates.

Each is a directory as `transformers` would save it. The templates are ours, in the families' ways.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from ontogeny.text.splitters import CL100K, QWEN

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}

CHATML = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe of use.<|im_end|>\n' }}"
    "{% endif %}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{- bos_token }}\n{%- set ns = namespace(first=true) %}\n"
    "{%- if not day is defined %}{% set day = strftime_now('%d %b %Y') %}{% endif %}"
    "{%- for message in messages %}\n"
    "{%- set head = '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\n\n' %}\n"
    "{{- head + message['content'] | trim + '<|eot_id|>' }}\n"
    "{%- set ns.first = false %}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}\n{%- endif %}\n"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}"
    "{%- set turns = messages[1:] %}{%- else %}{%- set turns = messages %}{%- endif %}"
    "{{- bos_token }}{%- for message in turns %}"
    "{%- if message['role'] == 'user' %}"
    "{%- if loop.first and system is defined %}{{- '[INST] ' + system + '\n\n' + "
    "message['content'] + ' [/INST]' }}"
    "{%- else %}{{- '[INST] ' + message['content'] + ' [/INST]' }}{%- endif %}"
    "{%- elif message['role'] == 'assistant' %}{{- ' ' + message['content'].strip() + eos_token }}"
    "{%- else %}{{- raise_exception('Only user and assistant roles are supported') }}"
    "{%- endif %}{%- endfor %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
    "{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n"
    "{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
THINKING = (
    "{%- macro told(content) -%}{{ content.split('</think>')[-1].lstrip('\n') }}{%- endmacro -%}"
    "{%- for message in messages -%}"
    "{%- if message.role == 'assistant' and '</think>' in message.content -%}"
    "{%- set words = told(message.content) -%}{%- else -%}"
    "{%- set words = message.content -%}{%- endif -%}"
    "{{- '<|im_start|>' + message.role + '\n' + words + '<|im_end|>\n' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}"
    "{%- if enable_thinking is defined and enable_thinking is false -%}"
    "{{- '<think>\n\n</think>\n\n' -}}{%- endif -%}{%- endif -%}"
)


def added(content: str, token_id: int, *, special: bool = True) -> dict[str, Any]:
    """An entry of `added_tokens`."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token_id, "content": content, **flags, "special": special}


def _trained(texts: Sequence[str], before: Any, alphabet: Sequence[str]) -> dict[str, Any]:
    learner = tokenizers.Tokenizer(models.BPE())
    learner.pre_tokenizer = before
    trainer = trainers.BpeTrainer(
        vocab_size=700, show_progress=False, initial_alphabet=list(alphabet), special_tokens=[]
    )
    learner.train_from_iterator(texts, trainer=trainer)
    model: dict[str, Any] = json.loads(learner.to_str())["model"]
    return model


def byte_level(
    texts: Sequence[str],
    parts: list[dict[str, Any]],
    specials: Sequence[str],
    plain: Sequence[str] = (),
    **model: Any,
) -> dict[str, Any]:
    """A tokenizer.json over bytes; `parts` stand before the byte-level step, which cuts if none."""
    byte = {**BYTE_LEVEL, "use_regex": not any(part["type"] == "Split" for part in parts)}
    stages = {"type": "Sequence", "pretokenizers": [*parts, byte]}
    teacher = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    learnt = _trained(texts, teacher, pre_tokenizers.ByteLevel.alphabet())
    first = len(learnt["vocab"])
    names = [(name, True) for name in specials] + [(name, False) for name in plain]
    return _file(learnt["vocab"], learnt["merges"], **model) | {
        "added_tokens": [added(n, first + i, special=s) for i, (n, s) in enumerate(names)],
        "pre_tokenizer": stages,
        "decoder": {**BYTE_LEVEL, "use_regex": True},
    }


def pieces(
    texts: Sequence[str], specials: Sequence[str], plain: Sequence[str] = (), *, prefix: bool
) -> dict[str, Any]:
    """A tokenizer.json over SentencePiece's pieces, every way to join a piece among its merges."""
    learnt = _trained(texts, pre_tokenizers.Metaspace(split=True), [])
    order = sorted(learnt["vocab"], key=learnt["vocab"].__getitem__)
    order += ["\u2581" * count for count in (2, 4)]
    names = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), *plain, *order]
    vocab = {name: i for i, name in enumerate(dict.fromkeys(names))}
    known = set(order)
    joins = [
        [piece[:at], piece[at:]]
        for piece in order
        for at in range(1, len(piece))
        if piece[:at] in known and piece[at:] in known
    ]
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    both = {"type": "Sequence", "normalizers": [prepend, SPACES]}
    decoders = [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []),
    ]
    return _file(vocab, joins, unk_token="<unk>", fuse_unk=True, byte_fallback=True) | {
        "added_tokens": [added(name, vocab[name]) for name in specials]
        + [added(name, vocab[name], special=False) for name in plain],
        "normalizer": both if prefix else SPACES,
        "decoder": {"type": "Sequence", "decoders": decoders},
    }


def _file(vocab: dict[str, int], merges: list[Any], **model: Any) -> dict[str, Any]:
    frame = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
    rest = {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False}
    whole = {**frame, **rest, "ignore_merges": False, **model, "vocab": vocab, "merges": merges}
    base = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": []}
    return base | {
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": whole,
    }


def begun(file: dict[str, Any], begin: str) -> dict[str, Any]:
    """`file` with a post-processor that puts `begin` before a document."""
    token_id = next(each["id"] for each in file["added_tokens"] if each["content"] == begin)
    first, rest = {"SpecialToken": {"id": begin, "type_id": 0}}, {"Sequence": {"id": "A"}}
    rest["Sequence"]["type_id"] = 0  # type: ignore[index]
    names = {begin: {"id": begin, "ids": [token_id], "tokens": [begin]}}
    template = {"type": "TemplateProcessing", "single": [first, rest], "pair": [first, rest]}
    template["pair"].append({"Sequence": {"id": "B", "type_id": 1}})  # type: ignore[attr-defined]
    return file | {"post_processor": template | {"special_tokens": names}}


def _split(regex: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated"}
    return {**split, "invert": False}


def _qwen(texts: Sequence[str]) -> dict[str, Any]:
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    made = byte_level(texts, [_split(QWEN)], specials, ("<think>", "</think>"))
    return made | {"normalizer": {"type": "NFC"}}


def _llama3(texts: Sequence[str]) -> dict[str, Any]:
    names = ("begin_of_text", "end_of_text", "start_header_id", "end_header_id", "eot_id")
    specials = [f"<|{name}|>" for name in names]
    made = byte_level(texts, [_split(CL100K)], specials, ignore_merges=True)
    return begun(made, "<|begin_of_text|>")


def _smollm(texts: Sequence[str]) -> dict[str, Any]:
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    return byte_level(texts, [{"type": "Digits", "individual_digits": True}], specials)


def _metaspace(texts: Sequence[str]) -> dict[str, Any]:
    made = pieces(texts, ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"), prefix=True)
    meta = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first"}
    return begun(made | {"normalizer": None, "pre_tokenizer": {**meta, "split": False}}, "<s>")


def _gemma(texts: Sequence[str]) -> dict[str, Any]:
    specials = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
    made = pieces(texts, specials, ("\n\n", "\n\n\n", "<table>"), prefix=False)
    split = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"}
    return begun(made | {"pre_tokenizer": {**split, "invert": False}}, "<bos>")


def _llama2(texts: Sequence[str]) -> dict[str, Any]:
    return begun(pieces(texts, ("<unk>", "<s>", "</s>"), prefix=True), "<s>")


_IM = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
_S = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
STYLES: dict[str, tuple[Callable[[Sequence[str]], dict[str, Any]], dict[str, Any], str]] = {
    "qwen": (_qwen, _IM, CHATML),
    "thinking": (_qwen, _IM, THINKING),
    "llama3": (_llama3, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}, LLAMA3),
    "smollm": (_smollm, {**_IM, "bos_token": "<|im_start|>"}, CHATML),
    "llama2": (_llama2, {**_S, "add_bos_token": True}, MISTRAL),
    "mistral": (_metaspace, _S, MISTRAL),
    "zephyr": (_llama2, {**_S, "add_bos_token": True, "pad_token": "</s>"}, ZEPHYR),
    "gemma": (
        _gemma,
        {
            "bos_token": {"__type": "AddedToken", **added("<bos>", 2)},
            "eos_token": "<eos>",
            "pad_token": "<pad>",
        },
        GEMMA,
    ),
}


def write(directory: Path, file: dict[str, Any], config: dict[str, Any], template: str) -> Path:
    """The three files, in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
    settings |= {"clean_up_tokenization_spaces": False}
    texts = {
        "tokenizer.json": json.dumps(file, ensure_ascii=False),
        "tokenizer_config.json": json.dumps(settings),
        "chat_template.jinja": template,
    }
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory
