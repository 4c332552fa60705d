"""The names of a tokenizer's files and what `transformers` wants to read. Knows no tokens' ids."""

from __future__ import annotations

import json

from ontogeny.text.vocabulary import END_OF_TEXT, NAMED_SPECIALS, PAD, Vocabulary

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
CHAT_TEMPLATE = "chat_template.jinja"

# One line a turn would cost a newline token each; the special tokens already separate turns.
# `generation` marks what an assistant is trained on: its words, its calls and the end of its turn.
DEFAULT_CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message.role == 'system' -%}
<|system|>{{ message.content }}<|end|>
{%- elif message.role == 'user' -%}
<|user|>{{ message.content }}<|end|>
{%- elif message.role == 'tool' -%}
<|tool|>{{ message.content }}<|end|>
{%- elif message.role == 'assistant' -%}
<|assistant|>
{%- generation -%}
{{ message.content }}
{%- for call in message.tool_calls -%}
<|tool_call|>{"name": {{ call.function.name | tojson }}, "arguments": \
{% if call.function.arguments is string %}{{ call.function.arguments }}\
{% else %}{{ call.function.arguments | tojson }}{% endif %}}<|/tool_call|>
{%- endfor -%}
<|end|>
{%- endgeneration -%}
{%- else -%}
{{ raise_exception('unknown role') }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|assistant|>
{%- endif -%}
"""

_OTHERS = [name for name in NAMED_SPECIALS if name not in (END_OF_TEXT, PAD)]


def config_json(vocabulary: Vocabulary) -> str:
    """The text of tokenizer_config.json, for `AutoTokenizer`.

    `transformers` turns literal special tokens in plain text into control ids unless it is called
    with `split_special_tokens=True`; `Tokenizer.encode` never does.
    """
    others = [name for name in vocabulary.specials if name not in (END_OF_TEXT, PAD)]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END_OF_TEXT,
        "pad_token": PAD,
        "additional_special_tokens": others,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2**63 - 1,  # the context is the model's, not the tokenizer's
    }
    return json.dumps(config, indent=2) + "\n"


def is_ours(config: bytes) -> bool:
    """Whether a tokenizer with this tokenizer_config.json is to be read as one of ours.

    A missing or unreadable one says nothing of strangers, so the strict reader looks at it.
    """
    try:
        parsed = json.loads(config)
    except (ValueError, RecursionError):
        return True
    others = parsed.get("additional_special_tokens") if isinstance(parsed, dict) else None
    return isinstance(others, list) and others[: len(_OTHERS)] == _OTHERS
