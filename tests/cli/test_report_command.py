"""`ontogeny report` tells the last run again, from a store alone and without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ontogeny.base.artifact import Record, describe_files
from ontogeny.base.store import Store
from ontogeny.evaluate.claims import Claim
from ontogeny.report.life import Life, Named, write_life

IDENTITY = "0123456789abcdef"
CLAIM = Claim("base.bpb", "against xz", "bits a byte", "at_most", 1.45, null=None)


def ontogeny(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line; the last line of output says whether torch was loaded."""
    script = (
        "import sys\nfrom ontogeny.__main__ import main\n"
        f"sys.argv[1:] = {list(arguments)!r}\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", script]
    return subprocess.run(command, text=True, capture_output=True, check=False, timeout=60)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "life")
    payload = store.work / IDENTITY / "payload"
    payload.mkdir(parents=True)
    effect = {"estimate": 1.40, "low": 1.39, "high": 1.41, "null": 1.76, "target": 1.45}
    words = {"name": "base.bpb", "meaning": "m", "unit": "u", "sense": "at_most", "control": ""}
    record = Record(
        id=IDENTITY,
        name="base.bpb",
        kind="effect",
        stage="effect",
        version=1,
        config={},
        parents=[],
        seed=0,
        metrics={"effect": effect | words},
        summary=[],
        cost={"seconds": 1.0, "tokens": 0.0, "flops": 0.0},
        files=describe_files(payload),
        code="c",
        execution={},
    )
    store.publish(record)
    write_life(store, Life("quickstart", "10m", 0, (Named("base.bpb", IDENTITY),), (CLAIM,)))
    return store


def test_report_prints_the_table_and_names_the_page(store: Store) -> None:
    done = ontogeny("report", "--store", str(store.root))
    page = store.root / "reports" / "quickstart" / "report.html"
    assert done.stdout.splitlines() == [
        "effect    estimate [95 % interval]  target        verdict  seeds",
        "base.bpb  1.400 [1.390, 1.410]      at most 1.45  holds    1",
        f"report in {page}",
        "False",
    ]
    assert "base.bpb" in page.read_text()


def test_report_prints_json(store: Store) -> None:
    done = ontogeny("report", "--json", "--recipe", "quickstart", "--store", str(store.root))
    report = json.loads(done.stdout.removesuffix("False\n"))
    assert report == json.loads((store.root / "reports/quickstart/report.json").read_text())
    assert report["effects"][0]["verdict"] == "holds"


@pytest.mark.parametrize(
    ("damage", "options", "code", "message"),
    [
        ("", ("--recipe", "evidence"), 2, "no run of 'evidence' has left a report"),
        ("", ("--recipe", "../x"), 2, "'../x' is no recipe's name"),
        ("", ("--store", "nowhere"), 2, "no store here"),
        ("reports/quickstart.run.json", (), 3, "not what a run writes"),
        (f"artifacts/{IDENTITY}/record.json", (), 3, "cannot be read"),
    ],
)
def test_a_mistake_is_one_line(
    store: Store, damage: str, options: tuple[str, ...], code: int, message: str
) -> None:
    if damage.startswith("reports"):
        (store.root / damage).write_text("{")
    elif damage:
        (store.root / damage).unlink()
    done = ontogeny("report", "--store", str(store.root), *options)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert message in done.stderr
