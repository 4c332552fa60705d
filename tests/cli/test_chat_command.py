"""`ontogeny chat` with the tokenizers of open weights: what is heard, said and shown."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest
from text import open_styles
from text.open_styles import STYLES, write
from text.test_open_template import FORGETS

from ontogeny.cli.chat_command import Continue, Retold, Talk, _answer, _talk
from ontogeny.rollout.fakes import ScriptedPolicy
from ontogeny.rollout.policy import Request
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


def shown(talk: Continue, ids: list[int], capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed, token by token, when a model says `ids`."""
    request = Request(talk.heard("a"), max_tokens=len(ids), stop=talk.stop)
    asyncio.run(_said(talk, ids, request))
    return capsys.readouterr().out


async def _said(talk: Continue, ids: list[int], request: Request) -> None:
    policy = ScriptedPolicy(lambda _: ids)
    await asyncio.to_thread(_answer, policy, talk, request, stream=True)


@pytest.mark.parametrize("style", ["qwen", "llama2", "gemma"])
def test_what_is_streamed_is_what_is_said(
    made: dict[str, Path], style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = Tokenizer.load(made[style])
    text = "The café costs 5 🙂 a day,\n  or more"
    ids = [*tokenizer.encode(text), tokenizer.end_of_turn]
    assert shown(Talk(tokenizer, 500), ids, capsys) == text + "\n"
    going_on = shown(Continue(tokenizer, 500), ids, capsys)
    assert going_on.strip() == text


@pytest.mark.parametrize("style", ["qwen", "llama2", "gemma"])
def test_a_second_turn_stands_behind_what_was_said(made: dict[str, Path], style: str) -> None:
    tokenizer = Tokenizer.load(made[style])
    talk = _talk(tokenizer, 500)
    assert type(talk) is Talk
    first = talk.heard("Who?")
    said = (*tokenizer.encode("Me."), tokenizer.end_of_turn)
    talk.said(said)
    second = talk.heard("Why?")
    assert second[: len(first) + len(said)] == (*first, *said)
    turns = [Message("user", "Who?"), Message("assistant", "Me."), Message("user", "Why?")]
    assert second == render(turns, tokenizer, generation_prompt=True).ids


def test_a_template_that_forgets_is_told_the_whole_again(made: dict[str, Path]) -> None:
    tokenizer = Tokenizer(Tokenizer.load(made["qwen"]).vocabulary, FORGETS)
    talk = _talk(tokenizer, 500)
    assert type(talk) is Retold
    talk.heard("Who?")
    talk.said((*tokenizer.encode("<think>\nHm\n</think>\n\nMe."), tokenizer.end_of_turn))
    turns = [Message("user", "Who?"), Message("assistant", "Me."), Message("user", "Why?")]
    assert talk.heard("Why?") == render(turns, tokenizer, generation_prompt=True).ids
    talk.said((tokenizer.end_of_turn,))
    again = [*turns[:2], Message("user", "So?")]
    assert talk.heard("So?") == render(again, tokenizer, generation_prompt=True).ids


def test_a_conversation_that_fills_the_context_begins_anew(made: dict[str, Path]) -> None:
    tokenizer = Tokenizer(Tokenizer.load(made["qwen"]).vocabulary, FORGETS)
    talk = Retold(tokenizer, 60)
    talk.heard("Who?")
    talk.said((*tokenizer.encode("x " * 40), tokenizer.end_of_turn))
    alone = render([Message("user", "Why?")], tokenizer, generation_prompt=True).ids
    assert talk.heard("Why?") == alone
