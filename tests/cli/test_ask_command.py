"""`ontogeny ask` prints an answer, what it cost, and one line where there is none."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from support.openai_server import chat, chat_parts, hangs, says, serving, streams

from ontogeny.base.errors import InputError
from ontogeny.cli.app import run_app
from ontogeny.edge.remote_config import LimitReached


def test_an_answer_and_its_cost_are_printed(capsys):
    with serving([says(chat("It is\n\x1b[31mred.‮"))]) as server:
        code = run_app(["ask", server.url, "--prompt", "Why?", "--price", "1,2"])
    out, err = capsys.readouterr()
    assert code == 0
    assert out == "It is\n\\x1b[31mred.\\u202e\n"
    assert err == "10 tokens in, 5 out, $0.000020, 1 request\n"
    body = server.posts[0].body
    assert body["messages"] == [{"role": "user", "content": "Why?"}]


def test_a_stream_prints_the_same(capsys):
    with serving([streams(chat_parts(["Gr", "ö", "ße\n", "東京"]))]) as server:
        run_app(["ask", server.url, "--prompt", "Why?", "--system", "Be short.", "--stream"])
    assert capsys.readouterr().out == "Größe\n東京\n"
    roles = [message["role"] for message in server.posts[0].body["messages"]]
    assert roles == ["system", "user"]


def test_json_holds_answer_end_and_cost(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("asked by\npipe"))
    with serving([says(chat("fine", "length"))]) as server:
        run_app(["ask", server.url, "--json", "--max-tokens", "5"])
    told = json.loads(capsys.readouterr().out)
    assert (told["answer"], told["finish"], told["prompt"]) == ("fine", "length", "asked by\npipe")
    assert told["spent"]["completion_tokens"] == 5
    assert told["spent"]["dollars"] is None
    assert told["model"] == "small"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--prompt", ""], "empty"),
        (["--price", "cheap"], "no price"),
        (["--price", "-1,2"], "price"),
        (["--most-dollars", "1"], "needs the price"),
        (["--key-env", "sk-this-is-a-key"], "no name of an environment variable"),
        (["--key-env", "UNSET_KEY_OF_A_TEST"], "UNSET_KEY_OF_A_TEST holds no key"),
        (["--model", "other"], "no model 'other'; it lists small"),
        (["--temperature", "nan"], "temperature"),
        (["--deadline", "0"], "deadline"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_asked(options, match):
    with serving([says(chat("x"))]) as server, pytest.raises(InputError, match=match) as caught:
        run_app(["ask", server.url, "--prompt", "Why?", *options])
    assert "\n" not in str(caught.value)
    assert "sk-" not in str(caught.value)
    assert server.posts == []


def test_an_answer_that_could_cost_too_much_is_not_asked_for():
    with serving([says(chat("x"))]) as server, pytest.raises(LimitReached, match="most_dollars"):
        run_app(
            ["ask", server.url, "--prompt", "Why?", "--price", "1000,1000", "--most-dollars", "0.1"]
        )
    assert server.posts == []


def test_a_failure_on_the_command_line_is_one_line_and_a_code():
    with serving([hangs()]) as server:
        command = [sys.executable, "-m", "ontogeny", "ask", server.url, "--prompt", "Why?"]
        done = subprocess.run(
            [*command, "--deadline", "0.3"], capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {server.url}:1: no answer within deadline_seconds")
    assert done.stderr.count("\n") == 1
