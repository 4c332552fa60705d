"""A body of OpenAI's API, checked and understood. Knows no HTTP and asks no model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.serve.fields import Fields
from ontogeny.serve.refusal import Refused
from ontogeny.serve.turns import Tool, characters, messages_of, prompt_ids, tools_of, with_tools
from ontogeny.serve.wanted import Bounds, Served, Wanted, check_model, too_long, top_of, wanted
from ontogeny.text.grammar import Grammar
from ontogeny.text.message import Message

MOST_PROMPTS = 128
MOST_DESCRIPTION = 10_000
MOST_TOLD = 1 << 19
"""Log-probs of prompts that one answer tells: each takes some hundred bytes until it is sent."""
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
        said: the turns, tools told in the system's; a text to continue is one of the user. Empty
            where there are several prompts, or one that says nothing.
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
    said: tuple[Message, ...] = ()

    @property
    def units(self) -> int:
        """Answers in all."""
        return len(self.prompts) * self.wanted.choices

    @property
    def scores(self) -> bool:
        """Whether the log-probs of the prompts' tokens are told."""
        return bool(self.echo) and self.wanted.top is not None


@dataclass(frozen=True)
class ChatSaid:
    """What a body says of a chat, whoever is to answer it."""

    wanted: Wanted
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    forced: bool
    many: bool
    grammar: Grammar | None


def chat_said(body: Mapping[str, Any], served: Bounds) -> ChatSaid:
    """The fields of a request of /v1/chat/completions, all of them known and in their ranges.

    Raises:
        Refused: 400 naming the field, or 404 for another model.
    """
    fields = Fields(body)
    check_model(fields, served)
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
    tools, forced = _chosen(tools, choice)
    if forced and grammar is not None:
        raise Refused("an answer has one form; leave out response_format or tool_choice")
    return ChatSaid(want, messages, tools, forced, many, grammar)


def chat_asked(body: Mapping[str, Any], served: Served) -> Asked:
    """A request of /v1/chat/completions, as the model is to read it.

    Raises:
        Refused: 400 naming the field, or 404 for another model.
    """
    chat = chat_said(body, served)
    if not served.chats:
        raise Refused("this model has not learnt to chat; ask it by /v1/completions")
    tools, grammar = chat.tools, chat.grammar
    _check_size(characters(chat.messages, tools), served)
    prompt = prompt_ids(chat.messages, tools, served.speech)
    if chat.forced:
        prompt += served.speech.opening()
        grammar = _call_form(tools)
    stop = served.tokenizer.stops(chats=True)
    said = tuple(with_tools(chat.messages, tools, served.speech))
    about = (grammar, bool(tools), chat.forced, chat.many)
    return Asked(True, chat.wanted, (prompt,), stop, *about, said=said)


def completion_said(fields: Fields, served: Bounds) -> tuple[Wanted, bool, Grammar | None]:
    """All but the prompt of a request of /v1/completions: how, whether with echo, in which form.

    Raises:
        Refused: 400 naming the field, or 404 for another model.
    """
    check_model(fields, served)
    echo = fields.flag("echo")
    least = 0 if echo else 1
    want = wanted(fields, served, top_of(fields, "logprobs"), COMPLETION_TOKENS, least)
    if (best := fields.whole("best_of", 1, 128)) is not None and best != want.choices:
        raise fields.wrong("best_of", "is not supported unless it equals 'n'; leave it out")
    fields.only("suffix", "")
    return want, echo, _form(fields)


def completion_asked(body: Mapping[str, Any], served: Served) -> Asked:
    """A request of /v1/completions; prompts are texts or lists of ids.

    Raises:
        Refused: 400 naming the field, or 404 for another model.
    """
    fields = Fields(body)
    want, echo, grammar = completion_said(fields, served)
    prompts, texts = prompts_of(fields, served, "prompt", (served.tokenizer.begin,))
    if echo and want.top is not None:
        told = sum(map(len, prompts)) * want.choices * (1 + want.top)
        if told > MOST_TOLD:
            raise fields.wrong("logprobs", f"asks for {told} of prompts; give at most {MOST_TOLD}")
    fields.end()
    stop = served.tokenizer.stops(chats=False)
    said = (Message("user", texts[0]),) if len(texts) == 1 and texts[0] else ()
    return Asked(False, want, prompts, stop, grammar, echo=texts if echo else (), said=said)


def prompts_of(
    fields: Fields, served: Served, name: str, behind: Ids
) -> tuple[tuple[Ids, ...], tuple[str, ...]]:
    """A field that is a text, ids, or a list of these: the ids of each, and its text.

    Args:
        behind: stands before a text's ids; ids are taken as they are.

    Raises:
        Refused: 400, naming the field.
    """
    value = fields.take(name)
    whole = isinstance(value, list) and value and all(type(each) is int for each in value)
    if isinstance(value, str) or whole:
        value = [value]
    if not isinstance(value, list) or not 0 < len(value) <= MOST_PROMPTS:
        reason = f"must be a text or ids, or a list of 1 to {MOST_PROMPTS} of these"
        raise fields.wrong(name, reason)
    tokenizer, prompts, texts = served.tokenizer, [], []
    for each in value:
        if isinstance(each, str):
            text = Fields({name: each}).text(name)
            _check_size(len(text), served)
            prompts.append((*behind, *tokenizer.encode(text)))
            texts.append(text)
            continue
        if not isinstance(each, list) or not each or not all(type(id_) is int for id_ in each):
            raise fields.wrong(name, "holds what is neither a text nor a list of ids")
        if len(each) > served.context:
            raise too_long(served, f"{len(each)} tokens")
        if not 0 <= min(each) <= max(each) < tokenizer.vocab_size:
            raise fields.wrong(name, f"holds an id outside 0 to {tokenizer.vocab_size - 1}")
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
