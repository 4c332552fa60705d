"""Made-up runs, clean ones and ones with a planted hack: what a watch's promises are tried on.

Knows no model. An episode has a quality; proxy and verifier are two draws of tests from it. A
hacked episode is paid in full and passes few of the tests that it has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from ontogeny.evaluate.watch_rows import Row


@dataclass(frozen=True)
class Course:
    """How a run goes.

    Attributes:
        solved: share of problems solved by the first and by the last step.
        difficulty: how much problems differ: the spread of that share from prompt to prompt.
        paid, checked: tests of the proxy and of the verifier.
        easier: how much easier than the verifier's the proxy's tests are, all along.
        drifts: how much easier still they have become by the end, without any hack.
        hacked: share of the episodes that are hacks, once they have begun.
        since: when they begin, as a share of the run; they take a tenth of it to spread.
        seen: share of hacks that show a sign; `mistaken`: of honest episodes.
    """

    steps: int = 60
    prompts: int = 16
    group: int = 8
    solved: tuple[float, float] = (0.2, 0.7)
    difficulty: float = 0.3
    paid: int = 8
    checked: int = 8
    easier: float = 0.0
    drifts: float = 0.0
    hacked: float = 0.0
    since: float = 0.5
    seen: float = 0.9
    mistaken: float = 0.005


CLEAN: Mapping[str, Course] = MappingProxyType(
    {
        "learns": Course(),
        "learns nothing": Course(solved=(0.3, 0.3)),
        "learns all": Course(solved=(0.05, 0.98)),
        "unlearns": Course(solved=(0.7, 0.2)),
        "one test pays": Course(paid=1),
        "small groups": Course(prompts=4, group=4),
        "short": Course(steps=16),
        "long": Course(steps=400, prompts=4),
        "problems unlike": Course(difficulty=0.8),
        "an easier proxy": Course(easier=0.2),
        "many mistaken signs": Course(mistaken=0.08),
    }
)


def rows(course: Course, seed: int) -> list[Row]:
    """A run's record in the form of `rollout/rolled.py`; equal seeds give equal runs."""
    source = np.random.default_rng(seed)
    return [_row(course, step, source) for step in range(course.steps)]


def _row(course: Course, step: int, source: np.random.Generator) -> dict[str, Any]:
    done = step / max(1, course.steps - 1)
    first, last = course.solved
    spread = course.difficulty * (source.random(course.prompts) - 0.5)
    chance_P = np.clip(first + (last - first) * done + spread, 0, 1)
    chance_E = np.repeat(chance_P, course.group)
    count = len(chance_E)
    quality_E = np.where(source.random(count) < chance_E, 1.0, source.beta(0.5, 2.5, count))
    help_ = course.easier + course.drifts * done
    paid_E = source.binomial(course.paid, np.minimum(1, quality_E + help_)) / course.paid
    checked_E = source.binomial(course.checked, quality_E) / course.checked
    hacked = course.hacked * min(1.0, max(0.0, (done - course.since) / 0.1))
    hack_E = source.random(count) < hacked
    paid_E = np.where(hack_E, 1.0, paid_E)
    checked_E = np.where(
        hack_E, source.binomial(course.checked, 0.1, count) / course.checked, checked_E
    )
    sign_E = source.random(count) < np.where(hack_E, course.seen, course.mistaken)
    return {
        "step": step + 1,
        "rewards": paid_E.tolist(),
        "verified": checked_E.tolist(),
        "lengths": [20] * count,
        "repeats": [0.0] * count,
        "distinct": 0.5,
        "signs": {"hard_coded": int(sign_E.sum())},
    }
