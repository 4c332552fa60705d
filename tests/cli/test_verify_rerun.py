"""`ontogeny verify --rerun`: a measurement of a card is made again and comes to the same."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import TinyLife

from ontogeny.base import config as configs
from ontogeny.base.errors import InputError
from ontogeny.base.identity import digest
from ontogeny.cli.rerun import Again, Number
from ontogeny.cli.stage_named import STAGES, stage_named, stages_in

EXAM = "measure/grpo"


@pytest.fixture(scope="module")
def bundle(life: TinyLife, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny life's last model, as a user exports it."""
    out = tmp_path_factory.mktemp("rerun") / "grpo-hf"
    done = life.ontogeny("export", "grpo", "--out", str(out), "--store", str(finished))
    assert done.returncode == 0, done.stderr
    return out


def test_the_same_measurement_is_equal_to_the_last_bit(
    life: TinyLife, bundle: Path, finished: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    told = ("--store", str(finished), "--rerun", EXAM, "--rerun", "own/exam")
    done = life.ontogeny("verify", str(bundle), *told)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("rerun")]
    assert len(lines) == 2
    for line, name in zip(lines, (EXAM, "own/exam"), strict=True):
        assert line.startswith(f"rerun     {name} (")
        assert line.endswith("numbers and every byte as recorded")
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_one_that_reads_the_model_alone_needs_no_store(life: TinyLife, bundle: Path) -> None:
    done = life.ontogeny("verify", str(bundle), "--rerun", "safety", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (again,) = json.loads(done.stdout)["rerun"]
    assert again["same"] is True and again["name"] == "safety" and again["numbers"] > 0
    done = life.ontogeny("verify", str(bundle), "--rerun", EXAM)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "it reads tokens (" in done.stderr and "name its store by --store" in done.stderr


def reseal(store: Path, name: str, metric: str) -> Path:
    """A copy of a store in which one artifact says another number, its seal made to fit."""
    identity = json.loads((store / "names" / f"{name}.json").read_text())["id"]
    path = store / "artifacts" / identity / "record.json"
    values = json.loads(path.read_text())
    values.pop("seal")
    values["metrics"][metric]["estimate"] += 0.25
    path.write_text(json.dumps(values | {"seal": digest(values)}))
    return path


def test_a_number_that_is_not_what_is_measured_is_named(
    life: TinyLife, finished: Path, tmp_path: Path
) -> None:
    """Sealed, signed, consistent in itself: only measuring again finds it."""
    store = Path(shutil.copytree(finished, tmp_path / "life"))
    reseal(store, EXAM, "exam.score")
    out = tmp_path / "grpo-hf"
    done = life.ontogeny("export", "grpo", "--out", str(out), "--store", str(store))
    assert done.returncode == 0, done.stderr
    told = ("--store", str(store), "--rerun", EXAM)
    done = life.ontogeny("verify", str(out), *told)
    assert done.returncode == 1
    assert "1 of " in done.stdout and "numbers differ" in done.stdout
    assert "exam.score/estimate: " in done.stdout


MISTAKES = {
    "no such name": ("nothing", "no record is called 'nothing'; the bundle has measurements"),
    "a model": ("grpo", "'grpo' is a model; give a measurement"),
}


@pytest.mark.parametrize(("name", "reason"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line(life: TinyLife, bundle: Path, name: str, reason: str) -> None:
    done = life.ontogeny("verify", str(bundle), "--rerun", name)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert reason in done.stderr


def test_what_differs_is_told_with_what_may_explain_it() -> None:
    inside = Number("exam.score/estimate", 0.63, 0.61, True)
    outside = Number("exam.form/estimate", 0.9, 0.1, False)
    other = {"threads": ("all", "1")}
    again = Again("exam", "ab", 1.0, 9, (inside, outside), ("series.json",), other, True)
    assert list(again.lines()) == [
        "exam (ab) again in 1.0 s: 2 of 9 numbers differ",
        "  exam.score/estimate: 0.63 -> 0.61, inside its interval",
        "  exam.form/estimate: 0.9 -> 0.1, OUTSIDE its interval",
        "  other bytes in series.json",
        "  execution: threads was all, is 1",
    ]


def test_a_difference_without_a_reason_is_told_as_one() -> None:
    other = Number("exam.score/estimate", 0.63, 0.61, True)
    lines = list(Again("exam", "ab", 1.0, 9, (other,), (), {}, False).lines())
    assert lines[-1] == "  nothing of what is recorded of the execution differs"
    assert "the order of settings was not kept" in lines[-2]


def test_a_stage_is_found_without_importing_the_others(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "raise SystemExit\nclass A:\n    stage: ClassVar[str] = 'mine'\n"
    )
    assert stages_in(tmp_path / "wrong.py") == {"mine": "A"}
    assert stage_named("measure").__name__ == "Measure"
    with pytest.raises(InputError, match="'nothing' is no stage of ontogeny's"):
        stage_named("nothing")


def test_every_stage_of_ours_is_found_by_its_name() -> None:
    found = [name for path in STAGES.glob("*.py") for name in stages_in(path)]
    assert len(found) == len(set(found)) > 40
    for path in STAGES.glob("*.py"):
        text = path.read_text()
        assert text.count("stage: ClassVar[str]") == len(stages_in(path)), path


def test_the_order_of_settings_is_kept_where_sorting_would_lose_it() -> None:
    """The same questions in another order are other bytes, though identity is the same."""
    values = {"b": 1, "a": [{"d/e": {"z": 1, "y": 2}, "c": 0}], "f": {"g": 1, "h": 2}}
    order = configs.key_order(values)
    assert order == {"": ["b", "a", "f"], "/a/0": ["d/e", "c"], "/a/0/d~1e": ["z", "y"]}
    stored = json.loads(json.dumps(values, sort_keys=True))
    assert json.dumps(stored) != json.dumps(values)
    assert json.dumps(configs.in_order(stored, order)) == json.dumps(values)
    assert configs.key_order({"a": 1, "b": {"c": 1}}) == {}
    assert configs.in_order({"a": 1}, {"": ["gone", "a"]}) == {"a": 1}
