"""`ontogeny plan` tells the plan of a budget and others' spending, without torch and any store."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ontogeny.cli.plan_command import ASSUMED_BUDGET, plan
from ontogeny.cli.spending_table import WIDTH, large, list_lines, percent, run_lines, split_lines
from ontogeny.plan.budget import parse
from ontogeny.plan.plan import Machine, resolve
from ontogeny.plan.published import Figure, Mixture, PublishedRun, library

RUNS = library().runs
BUDGETS = ("1e11flops", ASSUMED_BUDGET, "1e25flops")
PLANS = {text: resolve(parse(text), Machine(0.0, 0.0, 0.0, 1)) for text in BUDGETS}


def ontogeny(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    """Runs the command line in `at`; the last line of output says whether torch was loaded."""
    script = (
        "import sys\nfrom ontogeny.__main__ import main\n"
        f"sys.argv[1:] = {list(arguments)!r}\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", script]
    return subprocess.run(command, text=True, capture_output=True, check=False, timeout=60, cwd=at)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--like", "deepseek-v3"),
        ("--list",),
        ("--budget", "2e18flops"),
        ("--like", "Llama 3.1 405B", "--budget", "$50", "--json"),
    ],
)
def test_it_needs_no_torch_and_leaves_nothing_behind(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = ontogeny("plan", *arguments, at=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_one_line_with_its_place(tmp_path: Path) -> None:
    for arguments, message in (
        (("--like", "deepsek-v3"), "command line:3: --like deepsek-v3: no such published run"),
        (("--budget", "3x"), "command line:3: --budget '3x' is no budget"),
        (("--list", "--like", "gpt-3"), "command line:2: --list shows all published runs"),
    ):
        done = ontogeny("plan", *arguments, at=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {message}")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.slug)
def test_every_table_fits_the_page_and_shows_where_its_figures_stand(run: PublishedRun) -> None:
    told = run_lines(run)
    lines = [*told, *(line for mine in PLANS.values() for line in split_lines(run, mine))]
    assert max(len(line) for line in lines) <= WIDTH
    stages = [line for line in told for stage in run.stages if line.startswith(stage.name)]
    assert len(stages) >= len(run.stages)
    for stage in run.stages:
        row = next(line for line in stages if line.startswith(stage.name))
        if stage.tokens is None:
            assert "not published" in row
    sources = [line for line in told if line.startswith("  [")]
    listed = " ".join(" ".join(told).split())
    for figure in _figures(run):
        assert figure.source in listed
    cited = {word[1:] for line in told for word in line.split() if _is_mark(word)}
    assert cited <= {line.split("]")[0].strip(" [") for line in sources}


def _figures(run: PublishedRun) -> list[Figure | Mixture]:
    found: list[Figure | Mixture | None] = [run.parameters, run.active_parameters]
    for stage in run.stages:
        found += [stage.tokens, *stage.examples, stage.data, *stage.compute]
    return [figure for figure in found if figure is not None]


def _is_mark(word: str) -> bool:
    return word[0] in "pde" and word[1:].isdigit()


def test_the_list_fits_and_has_every_run() -> None:
    lines = list_lines(RUNS)
    assert max(len(line) for line in lines) <= WIDTH
    assert [line.split()[0] for line in lines[1:-1]] == [run.slug for run in RUNS]


def told(capsys: pytest.CaptureFixture[str], budget: str | None, **options: object) -> str:
    """What the command prints."""
    plan(budget, **{"like": None, "listing": False, "as_json": False, **options})  # type: ignore[arg-type]
    return capsys.readouterr().out


def test_deepseek_v3_stands_beside_ours(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, None, like="deepseek-v3")
    assert "6e13flops assumed" in text
    lines = text.splitlines()
    checked = next(line for line in lines if line.startswith("parameters"))
    assert checked.split() == ["parameters", "671", "B", "p1", "671", "B", "+0.0", "%", "0.5", "%"]
    stage = next(line for line in lines if line.startswith("pretraining"))
    assert "14.8 T p" in stage and "2.664 M H800 h p" in stage and stage.endswith("95.6 % d")
    context = [line for line in lines if line.startswith("context ")][-1].split()
    assert context[0:2] == ["context", "1,024"] and context[6:8] == ["4.27", "%"]
    wash = next(line for line in lines if line.startswith("wash"))
    assert wash.endswith("-  no such stage")
    assert any(line.startswith("post-training ") for line in lines)


def test_what_nobody_published_is_said_and_not_filled(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "1e15flops", like="gpt-4")
    assert "assumed" not in text
    assert "Not published: size, hardware, compute, data" in text
    split = text.split("the same shares for your budget")[1].splitlines()
    rows = [line for line in split if line.startswith(("pretrain", "sft", "grpo"))]
    assert len(rows) == 3 and all(row.endswith("-  not published") for row in rows)


def test_the_plan_is_printed_as_text_and_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "2e18flops")
    values = json.loads(told(capsys, "2e18flops", as_json=True))
    made = resolve(parse("2e18flops"), Machine(0.0, 0.0, 0.0, 1))
    assert values["plan"]["tokens"] == dict(made.tokens)
    assert values["plan"]["machine"] is None
    assert values["parameters"] == made.shape.parameters()
    assert sum(stage["share"] for stage in values["stages"]) == pytest.approx(1)
    assert f"batch of {made.batch_tokens:,} tokens" in text
    rows = [line.split()[0] for line in text.splitlines() if line.endswith(" %")]
    assert rows == list(made.tokens)


def test_json_of_a_published_run_holds_what_the_table_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = json.loads(told(capsys, None, like="instructgpt", as_json=True))
    assert values["budget_assumed"] is True
    assert values["run"]["slug"] == "instructgpt"
    shares = [part["share"] for part in values["spending"]["parts"]]
    assert shares[2] is None and sum(share for share in shares if share) == pytest.approx(1)
    ours = [row["ours"] for row in values["split"]]
    assert ours == values["stages"]
    listed = json.loads(told(capsys, None, listing=True, as_json=True))
    assert len(listed["runs"]) == len(RUNS)


def test_a_budget_in_time_measures_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    values = json.loads(told(capsys, "1m", as_json=True))
    machine = values["plan"]["machine"]
    assert machine["train"] > 0
    assert values["plan"]["flops"] <= 60 * machine["train"]


def test_the_page_quotes_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "plan.md").read_text(encoding="utf-8")
    quoted = [block for block in page.split("```") if block.startswith("\n$ ontogeny plan ")]
    assert len(quoted) == 2
    for block in quoted:
        command, _, output = block.lstrip().partition("\n")
        option, value = command.split()[-2:]
        budget, like = (value, None) if option == "--budget" else (None, value)
        assert output == told(capsys, budget, like=like)


def test_numbers_are_as_long_as_they_deserve() -> None:
    sizes = {14.8e12: "14.8 T", 999_999: "1 M", 27540: "27,540", 24.33: "24.33", 671e9: "671 B"}
    assert {value: large(value) for value in sizes} == sizes
    shares = {0.9555: "95.5 %", 0.0427: "4.27 %", 1.0: "100.0 %", 2e-6: "< 0.01 %", 0.0: "0.00 %"}
    assert {value: percent(value) for value in shares} == shares
