"""A comparison tells what was really changed: models of known difference, measured and compared."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from conftest import TinyLife

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.events import Events, Memory
from ontogeny.base.files import read_json
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.evaluate.series import level, read_series
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import named_weights
from ontogeny.plan.plan import Plan
from ontogeny.plan.shape import Shape
from ontogeny.run.run import Run
from ontogeny.run.work import Made, Work
from ontogeny.stages.compare import FILE, Compare
from ontogeny.stages.measure import Measure
from ontogeny.stages.train_tokenizer import TrainTokenizer
from ontogeny.text.tokenizer import Tokenizer

PLAN = Plan("1m", 1, 1e9, Shape(512, 32, 2, 2, 2, 16, 64, 32), 1024, 128, 0.01)
ONLY = "model.layers.1.mlp.down_proj.weight"
HOW = ("kl", "kl_reverse", "agree")
EXAM = {"addition-1": 4, "copy-3": 10}


@dataclass(frozen=True)
class Move:
    """A model whose `ONLY` weight moved by `size` of its norm along one direction."""

    size: float
    chats: bool = False

    stage: ClassVar[str] = "move"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model",)
    makes: ClassVar[str] = "model"

    def __call__(self, work: Work, parent: Artifact) -> Made:
        model, _ = bridge.load_model(parent)
        weight = named_weights(model)[ONLY]
        draw = torch.Generator().manual_seed(1)
        step = torch.outer(*(torch.randn(n, generator=draw) for n in weight.shape))
        weight += self.size * step * (weight.norm() / step.norm())
        bridge.save_model(work.payload, model, parent, chats=self.chats)
        return Made()


@dataclass(frozen=True)
class Fresh:
    """An untrained model for the same tokens, perhaps of another shape."""

    hidden: int = 32

    stage: ClassVar[str] = "fresh"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer",)
    makes: ClassVar[str] = "model"

    def __call__(self, work: Work, tokenizer: Artifact) -> Made:
        size = Tokenizer.load(tokenizer.path).vocab_size
        model = Transformer(Shape(size, self.hidden, 2, 2, 1, 16, 64, 64))
        initialise(model, seed=7)
        bridge.save_model(work.payload, model, tokenizer, chats=False)
        return Made()


@dataclass
class Setup:
    """A store with a trained base, two descendants, and measurements of all."""

    store: Store
    run: Callable[..., Artifact]
    models: dict[str, Artifact]
    measured: dict[str, Artifact]
    tokens: Artifact

    def compare(self, before: str, after: str, name: str, **config: Any) -> Artifact:
        models = (self.models[before], self.models[after])
        both = (self.measured[before], self.measured[after])
        return self.run(Compare(**config), *models, *both, self.tokens, name=name)


@pytest.fixture(scope="module")
def setup(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    root = tmp_path_factory.mktemp("compared") / "life"
    shutil.copytree(finished, root)
    store = Store.create(root)
    run: Callable[..., Artifact] = Run(store, PLAN, 0, Events([Memory()]), StopRequest())
    base, tokens = store.resolve("base"), store.resolve("tokens")
    models = {
        "base": base,
        "same": run(Move(0.0), base, name="same"),
        "moved": run(Move(3.0), base, name="moved"),
    }
    stage = Measure(domains=("english",), window=64, exam=EXAM, form="text", max_tokens=4)
    measured = {
        name: run(stage, model, tokens, name=f"measure/{name}") for name, model in models.items()
    }
    return Setup(store, run, models, measured, tokens)


def test_the_one_weight_that_moved_is_named(setup: Setup) -> None:
    value = read_json(setup.compare("base", "moved", "a").file(FILE))
    each = {change["name"]: change for change in value["weights"]["each"]}
    assert {name for name, change in each.items() if change["changed"]} == {ONLY}
    assert each[ONLY]["relative"] == pytest.approx(3.0, rel=1e-5)
    assert each[ONLY]["spectrum"]["stable_rank"] == pytest.approx(1, abs=1e-5)
    assert each[ONLY]["spectrum"]["effective_rank"] == pytest.approx(1, abs=1e-3)
    layers = {group["name"]: group["relative"] for group in value["weights"]["layers"]}
    assert layers.pop("layer 1") > 0
    assert set(layers.values()) == {0.0}


def test_a_model_equal_to_the_bit_shows_no_difference(setup: Setup) -> None:
    found = setup.compare("base", "same", "b")
    value = read_json(found.file(FILE))
    assert value["weights"]["all"]["relative"] == 0
    for each in value["differences"].values():
        assert each["difference"]["low"] == each["difference"]["high"] == 0
    for name, each in value["divergence"].items():
        assert each["estimate"] == (1 if name.endswith("agree") else 0)
    assert value["flips"]["exam.score"] | {"lost": 0, "won": 0} == value["flips"]["exam.score"]
    assert "moved by 0 %" in found.record.summary[0]


def test_damage_is_the_difference_of_the_two_measurements(setup: Setup) -> None:
    found = setup.compare("base", "moved", "a")
    damage = setup.measured["moved"].metric("english.nats") - setup.measured["base"].metric(
        "english.nats"
    )
    assert found.metric("english.nats") == pytest.approx(damage)
    assert found.metric("english.nats") > 0
    assert not found.holds("english.nats", at_most=0.0)
    assert found.metric("english.kl") > 0
    assert 3 <= len(found.record.summary) <= 6
    assert "english" in " ".join(found.record.summary)


def test_divergences_are_kept_by_document_and_prompt(setup: Setup) -> None:
    found = setup.compare("base", "moved", "a")
    series = read_series(found)
    names = {f"{what}.{how}" for what in ("english", "prompts", "answers") for how in HOW}
    assert set(series) == names
    assert level(series["english.kl"], "x").value == pytest.approx(found.metric("english.kl"))
    assert all(unit.startswith("english/") for unit in series["english.kl"].units)
    # one environment was examined with fewer tasks than are asked for here
    assert len(series["prompts.kl"].units) == EXAM["addition-1"] + Compare.tasks
    prompts, answers = series["prompts.kl"], series["answers.kl"]
    assert prompts.units == answers.units
    # an answer is a few tokens and the end of the turn, a prompt holds the question
    assert sum(answers.weights) < sum(prompts.weights)


def test_the_config_says_how_much_is_read(setup: Setup) -> None:
    config = {"documents": 2, "tokens": 10, "exam": ("copy-3",), "tasks": 3}
    series = read_series(setup.compare("base", "moved", "c", **config))
    assert series["english.kl"].weights == [10.0, 10.0]
    assert [unit.split("/")[0] for unit in series["prompts.kl"].units] == ["copy-3"] * 3


@pytest.mark.parametrize("field", ["documents", "tokens", "tasks"])
def test_a_count_below_one_is_refused(field: str) -> None:
    with pytest.raises(InputError, match=f"{field} is 0; give at least 1"):
        Compare(**{field: 0})


def test_a_measurement_of_another_model_is_refused(setup: Setup) -> None:
    base, moved = setup.models["base"], setup.models["moved"]
    measured = (setup.measured["base"], setup.measured["same"])
    with pytest.raises(InputError, match="'measure/same' does not measure 'moved'"):
        setup.run(Compare(), base, moved, *measured, setup.tokens, name="d")


def test_a_domain_that_is_not_held_out_is_refused(setup: Setup) -> None:
    with pytest.raises(InputError, match="nothing of domain 'latin' is held out"):
        setup.compare("base", "moved", "e", domains=("latin",))


def test_the_command_makes_what_is_missing_once_and_prints_a_table(
    setup: Setup, life: TinyLife, tmp_path: Path
) -> None:
    store = tmp_path / "life"
    shutil.copytree(setup.store.root, store)
    command = ("compare", "same", "moved", "--store", str(store))
    first = life.ontogeny(*command)
    assert first.returncode == 0, first.stderr
    assert "compare/same/moved" in first.stderr
    # both were measured alike before, so nothing is measured again
    assert "compare/measure" not in first.stderr
    for word in ("same -> moved", "english", "worse", "exam prompts", "layer 1", "copy-3"):
        assert word in first.stdout
    again = life.ontogeny(*command)
    assert (again.stdout, again.stderr) == (first.stdout, "")
    value = json.loads(life.ontogeny(*command, "--json").stdout)
    assert value["after"] == {"id": setup.models["moved"].id, "name": "moved"}
    assert value["id"] == Store.open(store).resolve("compare/same/moved").id


def test_the_command_measures_models_that_never_were(
    finished: Path, life: TinyLife, tmp_path: Path
) -> None:
    store = Store.create(tmp_path / "life")
    shutil.copytree(finished, store.root, dirs_exist_ok=True)
    run: Callable[..., Artifact] = Run(store, PLAN, 0, Events([Memory()]), StopRequest())
    run(Move(0.5), store.resolve("base"), name="moved")
    done = life.ontogeny("compare", "base", "moved", "--store", str(store.root))
    assert done.returncode == 0, done.stderr
    assert "compare/measure/base" in store.named()
    assert "english" in done.stdout


def test_a_model_that_chats_is_not_examined_as_text(
    setup: Setup, life: TinyLife, tmp_path: Path
) -> None:
    store = Store.create(tmp_path / "life")
    shutil.copytree(setup.store.root, store.root, dirs_exist_ok=True)
    run: Callable[..., Artifact] = Run(store, PLAN, 0, Events([Memory()]), StopRequest())
    run(Move(0.1, chats=True), setup.models["base"], name="talker")
    done = life.ontogeny("compare", "base", "talker", "--store", str(store.root))
    assert done.returncode == 0, done.stderr
    for name in ("base", "talker"):
        config = store.resolve(f"compare/measure/{name}").record.config
        assert config["form"] == "chat"
        assert config["window"] == 64


def test_models_that_do_not_compare_are_refused_before_they_are_measured(
    setup: Setup, life: TinyLife, tmp_path: Path
) -> None:
    store = Store.create(tmp_path / "life")
    shutil.copytree(setup.store.root, store.root, dirs_exist_ok=True)
    run: Callable[..., Artifact] = Run(store, PLAN, 0, Events([Memory()]), StopRequest())
    tokenizer = store.resolve("tokenizer")
    other = run(TrainTokenizer(vocab_size=390), store.resolve("corpus"), name="other-tokenizer")
    run(Fresh(hidden=48), tokenizer, name="wide")
    run(Fresh(), other, name="foreign")
    run(Fresh(), tokenizer, name="unread")
    for name, message in (
        ("wide", "'base' has hidden 32 and 'wide' 48; compare models of one shape"),
        ("foreign", "'base' and 'foreign' have different vocabularies"),
        ("unread", "'base' and 'unread' have no tokens in common"),
    ):
        done = life.ontogeny("compare", "base", name, "--store", str(store.root))
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (("base", "base"), "one and the same model"),
        (("base", "tokens"), "'tokens' is a tokens, no model"),
        (("base", "nothing"), "no artifact is called 'nothing'"),
    ],
)
def test_the_command_tells_a_mistake_in_one_line(
    finished: Path, life: TinyLife, models: tuple[str, str], message: str
) -> None:
    done = life.ontogeny("compare", *models, "--store", str(finished))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
