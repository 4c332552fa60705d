"""How the episodes of one player came out: what was solved and what could be read, told apart.

Knows no model and no environment: a score, perhaps a second verdict, and counts of calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ontogeny.environments.episodes import Episode
from ontogeny.evaluate.series import Series, proportion


@dataclass(frozen=True)
class Turnout:
    """The episodes of one player, over all environments, and what they took."""

    player: str
    episodes: Sequence[Episode]
    seconds: float

    @cached_property
    def series(self) -> dict[str, Series]:
        """By PLAYER.NAME, a value for each episode.

        - reward, and solved: it is 1;
        - verified and flagged (the reward is above it), where there is a second verdict;
        - valid: of all calls that were begun, those that could be read and fit a tool;
        - valid_share: the same of each episode, 0 where no call was begun; it can be paired.
        """
        units, every = _units(self.episodes), self.episodes
        scores = [each.judged.score for each in every]
        found = {"reward": (units, scores), "solved": (units, [float(s == 1.0) for s in scores])}
        second = [each.verified for each in every if each.verified is not None]
        if len(second) == len(every):
            above = [float(score > other) for score, other in zip(scores, second, strict=True)]
            found |= {"verified": (units, second), "flagged": (units, above)}
        pairs = zip(units, every, strict=True)
        tooled = [(u, e.trajectory.notes) for u, e in pairs if "attempts" in e.trajectory.notes]
        if tooled:
            shares = [notes["valid"] / max(1, notes["attempts"]) for _, notes in tooled]
            found["valid_share"] = ([unit for unit, _ in tooled], shares)
        series = {name: Series(u, v, [1.0] * len(v)) for name, (u, v) in found.items()}
        if called := [(unit, notes) for unit, notes in tooled if notes["attempts"]]:
            valid, attempts = (
                [float(n[name]) for _, n in called] for name in ("valid", "attempts")
            )
            series["valid"] = Series([unit for unit, _ in called], valid, attempts)
        return {f"{self.player}.{name}": each for name, each in series.items()}

    def metrics(self, seed: int) -> dict[str, Any]:
        """Levels with their intervals, and plain counts: calls, turns, held back, why it ended."""
        found: dict[str, Any] = {}
        for name, series in self.series.items():
            level = proportion(series, f"{name} {seed}")
            low, high = level.low, level.high
            found[name] = {"estimate": level.value, "low": low, "high": high, "units": level.units}
        tooled = [each for each in self._notes if "attempts" in each]
        for name in ("attempts", "gated", "broken", "turns") if tooled else ():
            found[f"{self.player}.{name}"] = float(sum(each[name] for each in tooled))
        ends = Counter(each["end"] for each in tooled)
        return found | {f"{self.player}.end.{end}": float(n) for end, n in sorted(ends.items())}

    def line(self, seed: int) -> str:
        """All of it for a person."""
        metrics = self.metrics(seed)
        parts = []
        for name in ("reward", "solved", "verified", "flagged", "valid"):
            if level := metrics.get(f"{self.player}.{name}"):
                low, high = level["low"], level["high"]
                said = "valid calls" if name == "valid" else name
                parts.append(f"{said} {level['estimate']:.2f} [{low:.2f}, {high:.2f}]")
        ends = Counter(str(each["end"]) for each in self._notes if "end" in each)
        told = ", ".join(f"{end} {count}" for end, count in ends.most_common())
        calls = f", {metrics[f'{self.player}.attempts']:.0f} calls, ended: {told}" if told else ""
        return f"{self.player:12} {', '.join(parts)}; {len(self.episodes)} episodes{calls}"

    def speed(self) -> str:
        """Episodes a second, judging included."""
        return f"{self.player}: {len(self.episodes) / self.seconds:.2f} episodes/s"

    @property
    def _notes(self) -> list[Mapping[str, Any]]:
        return [each.trajectory.notes for each in self.episodes]


def _units(episodes: Sequence[Episode]) -> list[str]:
    """Ids of tasks; one that comes again is numbered."""
    seen: Counter[str] = Counter()
    found = []
    for each in episodes:
        seen[each.task.id] += 1
        again = seen[each.task.id]
        found.append(each.task.id if again == 1 else f"{each.task.id}#{again}")
    return found
