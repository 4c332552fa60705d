"""A stranger's template can neither leave its language, nor run for ever, nor eat the memory."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from ontogeny.base.errors import InputError
from ontogeny.text.message import Message
from ontogeny.text.open_language import compile_open_template
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

REFUSED = {
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "attribute by index": "{{ messages[0]['__class__'] }}",
    "attribute filter": "{{ ''|attr('__class__') }}",
    "format": "{{ '{0.__class__}'.format(1) }}",
    "a kept method": "{% set f = ''.format %}{{ f(1) }}",
    "format filter": "{{ '%s'|format('a') }}",
    "globals": "{{ self.__init__.__globals__ }}",
    "recursive loop": "{% for a in messages recursive %}{{ loop([a]) }}{% endfor %}",
    "deep loops": "{% for a in messages %}" * 5 + "{% endfor %}" * 5,
    "power": "{{ 9**9**9 }}",
    "repetition": "{{ 'a' * 10**10 }}",
    "width": "{{ 'a'|center(10**10) }}",
    "justified": "{{ 'a'.ljust(1000000000) }}",
    "macro": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "two macros": "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}",
    "macro twice": "{% macro f() %}{% endmacro %}{% macro f() %}{{ f() }}{% endmacro %}",
    "a macro's name": "{% macro f() %}{% endmacro %}{% set f = 1 %}",
    "a macro as a value": "{% macro f() %}{% endmacro %}{% set g = f %}",
    "range renamed": "{% set range = messages %}",
    "the counter": "{% set ontogeny_tick = 1 %}",
    "call of an item": "{{ messages[0]('a') }}",
    "many arguments": "{{ range(*messages) }}",
    "caller": "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}{% endcall %}",
    "include": "{% include '/etc/hostname' %}",
    "import": "{% import 'os' as os %}",
    "block": "{% block a %}{% endblock %}",
    "size": "a" * 10_000_000,
    "depth": "{{ " + "(" * 60_000,
    "ifs": "{% if true %}" * 4000,
    "number": "{{ " + "9" * 60_000 + " }}",
    "syntax": "{% for %}",
    "mark": "\ufdd8",
}


@pytest.mark.parametrize("source", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_of_the_language_is_refused_in_one_line(source: str) -> None:
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        compile_open_template(source, file="chat_template.jinja")
    assert time.monotonic() - started < 2
    line = str(caught.value)
    assert line.startswith("chat_template.jinja:1: ")
    assert len(line) < 300


BOMBS = {
    "doubling": "{% set a = 'aaaaaaaa' %}" + "{% set a = a + a %}" * 50 + "{{ a }}",
    "doubling by ~": "{% set a = 'aaaaaaaa' %}" + "{% set a = a ~ a %}" * 50 + "{{ a }}",
    "doubling in a namespace": "{% set n = namespace(a='a') %}{% for i in range(100) %}"
    "{% set n.a = n.a ~ n.a %}{% endfor %}",
    "doubling a list": "{% set n = namespace(a=['a']) %}{% for i in range(100) %}"
    "{% set n.a = n.a + n.a %}{% endfor %}",
    "a list in itself, printed": "{% set n = namespace(a=['a']) %}{% for i in range(60) %}"
    "{% set n.a = [n.a, n.a] %}{% endfor %}{{ n.a }}",
    "a list in itself, compared": "{% set n = namespace(a=['a'], b=['a']) %}"
    "{% for i in range(60) %}{% set n.a = [n.a, n.a] %}{% set n.b = [n.b, n.b] %}{% endfor %}"
    "{{ n.a == n.b }}",
    "a mapping in itself": "{% set n = namespace(a={}) %}{% for i in range(60) %}"
    "{% set n.a = {'a': n.a, 'b': n.a} %}{% endfor %}{{ n.a | tojson }}",
    "replacing": "{% set n = namespace(a='aa') %}{% for i in range(60) %}"
    "{% set n.a = n.a.replace('a', n.a) %}{% endfor %}",
    "replacing by a filter": "{% set n = namespace(a='aa') %}{% for i in range(60) %}"
    "{% set n.a = n.a | replace('a', n.a) %}{% endfor %}",
    "replacing nothing": "{% set a = 'a' ~ 'b' %}" + "{% set a = a.replace('', a) %}" * 20,
    "joining": "{% set n = namespace(a='aa') %}{% for i in range(60) %}"
    "{% set n.a = n.a.join([n.a, n.a, n.a]) %}{% endfor %}",
    "a long output": "{% for i in range(100000) %}{% for j in range(100000) %}"
    + "a" * 60_000
    + "{% endfor %}{% endfor %}",
    "a long text said": "{% for i in range(100000) %}{{ '" + "a" * 60_000 + "' }}{% endfor %}",
    "loops": "{% for a in range(100000) %}{% for b in range(100000) %}"
    "{% for c in range(100000) %}{% endfor %}{% endfor %}{% endfor %}",
    "macros": "{% macro f0() %}aaaaaaaa{% endmacro %}"
    + "".join(
        f"{{% macro f{n + 1}() %}}{{{{ f{n}() }}}}{{{{ f{n}() }}}}{{% endmacro %}}"
        for n in range(60)
    )
    + "{{ f60() }}",
    "range": "{{ range(10**9) }}".replace("10**9", "1000000000"),
    "a large number": "{% set n = namespace(a=2) %}{% for i in range(100000) %}"
    "{% set n.a = n.a + n.a %}{% endfor %}{{ n.a }}",
    "percent": "{{ '%9999999999d' % 1 }}",
    "indent": "{{ 'a\nb' | indent(1000000000) }}",
    "indented JSON": "{{ messages | tojson(indent=1000000000) }}",
    "a date": "{{ strftime_now('%d' ~ '%999999d' ~ '" + "%A" * 40 + "') }}",
    "blocks": "{% set a %}aaaaaaaa{% endset %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 50,
    "mapped": "{% set n = namespace(a=['aa']) %}{% for i in range(60) %}"
    "{% set n.a = n.a | map('replace', 'a', n.a | join) | list %}{% endfor %}",
}


@pytest.fixture
def rendering(open_styles: dict[str, Path]) -> Tokenizer:
    return Tokenizer.load(open_styles["qwen"])


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_ends_in_one_line_with_little_memory(rendering: Tokenizer, source: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.thread_time()
    with pytest.raises(InputError, match=r"cannot render|refused") as caught:
        render([Message("user", "a")], Tokenizer(rendering.vocabulary, source, "tokenizers"))
    assert time.thread_time() - started < 15
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    assert "\n" not in str(caught.value)


def test_a_date_is_always_the_same(rendering: Tokenizer) -> None:
    dated = Tokenizer(rendering.vocabulary, "{{ strftime_now('%Y-%m-%d') }}", "tokenizers")
    assert dated.decode(render([Message("user", "a")], dated).ids) == "2025-01-01"


def test_a_long_conversation_takes_linear_time(rendering: Tokenizer) -> None:
    started = time.monotonic()
    turns = (Message("user", "a" * 50), Message("assistant", "b" * 50)) * 2000
    assert len(render(turns, rendering).ids) > 20_000
    assert time.monotonic() - started < 8
