"""Damage and gain of one model against another, from what was measured of both.

Knows nothing of models; takes series of the same units before and after, and tells in words what a
comparison found. Series NAME.nats are costs of text, lower is better; of all others higher is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.evaluate.intervals import Interval
from ontogeny.evaluate.series import Series, difference, level

Paired = Mapping[str, tuple[Series, Series]]
EXAM = "exam."
SCORE, FORM = "exam.score", "exam.form"
EXAM_TOTALS = {SCORE: "right answers", FORM: "well formed"}
COST = ".nats"
KL = ".kl"
_SHOWN = {"prompts": "exam prompts", "answers": "their gold answers"}


def paired(before: Mapping[str, Series], after: Mapping[str, Series]) -> Paired:
    """The series that both measurements have, cut to the units that both have.

    Raises:
        InputError: there is none.
    """
    shared: dict[str, tuple[Series, Series]] = {}
    for name in before:
        if name in after:
            known = set(after[name].units)
            units = [unit for unit in before[name].units if unit in known]
            if units:
                shared[name] = (before[name].only(units), after[name].only(units))
    if not shared:
        raise InputError("the two measurements share no series; measure both models alike")
    return shared


def examined(shared: Paired) -> dict[str, int]:
    """Environment -> its tasks, of the series `exam.ENVIRONMENT.score`."""
    parts = {name: name.split(".") for name in shared}
    return {
        part[1]: len(shared[name][0].units)
        for name, part in parts.items()
        if len(part) == 3 and part[::2] == ["exam", "score"]
    }


def differences(shared: Paired) -> dict[str, dict[str, dict[str, float]]]:
    """Series -> its level `before` and `after` and their paired `difference`, each an interval."""
    return {
        name: {
            "before": plain(level(before, name)),
            "after": plain(level(after, name)),
            "difference": plain(difference(before, after, name)),
        }
        for name, (before, after) in shared.items()
    }


def flips(shared: Paired) -> dict[str, dict[str, int]]:
    """Exam series -> its `tasks`, those right (score 1) before only `lost`, after only `won`."""
    found = {}
    for name, (before, after) in shared.items():
        if name.startswith(EXAM) and name.endswith("score"):
            right = [
                (first >= 1, second >= 1)
                for first, second in zip(before.values, after.values, strict=True)
            ]
            found[name] = {
                "tasks": len(right),
                "lost": right.count((True, False)),
                "won": right.count((False, True)),
            }
    return found


def plain(interval: Interval) -> dict[str, float]:
    """An interval as a record keeps it."""
    value, low, high, units = interval
    return {"estimate": value, "low": low, "high": high, "units": units}


def verdict(name: str, found: Mapping[str, float]) -> str:
    """What the interval of a difference says of series `name`."""
    if found["units"] < 2:
        return "one unit, no interval"
    if found["low"] <= 0 <= found["high"]:
        return "no difference seen"
    return "worse" if (found["estimate"] > 0) == name.endswith(COST) else "better"


def signed(found: Mapping[str, float]) -> str:
    """A difference with its interval."""
    return f"{found['estimate']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"


def percent(share: float | None) -> str:
    """A share in percent; a change of weights that were 0 has none."""
    if share is None:
        return "-"
    return f"{100 * share:.1f} %" if share >= 0.001 else f"{100 * share:.2g} %"


def read_on(name: str) -> str:
    """What a divergence was taken on: a domain of text, or the exam put as chat."""
    return _SHOWN.get(name, name)


def summary(comparison: Mapping[str, Any]) -> list[str]:
    """The damage report in a few lines: weights, text, exam, flips, outputs."""
    found = comparison["differences"]
    text = {name: name.removesuffix(COST) for name in found if name.endswith(COST)}
    return [
        _weights(comparison),
        *_levels("text, nats a token", text, found),
        *_levels("exam", EXAM_TOTALS, found),
        *_flipped(comparison),
        *_divergence(comparison),
    ]


def _weights(comparison: Mapping[str, Any]) -> str:
    weights = comparison["weights"]
    groups = sorted(weights["layers"], key=_moved, reverse=True)
    return (
        f"{comparison['before']['name']} -> {comparison['after']['name']}: "
        f"the weights moved by {percent(weights['all']['relative'])} of their norm, "
        f"most in {groups[0]['name']} ({percent(groups[0]['relative'])}), "
        f"least in {groups[-1]['name']} ({percent(groups[-1]['relative'])})"
    )


def _moved(group: Mapping[str, Any]) -> float:
    return math.inf if group["relative"] is None else float(group["relative"])


def _levels(title: str, names: Mapping[str, str], found: Mapping[str, Any]) -> list[str]:
    parts = [
        f"{what} {found[name]['before']['estimate']:.3f} -> "
        f"{found[name]['after']['estimate']:.3f}, {signed(found[name]['difference'])} "
        f"({verdict(name, found[name]['difference'])})"
        for name, what in names.items()
        if name in found
    ]
    return [f"{title}: {'; '.join(parts)}"] if parts else []


def flipped(found: Mapping[str, int]) -> str:
    """The `flips` of one series in words."""
    return (
        f"of {found['tasks']:,} exam tasks {found['lost']:,} were right and are wrong now, "
        f"{found['won']:,} were wrong and are right now"
    )


def _flipped(comparison: Mapping[str, Any]) -> list[str]:
    found = comparison["flips"].get(SCORE)
    return [flipped(found)] if found else []


def _divergence(comparison: Mapping[str, Any]) -> list[str]:
    found = comparison["divergence"]
    parts = [
        f"{read_on(name.removesuffix(KL))} {found[name]['estimate']:#.3g}"
        for name in found
        if name.endswith(KL)
    ]
    title = f"KL({comparison['before']['name']} || {comparison['after']['name']}), nats a token"
    return [f"{title}: {', '.join(parts)}"] if parts else []
