"""`ontogeny serve --backend`: the front before another server, from the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from support.openai_server import chat, says, serving

from ontogeny.base.errors import InputError
from ontogeny.cli.app import run_app

TWO = ({"id": "one"}, {"id": "two"})


def said(words: list[str]) -> str:
    """The line of a mistake in the command."""
    with pytest.raises(InputError) as caught:
        run_app(["serve", *words, "--port", "0"])
    return str(caught.value)


def test_it_serves_until_a_signal_and_sends_the_key_of_the_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("backends-key\n")
    with serving([says(chat("hi"))], [{"id": "/srv/small.gguf", "max_model_len": 512}]) as server:
        words = ["--backend", server.url, "--backend-key-file", str(key), "--name", "small"]
        command = [sys.executable, "-m", "ontogeny", "serve", *words, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                found = re.search(r"at (http://127\.0\.0\.1:\d+/v1);", process.stdout.readline())
                assert found
                body = {"model": "small", "messages": [{"role": "user", "content": "Hello!"}]}
                asked = Request(
                    f"{found[1]}/chat/completions",
                    json.dumps(body).encode(),
                    {"content-type": "application/json"},
                )
                with urlopen(asked, timeout=30) as reply:
                    assert json.load(reply)["choices"][0]["message"]["content"] == "hi"
                with urlopen(f"{found[1]}/models", timeout=30) as reply:
                    assert json.load(reply)["data"][0]["max_model_len"] == 512
                os.kill(process.pid, signal.SIGTERM)
                assert process.wait(30) == 0
            finally:
                process.kill()
    (post,) = server.posts
    assert post.body["model"] == "/srv/small.gguf"
    assert post.headers["authorization"] == "Bearer backends-key"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--backend-model", "x"], "--backend URL"),
        (["--backend", "ftp://x"], "http://127.0.0.1:8080/v1"),
        (["--backend", "http://me:secret@x"], "password"),
        (["small", "--backend", "http://127.0.0.1:9"], "leave out ARTIFACT"),
        (["--backend", "http://127.0.0.1:9", "--weights", "int8"], "leave them out"),
        (["--backend", "http://127.0.0.1:9"], "--backend-model"),
        (["--backend", "http://127.0.0.1:9", "--backend-key-file", "/nowhere"], "mend its path"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], told: str) -> None:
    error = said(words)
    assert "\n" not in error and told in error and "secret" not in error


@pytest.mark.parametrize(
    ("words", "told"),
    [([], "has 2 models (one, two)"), (["--backend-model", "three"], "no 'three' but one, two")],
)
def test_which_of_several_models_must_be_said(words: list[str], told: str) -> None:
    with serving([says(chat("hi"))], TWO) as server:
        assert told in said(["--backend", server.url, *words])


def test_a_key_file_of_two_lines_is_refused_and_not_told(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("one-secret\ntwo-secret\n")
    error = said(["--backend", "http://127.0.0.1:9", "--backend-key-file", str(key)])
    assert f"{key}:1:" in error and "secret" not in error
