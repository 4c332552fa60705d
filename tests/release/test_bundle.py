"""A bundle holds the model as it is, its evidence as it is, and nothing else."""

import json
import subprocess
from pathlib import Path

import pytest
from release.grown import Grown, bundle_of, grow, level

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.cli.export_command import Options, export
from ontogeny.release.bundle import write_bundle
from ontogeny.release.words import Words

WORDS = Words("mit", "A model")


def test_the_models_files_and_the_records_are_copied_byte_for_byte(
    written: Path, life: Grown
) -> None:
    model = life.by_name["chat"]
    for name in model.record.files:
        assert (written / name).read_bytes() == (model.path / name).read_bytes()
    for path in (written / "evidence").iterdir():
        record = life.store.path(path.stem) / "record.json"
        assert path.read_bytes() == record.read_bytes()


def test_everything_that_something_came_from_is_in_the_evidence(written: Path, life: Grown) -> None:
    records = [json.loads(path.read_text()) for path in (written / "evidence").iterdir()]
    names, ids = {each["name"] for each in records}, {each["id"] for each in records}
    assert all(set(each["parents"]) <= ids for each in records)
    assert {"corpus", "tokenizer", "tokens", "base", "chat", "arm", "seed-1/chat"} <= names
    assert "later" not in names and life.by_name["later"].id not in ids


def test_equal_artifacts_and_words_give_equal_bytes(
    life: Grown, written: Path, tmp_path: Path
) -> None:
    again = bundle_of(life, tmp_path / "again")
    for path in written.rglob("*"):
        if path.is_file():
            assert (again / path.relative_to(written)).read_bytes() == path.read_bytes()


def test_sha256sum_agrees(written: Path) -> None:
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    done = subprocess.run(command, cwd=written, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_answer_ends_where_the_model_ends(written: Path) -> None:
    config = json.loads((written / "config.json").read_text())
    generation = json.loads((written / "generation_config.json").read_text())
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert generation[name] == config[name] is not None
    # either would overrule, or warn of, the bound that a caller gives
    assert not generation.keys() & {"max_length", "max_new_tokens"}


def refused(life: Grown, tmp_path: Path, model: str, *measured: str) -> str:
    (tmp_path / "out").mkdir()
    given = [life.by_name[name] for name in measured]
    with pytest.raises(InputError) as caught:
        write_bundle(tmp_path / "out", life.by_name[model], given, WORDS)
    return caught.value.reason


def test_what_is_no_model_has_no_bundle(life: Grown, tmp_path: Path) -> None:
    assert "'corpus' is a corpus, no model" in refused(life, tmp_path, "corpus")


def test_a_card_tells_only_of_what_was_measured(life: Grown, tmp_path: Path) -> None:
    assert "'tokens' is a tokens; a card tells of" in refused(life, tmp_path, "chat", "tokens")


def test_another_life_is_no_evidence(tmp_path: Path, life: Grown) -> None:
    other = Grown(tmp_path / "other")
    other.make("stranger", "model", "pretrain")
    foreign = other.make("measure/x", "measurement", "measure", "stranger")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="measures another life"):
        write_bundle(tmp_path / "out", life.by_name["chat"], [foreign], WORDS)


def test_two_effects_of_one_claim_are_refused(tmp_path: Path) -> None:
    life = grow(tmp_path / "life")
    first = life.by_name["sft.gain"]
    second = life.make(
        "again",
        "effect",
        "effect",
        "measure/base",
        config=first.record.config,
        metrics=first.record.metrics,
    )
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"two effects are of the claim sft\.gain under seed 0"):
        write_bundle(tmp_path / "out", life.by_name["chat"], [first, second], WORDS)


def test_a_damaged_model_is_not_released(tmp_path: Path) -> None:
    from release.grown import grow

    life = grow(tmp_path / "life")
    path = life.by_name["chat"].path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    (tmp_path / "out").mkdir()
    with pytest.raises(CorruptArtifact, match="sha256"):
        write_bundle(tmp_path / "out", life.by_name["chat"], [], WORDS)


def test_names_that_begin_with_a_digit_are_no_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    life = grow(tmp_path / "life")
    life.model("7b", "sft", "base", chats=True)
    metrics = {"exam.score": level(0.25)}
    life.make("7b/measured", "measurement", "measure", "7b", "tokens", metrics=metrics)
    options = Options("hf", tmp_path / "out", None, "other", None)
    export("7b", tmp_path / "life", options)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# A language model\n" in card and "name: 7b/measured" in card
    assert "each as its evidence says" in capsys.readouterr().out
