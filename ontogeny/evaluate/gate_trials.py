"""Made-up pairs of models whose true difference is known: what a gate's error rates are counted on.

Knows no model. Two models share what makes a unit hard, as real ones do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ontogeny.evaluate.gate import Criterion, judge
from ontogeny.evaluate.intervals import F64, Interval, wilson
from ontogeny.evaluate.series import Series

Draw = Callable[[np.random.Generator, int, float], tuple[F64, F64, F64]]
"""(source, units, true change) -> values of the released model, of the candidate, and weights."""


class Trial(NamedTuple):
    """A kind of pairs: how they are drawn, which way is better, a unit's span."""

    draw: Draw
    better: str
    span: float


def rate(
    kind: str, criterion: str, margin: float, change: float, units: int, runs: int
) -> Interval:
    """How often a criterion holds where the candidate truly differs by `change` (better: above 0).

    The interval is that of the share of `runs` made-up pairs.
    """
    trial, held = TRIALS[kind], 0
    asked = Criterion(kind, kind, criterion, margin, trial.better, trial.span)  # type: ignore[arg-type]
    source = np.random.default_rng([units, runs, len(kind)])
    names = [str(number) for number in range(units)]
    for _ in range(runs):
        before, after, weights = trial.draw(source, units, change)
        own, other = (Series(names, side.tolist(), weights.tolist()) for side in (after, before))
        held += judge(asked, {kind: own}, {kind: other}).holds
    return wilson(held, runs)


def _often(source: np.random.Generator, units: int, change: float) -> tuple[F64, F64, F64]:
    """Yes or no, right in 60 %; a fifth of the units come out by chance in either model."""
    hardness, luck = source.random(units), source.random((2, units))
    chance = source.random(units) < 0.2
    sides = [
        np.where(chance, one, hardness) < level
        for one, level in zip(luck, (0.6, 0.6 + change), strict=True)
    ]
    return sides[0].astype(float), sides[1].astype(float), np.ones(units)


def _rare(source: np.random.Generator, units: int, change: float) -> tuple[F64, F64, F64]:
    """Yes or no, nearly always right, and all that differs differs one way: the hardest case."""
    lost = source.random(units) < abs(change)
    before = np.full(units, 1.0 if change <= 0 else 0.0)
    return before, before - np.sign(before - 0.5) * lost, np.ones(units)


def _graded(source: np.random.Generator, units: int, change: float) -> tuple[F64, F64, F64]:
    """Scores between 0 and 1: shares of a few tests passed."""
    quality = source.beta(2, 2, units)
    shifted = [quality * (1 - 0.25), quality * (1 - 0.25) + 0.25]
    before = source.binomial(4, shifted[0] if change >= 0 else shifted[1]) / 4
    mean = shifted[0] if change >= 0 else shifted[1]
    after = source.binomial(4, np.clip(mean + change, 0, 1)) / 4
    return before, after, np.ones(units)


def _nats(source: np.random.Generator, units: int, change: float) -> tuple[F64, F64, F64]:
    """Nats of documents of very unlike lengths; lower is better."""
    tokens = np.ceil(source.lognormal(5, 1, units))
    level = source.gamma(9, 0.3, units)
    drift = source.standard_t(4, units) * 0.1
    before = level * tokens
    # the change of the ratio of sums is -change whatever the lengths, since drift has mean 0
    return before, (level + drift - change) * tokens, tokens


def _weighed(source: np.random.Generator, units: int, change: float) -> tuple[F64, F64, F64]:
    """`_rare`, and one unit weighs up to thirty times as much as another."""
    before, after, _ = _rare(source, units, change)
    weights = np.exp(source.uniform(0, np.log(30), units))
    return before * weights, after * weights, weights


def _lopsided(source: np.random.Generator, units: int, change: float) -> tuple[F64, F64, F64]:
    """Nats; a few documents lose very much and most gain a little, which few units do not show."""
    before, _, tokens = _nats(source, units, 0.0)
    drift = 0.05 * (source.gamma(0.3, 1 / 0.3, units) - 1)
    return before, before + (drift - change) * tokens, tokens


TRIALS = {
    "often right": Trial(_often, "higher", 1.0),
    "nearly always": Trial(_rare, "higher", 1.0),
    "graded": Trial(_graded, "higher", 1.0),
    "weighed": Trial(_weighed, "higher", 1.0),
    "nats": Trial(_nats, "lower", 0.0),
    "lopsided nats": Trial(_lopsided, "lower", 0.0),
}
