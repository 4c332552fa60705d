"""What a measurement keeps: named series with one value and one weight a unit.

Knows nothing of models. A unit is what is independent of the others (a document, a problem), so
every interval resamples units. Two measurements of the same units can be compared in pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import read_json, write_json
from ontogeny.evaluate.intervals import (
    Interval,
    paired_ratio_difference,
    ratio,
    recovered_share,
    wilson,
)

FILE = "series.json"


@dataclass(frozen=True)
class Series:
    """`values[i]` over `weights[i]` of unit `units[i]`: nats over tokens, a score over 1 ...

    Raises:
        InputError: the three lists are not of one length, or a unit comes twice.
    """

    units: Sequence[str]
    values: Sequence[float]
    weights: Sequence[float]

    def __post_init__(self) -> None:
        if not len(self.units) == len(self.values) == len(self.weights):
            raise InputError("a series needs one value and one weight for each unit")
        if len(set(self.units)) != len(self.units):
            raise InputError("a series names a unit twice")

    def only(self, units: Sequence[str]) -> Series:
        """The series of these units, in their order."""
        place = {unit: index for index, unit in enumerate(self.units)}
        chosen = [place[unit] for unit in units]
        return Series(
            list(units), [self.values[i] for i in chosen], [self.weights[i] for i in chosen]
        )


def write_series(directory: Path, series: Mapping[str, Series]) -> None:
    """Writes `FILE` into a payload."""
    write_json(directory / FILE, {"series": {name: asdict(each) for name, each in series.items()}})


def read_series(measurement: Artifact) -> dict[str, Series]:
    """The series of a measurement, its file verified first.

    Raises:
        CorruptArtifact: when the file is not what `write_series` wrote.
    """
    path = measurement.file(FILE)
    try:
        return {name: Series(**each) for name, each in read_json(path)["series"].items()}
    except (AttributeError, KeyError, TypeError, InputError) as error:
        raise CorruptArtifact(f"no series in it ({error}); make it again", file=path) from None


def level(series: Series, name: str) -> Interval:
    """sum(values) / sum(weights), resampled over units; `name` seeds the bootstrap."""
    return ratio(series.values, series.weights, name)


def proportion(series: Series, name: str) -> Interval:
    """`level`, by Wilson's score where every unit is a plain yes or no, or all are wholly one.

    A bootstrap of 1,100 successes in 1,100 trials would claim to be certain.
    """
    units, whole = len(series.values), sum(series.weights)
    plain = set(series.weights) == {1.0} and set(series.values) <= {0.0, 1.0}
    one_sided = not any(series.values) or list(series.values) == list(series.weights)
    if plain or (one_sided and whole > 0):
        return wilson(round(sum(series.values) / whole * units), units)
    return level(series, name)


def difference(before: Series, after: Series, name: str) -> Interval:
    """Level of `after` less level of `before` over the units both have, resampled in pairs.

    Raises:
        InputError: no unit in common, or a unit weighs differently in the two.
    """
    first, second = _paired([before, after], name)
    return paired_ratio_difference(first.values, second.values, first.weights, name)


def recovered(damaged: Series, repaired: Series, undamaged: Series, name: str) -> Interval:
    """Share of a loss won back: (damaged - repaired) / (damaged - undamaged), paired by unit.

    Where nothing was lost no share of it can come back: 0, from -1 to 1.

    Raises:
        InputError: see `difference`.
    """
    before, after, best = _paired([damaged, repaired, undamaged], name)
    if sum(before.values) <= sum(best.values):
        return Interval(0.0, -1.0, 1.0, 0)
    return recovered_share(before.values, after.values, best.values, name)


def wins(before: Series, after: Series, name: str) -> Interval:
    """Of the units in which the two differ, the share in which `after` is higher (Wilson).

    Undecided units are left out, as in the sign test; `units` of the answer are the decided ones.
    Where none is decided nothing is known: one half, from 0 to 1.

    Raises:
        InputError: see `difference`.
    """
    first, second = _paired([before, after], name)
    pairs = list(zip(first.values, second.values, strict=True))
    decided = sum(a != b for a, b in pairs)
    if not decided:
        return Interval(0.5, 0.0, 1.0, 0)
    return wilson(sum(b > a for a, b in pairs), decided)


def _paired(series: Sequence[Series], name: str) -> list[Series]:
    others = [set(each.units) for each in series[1:]]
    shared = [unit for unit in series[0].units if all(unit in known for known in others)]
    if not shared:
        raise InputError(f"{name}: the measurements have no unit in common; measure the same split")
    found = [each.only(shared) for each in series]
    if any(list(each.weights) != list(found[0].weights) for each in found):
        raise InputError(f"{name}: a unit weighs differently in two measurements")
    return found
