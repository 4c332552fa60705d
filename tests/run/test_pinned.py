"""A plan is measured once for a recipe and a budget, pinned, and only then read."""

from pathlib import Path

import pytest

from ontogeny.base.errors import InputError
from ontogeny.base.files import write_json
from ontogeny.base.store import Store
from ontogeny.plan.budget import parse
from ontogeny.plan.plan import Machine, Plan, resolve
from ontogeny.run.pinned import pinned_plan


class Bench:
    """Measures a machine that gets faster each time it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> Machine:
        self.asked += 1
        return Machine(matmul_peak=2e11, train=1e11 * 4**self.asked, decode=1e3, processors=2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "life")


def plan(
    store: Store,
    bench: Bench,
    budget: str | None = None,
    file: Path | None = None,
    replan: bool = False,
) -> Plan:
    return pinned_plan(store, "quickstart", budget, file, replan, bench)


def test_the_machine_is_measured_once_for_each_budget(store: Store) -> None:
    bench = Bench()
    first = plan(store, bench)
    assert first.budget == "10m"
    assert plan(store, bench) == first
    assert plan(store, bench, "10m") == first
    assert bench.asked == 1
    other = plan(store, bench, "2m")
    assert bench.asked == 2
    assert plan(store, bench) == other, "without a budget the last one is meant"
    assert plan(store, bench, "10m") == first
    assert bench.asked == 2


def test_replan_measures_again(store: Store) -> None:
    bench = Bench()
    first = plan(store, bench)
    second = plan(store, bench, replan=True)
    assert second.rung > first.rung
    assert plan(store, bench) == second


def test_a_plan_file_is_replayed_without_measuring(store: Store, tmp_path: Path) -> None:
    bench = Bench()
    wanted = resolve(parse("3h"), Machine(1e12, 1e12, 1, 1))
    write_json(tmp_path / "plan.json", wanted.to_dict())
    assert plan(store, bench, file=tmp_path / "plan.json") == wanted
    assert plan(store, bench) == wanted
    assert bench.asked == 0


def test_a_plan_file_and_a_budget_exclude_each_other(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave out --budget"):
        plan(store, Bench(), "10m", tmp_path / "plan.json")


def test_a_broken_plan_file_names_file_and_line(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{\n"budget": "10m",\n')
    with pytest.raises(InputError) as caught:
        plan(store, Bench(), file=path)
    assert caught.value.file == str(path)
    assert caught.value.line == 3
