"""More seeds of a life: named apart, told apart, and fed with what they share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.events import Events, Memory
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.evaluate.claims import Claim
from ontogeny.plan.plan import Plan
from ontogeny.plan.shape import Shape
from ontogeny.run.recipe import Recipe
from ontogeny.run.request import Request, Setting
from ontogeny.run.run import Run, Span, trace
from ontogeny.run.work import Made, Work

PLAN = Plan("1m", 1, 1e9, Shape(512, 32, 2, 2, 2, 16, 64, 32), {"pretrain": 1024}, 128, 0.01)
FIRST = Claim("x.gain", "one", "nats", "at_least", 0.5)
SECOND = Claim("x.loss", "two", "nats", "at_most", 0.1)


@dataclass(frozen=True)
class Shared:
    """A root stage: the same bytes under every seed."""

    text: str = "shared"

    stage: ClassVar[str] = "shared"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ()
    makes: ClassVar[str] = "text"

    def __call__(self, work: Work) -> Made:
        (work.payload / "text").write_text(self.text)
        return Made()


@dataclass(frozen=True)
class Draw:
    """What a seed draws after its parent's text."""

    size: int = 10

    stage: ClassVar[str] = "draw"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("text",)
    makes: ClassVar[str] = "text"

    def __call__(self, work: Work, text: Artifact) -> Made:
        drawn = work.named_seed("draw") % 10**self.size
        (work.payload / "text").write_text(f"{text.file('text').read_text()} {drawn}")
        return Made()


def life(run: Run) -> None:
    run.expects(FIRST)
    data = run(Shared(), name="data")
    for each in (run, run.seeded(1), run.seeded(2)):
        base = each(Draw(), data, name="base")
        each(Draw(size=5), base, name="arm/base")
    run.seeded(2).expects(SECOND)


NAMES = ["data", "base", "arm/base"] + [
    f"seed-{seed}/{name}" for seed in (1, 2) for name in ("base", "arm/base")
]


class Setup:
    """A store, events in memory, and a way to play a recipe function."""

    def __init__(self, root: Path) -> None:
        self.store = Store.create(root)
        self.memory = Memory()

    def run(self, settings: tuple[str, ...] = (), seed: int = 0, **span: str) -> Run:
        parsed = [Setting.parse(text, 3) for text in settings]
        events, stop = Events([self.memory]), StopRequest()
        return Run(self.store, PLAN, seed, events, stop, parsed, Span(**span))

    def play(
        self,
        settings: tuple[str, ...] = (),
        function: Callable[..., object] = life,
        seed: int = 0,
        **span: str,
    ) -> dict[str, Artifact]:
        made = self.run(settings, seed, **span).play(Recipe("life", Path(__file__), function))
        return dict(made)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path / "life")


def traced(settings: tuple[str, ...] = ()) -> list[Request]:
    parsed = [Setting.parse(text, 3) for text in settings]
    return trace(Recipe("life", Path(__file__), life), PLAN, 0, parsed)


def test_seeds_share_what_is_passed_in_and_make_the_rest_anew(setup: Setup) -> None:
    made = setup.play()
    assert list(made) == NAMES
    assert made["seed-1/base"].record.parents == [made["data"].id]
    assert made["seed-2/arm/base"].record.parents == [made["seed-2/base"].id]
    assert [made[f"{prefix}base"].record.seed for prefix in ("", "seed-1/", "seed-2/")] == [0, 1, 2]
    assert len({each.file("text").read_text() for each in made.values()}) == len(NAMES)
    assert setup.store.resolve("seed-1/base").id == made["seed-1/base"].id


def test_the_trace_knows_the_same_names_and_ids(setup: Setup) -> None:
    made = setup.play()
    assert {each.name: each.id for each in traced()} == {
        name: artifact.id for name, artifact in made.items()
    }


def test_a_seeds_artifacts_are_those_of_a_run_under_that_seed(setup: Setup, tmp_path: Path) -> None:
    """What is shared has the first seed, so only a root of its own would make another."""

    def alone(run: Run) -> None:
        run(Draw(), run.seeded(0)(Shared(), name="data"), name="base")

    made = setup.play()
    other = Setup(tmp_path / "other").play(function=alone, seed=1)
    assert other["base"].id == made["seed-1/base"].id
    assert other["base"].file("text").read_text() == made["seed-1/base"].file("text").read_text()


def test_a_setting_for_a_plain_name_reaches_every_seed(setup: Setup) -> None:
    made = setup.play(("base.size=3", "seed-2/base.size=4"))
    sizes = {name: each.record.config.get("size") for name, each in made.items()}
    assert sizes["base"] == sizes["seed-1/base"] == 3
    assert sizes["seed-2/base"] == 4
    assert sizes["arm/base"] == sizes["seed-2/arm/base"] == 5
    assert [each.stage.size for each in traced(("seed-1/base.size=2",))[1::2]] == [10, 2, 10]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("bse.size=3", "no such stage; did you mean 'base'"),
        ("seed-3/base.size=3", "no such stage; did you mean 'seed-"),
        ("zzz.size=3", r"it has data, base, arm/base, seed-1/base, [^,]*, [^,]*, [^,]*$"),
    ],
)
def test_a_setting_for_no_stage_is_one_line(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        traced((setting,))


def test_claims_stand_in_their_order_wherever_they_were_registered(setup: Setup) -> None:
    run = setup.run()
    run.play(Recipe("life", Path(__file__), life))
    assert [claim["name"] for claim in run.claims] == ["x.gain", "x.loss"]
    assert run.claims[1]["target"] == 0.1


def test_the_span_counts_through_the_seeds(setup: Setup) -> None:
    assert list(setup.play(until="seed-1/base")) == NAMES[:4]
    with pytest.raises(InputError, match="'seed-1/arm/base' comes before it and has not been made"):
        setup.play(begin="seed-2/base")
    setup.play(until="seed-1/arm/base")
    setup.memory.events.clear()
    assert list(setup.play(begin="seed-2/base")) == NAMES
    began = [event["stage"] for event in setup.memory.events if event["event"] == "began"]
    assert began == NAMES[5:]


def test_another_run_skips_all_seeds(setup: Setup) -> None:
    setup.play()
    setup.memory.events.clear()
    setup.play()
    assert [event["event"] for event in setup.memory.events] == ["skipped"] * len(NAMES)
