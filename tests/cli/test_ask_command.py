"""`ontogeny ask` prints an answer, what it cost, and one line where there is none."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from support.openai_server import chat, chat_parts, hangs, says, serving, streams, usage

from ontogeny.base.errors import InputError
from ontogeny.cli import ask_command
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
        (["--prompt", ""], "--prompt is empty; ask"),
        (["--price", "cheap"], "no price"),
        (["--price", "-1,2"], "no price"),
        (["--most-dollars", "1"], "--most-dollars needs the price of the model; give --price"),
        (["--most-dollars", "0", "--price", "1,2"], "--most-dollars is 0.0; give more"),
        (["--key-env", "sk-this-is-a-key"], "--key-env is no name of an environment variable"),
        (["--key-env", "UNSET_KEY_OF_A_TEST"], "UNSET_KEY_OF_A_TEST holds no key"),
        (["--temperature", "inf"], "--temperature is inf"),
        (["--seed", "9223372036854775808"], "--seed is 9223372036854775808; give 0 to"),
        (["--deadline", "0"], "--deadline is 0.0; give seconds"),
    ],
)
def test_a_mistake_is_one_line_at_its_option_and_nothing_is_asked(options, match, monkeypatch):
    with serving([says(chat("x"))]) as server:
        words = ["ask", server.url, "--system", "Be short.", *options, "--max-tokens", "5"]
        words += ["--prompt", "Why?"] * ("--prompt" not in options)
        monkeypatch.setattr(sys, "argv", ["ontogeny", *words])
        with pytest.raises(InputError, match=match) as caught:
            run_app(words)
    assert str(caught.value).startswith("command line:5: ")
    assert "\n" not in str(caught.value)
    assert "sk-" not in str(caught.value)
    assert server.requests == []


def test_a_model_that_is_not_there_is_one_line_about_the_server():
    with (
        serving([says(chat("x"))]) as server,
        pytest.raises(InputError, match="no model 'other'; it lists small") as caught,
    ):
        run_app(["ask", server.url, "--prompt", "Why?", "--model", "other"])
    assert str(caught.value).startswith(server.url)
    assert server.posts == []


def test_a_wanted_key_is_asked_for_by_the_name_of_the_option():
    with (
        serving([says({}, 401)]) as server,
        pytest.raises(InputError, match="name that \\(--key-env\\)"),
    ):
        run_app(["ask", server.url, "--prompt", "Why?"])


def test_a_key_goes_out_unencrypted_only_where_that_is_said(monkeypatch, capsys):
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    with serving([says(chat("fine"))]) as server:
        url = server.url.replace("127.0.0.1", "127.1")
        words = ["ask", url, "--prompt", "Why?", "--key-env", "SOME_KEY"]
        with pytest.raises(InputError, match=r"unencrypted to 127\.1; .*--plain-key"):
            run_app(words)
        assert server.requests == []
        run_app([*words, "--plain-key"])
    assert "note: the key travels unencrypted to 127.1" in capsys.readouterr().err


def piped(monkeypatch, data):
    """Standard input of these bytes, as strict as Python opens it."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))


def test_standard_input_that_is_no_text_is_asked_as_far_as_it_is_some(monkeypatch):
    piped(monkeypatch, b"caf\xe9?")
    with serving([says(chat("x"))]) as server:
        run_app(["ask", server.url])
    assert server.posts[0].body["messages"][0]["content"] == "caf\N{REPLACEMENT CHARACTER}?"


@pytest.mark.parametrize(
    ("data", "match"), [(b"", "standard input is empty"), (b"x" * 21, "more than 20 characters")]
)
def test_standard_input_is_asked_whole_or_not_at_all(monkeypatch, data, match):
    monkeypatch.setattr(ask_command, "MOST_PROMPT_CHARACTERS", 20)
    piped(monkeypatch, data)
    with serving([says(chat("x"))]) as server, pytest.raises(InputError, match=match):
        run_app(["ask", server.url])
    assert server.posts == []


@pytest.mark.parametrize(
    ("completion", "told"), [(512, "cut off: --max-tokens"), (7, "the server's context is full")]
)
def test_an_answer_that_was_cut_says_by_what(completion, told, capsys):
    said = chat("Once", "length", usage=usage(10, completion))
    with serving([says(said)]) as server:
        run_app(["ask", server.url, "--prompt", "Why?"])
    assert told in capsys.readouterr().err


def test_an_error_in_a_stream_begins_on_a_line_of_its_own(capsys):
    with (
        serving([streams(list(chat_parts(["Hal", "f"]))[:3], done=False)]) as server,
        pytest.raises(InputError, match="broke off"),
    ):
        run_app(["ask", server.url, "--prompt", "Why?", "--stream"])
    assert capsys.readouterr().out == "Half\n"


def test_an_answer_that_could_cost_too_much_is_not_asked_for():
    with (
        serving([says(chat("x"))]) as server,
        pytest.raises(
            LimitReached, match=r"--most-dollars .*; raise it, or lower --max-t"
        ) as caught,
    ):
        run_app(
            ["ask", server.url, "--prompt", "Why?", "--price", "1000,1000", "--most-dollars", "0.1"]
        )
    assert "journal" not in str(caught.value)
    assert server.posts == []


def test_a_failure_on_the_command_line_is_one_line_and_a_code():
    with serving([hangs()]) as server:
        command = [sys.executable, "-m", "ontogeny", "ask", server.url, "--prompt", "Why?"]
        done = subprocess.run(
            [*command, "--deadline", "0.3"], capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {server.url}:1: no answer within --deadline (0.3)")
    assert done.stderr.count("\n") == 1
