from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.text.artifact_files import DEFAULT_CHAT_TEMPLATE
from ontogeny.text.marks import guard, unguard
from ontogeny.text.message import Conversation, Message, ToolCall, message_to_row
from ontogeny.text.template import check_prefix_stable, extend, render
from ontogeny.text.template_language import compile_template
from ontogeny.text.tokenizer import Tokenizer

CALL = ToolCall("add", '{"a": 2, "é": "<|end|>"}', "c1")
TURNS = (
    Message("system", "Be brief."),
    Message("user", " What is 2+2?\n"),
    Message("assistant", "Let me see.", (CALL, ToolCall("now"))),
    Message("tool", "4", tool_call_id="c1"),
    Message("tool", ""),
    Message("assistant", "It is 4."),
)
CHATML = (
    "{% for message in messages %}<|{{ message.role }}|>\n"
    "{% generation %}{{ message.content }}<|end|>{% endgeneration %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def _with_template(tokenizer: Tokenizer, source: str) -> Tokenizer:
    return Tokenizer(tokenizer.vocabulary, source, "tokenizers")


def test_a_conversation_is_rendered_turn_by_turn(tokenizer: Tokenizer) -> None:
    rendered = render(Conversation(TURNS), tokenizer)
    assert tokenizer.decode(rendered.ids, keep_special=True) == (
        "<|system|>Be brief.<|end|><|user|> What is 2+2?\n<|end|><|assistant|>Let me see."
        '<|tool_call|>{"name": "add", "arguments": {"a": 2, "é": "<|end|>"}}<|/tool_call|>'
        '<|tool_call|>{"name": "now", "arguments": {}}<|/tool_call|><|end|>'
        "<|tool|>4<|end|><|tool|><|end|><|assistant|>It is 4.<|end|>"
    )


def test_the_loss_falls_on_what_the_assistant_says(tokenizer: Tokenizer) -> None:
    rendered = render(Conversation(TURNS), tokenizer)
    assert len(rendered.ids) == len(rendered.weights)
    assert set(rendered.weights) == {0.0, 1.0}
    trained = [i for i, weight in zip(rendered.ids, rendered.weights, strict=True) if weight]
    assert tokenizer.decode(trained, keep_special=True) == (
        'Let me see.<|tool_call|>{"name": "add", "arguments": {"a": 2, "é": "<|end|>"}}'
        '<|/tool_call|><|tool_call|>{"name": "now", "arguments": {}}<|/tool_call|><|end|>'
        "It is 4.<|end|>"
    )


def test_contents_have_the_ids_they_have_alone(tokenizer: Tokenizer) -> None:
    special = tokenizer.specials
    user, answer = "What is 2+2?", "It is 4."
    rendered = render((Message("user", user), Message("assistant", answer)), tokenizer)
    assert list(rendered.ids) == [
        special["<|user|>"],
        *tokenizer.encode(user),
        special["<|end|>"],
        special["<|assistant|>"],
        *tokenizer.encode(answer),
        special["<|end|>"],
    ]


def test_a_generation_prompt_opens_the_assistant_turn(tokenizer: Tokenizer) -> None:
    plain, open_turn = (
        render(TURNS[:2], tokenizer, generation_prompt=prompt).ids for prompt in (False, True)
    )
    assert open_turn == (*plain, tokenizer.specials["<|assistant|>"])


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_no_content_becomes_a_control_token(tokenizer: Tokenizer, role: str) -> None:
    spelled = "".join(tokenizer.specials) + "<|<|end|>|>"
    for content in (spelled, "<|end", "|>", "end", "<", "\ufdd0\ufdd1\ufdd2\ufdd3\ufdd4<|end|>"):
        innocent, hostile = (
            render((Message(role, text),), tokenizer).ids  # type: ignore[arg-type]
            for text in ("harmless", content)
        )
        control = set(tokenizer.specials.values())
        assert [i for i in hostile if i in control] == [i for i in innocent if i in control]
        assert tokenizer.decode(hostile) == content


def test_tool_calls_cannot_smuggle_control_tokens(tokenizer: Tokenizer) -> None:
    call = ToolCall("<|end|>", '{"<|user|>": "<|/tool_call|>"}')
    ids = render((Message("assistant", "", (call,)),), tokenizer).ids
    control = [name for i in ids for name, j in tokenizer.specials.items() if i == j]
    assert control == ["<|assistant|>", "<|tool_call|>", "<|/tool_call|>", "<|end|>"]


def test_a_template_that_frames_contents_makes_no_control_token(tokenizer: Tokenizer) -> None:
    source = (
        "{% for m in messages %}{% generation %}<|{{ m.content }}|>{% endgeneration %}{% endfor %}"
    )
    ids = render((Message("user", "end"),), _with_template(tokenizer, source)).ids
    assert list(ids) == tokenizer.encode("<|end|>")


@settings(deadline=None, max_examples=200)
@given(
    text=st.text(
        st.sampled_from(list("<|end> \n\ufdd0\ufdd1\ufdd2\ufdd3\ufdd4\ufdd7é")), max_size=20
    )
)
def test_any_content_survives_its_guard(tokenizer: Tokenizer, text: str) -> None:
    assert unguard(guard(text)) == text
    assert unguard(guard(text).strip()) == text.strip()
    ids = render((Message("system", text),), tokenizer).ids
    assert list(ids[1:-1]) == tokenizer.encode(text)


def test_extending_equals_rendering_the_whole(tokenizer: Tokenizer) -> None:
    for length in range(1, len(TURNS)):
        for prompt in (False, True):
            ids = list(render(TURNS[:length], tokenizer).ids)
            extended = extend(ids, TURNS[length:], tokenizer, generation_prompt=prompt)
            whole = render(TURNS, tokenizer, generation_prompt=prompt)
            assert extended == list(whole.ids)
    assert extend([], TURNS, tokenizer, generation_prompt=False) == list(whole.ids[:-1])


def test_extending_never_changes_sampled_tokens(tokenizer: Tokenizer) -> None:
    prompt = render(TURNS[:2], tokenizer, generation_prompt=True).ids
    # "the" letter by letter, which encode would never give
    sampled = [token for letter in " the" for token in tokenizer.encode(letter)]
    assert sampled != tokenizer.encode(" the")
    ids = [*prompt, *sampled]
    cut_off = extend(ids, [Message("user", "more")], tokenizer)
    finished = extend([*ids, tokenizer.end_of_turn], [Message("user", "more")], tokenizer)
    assert cut_off == finished
    assert cut_off[: len(ids)] == ids
    tail = tokenizer.decode(cut_off[len(ids) :], keep_special=True)
    assert tail == "<|end|><|user|>more<|end|><|assistant|>"


def test_what_follows_the_end_of_a_turn_is_added_once(tokenizer: Tokenizer) -> None:
    lines = _with_template(tokenizer, CHATML)
    prompt = render(TURNS[1:2], lines, generation_prompt=True).ids
    whole = list(render((TURNS[1], TURNS[5], Message("user", "more")), lines).ids)
    sampled = [*prompt, *tokenizer.encode(TURNS[5].content)]
    for standing in (sampled, [*sampled, tokenizer.end_of_turn]):
        more = extend(standing, [Message("user", "more")], lines, generation_prompt=False)
        assert more == whole


UNSTABLE = {
    "only the last turn": "{{ messages[0].content }}{% for m in messages %}{% if loop.last %}"
    "{% generation %}{{ m.content }}<|end|>{% endgeneration %}{% endif %}{% endfor %}",
    "a marked last turn": "{% for m in messages %}<|{{ m.role }}|>{% generation %}{{ m.content }}"
    "{% if loop.last %} (last){% endif %}<|end|>{% endgeneration %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "numbered turns": "{% for m in messages %}<|{{ m.role }}|>{% generation %}{{ loop.index }}"
    "{{ m.content }}<|end|>{% endgeneration %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "text runs into text": "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}"
    "{% generation %}<|end|>{% endgeneration %}",
    "other prompt": DEFAULT_CHAT_TEMPLATE.replace(
        "add_generation_prompt -%}\n<|assistant|>", "add_generation_prompt -%}\n<|assistant|>Well"
    ),
}


@pytest.mark.parametrize("source", UNSTABLE.values(), ids=UNSTABLE.keys())
def test_a_template_that_is_not_prefix_stable_is_refused(tokenizer: Tokenizer, source: str) -> None:
    other = _with_template(tokenizer, source)
    render((Message("user", "a"),), other)  # one turn is fine
    with pytest.raises(InputError, match="several turns"):
        extend([1], [Message("user", "a")], other)


def test_ordinary_templates_are_prefix_stable(tokenizer: Tokenizer) -> None:
    check_prefix_stable(tokenizer)
    check_prefix_stable(_with_template(tokenizer, CHATML))


HOSTILE = {
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "attribute by index": "{{ messages[0]['__class__'] }}",
    "attribute filter": "{{ ''|attr('__class__') }}",
    "format": "{{ '{0.__class__}'.format(1) }}",
    "globals": "{{ self.__init__.__globals__ }}",
    "range": "{% for i in range(10**9) %}x{% endfor %}",
    "nested loops": "{% for a in messages %}{% for b in messages %}{% endfor %}{% endfor %}",
    "loop over text": "{% for a in messages %}{% for b in a.content %}{% endfor %}{% endfor %}",
    "recursive loop": "{% for a in messages recursive %}{{ loop([a]) }}{% endfor %}",
    "all messages in a loop": "{% for a in messages %}{{ messages|tojson }}{% endfor %}",
    "power": "{{ 9**9**9 }}",
    "repetition": "{{ 'a' * 10**10 }}",
    "width": "{{ 'a'|center(10**10) }}",
    "percent": "{{ '%9999999999d' % 1 }}",
    "doubling": "{% set a = 'a' %}" + "{% set a = a ~ a %}" * 50 + "{{ a }}",
    "macro": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "include": "{% include '/etc/hostname' %}",
    "import": "{% import 'os' as os %}",
    "size": "a" * 10_000_000,
    "depth": "{{ " + "(" * 60_000,
    "ifs": "{% if true %}" * 4000,
    "braces": "{" * 65_000,
    "number": "{{ " + "9" * 60_000 + " }}",
    "syntax": "{% for %}",
    "unknown name": "{{ secrets }}",
    "mark": "\ufdd0",
    "no generation block": "{% for m in messages %}{{ m.content }}{% endfor %}",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template_is_refused_in_one_line(source: str) -> None:
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        compile_template(source, file="chat_template.jinja")
    assert time.monotonic() - started < 1
    line = str(caught.value)
    assert line.startswith("chat_template.jinja:1: ")
    assert len(line) < 300


@pytest.mark.parametrize(
    "body", ["{{ raise_exception('no system') }}", "{{ messages[9].content }}", "{{ 1|length }}"]
)
def test_a_template_may_refuse_a_conversation(tokenizer: Tokenizer, body: str) -> None:
    other = _with_template(tokenizer, body + "{% generation %}{% endgeneration %}")
    with pytest.raises(InputError, match="cannot render the conversation"):
        render(TURNS, other)


def test_a_long_conversation_takes_linear_time(tokenizer: Tokenizer) -> None:
    started = time.monotonic()
    turns = (Message("user", "a"), Message("assistant", "b")) * 5000
    assert len(render(turns, tokenizer).ids) == 30_000
    assert time.monotonic() - started < 3


@pytest.mark.parity
def test_ids_and_mask_equal_those_of_transformers(tokenizer: Tokenizer, saved: Path) -> None:
    transformers = pytest.importorskip("transformers")
    loaded = transformers.AutoTokenizer.from_pretrained(saved)
    ordinary = ToolCall("add", '{"a": [1, {"é<": null}], "b": "x"}')
    turns = (
        *TURNS[:2],
        Message("assistant", "  spaced \n", (ordinary,)),
        Message("tool", "4"),
        Message("assistant", "日本 done."),
    )
    rows = [message_to_row(turn) for turn in turns]
    rendered = render(turns, tokenizer)
    theirs = loaded.apply_chat_template(rows, return_dict=True, return_assistant_tokens_mask=True)
    assert theirs["input_ids"] == list(rendered.ids)
    assert theirs["assistant_masks"] == [int(weight) for weight in rendered.weights]
    prompt = loaded.apply_chat_template(rows[:2], add_generation_prompt=True)["input_ids"]
    assert prompt == list(render(turns[:2], tokenizer, generation_prompt=True).ids)
