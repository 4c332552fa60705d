"""A recipe is traced first, then played: skip, resume, stop, and one line for every mistake."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ontogeny.base.artifact import Artifact
from ontogeny.base.config import execution
from ontogeny.base.errors import InputError, NoSpace, Stopped
from ontogeny.base.events import Events, Memory
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.plan.plan import Plan
from ontogeny.plan.shape import Shape
from ontogeny.run.recipe import Recipe, load
from ontogeny.run.request import Setting
from ontogeny.run.run import Run, Span, trace
from ontogeny.run.work import Made, Work

PLAN = Plan("1m", 1, 1e9, Shape(512, 32, 2, 2, 2, 16, 64, 32), 1024, 128, 0.01)


@dataclass(frozen=True)
class Write:
    """A root stage that writes one file."""

    text: str = "x"
    workers: int = execution(1)

    stage: ClassVar[str] = "write"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ()
    makes: ClassVar[str] = "text"

    def __call__(self, work: Work) -> Made:
        (work.payload / "text").write_text(self.text)
        return Made(metrics={"length": len(self.text)}, summary=(self.text,), tokens=1)


@dataclass(frozen=True)
class Count:
    """Counts to `to`, a checkpoint each time; stops when told to."""

    to: int = 3
    stop_at: int = execution(-1)

    stage: ClassVar[str] = "count"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("text",)
    makes: ClassVar[str] = "number"

    def __call__(self, work: Work, text: Artifact) -> Made:
        place = work.checkpoints / "place"
        start = int(place.read_text()) if place.exists() else 0
        with work.checkpointing() as stop:
            for number in range(start, self.to):
                if number == self.stop_at:
                    stop.requested = True
                    return Made()
                place.write_text(str(number + 1))
                work.log("counted", number=number)
        (work.payload / "number").write_text(text.file("text").read_text() * self.to)
        return Made(metrics={"number": self.to})


class Setup:
    """A store, events in memory, and a way to play a recipe function."""

    def __init__(self, root: Path) -> None:
        self.store = Store.create(root)
        self.memory = Memory()

    def play(
        self, function: Callable[..., object], settings: tuple[str, ...] = (), **options: str
    ) -> list[Artifact]:
        recipe = Recipe("test", Path(__file__), function)
        parsed = [Setting.parse(text, 3) for text in settings]
        trace(recipe, PLAN, 0, parsed)
        run = Run(
            self.store, PLAN, 0, Events([self.memory]), StopRequest(), parsed, Span(**options)
        )
        return [artifact for _, artifact in run.play(recipe)]

    def kinds(self) -> list[str]:
        kinds = [event["event"] for event in self.memory.events]
        self.memory.events.clear()
        return kinds


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path / "life")


def two(run: Run) -> Artifact:
    text = run(Write("ab"), name="text")
    return run(Count(3), text, name="number")


def test_a_second_run_skips_everything(setup: Setup) -> None:
    first = setup.play(two)
    assert setup.kinds().count("published") == 2
    second = setup.play(two)
    assert setup.kinds() == ["skipped", "skipped"]
    assert [a.id for a in first] == [a.id for a in second]
    assert first[1].file("number").read_text() == "ababab"
    assert first[1].record.parents == [first[0].id]


def test_identity_changes_make_a_new_artifact_and_leave_the_old(setup: Setup) -> None:
    old = setup.play(two)
    new = setup.play(two, ("text.text=cd",))
    assert {a.id for a in old}.isdisjoint({a.id for a in new})
    assert setup.store.get(old[0].id).file("text").read_text() == "ab"
    assert setup.store.resolve("text").file("text").read_text() == "cd"


def test_execution_changes_do_not(setup: Setup) -> None:
    assert setup.play(two)[0].id == setup.play(two, ("text.workers=7",))[0].id


def test_a_stopped_stage_goes_on_where_it_was(setup: Setup) -> None:
    with pytest.raises(Stopped):
        setup.play(two, ("number.stop_at=2",))
    assert setup.kinds().count("counted") == 2
    made = setup.play(two)
    assert setup.kinds().count("counted") == 1
    assert made[1].file("number").read_text() == "ababab"
    assert not list(setup.store.work.iterdir())


def test_half_finished_work_of_another_request_is_not_continued_and_the_field_is_named(
    setup: Setup,
) -> None:
    with pytest.raises(Stopped):
        setup.play(two, ("number.stop_at=2",))
    setup.memory.events.clear()
    setup.play(two, ("number.to=4",))
    told = [event for event in setup.memory.events if event["event"] == "not_continued"]
    assert [event["differs"] for event in told] == [["config.to"]]
    assert setup.kinds().count("counted") == 4


def test_until_ends_after_the_stage_and_from_needs_what_comes_before(setup: Setup) -> None:
    with pytest.raises(InputError, match="'text' comes before it and has not been made"):
        setup.play(two, begin="number")
    assert [a.name for a in setup.play(two, until="text")] == ["text"]
    assert [a.name for a in setup.play(two, begin="number")] == ["text", "number"]


def test_the_trace_refuses_what_can_be_known_to_be_wrong(setup: Setup) -> None:
    def same_name(run: Run) -> None:
        run(Write("a"), name="a")
        run(Write("b"), name="a")

    def wrong_parent(run: Run) -> None:
        number = run(Count(), run(Write(), name="a"), name="b")
        run(Count(), number, name="c")

    def bad_name(run: Run) -> None:
        run(Write(), name="../a")

    def no_stage(run: Run) -> None:
        del run

    for function, message in (
        (same_name, "two stages are called 'a'"),
        (wrong_parent, r"Count takes \(text\), not \(number\)"),
        (bad_name, "'../a' is no name"),
        (no_stage, "the recipe runs no stage"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            setup.play(function)
        assert caught.value.file == __file__
        if function is not no_stage:
            line = Path(__file__).read_text().splitlines()[caught.value.line - 1]
            assert "run(" in line
    assert setup.kinds() == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("txt.text=x", "the recipe has no such stage; did you mean 'text'"),
        ("text.txt=x", "no field 'txt' in Write; did you mean 'text'"),
        ("text.workers=many", "Write.workers"),
        ("nonsense", "not of the form stage.field=value"),
    ],
)
def test_a_wrong_setting_is_one_line_at_its_place(setup: Setup, setting: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        setup.play(two, (setting,))
    assert str(caught.value).startswith("command line:3: ")


def test_free_space_is_checked_before_a_stage(setup: Setup) -> None:
    @dataclass(frozen=True)
    class Huge(Write):
        def disk_bytes(self) -> int:
            return 10**20

    with pytest.raises(NoSpace, match="needs 100,000,000,000,067 MB"):
        setup.play(lambda run: run(Huge(), name="huge"))
    assert not list(setup.store.artifacts.iterdir())


def test_promises_hold_nothing_so_the_longest_path_is_traced(setup: Setup) -> None:
    def loop(run: Run) -> None:
        for number in range(3):
            made = run(Write("a" * (number + 1)), name=f"a/{number}")
            if made.holds("length", at_least=2):
                break

    requests = trace(Recipe("loop", Path(__file__), loop), PLAN, 0, [])
    assert [request.name for request in requests] == ["a/0", "a/1", "a/2"]
    assert [artifact.name for artifact in setup.play(loop)] == ["a/0", "a/1"]


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("def r(run):\n    return runn()\n", 2, "NameError"),
        ("def r(run)\n    pass\n", 1, "expected ':'"),
        ("import nothing_like_this\n", 1, "ModuleNotFoundError"),
        (
            "from ontogeny.stages.encode import Encode\ndef r(run):\n\n    Encode(speed=3)\n",
            4,
            "TypeError",
        ),
        ("x = 1\n", 1, "no function 'r(run)' here"),
        (
            "from pathlib import Path\ndef r(run):\n    Path('nothing').read_text()\n",
            3,
            "FileNotFoundError",
        ),
        (
            "from ontogeny.stages.prepare import Prepare\ndef r(run):\n"
            "    run(Prepare(tasks='many'), name='c')\n",
            3,
            "TypeError",
        ),
        (
            "from ontogeny.stages.prepare import Prepare\ndef r(run):\n"
            "    run(Prepare(tasks=2.5), name='c')\n",
            3,
            "Prepare.tasks",
        ),
    ],
)
def test_a_mistake_in_a_recipe_names_its_line(
    tmp_path: Path, source: str, line: int, message: str
) -> None:
    path = tmp_path / "r.py"
    path.write_text(source)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        trace(load(str(path)), PLAN, 0, [])
    assert (caught.value.file, caught.value.line) == (str(path), line)


OWN_STAGE = """
from dataclasses import dataclass
from typing import ClassVar
from ontogeny.run.work import Made

@dataclass(frozen=True)
class Hello:
    stage: ClassVar[str] = "hello"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ()
    makes: ClassVar[str] = "greeting"

    def __call__(self, work):
        (work.payload / "hello").write_text("hello")
        return Made()

def r(run):
    return run(Hello(), name="hello")
"""


def test_a_recipe_may_define_a_stage_of_its_own(tmp_path: Path, setup: Setup) -> None:
    path = tmp_path / "r.py"
    path.write_text(OWN_STAGE)
    recipe = load(str(path))
    assert setup.play(recipe.function)[0].file("hello").read_text() == "hello"
    assert recipe.key.startswith("r-")
    assert load("quickstart").key == "quickstart"


def test_the_clock_counts_the_sessions_before_a_stop(tmp_path: Path) -> None:
    first = Work("x", tmp_path, 0, Events(), StopRequest())
    spent = first.seconds()
    first.keep_clock()
    assert Work("x", tmp_path, 0, Events(), StopRequest()).seconds() >= spent > 0


def test_a_record_knows_its_settings_without_execution_and_with_what_files_held(
    tmp_path: Path,
) -> None:
    """So two measurements can be told to have been made alike, wherever their files lay."""

    @dataclass(frozen=True)
    class Copy(Write):
        file: str = execution("")

        def identity(self) -> dict[str, str]:
            return {"file": Path(self.file).read_text()}

    def settings(**fields: Any) -> str:
        fresh = Setup(tmp_path / f"life{len(list(tmp_path.iterdir()))}")
        made = fresh.play(lambda run: run(Copy(**fields), name="copy"))[-1]
        return str(made.record.execution["settings"])

    here, there, other = (str(tmp_path / name) for name in ("a", "b", "c"))
    for path, text in ((here, "same"), (there, "same"), (other, "else")):
        Path(path).write_text(text)
    assert settings(file=here) == settings(file=there, workers=9)
    assert len({settings(file=here), settings(file=other), settings(file=here, text="y")}) == 3


def test_the_record_seals_request_cost_and_versions(setup: Setup) -> None:
    artifact = setup.play(two)[1]
    record = json.loads((artifact.path / "record.json").read_text())
    assert record["config"] == {"to": 3, "stop_at": -1}
    assert record["cost"]["seconds"] > 0
    assert {"host", "python", "versions", "peak_memory_bytes"} <= record["execution"].keys()
    assert len(record["code"]) == 64
