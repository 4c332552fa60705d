"""`ontogeny eval`: a table of suites, each measured once; killed anywhere, it goes on."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import payloads
from support.bench import Bench, sometimes_right
from support.suites import ROWS, examples

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.store import Store
from ontogeny.bridge.models import save_model
from ontogeny.cli.app import run_app
from ontogeny.evaluate.suite import SUITES


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    save_model(made.payload(), sometimes_right(160), made.tokenizer, chats=True)
    made.store.set_name("small", made.keep("sft", "model").id)
    return made


def model(bench: Bench) -> Artifact:
    return bench.store.resolve("small")


def run(bench: Bench, *arguments: str) -> int:
    return run_app(["eval", *arguments, "--store", str(bench.store.root)])


def spec(bench: Bench, name: str) -> str:
    return f"{name}={bench.rows(f'eval/{name}.jsonl', ROWS[name])}"


def test_a_suite_is_measured_once_and_another_is_added(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    run(bench, "small", "--suite", spec(bench, "arc_easy"))
    first = capsys.readouterr()
    assert "done in" in first.err
    head, row = first.out.splitlines()
    assert head.split()[-4:] == ["%", "interval]", "acc_norm", "nats"]
    assert row.split()[:3] == ["arc_easy", "8", "ours"] and row.count("%") == 2
    assert re.search(r"%.*%.*\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]$", row)
    run(bench, "small", "--suite", spec(bench, "arc_easy"), "--suite", spec(bench, "boolq"))
    second = capsys.readouterr()
    assert second.err.count("exists") == 1 and second.err.count("done in") == 1
    table = second.out.splitlines()
    assert table[1].split() == row.split()
    assert re.search(r"^boolq .*\]  - +\d+\.\d\d \[", table[2])
    name = model(bench).name
    assert {f"eval/{name}/arc_easy", f"eval/{name}/boolq"} <= set(bench.store.named())


def test_the_table_tells_perplexity_and_the_flexible_score(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [w for name in ("lambada_openai", "gsm8k") for w in ("--suite", spec(bench, name))]
    run(bench, "small", *words, "--max-tokens", "6", "--json")
    told = {row["suite"]: row["ours"] for row in json.loads(capsys.readouterr().out)["suites"]}
    run(bench, "small", *words, "--max-tokens", "6")
    _, lambada, gsm8k = capsys.readouterr().out.splitlines()
    nats = told["lambada_openai"]["nats"]["estimate"]
    assert f" {nats:.2f} [" in lambada
    assert lambada.endswith(f", perplexity {math.exp(nats):.4g}")
    assert f" flexible {100 * told['gsm8k']['flexible']['estimate']:.1f} % [" in gsm8k
    assert gsm8k.endswith(" -")


def test_both_ways_stand_side_by_side(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lm_eval")
    options = ("--through", "both", "--limit", "5", "--suite", spec(bench, "hellaswag"))
    run(bench, "small", *options)
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in out[1:3]] == ["ours", "lm_eval"]
    assert out[1].split()[3:] == out[2].split()[3:] and out[1].split()[1] == "5"
    assert "differ in 0 verdicts, in log-probabilities by at most 0.0e+00" in out[3]
    run(bench, "small", *options, "--json")
    told = json.loads(capsys.readouterr().out)
    (row,) = told["suites"]
    assert row["verdicts_that_differ"] == 0 and row["ours"]["id"] != row["lm_eval"]["id"]
    assert row["ours"]["right"] == row["lm_eval"]["right"]


def test_examples_make_another_measurement(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = bench.rows("train/mine.jsonl", examples("mine"))
    run(bench, "small", "--suite", spec(bench, "mine"), "--shots", "1", "--shots-from", str(shown))
    assert ", 1 examples" in capsys.readouterr().err
    also = ("--suite", spec(bench, "boolq"), "--shots-from", f"boolq={shown}")
    with pytest.raises(InputError, match="nothing for mine"):
        run(bench, "small", "--suite", spec(bench, "mine"), *also, "--shots", "1")
    assert f"eval/{model(bench).name}/mine-1-shot" in bench.store.named()


def test_the_list_tells_every_suite_its_columns_and_prompt(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    run(bench, "--list")
    out = capsys.readouterr().out
    assert all(f"--suite {name}=FILE: " in out for name in SUITES)
    assert 'prompt   "Question: {question}\\nAnswer:"' in out
    run(bench, "--list", "--json")
    assert len(json.loads(capsys.readouterr().out)) == len(SUITES) + 2


def test_mistakes_are_one_line_and_publish_nothing(bench: Bench) -> None:
    good = spec(bench, "mine")
    for arguments, reason in (
        (("small",), "name a model and at least one suite"),
        (("absent", "--suite", good), "no artifact is called 'absent'"),
        ((bench.tokenizer.id, "--suite", good), "is a tokenizer, no model"),
        (("small", "--suite", good, "--through", "helm"), "give ours, lm_eval, both"),
        (("small", "--suite", good, "--shots", "1"), "--shots 1 needs --shots-from FILE"),
        (("small", "--suite", good, "--shots-from", good), "--shots-from needs --shots N"),
        (("small", "--suite", good, "--suite", good), "a second suite is called mine"),
        (("small", "--suite", "arc_easy="), "no file behind arc_easy="),
        (("small", "--suite", "arc_esy=a.jsonl"), "did you mean arc_easy"),
        (("small", "--suite", str(bench.root)), "a directory"),
        (("small", "--suite", str(bench.root / "absent.jsonl")), "no such file"),
    ):
        with pytest.raises(InputError, match=reason):
            run(bench, *arguments)
    assert set(bench.store.named()) == {"small"}


def test_a_mistake_is_told_at_the_suite_that_it_is_in(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = spec(bench, "mine")
    words = [
        "eval",
        "small",
        "--suite",
        good,
        "--suite=arc_esy=a",
        "--store",
        str(bench.store.root),
    ]
    monkeypatch.setattr(sys, "argv", ["ontogeny", *words])
    with pytest.raises(InputError, match="did you mean") as caught:
        run_app(words)
    assert str(caught.value).startswith("command line:5: ")


def test_a_fault_in_a_later_suite_is_found_before_the_first_is_measured(bench: Bench) -> None:
    good, wrong = spec(bench, "mine"), bench.rows("eval/wrong.jsonl", ROWS["mine"][:1])
    for later, reason in (
        (f"piqa={wrong}", "piqa takes columns"),
        (f"piqa={bench.root / 'absent.jsonl'}", "no such file"),
    ):
        with pytest.raises(InputError, match=reason):
            run(bench, "small", "--suite", good, "--suite", later)
    assert set(bench.store.named()) == {"small"}
    assert not list(bench.store.work.iterdir())


@pytest.mark.interrupt
def test_killed_at_any_point_it_ends_with_the_bytes_of_an_undisturbed_one(bench: Bench) -> None:
    rows = [
        {**row, "query": f"{n} and {row['query']} " * 8} for n in range(40) for row in ROWS["mine"]
    ]
    path = bench.rows("eval/mine.jsonl", rows)
    command = [sys.executable, "-m", "ontogeny", "eval", "small", "--suite", f"mine={path}"]
    command += ["--store", str(bench.store.root)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    sizes = []
    for _ in range(2):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        before = sizes[-1] if sizes else 0
        while process.poll() is None and log_size(bench.store) <= before:
            time.sleep(0.002)
        process.kill()
        process.wait()
        sizes.append(log_size(bench.store))
    assert sizes[0] > 0
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "goes on" in done.stderr
    found = payloads(bench.store.root)
    (measured,) = (each for each in bench.store.all()[0] if each.record.kind == "measurement")
    bytes_ = {name: measured.file(name).read_bytes() for name in measured.record.files}
    again = Store.create(bench.root / "again")
    for artifact in bench.store.all()[0]:
        if artifact.record.kind != "measurement":
            os.rename(artifact.path, again.path(artifact.id))
    command[command.index("small")] = model_id(again)
    command[-1] = str(again.root)
    subprocess.run(command, env=environment, capture_output=True, check=True)
    undisturbed = again.get(measured.id)
    assert {name: undisturbed.file(name).read_bytes() for name in bytes_} == bytes_
    assert found and not list((bench.store.work).glob("*/checkpoints"))


def log_size(store: Store) -> int:
    return sum(path.stat().st_size for path in store.work.glob("*/checkpoints/answers.jsonl"))


def model_id(store: Store) -> str:
    return next(each.id for each in store.all()[0] if each.record.kind == "model")
