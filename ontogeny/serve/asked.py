"""A body of OpenAI's API, checked and understood. Knows no HTTP and asks no model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.serve.fields import Fields
from ontogeny.serve.refusal import Refused
from ontogeny.serve.turns import Tool, characters, messages_of, prompt_ids, tools_of
from ontogeny.serve.wanted import Served, Wanted, check_model, too_long, top_of, wanted
from ontogeny.text.grammar import Grammar

MOST_PROMPTS = 128
MOST_DESCRIPTION = 10_000
COMPLETION_TOKENS = 16
"""Of /v1/completions where nobody says, as OpenAI has it."""
Ids = tuple[int, ...]


@dataclass(frozen=True)
class Asked:
    """What the policy is to continue, and how.

    Attributes:
        prompts: at least one; chat has exactly one.
        grammar: the form of the answer.
        tools: whether calls are looked for in the answer.
        forced: the answer is a call, its opening being the prompt's end.
        many: more than one call may come of an answer.
        echo: texts told before the answers, one a prompt.
    """

    chat: bool
    wanted: Wanted
    prompts: tuple[Ids, ...]
    stop: Ids
    grammar: Grammar | None = None
    tools: bool = False
    forced: bool = False
    many: bool = True
    echo: tuple[str, ...] = ()

    @property
    def units(self) -> int:
        """Answers in all."""
        return len(self.prompts) * self.wanted.choices


def chat_asked(body: Mapping[str, Any], served: Served) -> Asked:
    """A request of /v1/chat/completions.

    Raises:
        Refused: 400 naming the field, or 404 for another model.
    """
    fields = Fields(body)
    check_model(fields, served)
    if not served.chats:
        raise Refused("this model has not learnt to chat; ask it by /v1/completions")
    top = None
    if fields.flag("logprobs"):
        top = top_of(fields, "top_logprobs") or 0
    want = wanted(fields, served, top, None)
    fields.only("modalities", ["text"])
    fields.only("reasoning_effort", "none")
    many = fields.flag("parallel_tool_calls", True)
    tools, choice = tools_of(fields), fields.take("tool_choice")
    grammar = _form(fields)
    # a message is at least a token
    messages = messages_of(fields, served.context)
    fields.end()
    _check_size(characters(messages, tools), served)
    tools, forced = _chosen(tools, choice)
    if forced and grammar is not None:
        raise Refused("an answer has one form; leave out response_format or tool_choice")
    prompt = prompt_ids(messages, tools, served.speech)
    if forced:
        prompt += served.speech.opening()
        grammar = _call_form(tools)
    stop = served.tokenizer.stops(chats=True)
    return Asked(True, want, (prompt,), stop, grammar, bool(tools), forced, many)


def completion_asked(body: Mapping[str, Any], served: Served) -> Asked:
    """A request of /v1/completions; prompts are texts or lists of ids.

    Raises:
        Refused: 400 naming the field, or 404 for another model.
    """
    fields = Fields(body)
    check_model(fields, served)
    want = wanted(fields, served, top_of(fields, "logprobs"), COMPLETION_TOKENS)
    if (best := fields.whole("best_of", 1, 128)) is not None and best != want.choices:
        raise fields.wrong("best_of", "is not supported unless it equals 'n'; leave it out")
    fields.only("suffix", "")
    echo = fields.flag("echo")
    if echo and want.top is not None:
        raise fields.wrong("echo", "with logprobs is not supported: a prompt's are not told")
    prompts, texts = _prompts(fields, served)
    grammar = _form(fields)
    fields.end()
    stop = served.tokenizer.stops(chats=False)
    return Asked(False, want, prompts, stop, grammar, echo=texts if echo else ())


def _prompts(fields: Fields, served: Served) -> tuple[tuple[Ids, ...], tuple[str, ...]]:
    value = fields.take("prompt")
    whole = isinstance(value, list) and value and all(type(each) is int for each in value)
    if isinstance(value, str) or whole:
        value = [value]
    if not isinstance(value, list) or not 0 < len(value) <= MOST_PROMPTS:
        reason = f"must be a text or ids, or a list of 1 to {MOST_PROMPTS} of these"
        raise fields.wrong("prompt", reason)
    tokenizer, prompts, texts = served.tokenizer, [], []
    for each in value:
        if isinstance(each, str):
            text = Fields({"prompt": each}).text("prompt")
            _check_size(len(text), served)
            prompts.append((tokenizer.begin, *tokenizer.encode(text)))
            texts.append(text)
            continue
        if not isinstance(each, list) or not each or not all(type(id_) is int for id_ in each):
            raise fields.wrong("prompt", "holds what is neither a text nor a list of ids")
        if len(each) > served.context:
            raise too_long(served, f"{len(each)} tokens")
        if not 0 <= min(each) <= max(each) < tokenizer.vocab_size:
            raise fields.wrong("prompt", f"holds an id outside 0 to {tokenizer.vocab_size - 1}")
        prompts.append(tuple(each))
        texts.append(tokenizer.decode(each))
    return tuple(prompts), tuple(texts)


def _check_size(count: int, served: Served) -> None:
    """Refuses what cannot fit whatever its tokens are, before any of it is encoded."""
    longest = served.longest_token
    if count > served.context * longest:
        raise too_long(served, f"{count} characters, more than {longest} for each token of it")


def _form(fields: Fields) -> Grammar | None:
    if not fields.has("response_format"):
        return None
    form = fields.inner("response_format")
    kind = form.one_of("type", ["text", "json_object", "json_schema"], "")
    schema: Any = {"type": "object"}
    if kind == "json_schema":
        inner = form.inner("json_schema")
        inner.text("name", "", most=64)
        inner.text("description", "", most=MOST_DESCRIPTION)
        inner.flag("strict")  # an answer is always held to its schema
        schema = inner.take("schema")
        if not isinstance(schema, dict):
            raise inner.wrong("schema", "must be a JSON schema in braces")
        inner.end()
    form.end()
    return None if kind == "text" else _grammar(schema, "response_format")


def _grammar(schema: Any, param: str) -> Grammar:
    try:
        return Grammar("json_schema", json.dumps(schema, ensure_ascii=True))
    except InputError as error:
        raise Refused(error.reason, param=param) from None


def _chosen(tools: tuple[Tool, ...], choice: Any) -> tuple[tuple[Tool, ...], bool]:
    """The tools that the model is told, and whether one must be called."""
    if choice in (None, "auto"):
        if any(tool.strict for tool in tools):
            reason = "only a call that must come is held to its schema; leave 'strict' out"
            raise Refused(f"{reason}, or give tool_choice", param="tools")
        return tools, False
    if choice == "none":
        return (), False
    if not tools:
        raise Refused("'tool_choice' needs 'tools'", param="tool_choice")
    if choice == "required":
        return tools, True
    if not isinstance(choice, dict):
        reason = "must be none, auto, required or a function"
        raise Refused(f"'tool_choice' {reason}", param="tool_choice")
    outer = Fields(choice, "tool_choice")
    outer.one_of("type", ["function"], "")
    inner = outer.inner("function")
    outer.end()
    name = inner.text("name")
    inner.end()
    found = tuple(tool for tool in tools if tool.name == name)
    if not found:
        raise inner.wrong("name", "is none of the tools")
    return found, True


def _call_form(tools: tuple[Tool, ...]) -> Grammar:
    """The JSON of a call to one of the tools, its name first."""
    forms: list[dict[str, Any]] = []
    shared: dict[str, Any] = {}  # references are read from the root
    for tool in tools:
        parameters = dict(tool.parameters)
        for name, each in dict(parameters.pop("$defs", None) or {}).items():
            if shared.setdefault(name, each) != each:
                reason = "of two tools define one name differently; rename one"
                raise Refused(f"the '$defs' {reason}", param="tools")
        forms.append(
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, "arguments": parameters},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    root = forms[0] if len(forms) == 1 else {"anyOf": forms}
    return _grammar(root | ({"$defs": shared} if shared else {}), "tools")
