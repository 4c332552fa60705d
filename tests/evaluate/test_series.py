"""Measurements are compared unit by unit, and only where they measured the same."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from conftest import publish

from ontogeny.base.artifact import Artifact, Record, describe_files
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.store import Store
from ontogeny.evaluate.intervals import wilson
from ontogeny.evaluate.series import (
    Series,
    difference,
    level,
    proportion,
    read_series,
    recovered,
    wins,
    write_series,
)

WEIGHTS = [10.0, 30.0, 60.0]


def series(values: list[float], weights: list[float] | None = None, first: int = 0) -> Series:
    units = [f"english/{first + number}" for number in range(len(values))]
    return Series(units, values, weights or [1.0] * len(values))


def measurement(store: Store, values: Mapping[str, Series]) -> Artifact:
    payload = store.work / "0123456789abcdef" / "payload"
    payload.mkdir(parents=True)
    write_series(payload, values)
    return publish(store, payload, "measure", "measurement")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "life")
    known = {"english.nats": series([1.5, 2.25], [3.0, 4.0]), "exam.score": series([0.0, 1.0])}
    assert read_series(measurement(store, known)) == known


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"series": 3}',
        '{"series": {"a": {"units": ["x"]}}}',
        '{"series": {"a": {"units": ["x", "x"], "values": [1, 2], "weights": [1, 1]}}}',
        '{"series": {"a": {"units": ["x"], "values": [1, 2], "weights": [1]}}}',
    ],
)
def test_a_file_without_series_is_one_line(tmp_path: Path, text: str) -> None:
    store = Store.create(tmp_path / "life")
    made = measurement(store, {})
    path = made.path / "series.json"
    path.write_text(text)
    files = describe_files(made.path)
    files.pop("record.json", None)
    honest = Artifact(made.path, Record(**{**vars_of(made.record), "files": files}))
    with pytest.raises(CorruptArtifact, match="no series in it"):
        read_series(honest)


def vars_of(record: Record) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def test_a_level_weighs_its_units() -> None:
    found = level(series([20.0, 30.0, 30.0], WEIGHTS), "x")
    assert found.value == pytest.approx(0.8)
    assert found.low == pytest.approx(0.5)
    assert found.high == pytest.approx(2.0)
    assert found.units == 3


def test_a_difference_pairs_by_unit_whatever_the_order_and_the_rest() -> None:
    """What only one of the two measured is left out."""
    before = Series(["a", "b", "c"], [1.0, 20.0, 300.0], [1.0, 2.0, 3.0])
    after = Series(["c", "d", "b"], [306.0, 9.0, 24.0], [3.0, 7.0, 2.0])
    found = difference(before, after, "x")
    assert found.value == pytest.approx((4 + 6) / 5)
    assert (found.low, found.high) == pytest.approx((2.0, 2.0))
    assert found.units == 2


def test_pairs_cancel_what_makes_a_document_hard() -> None:
    draw = np.random.default_rng(0)
    hard = draw.normal(5, 3, 50)
    before, after = series(hard.tolist()), series((hard + draw.normal(0.2, 0.1, 50)).tolist())
    assert difference(before, after, "x").excludes(0)
    assert difference(after, before, "x").value == pytest.approx(
        -difference(before, after, "x").value
    )
    assert level(before, "x").high > level(after, "x").low


def test_units_that_weigh_differently_are_refused() -> None:
    """The same document cut at another length is another measurement."""
    with pytest.raises(InputError, match="x: a unit weighs differently in two measurements"):
        difference(series([1.0, 2.0], [3.0, 4.0]), series([1.0, 2.0], [3.0, 5.0]), "x")
    apart = Series(["english/0", "z"], [1.0, 2.0], [3.0, 5.0])
    assert difference(series([1.0, 2.0], [3.0, 4.0]), apart, "x").units == 1


def test_nothing_in_common_is_one_line() -> None:
    with pytest.raises(InputError, match="no unit in common; measure the same split"):
        difference(series([1.0]), series([1.0], first=7), "x")


def test_the_share_won_back_is_of_what_was_lost() -> None:
    damaged, repaired, undamaged = series([3.0, 5.0]), series([2.0, 4.5]), series([1.0, 4.0])
    found = recovered(damaged, repaired, undamaged, "x")
    assert found.value == pytest.approx((1.0 + 0.5) / (2.0 + 1.0))
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))
    assert recovered(damaged, damaged, undamaged, "x").value == 0.0
    assert recovered(damaged, undamaged, undamaged, "x").value == 1.0
    worse = series([4.0, 6.0])
    assert recovered(damaged, worse, undamaged, "x").value == pytest.approx(-2 / 3)


def test_of_nothing_lost_nothing_is_known_to_be_won_back() -> None:
    found = recovered(series([1.0, 2.0]), series([1.0, 2.0]), series([1.0, 2.0]), "x")
    assert (found.value, found.low, found.high, found.units) == (0.0, -1.0, 1.0, 0)


def test_a_resample_that_lost_nothing_won_nothing_back() -> None:
    """It counts as the worst, and the interval stays a pair of numbers that a record can hold."""
    damaged, undamaged = series([3.0, 1.0, 1.0]), series([1.0, 1.1, 1.1])
    all_back = recovered(damaged, undamaged, undamaged, "x")
    assert (all_back.value, all_back.low, all_back.high) == (1.0, 0.0, 1.0)
    damaged, undamaged = series([3.0, 3.0, 1.0, 1.0]), series([1.0, 1.0, 1.1, 1.1])
    found = recovered(damaged, series([1.5, 3.5, 1.3, 1.3]), undamaged, "x")
    assert 0 < found.value < found.high < 1
    assert -1 < found.low < 0


def test_wins_are_counted_among_the_decided() -> None:
    before = series([0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    after = series([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    assert wins(before, after, "x") == wilson(2, 3)
    assert wins(after, before, "x") == wilson(1, 3)


def test_wins_pair_by_unit() -> None:
    before = Series(["a", "b"], [0.0, 1.0], [1.0, 1.0])
    after = Series(["b", "a", "c"], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0])
    assert wins(before, after, "x") == wilson(1, 1)


def test_where_nothing_is_decided_nothing_is_known() -> None:
    found = wins(series([0.0, 1.0]), series([0.0, 1.0]), "x")
    assert (found.value, found.low, found.high, found.units) == (0.5, 0.0, 1.0, 0)


def test_a_series_is_refused_that_is_none() -> None:
    with pytest.raises(InputError, match="one value and one weight for each unit"):
        Series(["a", "b"], [1.0], [1.0, 1.0])
    with pytest.raises(InputError, match="names a unit twice"):
        Series(["a", "a"], [1.0, 2.0], [1.0, 1.0])


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": series([1.5])})
    value = json.loads((tmp_path / "series.json").read_text())
    assert value == {"series": {"a": {"units": ["english/0"], "values": [1.5], "weights": [1.0]}}}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_or_all_of_units_that_weigh_differently_is_not_certain(share: float) -> None:
    weights = [1.0, 5.0, 3.0, 2.0]
    found = proportion(Series(list("abcd"), [share * each for each in weights], weights), "x")
    assert (found.value, found.units) == (share, 4)
    assert found.high - found.low == pytest.approx(0.49, abs=0.01)  # Wilson's of 0 or 4 in 4


def test_a_proportion_of_all_is_not_certain() -> None:
    found = proportion(series([1.0] * 200), "x")
    assert found == wilson(200, 200)
    assert found.low < 1.0
    assert proportion(series([0.5, 1.0]), "x") == level(series([0.5, 1.0]), "x")
