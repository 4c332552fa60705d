"""What a person sees: skipping without torch, show, chat, and one line for every mistake."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TinyLife, payloads

ONE_LINE = re.compile(r"error: [^\n]+:\d+: [^\n]+\n\Z")


def copy(finished: Path, tmp_path: Path) -> Path:
    store = tmp_path / "life"
    shutil.copytree(finished, store)
    return store


def test_a_second_run_skips_everything_within_three_seconds_and_without_torch(
    life: TinyLife, finished: Path
) -> None:
    script = (
        "import sys\nfrom ontogeny.__main__ import main\n"
        f"sys.argv[1:] = {life.command(finished)[3:]!r}\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)\n"
    )
    seconds = []
    for _ in range(3):
        began = _spent_by_children()  # the machine may be busy; what counts is what a run needs
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=life.environment,
            text=True,
            capture_output=True,
            check=True,
        )
        seconds.append(_spent_by_children() - began)
        assert done.stdout.endswith("False\n")
        assert "begins" not in done.stderr
        assert done.stderr.count("exists") == len(list(finished.glob("artifacts/*")))
    assert min(seconds) < 3  # 1.4 where nothing shares the core


def _spent_by_children() -> float:
    """Seconds of processor that finished child processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_show_tells_origin_cost_and_measurement(life: TinyLife, finished: Path) -> None:
    listed = life.ontogeny("show", "--store", str(finished))
    assert listed.stdout.split()[0] == "corpus"
    shown = life.ontogeny("show", "base-bpb", "--store", str(finished))
    assert "english.bpb = " in shown.stdout
    assert "every byte verified" in shown.stdout
    for parent in ("base ", "tokens ", "xz ", "corpus "):
        assert parent in shown.stdout
    record = json.loads(life.ontogeny("show", "base", "--json", "--store", str(finished)).stdout)
    assert record["cost"]["tokens"] == 153_600
    assert record["files"]["model.safetensors"]["size"] > 1000
    rows = json.loads(life.ontogeny("show", "--json", "--store", str(finished)).stdout)
    assert len(rows) == len(list(finished.glob("artifacts/*")))


def test_chat_continues_a_prompt_and_repeats_itself_under_a_seed(
    life: TinyLife, finished: Path
) -> None:
    options = ("--store", str(finished), "--max-tokens", "12")
    first = life.ontogeny("chat", "base", "--prompt", "The people", *options)
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip()
    assert life.ontogeny("chat", "base", "--prompt", "The people", *options).stdout == first.stdout
    piped = life.ontogeny("chat", "base", "--json", *options, stdin="The people\n\nWe <|end|>\n")
    rows = [json.loads(line) for line in piped.stdout.splitlines()]
    assert [row["prompt"] for row in rows] == ["The people", "We <|end|>"]
    assert rows[0]["answer"].strip() == first.stdout.strip()


def test_a_dry_run_prints_the_plan_and_makes_nothing(life: TinyLife, tmp_path: Path) -> None:
    done = life.run(tmp_path / "life", "--dry-run")
    assert done.returncode == 0
    assert "base.peak_lr = 0.01" in done.stderr
    assert payloads(tmp_path / "life") == {}


def test_until_and_from(life: TinyLife, tmp_path: Path) -> None:
    store = tmp_path / "life"
    missing = life.run(store, "--from", "tokens")
    assert missing.returncode == 2
    assert "'corpus' comes before it" in missing.stderr
    assert life.run(store, "--until", "tokens").returncode == 0
    assert {name.split("/")[0] for name in payloads(store)} == {"corpus", "tokenizer", "tokens"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "base.peek_lr=1"), "did you mean 'peak_lr'"),
        (("--set", "bsae.peak_lr=1"), "did you mean 'base'"),
        (("--set", "base.peak_lr=fast"), "Pretrain.peak_lr"),
        (("--set", "base.peak_lr=0"), "give more than 0"),
        (("--set", "tokenizer.vocab_size=1"), "too small"),
        (("--set", "base.batch_tokens=1000000"), "is less than one batch"),
        (("--set", "base.batch_tokens=500"), "no multiple of shape.context"),
        (("--set", "base.weight_decay=NaN"), "give a finite number"),
        (("--set", "base.clip=-1"), "give a norm above 0"),
        (("--set", "base.mixture.latin=1"), "the corpus has english, tasks"),
        (("--set", "corpus.collections="), "there are no collections"),
        (("--store", "/proc/nothing"), "cannot make this directory"),
        (("--until", "bse"), "the recipe has no such stage"),
        (("--budget", "10m"), "--plan replays a plan"),
        (("--budgt", "10m"), "No such option"),
        (("--seed", "x"), "Invalid value"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_2(
    life: TinyLife, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    done = life.run(tmp_path / "life", *options)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines(keepends=True)[-1]
    assert ONE_LINE.fullmatch(last), done.stderr
    assert message in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "quickstrt"), "no recipe 'quickstrt'"),
        (("run", "missing.py"), "no such recipe file"),
        (("run", "quickstart", "--plan", "missing.json"), "no such plan file"),
        (("run", "quickstart", "--budget", "ten"), "is no budget"),
        (("show",), "no store here"),
        (("chat", "base"), "no store here"),
        (("rnu", "quickstart"), "No such command"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(
    life: TinyLife, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    store = ("--store", str(tmp_path / "life")) if arguments[0] != "rnu" else ()
    done = life.ontogeny(*arguments, *store)
    assert done.returncode == 2, done.stderr
    assert ONE_LINE.fullmatch(done.stderr), done.stderr
    assert message in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such"),
        ({}, "no"),
        ({"a.txt": b""}, "a.txt"),
        ({"a.txt": b"\x00\x01\x02\xff" * 1000}, "a.txt"),
        ({"a.jsonl": b'{"text": \n'}, "a.jsonl"),
    ],
)
def test_a_useless_source_is_one_line_that_names_it(
    life: TinyLife, tmp_path: Path, content: dict[str, bytes] | None, message: str
) -> None:
    texts = tmp_path / "my_texts"
    if content is not None:
        texts.mkdir()
        for name, data in content.items():
            (texts / name).write_bytes(data)
    done = TinyLife(texts, life.recipe, life.plan).run(tmp_path / "life")
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines(keepends=True)[-1]
    assert ONE_LINE.fullmatch(last), done.stderr
    assert "my_texts" in last
    assert message in last
    assert "Traceback" not in done.stderr


def test_a_damaged_artifact_ends_with_3_and_names_the_file(
    life: TinyLife, finished: Path, tmp_path: Path
) -> None:
    store = copy(finished, tmp_path)
    base = json.loads((store / "names" / "base.json").read_text())
    victim = store / "artifacts" / base["id"] / "model.safetensors"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    done = life.ontogeny("chat", "base", "--prompt", "x", "--store", str(store))
    assert done.returncode == 3
    assert ONE_LINE.fullmatch(done.stderr)
    assert "model.safetensors" in done.stderr
    victim.write_bytes(data[:-7])
    done = life.run(store)
    assert done.returncode == 3
    assert "expected" in done.stderr


def test_a_second_run_on_the_same_store_is_refused(life: TinyLife, tmp_path: Path) -> None:
    store = tmp_path / "life"
    process = life.start(store)
    try:
        while not (store / "events.jsonl").exists() and process.poll() is None:
            time.sleep(0.01)
        done = life.run(store)
        assert done.returncode == 2
        assert f"another run (pid {process.pid})" in done.stderr
    finally:
        process.kill()
        process.communicate()


def test_text_with_literal_special_tokens_is_learnt_as_text(life: TinyLife, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    shutil.copytree(life.texts, texts)
    for path in texts.iterdir():
        path.write_text(path.read_text() + "\nHe wrote <|end|> and <|endoftext|> and left.\n")
    store = tmp_path / "life"
    done = TinyLife(texts, life.recipe, life.plan).run(store, "--until", "tokens")
    assert done.returncode == 0, done.stderr
    tokens = next(store.glob("artifacts/*/train/english.ids.npy")).read_bytes()
    special = json.loads(next(store.glob("artifacts/*/tokenizer.json")).read_text())
    first_special = min(token["id"] for token in special["added_tokens"])
    ids = [int.from_bytes(tokens[i : i + 2], "little") for i in range(128, len(tokens), 2)]
    assert max(ids) < first_special


def test_two_runs_from_scratch_and_another_hash_seed_give_the_same_bytes(
    life: TinyLife, finished: Path, tmp_path: Path
) -> None:
    store = tmp_path / "life"
    environment = {**life.environment, "PYTHONHASHSEED": "7", "TZ": "Asia/Kathmandu"}
    subprocess.run(life.command(store), env=environment, capture_output=True, check=True)
    assert payloads(store) == payloads(finished)


def test_the_readers_end_is_not_our_error(finished: Path) -> None:
    command = [sys.executable, "-m", "ontogeny", "show", "base", "--store", str(finished)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()
