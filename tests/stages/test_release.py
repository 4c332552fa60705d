"""Release makes a bundle of a whole life; what its card says can be measured again."""

import json
import shutil
from pathlib import Path
from typing import cast

import pytest

from ontogeny.base.artifact import Artifact
from ontogeny.base.config import from_dict, identity_dict
from ontogeny.base.errors import InputError
from ontogeny.base.events import Events
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.plan.plan import Plan
from ontogeny.release.check import check_bundle
from ontogeny.run.run import Run
from ontogeny.stages.measure import Measure
from ontogeny.stages.measure_serving import MeasureServing
from ontogeny.stages.release import Release

NO_PLAN = cast(Plan, None)


@pytest.fixture(scope="module")
def store(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A copy of the tiny life to go on with."""
    return Store.open(Path(shutil.copytree(finished, tmp_path_factory.mktemp("copy") / "life")))


def playing(store: Store) -> Run:
    return Run(store, NO_PLAN, 0, Events(), StopRequest())


@pytest.fixture(scope="module")
def released(store: Store) -> Artifact:
    names = ("measure/grpo", "drift", "compare", "effect")
    measured = [store.resolve(name) for name in names]
    stage = Release(
        license="apache-2.0",
        title="A tiny life",
        about="Right: {{ measure/grpo exam.score .1% }}",
        languages=("en",),
        claims=("base.bpb", "sft.format"),
    )
    return playing(store)(stage, store.resolve("grpo"), *measured, name="release")


def exported(released: Artifact, directory: Path) -> Path:
    directory.mkdir()
    for name in released.record.files:
        (directory / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(released.file(name), directory / name)
    return directory


def test_a_recipe_makes_a_bundle(released: Artifact, store: Store, tmp_path: Path) -> None:
    assert (released.record.kind, released.record.stage) == ("bundle", "release")
    checks = {
        each.name: each.count for each in check_bundle(exported(released, tmp_path / "x"), store)
    }
    assert checks["files"] == released.metric("files")
    assert checks["card"] == released.metric("cited")


def test_the_card_tells_the_whole_life(released: Artifact) -> None:
    card = (released.path / "README.md").read_text()
    for stage in ("pretrain", "extend\\_context", "sft", "wash", "dpo", "grpo"):
        assert f"| [{stage}](evidence/" in card
    assert "Claimed in advance and untested: `sft.format`." in card
    assert "### What the last stage changed: [compare]" in card
    assert "### What the last stage changed: [drift]" in card


def test_the_same_release_is_made_once(released: Artifact, store: Store) -> None:
    stage = from_dict(Release, released.record.config)
    parents = [store.get(each) for each in released.record.parents]
    again = playing(store)(stage, *parents, name="release")
    assert again.record.execution == released.record.execution


def test_a_measurement_made_again_from_the_card_gives_the_same_numbers(
    released: Artifact, store: Store, tmp_path: Path
) -> None:
    cited = store.resolve("measure/grpo")
    record = json.loads((released.path / f"evidence/{cited.id}.json").read_text())
    fresh = Store.open(Path(shutil.copytree(store.root, tmp_path / "life")))
    shutil.rmtree(fresh.path(cited.id))
    parents = [fresh.get(each) for each in record["parents"]]
    again = playing(fresh)(from_dict(Measure, record["config"]), *parents, name="again")
    assert again.id == cited.id
    assert again.record.metrics == record["metrics"]
    assert again.record.files == record["files"]  # every answer and every score


def test_a_recipe_is_told_of_a_bare_number_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"the number '0\.97' has no evidence"):
        Release(license="mit", title="A model", about="It scores 0.97.")


def test_what_says_nothing_of_a_model_is_no_parent(store: Store) -> None:
    stage = Release(license="mit", title="A model")
    with pytest.raises(InputError, match="Release takes"):
        playing(store)(stage, store.resolve("grpo"), store.resolve("tokens"), name="wrong")


def test_what_came_later_is_no_part_of_a_config_that_does_not_say_it() -> None:
    before = {"license": "mit", "title": "A model", "about": "", "languages": [], "claims": []}
    assert identity_dict(Release(license="mit", title="A model")) == before


@pytest.fixture(scope="module")
def tried(store: Store) -> Artifact:
    """A release of the last model, with what was tried on it and how fast it answers."""
    serving = MeasureServing(clients=(2,), requests=1, prompt_tokens=8, answer_tokens=8, rounds=1)
    playing(store)(serving, store.resolve("grpo"), name="serving")
    names = ("safety", "attacked", "attacks", "serving", "measure/grpo")
    stage = Release(
        license="mit",
        title="A tiny life",
        policy="# Policy\n\nAsk whoever gave it to you.\n",
        price_per_hour=3.6,
        currency="EUR",
    )
    measured = [store.resolve(name) for name in names]
    return playing(store)(stage, store.resolve("grpo"), *measured, name="tried")


def test_what_was_tried_is_on_a_system_card(tried: Artifact, store: Store, tmp_path: Path) -> None:
    counts = {
        each.name: each.count for each in check_bundle(exported(tried, tmp_path / "x"), store)
    }
    assert counts["card"] == tried.metric("cited")
    text = (tried.path / "SYSTEM_CARD.md").read_text()
    for name in ("safety", "attacked", "attacks"):
        assert f"### [{name}](evidence/{store.resolve(name).id}.json" in text
    safety = store.resolve("safety").metrics["harmful.refusal"]
    assert f"[{safety['estimate']:.2f}](evidence/{store.resolve('safety').id}.json" in text


def test_a_price_of_a_million_tokens_follows_from_the_speed(tried: Artifact, store: Store) -> None:
    record = store.resolve("serving").record
    speed = record.execution["speeds"]["2.tokens_per_second"]
    price = 3.6 * 1e6 / speed / 3600
    text = (tried.path / "COSTS.md").read_text()
    form = ",.2f" if price >= 1 else ".2g"
    cited = f'(evidence/{record.id}.json "million:execution/speeds/2.tokens_per_second {form}")'
    assert f"[{price:{form}}]{cited}" in text


def test_a_policy_of_ones_own_is_no_draft(tried: Artifact, released: Artifact) -> None:
    assert (tried.path / "USAGE_POLICY.md").read_text().startswith("# Policy\n")
    assert "It is a draft" not in (tried.path / "README.md").read_text()
    assert "It is a draft" in (released.path / "README.md").read_text()
