"""`ontogeny chat` with the tokenizers of open weights: what is heard, said and shown."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, small_tokenizer, sometimes_right
from text import open_styles
from text.open_styles import STYLES, write
from text.test_open_template import FORGETS

from ontogeny.base.errors import COMMAND_LINE, InputError
from ontogeny.bridge.models import save_model
from ontogeny.cli.app import run_app
from ontogeny.cli.chat_command import Answer, Continue, Retold, Talk, _answer, _talk
from ontogeny.cli.chat_form import Manner
from ontogeny.rollout.fakes import ScriptedPolicy
from ontogeny.rollout.policy import Completion, Continuation, Likelihood, Request, Sink
from ontogeny.text.grammar import Grammar
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root, source = tmp_path_factory.mktemp("styles"), inspect.getsource(open_styles)
    return {
        name: write(root / name, STYLES[name][0]([source] * 2), *STYLES[name][1:])
        for name in ("qwen", "llama2", "gemma")
    }


def answered(
    talk: Continue, ids: list[int], strings: tuple[str, ...] = (), *, stream: bool = True
) -> Answer:
    """What comes of it when a model says `ids`, as far as it gets."""
    request = Request(talk.heard("a"), max_tokens=len(ids), stop=talk.stop, stop_strings=strings)
    policy = ScriptedPolicy(lambda _: ids, tokenizer=talk.tokenizer)
    return _answer(policy, talk, request, stream=stream)


@pytest.mark.parametrize("style", ["qwen", "llama2", "gemma"])
def test_what_is_streamed_is_what_is_said(
    made: dict[str, Path], style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = Tokenizer.load(made[style])
    text = "The café costs 5 🙂 a day,\n  or more"
    ids = [*tokenizer.encode(text), tokenizer.end_of_turn]
    assert answered(Talk(tokenizer, 500), ids).text == text
    assert capsys.readouterr().out == text + "\n"
    going_on = answered(Continue(tokenizer, 500), ids).text
    assert going_on.strip() == text
    assert capsys.readouterr().out == going_on + "\n"
    assert answered(Talk(tokenizer, 500), ids, stream=False).text == text
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("style", ["qwen", "llama2", "gemma"])
def test_a_stop_string_is_neither_shown_nor_told(
    made: dict[str, Path], style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = Tokenizer.load(made[style])
    ids = tokenizer.encode("The café costs 5 🙂 a day,\n  or more")
    for string, told in (
        ("day", "The café costs 5 🙂 a "),
        ("🙂 a", "The café costs 5 "),
        ("T", ""),
    ):
        answer = answered(Talk(tokenizer, 500), ids, (string, "never"))
        assert (answer.text, answer.completion.matched) == (told, string)
        assert capsys.readouterr().out == told + "\n"


def test_text_is_shown_as_soon_as_no_stop_string_can_begin_in_it(made: dict[str, Path]) -> None:
    tokenizer = Tokenizer.load(made["qwen"])
    ids = [tokenizer.encode_bytes(bytes([byte]))[0] for byte in b"one two, one three"]
    printed: list[str] = []

    class Terminal(io.StringIO):
        def write(self, text: str) -> int:
            printed.append(text)
            return len(text)

    with contextlib.redirect_stdout(Terminal()):
        answered(Talk(tokenizer, 500), ids, ("one th", "three"))
    assert "".join(printed) == "one two, \n"
    assert [text for text in printed if text] == ["one tw", "o,", " ", "\n"]


def completed(ids: tuple[int, ...]) -> Completion:
    return Completion(ids, (0.0,) * len(ids), (0,) * len(ids), "stop")


@pytest.mark.parametrize("style", ["qwen", "llama2", "gemma"])
def test_a_second_turn_stands_behind_what_was_said(made: dict[str, Path], style: str) -> None:
    tokenizer = Tokenizer.load(made[style])
    talk = _talk(tokenizer, 500)
    assert type(talk) is Talk
    first = talk.heard("Who?")
    said = (*tokenizer.encode("Me."), tokenizer.end_of_turn)
    talk.said(Answer(completed(said), "Me."))
    second = talk.heard("Why?")
    assert second[: len(first) + len(said)] == (*first, *said)
    turns = [Message("user", "Who?"), Message("assistant", "Me."), Message("user", "Why?")]
    assert second == render(turns, tokenizer, generation_prompt=True).ids


def test_a_template_that_forgets_is_told_the_whole_again(made: dict[str, Path]) -> None:
    tokenizer = Tokenizer(Tokenizer.load(made["qwen"]).vocabulary, FORGETS)
    talk = _talk(tokenizer, 500)
    assert type(talk) is Retold
    talk.heard("Who?")
    told = "<think>\nHm\n</think>\n\nMe."
    talk.said(Answer(completed((*tokenizer.encode(told), tokenizer.end_of_turn)), told))
    turns = [Message("user", "Who?"), Message("assistant", "Me."), Message("user", "Why?")]
    assert talk.heard("Why?") == render(turns, tokenizer, generation_prompt=True).ids
    talk.said(Answer(completed((tokenizer.end_of_turn,)), ""))
    again = [*turns[:2], Message("user", "So?")]
    assert talk.heard("So?") == render(again, tokenizer, generation_prompt=True).ids


def test_a_conversation_that_fills_the_context_begins_anew(made: dict[str, Path]) -> None:
    tokenizer = Tokenizer(Tokenizer.load(made["qwen"]).vocabulary, FORGETS)
    talk = Retold(tokenizer, 60)
    talk.heard("Who?")
    talk.said(Answer(completed(()), "x " * 40))
    alone = render([Message("user", "Why?")], tokenizer, generation_prompt=True).ids
    assert talk.heard("Why?") == alone


def manner(**options: Any) -> Manner:
    return Manner(**{"max_tokens": 9, "temperature": 0.5, "seed": 0, "as_json": False} | options)


@pytest.mark.parametrize(
    ("words", "options", "line"),
    [
        (["--stop", ""], {"stop": ("",)}, 3),
        (["--stop="], {"stop": ("",)}, 3),
        (["--top-p", "0"], {"top_p": 0.0}, 3),
        (["--temperature=inf"], {"temperature": math.inf}, 3),
        (["--regex", "a**"], {"regex": "a**"}, 3),
        (["--regex", "("], {"regex": "("}, 3),
        (["--regex", "a", "--json-schema=b"], {"regex": "a", "schema": Path("b")}, 5),
    ],
)
def test_a_mistake_in_an_option_is_told_where_it_stands(
    monkeypatch: pytest.MonkeyPatch, words: list[str], options: dict[str, Any], line: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["ontogeny", "chat", "model", *words])
    with pytest.raises(InputError) as caught:
        manner(**options).checked(small_tokenizer())
    assert str(caught.value).startswith(f"{COMMAND_LINE}:{line}: ")
    assert "; " in str(caught.value)  # and says what to do


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('{"type": "object",\n "x": }', 2, "no JSON"),
        ('{"type": "strin"}', 1, "Invalid type: strin; mend the schema"),
        ('{"type": "object", "not": {}}', 1, '["not"]; mend the schema, or leave out'),
        ("", 1, "empty"),
        (" " * 200_000, 1, "at most"),
        ("\udcff", 1, "UTF-8"),
        (None, 1, "(No such file or directory); mend its path"),
    ],
)
def test_a_mistake_in_a_schema_is_told_in_its_file(
    made: dict[str, Path], tmp_path: Path, text: str | None, line: int, reason: str
) -> None:
    path = tmp_path / "schema.json"
    if text is not None:
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError) as caught:
        manner(schema=path).checked(Tokenizer.load(made["qwen"]))
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert reason in str(caught.value)


def test_a_schema_or_a_regex_is_the_form_of_answers(made: dict[str, Path], tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(made["qwen"])
    path = tmp_path / "schema.json"
    path.write_text('\ufeff{"type": "boolean"}', encoding="utf-8")
    assert manner(schema=path).checked(tokenizer) == Grammar("json_schema", '{"type": "boolean"}')
    assert manner(regex="a+").checked(tokenizer) == Grammar("regex", "a+")
    assert manner().checked(tokenizer) is None


def test_chat_answers_in_the_form_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(tmp_path)
    save_model(bench.payload(), sometimes_right(160), bench.tokenizer, chats=True)
    bench.store.set_name("small", bench.keep("sft", "model").id)
    arguments = ["chat", "small", "--store", str(bench.store.root), "--prompt", "Say", "--json"]
    assert run_app([*arguments, "--regex", "(yes|no), [0-9]{3}"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert re.fullmatch("(yes|no), [0-9]{3}", told["answer"])
    assert (told["finish"], told["matched"]) == ("stop", None)
    assert run_app([*arguments, "--regex", "(yes|no), [0-9]{3}", "--stop", ", "]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["answer"] in ("yes", "no")
    assert (told["finish"], told["matched"]) == ("stop", ", ")


def test_an_answer_that_was_cut_before_its_form_was_whole_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    save_model(bench.payload(), sometimes_right(160), bench.tokenizer, chats=True)
    bench.store.set_name("small", bench.keep("sft", "model").id)
    words = ["chat", "small", "--store", str(bench.store.root), "--prompt", "Say"]
    words += ["--regex", "[a-z]{50}", "--max-tokens"]
    run_app([*words, "3"])
    assert "cut before its form was whole; raise --max-tokens" in capsys.readouterr().err
    run_app([*words, "3000"])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "argv", ["ontogeny", "chat", "small", "--prompt", ""])
    with pytest.raises(InputError, match="nothing to answer; write something") as caught:
        run_app(["chat", "small", "--store", str(bench.store.root), "--prompt", ""])
    assert str(caught.value).startswith(f"{COMMAND_LINE}:3: ")


def test_an_error_in_an_answer_begins_on_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tokenizer = small_tokenizer()

    class Breaks:
        async def sample(self, request: Request, sink: Sink | None = None) -> Completion:
            assert sink is not None and request.max_tokens == 9
            for id_ in tokenizer.encode("Half"):
                sink(id_, 0.0)
            raise InputError("broken")

        async def score(self, request: Continuation) -> Likelihood:
            raise NotImplementedError

    with pytest.raises(InputError, match="broken"):
        _answer(Breaks(), Talk(tokenizer, 500), Request((1,), 9), stream=True)
    assert capsys.readouterr().out == "Half\n"
