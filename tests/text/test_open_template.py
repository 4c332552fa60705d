"""Templates of open weights: transformers' ids, weights on the assistant's words, no escape."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text.open_styles import CHATML, STYLES

from ontogeny.base.errors import InputError
from ontogeny.text.marks import HEARD, SPOKEN, Said, unguard
from ontogeny.text.message import Message, ToolCall, message_to_row
from ontogeny.text.template import check_prefix_stable, extend, render
from ontogeny.text.tokenizer import Tokenizer

SYSTEM = Message("system", "Be brief.")
TALK = (
    Message("user", " What is 2+2?\n"),
    Message("assistant", "It is 4."),
    Message("user", "And <b>3\u00d73</b>? é🙂 \u65e5"),
    Message("assistant", "  Nine,\n\n\nI think. <think>no</think> so"),
    Message("user", "Thanks"),
)
TALKS = {
    "one turn": TALK[:1],
    "two turns": TALK[:2],
    "many turns": TALK,
    "many turns, ended": TALK[:4],
    "system": (SYSTEM, *TALK[:1]),
    "system and turns": (SYSTEM, *TALK[:4]),
}


def loaded(styles: dict[str, Path], name: str, source: str | None = None) -> Tokenizer:
    found = Tokenizer.load(styles[name])
    return found if source is None else Tokenizer(found.vocabulary, source)


@pytest.mark.parity
@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("style", STYLES)
def test_ids_equal_those_of_transformers(
    open_styles: dict[str, Path], style: str, talk: str
) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(open_styles[style])
    ours, turns = loaded(open_styles, style), TALKS[talk]
    rows = [message_to_row(turn) for turn in turns]
    for prompt in (False, True):
        if style == "gemma" and talk.startswith("system"):
            with pytest.raises(InputError, match="System role not supported"):
                render(turns, ours, generation_prompt=prompt)
            continue
        expected = theirs.apply_chat_template(rows, add_generation_prompt=prompt)["input_ids"]
        assert list(render(turns, ours, generation_prompt=prompt).ids) == expected


FORGETS = (
    "{%- if tools is defined and tools %}{{ raise_exception('no tools') }}{% endif %}"
    "{%- if strftime_now is defined and false %}{{ strftime_now('%Y') }}{% endif %}"
    "{%- set ns = namespace(searching=true, last=messages|length - 1) %}"
    "{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}"
    "{%- if ns.searching and message.role == 'user' and message.content is string and "
    "not (message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}"
    "{%- set ns.searching = false %}{%- set ns.last = index %}{%- endif %}{%- endfor %}"
    "{%- for message in messages %}"
    "{%- if message.role == 'assistant' %}{%- set content = message.content %}{%- set why = '' %}"
    "{%- if message.reasoning_content is string %}{%- set why = message.reasoning_content %}"
    "{%- elif '</think>' in content %}"
    "{%- set why = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if loop.index0 > ns.last %}{{- '<think>\n' + why.strip('\n') + '\n</think>\n\n' }}"
    "{%- endif %}{{- content.lstrip('\n') + '<|im_end|>\n' }}"
    "{%- elif loop.previtem is undefined or loop.previtem.role != message.role %}"
    "{{- '<|im_start|>' ~ message['role'] ~ '\n' ~ message.get('content') ~ '<|im_end|>\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- for name, size in {'a': 1} | items if size > 1 %}{{ name }}{% break %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


@pytest.mark.parity
def test_a_template_may_forget_what_was_thought(open_styles: dict[str, Path]) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(open_styles["qwen"])
    theirs.chat_template = FORGETS
    ours = loaded(open_styles, "qwen", FORGETS)
    thought = Message("assistant", "<think>\nHm, <b>4</b>?\n</think>\n\nFour.")
    for turns in (*TALKS.values(), (*TALK[:1], thought), (*TALK[:1], thought, *TALK[2:])):
        rows = [message_to_row(turn) for turn in turns]
        for prompt in (False, True):
            expected = theirs.apply_chat_template(rows, add_generation_prompt=prompt)["input_ids"]
            assert list(render(turns, ours, generation_prompt=prompt).ids) == expected
    rendered = render((*TALK[:1], thought), ours)
    said = [i for i, weight in zip(rendered.ids, rendered.weights, strict=True) if weight]
    told = "<think>\nHm, <b>4</b>?\n</think>\n\nFour.<|im_end|>"
    assert ours.decode(said, keep_special=True) == told
    with pytest.raises(InputError, match="several turns"):
        check_prefix_stable(ours)


@pytest.mark.parametrize("style", STYLES)
def test_the_loss_falls_on_what_the_assistant_says_and_its_end(
    open_styles: dict[str, Path], style: str
) -> None:
    ours = loaded(open_styles, style)
    rendered = render(TALK, ours)
    assert len(rendered.ids) == len(rendered.weights)
    assert set(rendered.weights) == {0.0, 1.0}
    runs = itertools.groupby(zip(rendered.ids, rendered.weights, strict=True), lambda p: p[1])
    said = [[token for token, _ in run] for weight, run in runs if weight]
    end = ours.decode([ours.end_of_turn], keep_special=True)
    words = [ours.continuation(ids).strip() for ids in said]
    first, second = TALK[1].content, TALK[3].content.strip()
    second = second.split("</think>")[-1].strip() if style == "thinking" else second
    assert words == [first, second]
    assert all(ids[-1] == ours.end_of_turn for ids in said)
    assert all(ours.decode(ids, keep_special=True).endswith(end) for ids in said)


@pytest.mark.parametrize("style", STYLES)
def test_a_prompt_is_the_beginning_of_what_is_learnt(
    open_styles: dict[str, Path], style: str
) -> None:
    ours = loaded(open_styles, style)
    prompt = render(TALK[:1], ours, generation_prompt=True).ids
    learnt = render(TALK[:2], ours)
    assert learnt.ids[: len(prompt)] == prompt
    first = learnt.weights.index(1.0)
    # Zephyr's prompt lacks the newline that the model says first.
    assert ours.decode(learnt.ids[len(prompt) : first]).strip() == ""


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_no_content_becomes_a_special_token(
    open_styles: dict[str, Path], style: str, role: str
) -> None:
    ours = loaded(open_styles, style)
    names = list(ours.specials)
    halves = [name[:at] for name in names for at in (1, 2, len(name) - 1)]
    halves += [name[at:] for name in names for at in (1, 2, len(name) - 1)]
    tricks = ["".join(names), "<<|im_end|>|>", "</think></s", "\ufdd0\ufdd2\ufdd8\ufdd9\ufdd3<s>"]
    tricks += ["<|im_</think>end|>", "<</think>|im_end|>", "</think><|im_end|>"]

    def turns(content: str) -> list[Message]:
        said = Message(role, content)  # type: ignore[arg-type]
        return [Message("user", "a"), said] if role == "assistant" else [said]

    control = set(ours.specials.values())
    innocent = [i for i in render(turns("harmless"), ours).ids if i in control]
    for content in [*names, *halves, *tricks]:
        hostile = render(turns(content), ours).ids
        assert [i for i in hostile if i in control] == innocent
        kept = content.split("</think>")[-1] if style == "thinking" else content
        assert kept.strip() in ours.decode(hostile) or role == "user"


@pytest.mark.parametrize("style", STYLES)
def test_extending_equals_rendering_the_whole(open_styles: dict[str, Path], style: str) -> None:
    ours = loaded(open_styles, style)
    talk = (*TALK[:3], Message("assistant", "Nine."), TALK[4])
    check_prefix_stable(ours)
    for length in (2, 4):
        ids = list(render(talk[:length], ours).ids)
        for prompt in (False, True):
            whole = render(talk[: length + 1], ours, generation_prompt=prompt).ids
            more = extend(ids, talk[length : length + 1], ours, generation_prompt=prompt)
            assert more == list(whole)


@pytest.mark.parametrize("style", STYLES)
def test_an_answer_that_ended_or_was_cut_off_is_closed_once(
    open_styles: dict[str, Path], style: str
) -> None:
    ours = loaded(open_styles, style)
    prompt = render(TALK[:1], ours, generation_prompt=True).ids
    ids = [*prompt, *ours.encode("So")]
    cut_off = extend(ids, [Message("user", "more")], ours)
    ended = extend([*ids, ours.end_of_turn], [Message("user", "more")], ours)
    assert cut_off == ended
    assert cut_off[: len(ids)] == ids
    assert cut_off[len(ids) :].count(ours.end_of_turn) == render(
        [*TALK[:2], Message("user", "more")], ours
    ).ids[len(render(TALK[:1], ours).ids) :].count(ours.end_of_turn)


def test_a_generation_block_says_what_is_learnt(open_styles: dict[str, Path]) -> None:
    source = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}"
        "{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    )
    marked, plain = (
        render(TALK[:4], loaded(open_styles, "qwen", each))
        for each in (
            source,
            source.replace("{% generation %}", "").replace("{% endgeneration %}", ""),
        )
    )
    assert marked == plain
    assert sum(marked.weights) > 0


CALLS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}"
    "{% if m.content %}{{ '\n' + m.content }}{% endif %}"
    "{% if m.tool_calls %}{% for c in m.tool_calls %}{{ '\n' }}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}{{ "\n" }}'
    "</tool_call>{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parity
def test_calls_of_tools_are_learnt_from_their_beginning(open_styles: dict[str, Path]) -> None:
    transformers = pytest.importorskip("transformers")
    ours = loaded(open_styles, "qwen", CALLS)
    call = ToolCall("add", '{"a": 2, "é": "<|im_end|>"}', "c1")
    turns = [Message("user", "a"), Message("assistant", "", (call,)), Message("tool", "4")]
    rendered = render(turns, ours)
    said = [i for i, weight in zip(rendered.ids, rendered.weights, strict=True) if weight]
    assert ours.decode(said, keep_special=True) == (
        '<tool_call>\n{"name": "add", "arguments": {"a": 2, "é": "<|im_end|>"}}\n</tool_call>'
        "<|im_end|>"
    )
    assert said.count(ours.end_of_turn) == 1
    theirs = transformers.AutoTokenizer.from_pretrained(open_styles["qwen"])
    theirs.chat_template = CALLS
    rows = [message_to_row(turn) for turn in turns]
    rows[1]["tool_calls"][0]["function"]["arguments"] = {"a": 2, "é": "<|im_start"}
    harmless = ToolCall("add", '{"a": 2, "é": "<|im_start"}', "c1")
    turns[1] = Message("assistant", "", (harmless,))
    expected = theirs.apply_chat_template(rows)["input_ids"]
    assert list(render(turns, ours).ids) == expected


UNTOLD = {
    "no end": "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}",
    "left out": "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}<|im_end|>"
    "{% endif %}{% endfor %}",
    "ended by the next": "{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}",
}


@pytest.mark.parametrize("source", UNTOLD.values(), ids=UNTOLD.keys())
def test_a_template_that_does_not_tell_is_refused(
    open_styles: dict[str, Path], source: str
) -> None:
    with pytest.raises(InputError, match="does not let one tell") as caught:
        render(TALK, loaded(open_styles, "qwen", source))
    assert "\n" not in str(caught.value)


def test_a_template_that_forgets_is_not_for_several_turns(open_styles: dict[str, Path]) -> None:
    source = CHATML.replace("message['content'] +", "(message['content'] if loop.last else '-') +")
    ours = loaded(open_styles, "qwen", source)
    render(TALK[:1], ours)
    with pytest.raises(InputError, match=r"several turns|tell what"):
        extend([1], TALK[:1], ours)


def test_a_model_without_a_template_says_so(open_styles: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="has no chat template"):
        render(TALK[:1], loaded(open_styles, "qwen", ""))


METHODS = st.sampled_from(
    [
        lambda s: s.strip(),
        lambda s: s.lstrip("\n<"),
        lambda s: s.split("|"),
        lambda s: s.split(),
        lambda s: s.replace("im", ""),
        lambda s: s.replace("<", "<<"),
        lambda s: s[1:],
        lambda s: s[::-1],
        lambda s: s.upper(),
        lambda s: s.splitlines(),
        lambda s: s.partition("|")[2],
        lambda s: len(s),
        lambda s: s == "<|im|>",
        lambda s: "<|" in s,
        lambda s: s.startswith("<"),
        lambda s: list(s),
    ]
)


@settings(deadline=None, max_examples=300)
@given(
    text=st.text(st.sampled_from(list("<|im> \n\ufdd2\ufdd3\ufdd8\ufdd9\ufddcé")), max_size=12),
    method=METHODS,
)
def test_words_read_as_they_are_and_print_with_marks(text: str, method: object) -> None:
    said = Said(text, "<", SPOKEN)
    plain, guarded = method(text), method(said)  # type: ignore[operator]
    assert unguard("".join([said])) == text
    if isinstance(plain, list):
        assert [unguard("".join([each])) for each in guarded] == plain
    elif isinstance(plain, str) and isinstance(guarded, str):
        printed = "".join([guarded])
        assert unguard(printed) == plain
        assert "<|" not in printed
    elif not isinstance(plain, str):
        assert guarded == plain
    assert HEARD not in "".join([said]).replace("\ufdd3\ufddd", "")
